use std::path::PathBuf;

use eliteloop::base::error::Result;
use eliteloop::base::printer;
use eliteloop::export;
use eliteloop::record::NetworkId;
use eliteloop::record::folder;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    run: PathBuf,
    /// The network: CYCLE/INDEX or start/NAME
    #[arg(long, value_name = "ID", conflicts_with = "best")]
    candidate: Option<String>,
    /// The network with the highest validation accuracy (the default)
    #[arg(long)]
    best: bool,
    /// New folder for network.py, weights.safetensors, network.onnx, sample.safetensors, card.md
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let chosen: Option<NetworkId> = args.candidate.as_deref().map(str::parse).transpose()?;
    super::run::set_threads(folder::settings(&args.run)?.threads)?;
    let stop = eliteloop::base::stop::on_signal()?;
    let done = export::export(&args.run, chosen, &args.out, &stop)?;
    printer::note(format_args!(
        "{}: trained again, validation accuracy {:.4} as recorded; written to {}",
        done.network,
        done.accuracy,
        args.out.display()
    ));
    Ok(())
}
