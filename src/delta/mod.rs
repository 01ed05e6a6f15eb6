//! Deltas: how a change to a source is written, applied, and made up at random.
//!
//! | format | the parent is shown | a delta |
//! |---|---|---|
//! | [`edit`] | lines numbered from 1, indentation left out | `5`, `5-8` or `5+`, then lines |
//! | [`diff`] | as it is | unified diff without trusted numbers |
//! | [`full`] | as it is | the whole new source |
//!
//! A delta either applies exactly or fails with a [`Failure`]; nothing is repaired.

pub mod corpus;
pub mod diff;
pub mod edit;
pub mod full;
pub mod grammar;
pub mod kind;
pub mod settings;
pub mod starts;
mod text;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::delta::settings::Format;

/// Longest delta and longest result, in bytes. It bounds what a hostile delta can cost.
pub const MAX_BYTES: usize = 64 * 1024;

/// Longest delta of the warm-up and its trials in tokens, the end token included.
#[must_use]
pub const fn longest_delta(format: Format) -> usize {
    match format {
        Format::Edit => 160,
        Format::Diff => 320,
        Format::Full => 768,
    }
}

/// Why a delta gives no candidate. Lines count from 1 in the delta, hunks from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Failure {
    /// The completion reached the token limit before its end token.
    NotEnded,
    NotUtf8,
    /// No edit, no hunk, no source.
    Nothing,
    /// The format does not allow this line here.
    Malformed {
        line: usize,
    },
    /// An edit names a line that the parent does not have, or a range that runs backwards.
    OutOfRange {
        line: usize,
    },
    /// An edit reaches back into lines that an earlier one has dealt with.
    OutOfOrder {
        line: usize,
    },
    ContextNotFound {
        hunk: usize,
    },
    /// Context and removed lines match at several places after the hunk before.
    Ambiguous {
        hunk: usize,
        places: usize,
    },
    /// The result is the parent.
    NoChange,
    /// Delta or result is longer than [`MAX_BYTES`].
    TooLong,
}

impl Failure {
    /// Whether the completion is of its format and only does not fit its parent.
    #[must_use]
    pub fn is_of_format(&self) -> bool {
        matches!(
            self,
            Self::OutOfRange { .. } | Self::OutOfOrder { .. } | Self::ContextNotFound { .. } | Self::Ambiguous { .. } | Self::NoChange
        )
    }

    /// The name of the kind, for counting.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotEnded => "not-ended",
            Self::NotUtf8 => "not-utf8",
            Self::Nothing => "nothing",
            Self::Malformed { .. } => "malformed",
            Self::OutOfRange { .. } => "out-of-range",
            Self::OutOfOrder { .. } => "out-of-order",
            Self::ContextNotFound { .. } => "context-not-found",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NoChange => "no-change",
            Self::TooLong => "too-long",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnded => f.write_str("the delta does not end within the token limit"),
            Self::NotUtf8 => f.write_str("the delta is not UTF-8"),
            Self::Nothing => f.write_str("the delta holds nothing to apply"),
            Self::Malformed { line } => write!(f, "line {line} of the delta is malformed"),
            Self::OutOfRange { line } => write!(f, "line {line} of the delta names lines that the parent does not have"),
            Self::OutOfOrder { line } => write!(f, "line {line} of the delta goes back before the edit above it"),
            Self::ContextNotFound { hunk } => write!(f, "hunk {hunk} matches nowhere after the hunk before it"),
            Self::Ambiguous { hunk, places } => write!(f, "hunk {hunk} matches at {places} places"),
            Self::NoChange => f.write_str("the delta changes nothing"),
            Self::TooLong => write!(f, "the delta or its result is longer than {MAX_BYTES} bytes"),
        }
    }
}

/// The candidate that `delta` makes of `parent`.
pub fn apply(format: Format, parent: &str, delta: &str) -> Result<String, Failure> {
    if delta.len() > MAX_BYTES {
        return Err(Failure::TooLong);
    }
    if delta.trim().is_empty() {
        return Err(Failure::Nothing);
    }
    let child = match format {
        Format::Edit => edit::apply(parent, delta)?,
        Format::Diff => diff::apply(parent, delta)?,
        Format::Full => full::apply(delta)?,
    };
    if child.len() > MAX_BYTES {
        return Err(Failure::TooLong);
    }
    if child == parent { Err(Failure::NoChange) } else { Ok(child) }
}

/// [`apply`] on what the LLM gave: the bytes of its completion without the end token, and whether it ended.
pub fn apply_completion(format: Format, parent: &str, completion: &[u8], ended: bool) -> Result<String, Failure> {
    if !ended {
        return Err(Failure::NotEnded);
    }
    apply(format, parent, std::str::from_utf8(completion).map_err(|_| Failure::NotUtf8)?)
}

/// The delta from `parent` to `child`, or `None` where the format has none that gives exactly `child` back.
#[must_use]
pub fn write(format: Format, parent: &str, child: &str) -> Option<String> {
    let delta = match format {
        Format::Edit => edit::write(parent, child)?,
        Format::Diff => diff::write(parent, child)?,
        Format::Full => child.to_owned(),
    };
    (apply(format, parent, &delta).as_deref() == Ok(child)).then_some(delta)
}

/// The parent as the prompt shows it.
#[must_use]
pub fn show(format: Format, parent: &str) -> String {
    match format {
        Format::Edit => edit::show(parent),
        Format::Diff | Format::Full => parent.to_owned(),
    }
}
