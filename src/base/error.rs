//! The one error type of the library: what went wrong, what to do about it, and the exit code it deserves.
//!
//! Outcomes of the search (a delta that does not apply, a network that diverges) are data, not errors;
//! they live in enums of their own next to the code that finds them.

use std::fmt;

use crate::base::stop;

/// What may fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit code of the process when an error reaches `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The user can mend it: a typo, a missing file, a bad source. Exit code 2.
    Input,
    /// The machine or the program failed: disk full, a broken invariant. Exit code 1.
    Machine,
    /// Nobody is to blame: it was asked to end before it was done. Exit code 130, or 143 after SIGTERM.
    Stopped,
}

/// An error message, an optional hint that says what to do, and the error below it.
#[derive(Debug)]
pub struct Error {
    message: String,
    hint: Option<String>,
    blame: Blame,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A mistake in what the user gave us (exit code 2).
    pub fn input(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, blame: Blame::Input, source: None }
    }

    /// A failure that is not the user's doing (exit code 1).
    pub fn machine(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, blame: Blame::Machine, source: None }
    }

    /// Work that Ctrl-C or SIGTERM ended before it was done (exit code 130 or 143), so that what was to follow it does not.
    pub fn stopped(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, blame: Blame::Stopped, source: None }
    }

    /// Says what to do about it; printed on a line of its own as `hint: ..`.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the error that led to it below it; its message is shown after this one's.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What the process ends with: 2 for a mistake in what the user gave, 1 for any other failure, 130 or 143 where it was asked to stop.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.blame {
            Blame::Input => 2,
            Blame::Machine => 1,
            Blame::Stopped => stop::exit_code(),
        }
    }

    /// Whether it is no failure but an end that was asked for.
    #[must_use]
    pub(crate) fn is_stop(&self) -> bool {
        self.blame == Blame::Stopped
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut below = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(error) = below {
            write!(f, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        match crate::base::card_errors::meaning(&error.to_string()) {
            Some((what, hint)) => Self::machine(what).hint(hint),
            None => Self::machine("tensor computation failed").caused_by(error),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::machine("input or output failed").caused_by(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::machine("JSON could not be read or written").caused_by(error)
    }
}

impl From<safetensors::SafeTensorError> for Error {
    fn from(error: safetensors::SafeTensorError) -> Self {
        Self::machine("a safetensors file could not be read or written").caused_by(error)
    }
}

/// Adds the path to an I/O error.
pub trait AtPath<T> {
    /// # Errors
    /// Passes the error on, with `doing` and `path` in front.
    fn at(self, doing: &str, path: &std::path::Path) -> Result<T>;
}

impl<T> AtPath<T> for std::io::Result<T> {
    fn at(self, doing: &str, path: &std::path::Path) -> Result<T> {
        self.map_err(|e| {
            let error = Error { message: format!("cannot {doing} {}", path.display()), hint: None, blame: blame_of(&e), source: None };
            let error = match e.kind() {
                std::io::ErrorKind::StorageFull => error.hint("the disk is full: free some space, then run the same command again"),
                std::io::ErrorKind::FileTooLarge => error.hint("a limit on the size of files was met: see `ulimit -f`"),
                _ => error,
            };
            error.caused_by(e)
        })
    }
}

fn blame_of(error: &std::io::Error) -> Blame {
    match error.kind() {
        std::io::ErrorKind::NotFound
        | std::io::ErrorKind::PermissionDenied
        | std::io::ErrorKind::AlreadyExists
        | std::io::ErrorKind::ReadOnlyFilesystem
        | std::io::ErrorKind::NotADirectory
        | std::io::ErrorKind::IsADirectory => Blame::Input,
        _ => Blame::Machine,
    }
}
