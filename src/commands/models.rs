//! `eliteloop models`: which models are here, and whether they are what they should be.

use eliteloop::error::{Error, Result};
use eliteloop::llm::catalogue::{self, ENTRIES, Entry};
use eliteloop::printer;
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Models known by name, and which of them are here
    List {
        #[arg(long)]
        json: bool,
    },
    /// Check a model's hash and that this program can run it
    Verify {
        /// A name of the catalogue or a path; without one, every known model that is here
        model: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: &Args) -> Result<()> {
    match &args.verb {
        Verb::List { json } => list(*json),
        Verb::Verify { model, json } => verify(model.as_deref(), *json),
    }
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        let rows: Vec<_> = ENTRIES
            .iter()
            .map(|entry| {
                let mut row = json!(entry);
                row["path"] = json!(entry.path());
                row["here"] = json!(entry.path().is_file());
                row
            })
            .collect();
        printer::data(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let width = ENTRIES.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    for entry in &ENTRIES {
        let Entry { name, bytes, licence, .. } = entry;
        let size = format!("{:.0} MB", *bytes as f64 / 1e6);
        let place = if entry.path().is_file() { entry.path().display().to_string() } else { "not here".into() };
        printer::data(format_args!("{name:width$}  {size:>8}  {licence}  {place}"));
    }
    for entry in ENTRIES.iter().filter(|entry| !entry.path().is_file()) {
        printer::note(format_args!("{}: {}", entry.name, entry.remedy()));
    }
    Ok(())
}

fn verify(model: Option<&str>, as_json: bool) -> Result<()> {
    let specs: Vec<&str> = match model {
        Some(spec) => vec![spec],
        None => ENTRIES.iter().filter(|entry| entry.path().is_file()).map(|entry| entry.name).collect(),
    };
    if specs.is_empty() {
        return Err(Error::input("there is no model here to check").hint(ENTRIES[0].remedy()));
    }
    let mut rows = Vec::new();
    for spec in specs {
        let model = catalogue::verify(spec)?;
        if !as_json {
            let name = model.known.unwrap_or("not in the catalogue, but of a kind this program runs");
            printer::data(format_args!("{}  {}  {name}", model.sha256, model.path.display()));
        }
        rows.push(model);
    }
    if as_json {
        printer::data(serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}
