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
    printer::data(path.display());
    Ok(())
}
