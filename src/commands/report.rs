use std::path::PathBuf;

use eliteloop::error::Result;
use eliteloop::files::write_whole;
use eliteloop::{printer, report};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    run: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let data = report::collect::collect(&args.run)?;
    let path = args.run.join("report.html");
    write_whole(&path, report::render(&data).as_bytes())?;
    for found in report::early::early(&args.run)? {
        if let Some(rank) = found.rank {
            printer::note(format_args!(
                "{} ranks {} networks with Spearman's {:.2} [{:.2}, {:.2}]",
                found.name, found.networks, rank.value, rank.low, rank.high
            ));
        }
    }
    printer::data(path.display());
    Ok(())
}
