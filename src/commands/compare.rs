//! Puts runs, or audits, side by side.

use std::path::PathBuf;

use eliteloop::base::error::Result;
use eliteloop::base::files::write_whole;
use eliteloop::base::printer;
use eliteloop::record::folder;
use eliteloop::theory::values as table;

use super::recorded;

#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs, or of audits, or folders of these; those that differ in their seed only are one arm
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Also one HTML file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also each table as CSV and JSON, into this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let folders = args.runs.iter().map(|path| folder::recorded(path)).collect::<Result<Vec<_>>>()?.concat();
    let compared = (recorded::of_all(&folders)?.compare)(&folders)?;
    printer::data(if args.json { &compared.json } else { &compared.text });
    if let Some(path) = &args.out {
        write_whole(path, compared.page.as_bytes())?;
        printer::note(format_args!("wrote {}", path.display()));
    }
    if let Some(folder) = &args.data {
        table::write(&compared.tables, folder)?;
        printer::note(format_args!("wrote {}", folder.display()));
    }
    Ok(())
}
