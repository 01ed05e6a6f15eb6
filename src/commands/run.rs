use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use eliteloop::base::device::Place;
use eliteloop::base::done::Done;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::config::RunConfig;
use eliteloop::method::cycle;
use eliteloop::method::run::Run;
use eliteloop::record::best;

use super::settings::SettingsArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Where LLM and proxies compute: cpu, cuda:N, metal:N, or auto
    #[arg(long, value_name = "DEVICE")]
    device: Option<Place>,
    /// New folder for the run
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let mut config = args.settings.resolve(args.device)?;
    settle(&mut config);
    set_threads(config.threads)?;
    let stop = stop_on_ctrl_c()?;
    let run = Run::create(&args.out, config, stop)?;
    go_on(run, &args.out)
}

/// Runs what is left of a run and tells how it ended.
pub fn go_on(mut run: Run, folder: &Path) -> Result<()> {
    match cycle::run(&mut run)? {
        Done::Finished(()) => {
            best::write(&run.store, folder)?;
            if run.store.meta("finished")?.is_none() {
                run.store.stamp("finished")?;
            }
            run.store.seal()?;
            printer::note(format_args!("finished; next: eliteloop report {}", folder.display()));
        }
        Done::Stopped => printer::note(format_args!("stopped, nothing is lost; go on with: eliteloop resume {}", folder.display())),
    }
    Ok(())
}

/// Replaces `auto` by a device that is there, and tells why if that is the processor.
pub fn settle(config: &mut RunConfig) {
    if let Some(why) = config.settle_devices() {
        printer::note(why);
    }
}

/// The LLM's threads are rayon's global ones.
pub fn set_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|e| Error::machine("the threads could not be started").caused_by(e))
}

/// A flag that the first Ctrl-C (or SIGTERM) sets; the second one ends the process at once.
pub fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
