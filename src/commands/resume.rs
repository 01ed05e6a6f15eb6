use std::path::PathBuf;

use eliteloop::error::Result;
use eliteloop::record::folder;
use eliteloop::run::Run;

use super::run::{go_on, set_threads, stop_on_ctrl_c};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    run: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    set_threads(folder::settings(&args.run)?.threads)?;
    let stop = stop_on_ctrl_c()?;
    go_on(Run::resume(&args.run, stop)?, &args.run)
}
