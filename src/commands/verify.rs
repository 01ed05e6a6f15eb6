use std::path::PathBuf;

use eliteloop::error::{Error, Result};
use eliteloop::record::folder;
use eliteloop::{printer, verify};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    run: PathBuf,
    /// The checks as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    super::run::set_threads(folder::settings(&args.run)?.threads)?;
    let checks = verify::verify(&args.run)?;
    if args.json {
        printer::data(serde_json::to_string_pretty(&checks)?);
    } else {
        for check in &checks {
            printer::data(format_args!("{:<6} {:<20} {}", if check.holds { "ok" } else { "WRONG" }, check.name, check.detail));
        }
    }
    match checks.iter().filter(|c| !c.holds).count() {
        0 => Ok(()),
        n => Err(Error::machine(format!("{n} of {} claims of this run do not hold", checks.len()))),
    }
}
