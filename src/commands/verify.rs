//! Recomputes what a run or an audit claims of itself.

use std::path::PathBuf;

use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::method::verify::Finding;

use super::recorded;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run or audit
    run: PathBuf,
    /// The checks as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let verbs = recorded::of(&args.run)?;
    super::run::set_threads((verbs.threads)(&args.run)?)?;
    let checks = (verbs.verify)(&args.run)?;
    if args.json {
        printer::data(serde_json::to_string_pretty(&checks)?);
    } else {
        // As wide as the longest finding that is there.
        let width = if checks.iter().any(|c| c.finding == Finding::NotRecomputed) { 14 } else { 6 };
        for check in &checks {
            printer::data(format_args!("{:<width$} {:<20} {}", check.finding, check.name, check.detail));
        }
    }
    match checks.iter().filter(|c| c.finding == Finding::Wrong).count() {
        0 => Ok(()),
        n => Err(Error::machine(format!("{n} of {} claims of this run do not hold", checks.len()))),
    }
}
