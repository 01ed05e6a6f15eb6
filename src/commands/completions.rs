//! What shells complete, and the manual.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use eliteloop::base::error::{AtPath, Result};
use eliteloop::base::files::write_whole;
use eliteloop::base::printer;

use crate::Cli;

#[derive(clap::Args)]
pub struct Args {
    /// The shell whose completions are printed, to be put where it looks for them
    #[arg(value_enum, required_unless_present = "man")]
    shell: Option<Shell>,
    /// Manual pages instead, a page a verb, into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "shell")]
    man: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let mut program = Cli::command();
    let mut text = Vec::new();
    if let Some(shell) = args.shell {
        clap_complete::generate(shell, &mut program, "eliteloop", &mut text);
        printer::data(String::from_utf8_lossy(&text).trim_end());
    }
    let Some(folder) = &args.man else { return Ok(()) };
    std::fs::create_dir_all(folder).at("make the folder", folder)?;
    program.build();
    let pages = program.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| (format!("eliteloop-{}.1", verb.get_name()), verb));
    for (page, command) in std::iter::once(("eliteloop.1".to_owned(), &program)).chain(pages) {
        let title = page.trim_end_matches(".1").to_owned();
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone()).title(title).render(&mut text)?;
        write_whole(&folder.join(page), &text)?;
    }
    printer::data(folder.display());
    Ok(())
}
