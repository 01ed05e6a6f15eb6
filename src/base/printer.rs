//! The one gate for what people read: data goes to stdout, everything else to stderr.
//!
//! What is printed may hold what others wrote: sources, names, exceptions. A terminal obeys control characters, and those that turn the
//! direction of writing make a text look like another; both come out as escapes, which in JSON are the same character.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::{self, Display, Write as _};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::Mutex;

use crate::base::error::{Error, Result};

/// The first error of stdout but that nobody reads it any more.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// What the user asked for: tables, JSON, paths. A closed pipe is not an error; any other is told by [`finish`].
pub fn data(text: impl Display) {
    note_failure(writeln!(std::io::stdout().lock(), "{}", Plain(text)));
}

/// Ends what was written to stdout.
///
/// # Errors
/// Not all of it could be written.
pub fn finish() -> Result<()> {
    note_failure(std::io::stdout().lock().flush());
    match FAILED.lock().ok().and_then(|mut failed| failed.take()) {
        Some(error) => Err(Error::machine("the output could not be written").caused_by(error)),
        None => Ok(()),
    }
}

fn note_failure(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
        && let Ok(mut failed) = FAILED.lock()
    {
        failed.get_or_insert(error);
    }
}

/// What is going on.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", Plain(text));
}

/// An error and, on a line of its own, what to do about it. An end that was asked for is none.
pub fn error(error: &Error) {
    let (red, bold, off) = if color() { ("\x1b[31;1m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let mut stderr = std::io::stderr().lock();
    let _ = if error.is_stop() { writeln!(stderr, "{}", Plain(error)) } else { writeln!(stderr, "{red}error:{off} {}", Plain(error)) };
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(stderr, "{bold}hint:{off} {}", Plain(hint));
    }
}

/// Whether diagnostics may be coloured: on a terminal, and `NO_COLOR` not set.
pub(crate) fn color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// A text without a character that a terminal obeys, but for the ends of lines and tabs.
pub(crate) struct Plain<T>(pub T);

impl<T: Display> Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_obeyed(*c)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "\\u{:04x}", u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Control characters, and the marks, embeddings and isolates of the bidirectional algorithm.
fn is_obeyed(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || c.is_control() && c != '\n' && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_comes_out_as_escapes() {
        let text = "a\x1b]0;t\x07b\u{9b}2J\u{202e}\r\n\tä\u{7f}";
        assert_eq!(Plain(text).to_string(), "a\\u001b]0;t\\u0007b\\u009b2J\\u202e\\u000d\n\tä\\u007f");
        assert_eq!(Plain("plain – text\n").to_string(), "plain – text\n");
    }

    #[test]
    fn an_escape_in_json_is_the_same_character() {
        let value = serde_json::Value::from("x\u{202e}\u{7f}\u{9b}\u{2028}y");
        let shown = Plain(value.to_string()).to_string();
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
