use std::path::PathBuf;

use eliteloop::device::Place;
use eliteloop::error::Result;
use eliteloop::record::folder;
use eliteloop::run::Run;

use super::run::{go_on, set_threads, stop_on_ctrl_c};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    run: PathBuf,
    /// Go on on another device than the run began on: cpu, cuda:N, metal:N, or auto. What follows is then not, to the last bit, what an unbroken
    /// run would have written
    #[arg(long, value_name = "DEVICE")]
    device: Option<Place>,
}

pub fn run(args: &Args) -> Result<()> {
    set_threads(folder::settings(&args.run)?.threads)?;
    let stop = stop_on_ctrl_c()?;
    go_on(Run::resume(&args.run, args.device, stop)?, &args.run)
}
