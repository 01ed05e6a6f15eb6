//! The numbered edits that apply to a parent.
//!
//! A line that starts with a digit is a header whose numbers are in range and not before the edits above; any other line is given,
//! at an indentation that can be moved to where the edit stands.

use super::given::Given;
use super::indent::Indent;
use super::parent::Parent;
use super::place::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Lines of the parent that edits have dealt with.
    done: u16,
    edit: Option<Edit>,
    line: Line,
}

/// The edit whose lines are being given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Edit {
    base: Indent,
    /// Of the first line given that is not blank.
    first: Option<Indent>,
    /// After the lines given so far.
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Line {
    Start,
    /// `5`, or `5-8` with its first number known.
    Number {
        first: Option<u16>,
        value: u16,
    },
    Dash {
        first: u16,
    },
    Plus {
        after: u16,
    },
    /// A carriage return after a header.
    Closed {
        start: u16,
        end: u16,
    },
    /// White space so far.
    Indentation(Indent),
    /// A carriage return after white space.
    Blank,
    Code(Given),
}

impl State {
    pub(crate) fn new() -> Self {
        Self { done: 0, edit: None, line: Line::Start }
    }

    pub(crate) fn within_line(self) -> Option<Self> {
        matches!(self.line, Line::Code(_)).then_some(Self { done: 0, edit: None, line: self.line })
    }

    /// What stands around the lines given is not known after a wrong one.
    pub(crate) fn resume(self) -> Self {
        Self { edit: self.edit.map(|edit| Edit { place: None, ..edit }), ..self }
    }

    pub(crate) fn is_complete(self, parent: &Parent) -> bool {
        let closes = |edit: Edit| parent.closes(edit, self.done);
        match self.line {
            Line::Code(given) => given.is_complete() && self.edit.is_none_or(|edit| edit.with(given).is_some_and(closes)),
            Line::Start | Line::Indentation(_) | Line::Blank => self.edit.is_some_and(closes),
            line => parent.header(self.done, line).is_some_and(|(start, end)| parent.closes(parent.edit(start, end), end)),
        }
    }
}

impl Edit {
    /// With one more line given.
    fn with(self, given: Given) -> Option<Self> {
        match self.place.zip(given.python()) {
            Some((place, python)) => Some(Self { place: Some(place.line_ended(python)?), ..self }),
            None => Some(self),
        }
    }

    /// With a line begun at `indent`.
    fn begun(self, indent: Indent) -> Self {
        let first = self.first.unwrap_or(indent);
        let level = (self.base.len + indent.len).saturating_sub(first.len);
        Self { first: Some(first), place: self.place.map(|place| place.begun(level)), ..self }
    }
}

impl Parent {
    pub(super) fn step_edit(&self, state: State, byte: u8) -> Option<State> {
        let last = self.lines.len() as u16;
        let at = |line: Line| Some(State { line, ..state });
        match (state.line, byte) {
            (Line::Start, b'0'..=b'9') => {
                let value = u16::from(byte - b'0');
                let may_start = starts_a_number(value, state.done, last) && state.edit.is_none_or(|edit| self.closes(edit, state.done));
                may_start.then_some(State { line: Line::Number { first: None, value }, ..state })
            }
            (Line::Number { first, value }, b'0'..=b'9') => {
                // A number that goes on is far below the limit: it starts one that is at most the number of lines.
                let value = (value > 0).then(|| u32::from(value) * 10 + u32::from(byte - b'0'))?;
                let value = u16::try_from(value).ok()?;
                let from = first.unwrap_or(state.done);
                starts_a_number(value, from, last).then_some(State { line: Line::Number { first, value }, ..state })
            }
            (Line::Number { first: None, value }, b'+') if value >= state.done => at(Line::Plus { after: value }),
            (Line::Number { first: None, value }, b'-') if value > state.done => at(Line::Dash { first: value }),
            (Line::Dash { first }, b'1'..=b'9') => {
                let value = u16::from(byte - b'0');
                starts_a_number(value, first, last).then_some(State { line: Line::Number { first: Some(first), value }, ..state })
            }
            (Line::Number { .. } | Line::Plus { .. } | Line::Closed { .. }, b'\n') => {
                let (start, end) = self.header(state.done, state.line)?;
                Some(State { done: end, edit: Some(self.edit(start, end)), line: Line::Start })
            }
            (Line::Number { .. } | Line::Plus { .. }, b'\r') => {
                let (start, end) = self.header(state.done, state.line)?;
                at(Line::Closed { start, end })
            }
            (Line::Number { .. } | Line::Plus { .. } | Line::Closed { .. } | Line::Dash { .. }, _) => None,
            (Line::Code(given), b'\n') if !given.is_complete() => None,
            (Line::Code(given), b'\n') => {
                let edit = match state.edit {
                    Some(edit) => Some(edit.with(given)?),
                    None => None,
                };
                Some(State { edit, line: Line::Start, ..state })
            }
            (Line::Code(given), _) => at(Line::Code(given.step(byte)?)),
            (Line::Start | Line::Indentation(_) | Line::Blank, _) => {
                let edit = state.edit?;
                let indent = match state.line {
                    Line::Indentation(indent) => indent,
                    _ => Indent::default(),
                };
                match (state.line, byte) {
                    (_, b'\n') => at(Line::Start),
                    (Line::Blank, _) => None,
                    (_, b'\r') => at(Line::Blank),
                    (_, b' ' | b'\t') => at(Line::Indentation(indent.with(byte)?)),
                    (_, 0x21..=0x7E) => {
                        let begun = edit.begun(indent);
                        let given = match self.places.as_ref().zip(begun.place) {
                            Some((places, place)) => Given::at(places.start(place, state.done)),
                            None => Given::new(self.lines_given),
                        };
                        let line = Line::Code(given.step(byte)?);
                        let fits = indent.fits(edit.first.unwrap_or(indent), edit.base);
                        fits.then_some(State { edit: Some(begun), line, ..state })
                    }
                    _ => None,
                }
            }
        }
    }

    /// The lines `start..end` (from 0) that the header speaks of; none where it is not whole or goes back.
    fn header(&self, done: u16, line: Line) -> Option<(u16, u16)> {
        match line {
            Line::Number { first, value } => {
                let first = first.unwrap_or(value);
                (first > done && value >= first && usize::from(value) <= self.lines.len()).then(|| (first - 1, value))
            }
            Line::Plus { after } => Some((after, after)),
            Line::Closed { start, end } => Some((start, end)),
            _ => None,
        }
    }

    fn edit(&self, start: u16, end: u16) -> Edit {
        Edit { base: self.base(start, end), first: None, place: self.places.as_ref().map(|places| places.after(start)) }
    }

    /// Whether the parent's line `end` (from 0) may follow the lines that an edit has given.
    fn closes(&self, edit: Edit, end: u16) -> bool {
        self.places.as_ref().zip(edit.place).is_none_or(|(places, place)| places.go_on(place, end))
    }

    fn base(&self, start: u16, end: u16) -> Indent {
        let replaced = &self.indents[usize::from(start)..usize::from(end)];
        replaced.iter().find_map(|indent| *indent).unwrap_or(self.insertions[usize::from(start)])
    }
}

/// Whether `value` is, or starts, a number from `from` to `last`.
fn starts_a_number(value: u16, from: u16, last: u16) -> bool {
    let (mut low, mut high) = (u32::from(value), u32::from(value));
    while low <= u32::from(last) {
        if low.max(u32::from(from)) <= high.min(u32::from(last)) {
            return true;
        }
        if value == 0 {
            return false;
        }
        (low, high) = (low * 10, high * 10 + 9);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_as_their_digits_say() {
        for (from, last) in [(0, 0), (0, 7), (12, 345), (7, 12), (98, 103), (5, 5)] {
            for value in 0..1500_u16 {
                let text = value.to_string();
                let expected = (from..=last).any(|n: u16| n.to_string().starts_with(&text));
                assert_eq!(starts_a_number(value, from, last), expected, "{value} for {from} to {last}");
            }
        }
    }
}
