//! A run on a terminal, as it goes on.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::base::show::in_shell;
use eliteloop::record::{Kind, folder};
use eliteloop::watch::{At, List, Watched, draw, draw_list, text};
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use ratatui::{DefaultTerminal, Frame};

/// How often the record is read again.
const TICK: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub struct Args {
    /// Folder of a run, of a study, or of several
    folder: PathBuf,
    /// One screen as text, and no more; also where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Of that screen: columns, and rows at most
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "110x40", value_parser = size)]
    size: (u16, u16),
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let sides = text.split_once('x').and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    sides
        .filter(|(columns, rows)| (60..=500).contains(columns) && (24..=500).contains(rows))
        .ok_or_else(|| "two numbers as 110x40, from 60x24 to 500x500".into())
}

/// What is looked at.
enum Seen {
    One(Box<Watched>),
    Several(List),
}

impl Seen {
    /// Lines that show all of it; None where it takes what there is.
    fn height(&self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Several(list) => Some(list.height()),
        }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        match self {
            Self::One(run) => draw(frame, run),
            Self::Several(list) => draw_list(frame, list),
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    let is_one = folder::is_begun(&args.folder);
    if is_one && folder::kind(&args.folder)? == Kind::Audit {
        return Err(
            Error::input(format!("{} is an audit", args.folder.display())).hint(format!("eliteloop report {}", in_shell(&args.folder)))
        );
    }
    let look = |at| -> Result<Seen> {
        Ok(if is_one { Seen::One(Box::new(Watched::read(&args.folder, at)?)) } else { Seen::Several(List::read(&args.folder)?) })
    };
    let first = look(At::default())?;
    if args.once || !std::io::stdout().is_terminal() {
        let (columns, most) = args.size;
        let rows = first.height().map_or(most, |height| most.min(u16::try_from(height).unwrap_or(most)));
        printer::data(text(columns, rows, |frame| first.draw(frame))?);
        return Ok(());
    }
    let mut terminal = ratatui::try_init().map_err(|e| Error::machine("the terminal cannot be used").caused_by(e))?;
    let ended = follow(&mut terminal, first, look);
    ratatui::restore();
    ended
}

/// Shows it until somebody leaves.
fn follow(terminal: &mut DefaultTerminal, mut seen: Seen, look: impl Fn(At) -> Result<Seen>) -> Result<()> {
    let mut at = At::default();
    loop {
        terminal.draw(|frame| seen.draw(frame))?;
        if poll(TICK)? {
            let Event::Key(key) = read()? else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(());
            }
            if let Seen::One(run) = &seen {
                at = match key.code {
                    KeyCode::Left => at.cycle_by(-1, run),
                    KeyCode::Right => at.cycle_by(1, run),
                    KeyCode::Up => at.candidate_by(-1, run),
                    KeyCode::Down => at.candidate_by(1, run),
                    KeyCode::End => At::default(),
                    _ => at,
                };
            }
        }
        seen = look(at)?;
    }
}
