//! Writes the report of a run or an audit.

use std::path::PathBuf;

use eliteloop::base::error::Result;
use eliteloop::base::files::write_whole;
use eliteloop::base::printer;
use eliteloop::report;
use eliteloop::theory::values as table;

use super::page::PAGE;
use super::recorded;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run or audit
    run: PathBuf,
    /// Also each table as CSV and JSON, into this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let data = (recorded::of(&args.run)?.report)(&args.run)?;
    let path = args.run.join(PAGE);
    write_whole(&path, report::render(&data).as_bytes())?;
    if let Some(folder) = &args.data {
        table::write(&report::tables::tables(&data), folder)?;
    }
    printer::data(path.display());
    Ok(())
}
