//! A parent as the grammars of deltas see it.

use super::indent::Indent;
use super::place::Places;
use crate::delta::edit::Levels;
use crate::delta::settings::Format;
use crate::delta::text::{Text, indentation, is_blank};

/// What the lines that a delta gives may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lines {
    /// Any UTF-8.
    Free,
    /// Statements, or parts of them, as they occur in networks; a full source is Python as a whole.
    Python,
}

/// What the grammars of all formats ask of a parent.
pub(crate) struct Parent {
    pub(crate) lines_given: Lines,
    /// The parent's lines without their ends.
    pub(crate) lines: Vec<Vec<u8>>,
    /// Equal lines have equal numbers.
    pub(crate) same: Vec<u16>,
    /// Indentation of each line; none of a blank one.
    pub(crate) indents: Vec<Option<Indent>>,
    /// Indentation implied for an insertion after each number of lines.
    pub(crate) insertions: Vec<Indent>,
    /// Where lines stand in the parent's Python; none where given lines are free or the parent is not read.
    pub(crate) places: Option<Places>,
}

impl Parent {
    /// The parent is a prompt's, so it has far fewer than 65,536 lines; those beyond are never named.
    #[must_use]
    pub(crate) fn new(format: Format, parent: &str, given: Lines) -> Self {
        let text = Text::new(parent);
        let kept = &text.lines[..text.lines.len().min(usize::from(u16::MAX) - 1)];
        let levels = Levels::new(kept);
        let lines: Vec<Vec<u8>> = kept.iter().map(|line| line.as_bytes().to_vec()).collect();
        let first_of = |line: &Vec<u8>| lines.iter().position(|other| other == line).unwrap_or(0) as u16;
        Self {
            lines_given: given,
            same: lines.iter().map(first_of).collect(),
            indents: kept.iter().map(|line| (!is_blank(line)).then(|| Indent::of(indentation(line)))).collect(),
            places: (given == Lines::Python && format == Format::Edit).then(|| Places::of(kept)).flatten(),
            insertions: (0..=kept.len()).map(|at| Indent::of(levels.base(at, at))).collect(),
            lines,
        }
    }
}
