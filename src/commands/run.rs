use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use eliteloop::base::confine;
use eliteloop::base::device::Place;
use eliteloop::base::done::Done;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::base::show::{count, in_shell};
use eliteloop::base::stop;
use eliteloop::config::RunConfig;
use eliteloop::method::cycle;
use eliteloop::method::run::{Reached, Run};
use eliteloop::record::{best, chain};

use super::flags::SettingsArgs;
use super::page::{self, PAGE, Shown};

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
    /// Begin no cycle after so many hours; `eliteloop resume` goes on
    #[arg(long, value_name = "H", value_parser = parse_hours)]
    hours: Option<Duration>,
    /// Begin no cycle once a network has this quality, the validation accuracy of the short training from 0 to 1; `eliteloop resume` goes on
    #[arg(long, value_name = "Q", value_parser = parse_quality)]
    until_quality: Option<f64>,
}

/// Hours, from 0 up.
pub fn parse_hours(text: &str) -> Result<Duration, String> {
    // More than a century is no limit.
    let hours = text.parse().ok().filter(|hours: &f64| (0.0..=1e6).contains(hours));
    hours.map(|hours| Duration::from_secs_f64(3600.0 * hours)).ok_or_else(|| "a number of hours from 0 to 1000000, for example 7.5".into())
}

/// From 0 to 1.
pub fn parse_quality(text: &str) -> Result<f64, String> {
    let quality = text.parse().ok().filter(|quality: &f64| (0.0..=1.0).contains(quality));
    quality.ok_or_else(|| "a number from 0 to 1, for example 0.8".into())
}

pub fn run(args: &Args) -> Result<()> {
    let mut config = args.settings.resolve(args.device)?;
    settle(&mut config);
    set_threads(config.threads)?;
    confine::missing().into_iter().for_each(printer::note);
    let until = args.hours.map(|hours| Instant::now() + hours);
    let run = Run { until, until_quality: args.until_quality, ..Run::create(&args.out, config, stop::on_signal()?)? };
    go_on(run, &args.out)
}

/// Runs what is left of a run and tells how it ended.
pub fn go_on(mut run: Run, folder: &Path) -> Result<()> {
    if cycle::run(&mut run, || page::show(folder, Shown::Live))? == Done::Stopped {
        // What nobody writes any more need not be loaded again.
        if folder.join(PAGE).is_file() {
            page::show(folder, Shown::AsItIs);
        }
        let reached = if run.stop.load(Ordering::Relaxed) { None } else { run.reached()? };
        if let Some(reached) = reached {
            best::write(&run.store, folder)?;
            let cycles = run.store.cycles()?.last().map_or(0, |closed| closed.cycle);
            printer::note(match reached {
                Reached::Quality(network, quality) => {
                    format!("{network} has quality {quality:.4}, as was asked for; {}", go_on_or_report(folder))
                }
                Reached::Hours => hours_over(cycles, folder),
            });
            return Ok(());
        }
        return Err(stopped(folder));
    }
    best::write(&run.store, folder)?;
    if run.store.meta("finished")?.is_none() {
        run.store.stamp("finished")?;
    }
    let head = chain::head(&run.store)?;
    run.store.seal()?;
    page::show(folder, Shown::AsItIs);
    printer::note(format_args!("finished; next: eliteloop report {}", in_shell(folder)));
    tell_head(head.as_deref());
    Ok(())
}

/// A run or an audit that was asked to end.
pub fn stopped(folder: &Path) -> Error {
    Error::stopped(format!("stopped, nothing is lost; go on with: eliteloop resume {}", in_shell(folder)))
}

/// What is told of a run or an audit whose time is over.
pub fn hours_over(cycles: u64, folder: &Path) -> String {
    format!("the time that was given is over, after {}; {}", count(cycles as usize, "cycle"), go_on_or_report(folder))
}

fn go_on_or_report(folder: &Path) -> String {
    format!("next: eliteloop report {0}, or go on: eliteloop resume {0}", in_shell(folder))
}

/// What stands for all that was stored: who keeps it can tell whether anything was changed.
pub fn tell_head(head: Option<&str>) {
    if let Some(head) = head {
        printer::note(format_args!("chain of hashes: {head} (eliteloop verify --head)"));
    }
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
