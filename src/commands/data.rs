use clap::Subcommand;
use eliteloop::error::{Error, Result};
use eliteloop::proxy::dataset;
use eliteloop::{home, printer};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Data sets that the program knows, and whether they are here
    List {
        /// One JSON list
        #[arg(long)]
        json: bool,
    },
    /// Check every file of a data set, or of all that are here
    Verify { name: Option<String> },
}

pub fn run(args: &Args) -> Result<()> {
    let dir = home::data();
    match &args.action {
        Action::List { json: true } => {
            let entry =
                |name: &&str| serde_json::json!({ "name": name, "here": dataset::is_present(name, &dir), "folder": dir.join(name) });
            printer::data(dataset::NAMES.iter().map(entry).collect::<serde_json::Value>());
        }
        Action::List { json: false } => {
            for name in dataset::NAMES {
                let state = match (name, dataset::is_present(name, &dir)) {
                    ("synthetic", _) => "built in".to_string(),
                    (_, true) => dir.join(name).display().to_string(),
                    (_, false) => format!("not here: run scripts/fetch {name}"),
                };
                printer::data(format_args!("{name:<14} {state}"));
            }
        }
        Action::Verify { name: Some(name) } => verify(name)?,
        Action::Verify { name: None } => {
            for name in dataset::NAMES.iter().filter(|name| dataset::is_present(name, &dir)) {
                verify(name)?;
            }
        }
    }
    Ok(())
}

fn verify(name: &str) -> Result<()> {
    if !dataset::NAMES.contains(&name) {
        return Err(Error::input(format!("there is no data set '{name}'")).hint(format!("data sets: {}", dataset::NAMES.join(", "))));
    }
    dataset::verify(name, &home::data())?;
    printer::data(format_args!("{name}: as it should be"));
    Ok(())
}
