//! Where models and data sets are looked for and brought to.

use eliteloop::base::error::Result;
use eliteloop::base::home::Home;
use eliteloop::base::printer;

#[derive(clap::Args)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let homes = [Home::Models, Home::Data].map(|home| (home, home.find()));
    if args.json {
        let entry = |(home, found): &(Home, eliteloop::base::home::Found)| {
            (home.name().to_owned(), serde_json::json!({ "path": found.path, "by": found.by, "there": found.path.is_dir() }))
        };
        printer::data(serde_json::to_string_pretty(&homes.iter().map(entry).collect::<serde_json::Map<_, _>>())?);
        return Ok(());
    }
    for (home, found) in homes {
        let there = if found.path.is_dir() { "" } else { "; not there yet" };
        printer::data(format_args!(
            "{:<7} {} (by {}{there}; {} names another)",
            home.name(),
            found.path.display(),
            found.by,
            home.variable()
        ));
    }
    Ok(())
}
