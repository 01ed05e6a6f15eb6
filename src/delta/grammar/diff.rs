//! The unified diffs that apply to a parent.
//!
//! The old lines of a hunk read so far stand at one or more places of the parent; the next one must go on at one of them, and
//! the hunk may end when a single place is left. Reading on always gets there: the place nearest the end of the parent runs out of
//! lines first. Added lines are given freely.

use super::given::{Given, Utf8};
use super::parent::Parent;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    place: Place,
    /// Lines before the first hunk, 0 to 2.
    names: u8,
    line: Line,
}

/// Where the hunk's old lines stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    BeforeHunks,
    /// Only here: the next old line is the parent's line `at`.
    At(u16),
    /// At each place from `from` on where the `read` lines that start at `start` (one such place) stand.
    Among {
        from: u16,
        start: u16,
        read: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Line {
    Start,
    /// `seen` bytes of `---`, `+++` or `@@`.
    Mark {
        mark: u8,
        seen: u8,
    },
    /// The rest of such a line.
    Header(Utf8),
    /// The first `seen` bytes of the parent's line `like`; then a carriage return that is not part of it.
    Old {
        like: u16,
        seen: u16,
        carriage: bool,
    },
    Added(Given),
}

impl Place {
    /// Whether a new hunk may start.
    fn is_unique(self) -> bool {
        !matches!(self, Self::Among { .. })
    }

    fn hunk_end(self) -> u16 {
        if let Self::At(at) = self { at } else { 0 }
    }
}

impl State {
    pub(crate) fn new() -> Self {
        Self { place: Place::BeforeHunks, names: 0, line: Line::Start }
    }

    pub(crate) fn within_line(self) -> Option<Self> {
        matches!(self.line, Line::Added(_) | Line::Header(_)).then_some(Self { place: Place::BeforeHunks, names: 0, line: self.line })
    }

    /// After a bad line a hunk may go on anywhere after the hunk before.
    pub(crate) fn resume(self) -> Self {
        let place = match self.place {
            Place::BeforeHunks => Place::BeforeHunks,
            Place::At(from) | Place::Among { from, .. } => Place::Among { from, start: from, read: 0 },
        };
        Self { place, names: (self.names + 1).min(2), line: Line::Start }
    }
}

impl Parent {
    pub(super) fn step_diff(&self, state: State, byte: u8) -> Option<State> {
        if byte == b'\n' {
            return self.end_diff_line(state);
        }
        let line = match (state.line, byte) {
            (Line::Start, b'@') if state.place.is_unique() => Line::Mark { mark: b'@', seen: 1 },
            (Line::Start, b'-') if state.place == Place::BeforeHunks && state.names == 0 => Line::Mark { mark: b'-', seen: 1 },
            (Line::Start, b'+') if state.place == Place::BeforeHunks && state.names <= 1 => Line::Mark { mark: b'+', seen: 1 },
            (Line::Start, _) if state.place == Place::BeforeHunks => return None,
            (Line::Start, b' ' | b'-') => Line::Old { like: self.next_lines(state.place).next()?, seen: 0, carriage: false },
            (Line::Start, b'\r') => {
                Line::Old { like: self.next_lines(state.place).find(|&i| self.line(i).is_empty())?, seen: 0, carriage: true }
            }
            (Line::Start, b'+') => Line::Added(Given::new(self.lines_given)),
            (Line::Start, _) => return None,
            (Line::Mark { mark, seen }, _) => {
                let length = if mark == b'@' { 2 } else { 3 };
                if byte != mark {
                    return None;
                }
                if seen + 1 < length {
                    Line::Mark { mark, seen: seen + 1 }
                } else if mark == b'@' {
                    let at = state.place.hunk_end();
                    return Some(State { place: self.narrowed(at, at, 0), line: Line::Header(Utf8::Whole), ..state });
                } else {
                    Line::Header(Utf8::Whole)
                }
            }
            (Line::Header(utf8), _) => Line::Header(utf8.step(byte)?),
            (Line::Old { carriage: true, .. }, _) => return None,
            (Line::Old { like, seen, .. }, _) => {
                let read = &self.line(like)[..usize::from(seen)];
                let mut going_on = self.next_lines(state.place).filter(|&i| self.line(i).starts_with(read));
                match going_on.clone().find(|&i| self.line(i).get(read.len()) == Some(&byte)) {
                    Some(like) => Line::Old { like, seen: seen + 1, carriage: false },
                    None if byte == b'\r' => {
                        Line::Old { like: going_on.find(|&i| self.line(i).len() == read.len())?, seen, carriage: true }
                    }
                    None => return None,
                }
            }
            (Line::Added(given), _) => Line::Added(given.step(byte)?),
        };
        Some(State { line, ..state })
    }

    fn end_diff_line(&self, state: State) -> Option<State> {
        let start = State { line: Line::Start, ..state };
        match state.line {
            Line::Header(Utf8::Whole) if state.place == Place::BeforeHunks => Some(State { names: state.names + 1, ..start }),
            Line::Header(Utf8::Whole) => Some(start),
            Line::Added(given) => given.is_complete().then_some(start),
            Line::Start | Line::Old { .. } => Some(State { place: self.after_old(state)?, ..start }),
            Line::Mark { .. } | Line::Header(_) => None,
        }
    }

    /// The place after the old line that has been read; none where it is not a whole line.
    fn after_old(&self, state: State) -> Option<Place> {
        let read = match state.line {
            Line::Start => &[],
            Line::Old { like, seen, carriage } => {
                let read = &self.line(like)[..usize::from(seen)];
                if carriage { read } else { read.strip_suffix(b"\r").unwrap_or(read) }
            }
            _ => return None,
        };
        let next = self.next_lines(state.place).find(|&i| self.line(i) == read)?;
        Some(match state.place {
            Place::Among { from, read, .. } => self.narrowed(from, next - read, read + 1),
            _ => Place::At(next + 1),
        })
    }

    pub(super) fn diff_is_complete(&self, state: State) -> bool {
        let place = match state.line {
            Line::Start | Line::Header(Utf8::Whole) => state.place,
            Line::Added(given) if given.is_complete() => state.place,
            Line::Old { .. } => match self.after_old(state) {
                Some(place) => place,
                None => return false,
            },
            _ => return false,
        };
        matches!(place, Place::At(_))
    }

    fn line(&self, index: u16) -> &[u8] {
        &self.lines[usize::from(index)]
    }

    /// The starts from `from` on where the lines `start..start + read` stand.
    fn starts(&self, from: u16, start: u16, read: u16) -> impl Iterator<Item = u16> + Clone {
        let (start, read) = (usize::from(start), usize::from(read));
        (from..=(self.lines.len() - read) as u16).filter(move |&s| self.same[usize::from(s)..][..read] == self.same[start..start + read])
    }

    fn narrowed(&self, from: u16, start: u16, read: u16) -> Place {
        if self.starts(from, start, read).nth(1).is_none() { Place::At(start + read) } else { Place::Among { from, start, read } }
    }

    /// The lines (by index) that may be the next old line.
    fn next_lines(&self, place: Place) -> impl Iterator<Item = u16> + Clone {
        // A known place is the only start of no lines read from there on, cut to one.
        let (from, start, read, most) = match place {
            Place::BeforeHunks => (0, 0, 0, 0),
            Place::At(at) => (at, at, 0, 1),
            Place::Among { from, start, read } => (from, start, read, usize::MAX),
        };
        let lines = self.lines.len();
        self.starts(from, start, read).take(most).map(move |s| s + read).filter(move |&i| usize::from(i) < lines)
    }
}
