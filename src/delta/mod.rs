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
use similar::{ChangeTag, TextDiff};

use crate::delta::settings::Format;

/// Longest delta and longest result, in bytes. It bounds what a hostile delta can cost.
pub const MAX_BYTES: usize = 64 * 1024;

/// What a format is. All that differs between formats stands in its file, its automaton ([`grammar`]) apart.
trait Rules: Sync {
    /// What the LLM is asked for.
    fn request(&self) -> &'static str;

    /// Longest delta of the warm-up and its trials in tokens, the end token included.
    fn longest(&self) -> usize;

    /// The parent as the prompt shows it.
    fn show(&self, parent: &str) -> String {
        parent.to_owned()
    }

    /// What `delta` makes of `parent`. Lengths and whether anything changed are looked at by the caller.
    fn apply(&self, parent: &str, delta: &str) -> Result<String, Failure>;

    /// A delta from `parent` to `child`, none where the format has none. The caller checks that it leads there.
    fn write(&self, parent: &str, child: &str) -> Option<String>;

    /// What `line` of a delta gives to the child.
    fn given<'a>(&self, line: &'a str) -> Option<&'a str> {
        Some(line)
    }

    /// The line of `delta`, from 0, that wrote line `line` (from 0) of `child`; none where the delta did not write it.
    fn wrote(&self, parent: &str, child: &str, delta: &str, line: usize) -> Option<usize> {
        let wanted = child.lines().nth(line)?.trim();
        // Among the child's new lines that read alike, the one in question is the n-th; so it is among the lines given.
        let diff = TextDiff::from_lines(parent, child);
        let new = diff.iter_all_changes().filter(|c| c.tag() == ChangeTag::Insert);
        let alike = new.filter(|c| c.value().trim() == wanted).filter_map(|c| c.new_index());
        let place = alike.into_iter().position(|at| at == line)?;
        let given = delta.lines().enumerate().filter(|(_, text)| self.given(text).is_some_and(|text| text.trim() == wanted));
        given.map(|(at, _)| at).nth(place)
    }
}

fn rules(format: Format) -> &'static dyn Rules {
    match format {
        Format::Edit => &edit::Edit,
        Format::Diff => &diff::Diff,
        Format::Full => &full::Full,
    }
}

/// Longest delta of the warm-up and its trials in tokens, the end token included.
#[must_use]
pub fn longest(format: Format) -> usize {
    rules(format).longest()
}

/// What the LLM is asked for.
#[must_use]
pub(crate) fn request(format: Format) -> &'static str {
    rules(format).request()
}

/// Why a delta gives no candidate. Lines count from 1 in the delta, hunks from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Failure {
    /// The completion reached the token limit before its end token.
    NotEnded,
    /// The completion is not UTF-8.
    NotUtf8,
    /// No edit, no hunk, no source.
    Nothing,
    /// The format does not allow this line here.
    Malformed {
        /// The first such line.
        line: usize,
    },
    /// An edit names a line that the parent does not have, or a range that runs backwards.
    OutOfRange {
        /// That of the edit's numbers.
        line: usize,
    },
    /// An edit reaches back into lines that an earlier one has dealt with.
    OutOfOrder {
        /// That of the later edit's numbers.
        line: usize,
    },
    /// Context and removed lines match nowhere after the hunk before.
    ContextNotFound {
        /// The one that does not match.
        hunk: usize,
    },
    /// Context and removed lines match at several places after the hunk before.
    Ambiguous {
        /// The one that matches too often.
        hunk: usize,
        /// How many places match: two or more.
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
    pub(crate) fn is_of_format(&self) -> bool {
        matches!(
            self,
            Self::OutOfRange { .. } | Self::OutOfOrder { .. } | Self::ContextNotFound { .. } | Self::Ambiguous { .. } | Self::NoChange
        )
    }

    /// The name of the kind, for counting.
    #[must_use]
    pub(crate) fn reason(&self) -> &'static str {
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
    let child = rules(format).apply(parent, delta)?;
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
    let delta = rules(format).write(parent, child)?;
    (apply(format, parent, &delta).as_deref() == Ok(child)).then_some(delta)
}

/// The parent as the prompt shows it.
#[must_use]
pub fn show(format: Format, parent: &str) -> String {
    rules(format).show(parent)
}

/// The line of `delta`, from 0, that wrote line `line` (from 1) of `child`; none where the delta did not write it.
#[must_use]
pub(crate) fn wrote(format: Format, parent: &str, child: &str, delta: &str, line: usize) -> Option<usize> {
    rules(format).wrote(parent, child, delta, line.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_wrote_a_line_is_found_by_its_rank_among_new_lines() {
        let (parent, child) = ("a\nx\nb\n", "a\nx\nx\nb\ny\n");
        let edit = |line| wrote(Format::Edit, parent, child, "2+\nx\n3+\ny\n", line);
        // Lines 3 and 5 are new, line 2 is the parent's.
        assert_eq!(edit(5), Some(3));
        let found = [2, 3].map(edit);
        assert!(found.contains(&Some(1)) && found.contains(&None), "one of two equal lines is new: {found:?}");
        assert_eq!([0, 1, 9].map(edit), [None; 3]);
        assert_eq!(wrote(Format::Diff, parent, child, "@@\n b\n+y\n", 5), Some(2));
        assert_eq!(wrote(Format::Full, parent, child, child, 2), Some(1));
        assert_eq!(wrote(Format::Full, parent, child, child, 9), None);
    }
}
