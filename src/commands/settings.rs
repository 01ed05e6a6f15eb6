//! What every setting does, out of the code that reads it.

use eliteloop::audit::settings::AuditConfig;
use eliteloop::base::error::Result;
use eliteloop::base::printer;
use eliteloop::config::RunConfig;
use eliteloop::config::reference::Setting;

// Flags, of which clap lets one be given.
#[allow(clippy::struct_excessive_bools)]
#[derive(clap::Args)]
pub struct Args {
    /// One setting, or a table of them, with all that is said of it: elite.rho, tune
    key: Option<String>,
    /// Of an audit
    #[arg(long)]
    audit: bool,
    /// A file of settings with every key, commented out
    #[arg(long, conflicts_with_all = ["key", "schema", "json"])]
    template: bool,
    /// A JSON schema, for editors that check and complete TOML
    #[arg(long, conflicts_with_all = ["key", "json"])]
    schema: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let reference = if args.audit { AuditConfig::reference() } else { RunConfig::reference() };
    if args.template {
        printer::data(reference.template().trim_end());
    } else if args.schema {
        printer::data(serde_json::to_string_pretty(&reference.schema)?);
    } else {
        let (found, in_full) = match &args.key {
            Some(key) => (reference.find(key)?, true),
            None => (reference.settings.iter().collect(), false),
        };
        if args.json {
            printer::data(serde_json::to_string_pretty(&found)?);
        } else {
            for setting in found {
                tell(setting, in_full);
            }
        }
    }
    Ok(())
}

/// `elite.rho = 0.25`, and what is said of it: all, or the first sentence.
fn tell(setting: &Setting, in_full: bool) {
    const WIDTH: usize = 96;
    printer::data(format_args!("{} = {}", setting.key, setting.default.as_deref().unwrap_or("(not given)")));
    if in_full {
        setting.lines(WIDTH).iter().for_each(|line| printer::data(format_args!("    {line}")));
    } else {
        let first = setting.doc.split_once(". ").map_or(setting.doc.as_str(), |(first, _)| first);
        printer::data(format_args!("    {}", first.trim_end_matches('.')));
    }
}
