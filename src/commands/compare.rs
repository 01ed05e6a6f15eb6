use std::path::PathBuf;

use eliteloop::compare::{compare, page, text};
use eliteloop::error::Result;
use eliteloop::files::write_whole;
use eliteloop::{printer, table};

#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs; those that differ in their seed only are one arm
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Also one HTML file with plots
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also each table as CSV and JSON, into this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let comparison = compare(&args.runs)?;
    if args.json {
        printer::data(serde_json::to_string_pretty(&comparison)?);
    } else {
        printer::data(text::text(&comparison));
    }
    if let Some(path) = &args.out {
        write_whole(path, page(&comparison).as_bytes())?;
        printer::note(format_args!("wrote {}", path.display()));
    }
    if let Some(folder) = &args.data {
        table::write(&text::tables(&comparison), folder)?;
        printer::note(format_args!("wrote {}", folder.display()));
    }
    Ok(())
}
