//! Recomputes what a run or an audit claims of itself.

use std::path::PathBuf;

use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::method::verify::{Asked, Finding, Train};

use super::recorded;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run or audit
    run: PathBuf,
    /// Only hash again what is stored, and look whether all is there: seconds
    #[arg(long, conflicts_with = "train")]
    quick: bool,
    /// Train so many of a run's networks again, drawn by its chain of hashes, or `all`, and compare to the bit
    #[arg(long, value_name = "K|all", value_parser = parse_train)]
    train: Option<Train>,
    /// The last link of the chain of hashes (or its first 16 digits), as it was told when the run ended
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// The checks as JSON
    #[arg(long)]
    json: bool,
}

fn parse_train(text: &str) -> Result<Train, String> {
    match text {
        "all" => Ok(Train::All),
        number => number.parse().map(Train::Some).map_err(|_| "a number of trainings, or all".into()),
    }
}

pub fn run(args: &Args) -> Result<()> {
    let verbs = recorded::of(&args.run)?;
    super::run::set_threads((verbs.threads)(&args.run)?)?;
    let asked = Asked { quick: args.quick, train: args.train.unwrap_or_default(), head: args.head.clone() };
    let checks = (verbs.verify)(&args.run, &asked)?;
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
