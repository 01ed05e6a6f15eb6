//! The grammar of all deltas of a format that apply to one parent, byte by byte.
//!
//! A [`Grammar`] is an automaton over bytes whose states are small values, so a walk over a trie of tokens says which tokens may
//! come next. That a context stands at one place only, or that a line's indentation fits the edit's, is not context-free:
//! the state carries it. What no state can say in advance (that the result differs from the parent) is checked where the delta would
//! end, by applying it. So a delta that the grammar lets end applies.
//!
//! The grammar leaves out a few deltas that would apply too, because no model writes them and they would lead a sampler astray:
//!
//! - numbered edits: given lines that start with a digit (they start as a header does) or with a character outside ASCII,
//!   headers with leading zeros, indentation of more than 64 or other characters than blanks and tabs;
//! - numbered edits of [`Lines::Python`]: comments and statements before the header of a block whose header is replaced,
//!   and items that start with `self` where the parent has none;
//! - full code: three backticks after nothing but characters outside ASCII.
//!
//! [`Lines::Python`] holds the lines a delta gives to Python's syntax and to the layers there are ([`python`]). Those of a numbered
//! edit also fit the brackets, commas and blocks around them ([`place`]). Whether a block they open themselves is indented is not read.

// The arms of an automaton are its table: one a case, in the order in which cases are told apart.
#![allow(clippy::match_same_arms)]

mod diff;
mod edit;
mod full;
mod given;
mod indent;
mod label;
mod names;
mod parent;
mod place;
mod python;
mod token;

pub use label::label;
pub use parent::Lines;

use crate::delta::settings::Format;
use parent::Parent;

/// All deltas of one format that apply to one parent.
pub struct Grammar {
    format: Format,
    source: String,
    parent: Parent,
}

/// Where in a delta the grammar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In a unified diff.
    Diff(diff::State),
    /// In numbered edits.
    Edit(edit::State),
    /// In a whole new source.
    Full(full::State),
}

impl Grammar {
    /// The deltas of `format` that apply to the source `parent`; `given` says what the lines they give may be.
    #[must_use]
    pub fn new(format: Format, parent: &str, given: Lines) -> Self {
        Self { format, source: parent.to_owned(), parent: Parent::new(format, parent, given) }
    }

    /// The state before the first byte.
    #[must_use]
    pub fn start(&self) -> State {
        match self.format {
            Format::Diff => State::Diff(diff::State::new()),
            Format::Edit => State::Edit(edit::State::new()),
            Format::Full => State::Full(full::State::new(self.parent.lines_given)),
        }
    }

    /// The state after one more byte; none where no delta goes on so.
    #[must_use]
    pub fn step(&self, state: State, byte: u8) -> Option<State> {
        match state {
            State::Diff(state) => self.parent.step_diff(state, byte).map(State::Diff),
            State::Edit(state) => self.parent.step_edit(state, byte).map(State::Edit),
            State::Full(state) => state.step(byte).map(State::Full),
        }
    }

    /// The state after more bytes.
    #[must_use]
    pub fn advance(&self, state: State, bytes: &[u8]) -> Option<State> {
        bytes.iter().try_fold(state, |state, &byte| self.step(state, byte))
    }

    /// Whether `text`, which led from the start to `state`, is a whole delta that applies and changes something.
    #[must_use]
    pub fn ends(&self, state: State, text: &[u8]) -> bool {
        self.is_complete(state) && super::apply_completion(self.format, &self.source, text, true).is_ok()
    }

    /// Whether the form allows an end here. Then the delta applies, though it may change nothing.
    #[must_use]
    pub fn is_complete(&self, state: State) -> bool {
        match state {
            State::Diff(state) => self.parent.diff_is_complete(state),
            State::Edit(state) => state.is_complete(&self.parent),
            State::Full(state) => state.is_complete(),
        }
    }

    /// Inside a given line, the same place without what came before the line: what other bytes than the line's end may follow depends on
    /// it alone, in whatever parent. None elsewhere.
    #[must_use]
    pub(crate) fn within_line(state: State) -> Option<State> {
        match state {
            State::Diff(state) => state.within_line().map(State::Diff),
            State::Edit(state) => state.within_line().map(State::Edit),
            State::Full(_) => Some(state),
        }
    }

    /// Where a reader goes on at the next line after a line that the grammar does not allow; `start` is where that line started.
    fn resume(start: State) -> State {
        match start {
            State::Diff(state) => State::Diff(state.resume()),
            State::Edit(state) => State::Edit(state.resume()),
            State::Full(state) => State::Full(state.resume()),
        }
    }
}
