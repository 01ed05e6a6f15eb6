use std::path::PathBuf;

use eliteloop::base::error::Result;
use eliteloop::proxy::engine::task;
use eliteloop::proxy::worker;
use eliteloop::study::away::Errand;

#[derive(clap::Args)]
pub struct Args {
    /// Do what this file says and write results beside it, in place of jobs from stdin; may be given several times
    #[arg(long, value_name = "FILE")]
    task: Vec<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    if args.task.is_empty() {
        return worker::serve(std::io::stdin().lock());
    }
    args.task.iter().try_for_each(|file| match Errand::read(file)? {
        Some(run) => run.perform(file),
        None => task::perform(file),
    })
}
