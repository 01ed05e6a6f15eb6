//! The one gate for what people read: data goes to stdout, everything else to stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{IsTerminal, Write};

/// What the user asked for: tables, JSON, paths. A closed pipe is not an error.
pub fn data(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// What is going on.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// An error and, on a line of its own, what to do about it.
pub fn error(error: &crate::base::error::Error) {
    let (red, bold, off) = if color() { ("\x1b[31;1m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    note(format_args!("{red}error:{off} {error}"));
    if let Some(hint) = error.hint_text() {
        note(format_args!("{bold}hint:{off} {hint}"));
    }
}

/// Whether diagnostics may be coloured: on a terminal, and `NO_COLOR` not set.
pub fn color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
