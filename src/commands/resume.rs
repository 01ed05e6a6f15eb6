//! Goes on with a run or an audit.

use std::path::PathBuf;

use eliteloop::base::device::Place;
use eliteloop::base::error::Result;

use super::recorded;
use super::run::{set_threads, stop_on_ctrl_c};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run or audit
    run: PathBuf,
    /// Go on on another device than it began on: cpu, cuda:N, metal:N, or auto. What follows is then not, to the last bit, what an unbroken
    /// run would have written
    #[arg(long, value_name = "DEVICE")]
    device: Option<Place>,
}

pub fn run(args: &Args) -> Result<()> {
    let verbs = recorded::of(&args.run)?;
    set_threads((verbs.threads)(&args.run)?)?;
    (verbs.resume)(&args.run, args.device, stop_on_ctrl_c()?)
}
