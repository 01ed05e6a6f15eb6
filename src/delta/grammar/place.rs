//! Where in a parent's Python a line stands, so that the lines an edit gives fit what is before and after them: brackets that are
//! open, the comma before the next item, the block that a header opens.

use super::python::{Line, Python};
use crate::delta::text::{indentation, is_blank};

/// The place after some lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) python: Python,
    /// Whether the last statement opens a block.
    opens: bool,
    /// Characters that the last statement is indented by.
    level: u8,
}

/// All places of a parent.
pub(crate) struct Places {
    /// After each number of lines.
    after: Vec<Place>,
    /// Of the next line of code after each number of lines, its indentation and whether it starts with a closing bracket.
    next: Vec<Option<(u8, bool)>>,
    /// Whether a line inside brackets starts with `self`.
    has_items_of_self: bool,
}

fn is_code(line: &str) -> bool {
    !is_blank(line) && !line.trim_start().starts_with('#')
}

fn width(indent: &str) -> u8 {
    u8::try_from(indent.len()).unwrap_or(u8::MAX)
}

impl Places {
    /// None where the parent has something that [`Python`] does not read.
    pub(crate) fn of(lines: &[&str]) -> Option<Self> {
        let mut place = Place { python: Python::new(Line::Whole), opens: false, level: 0 };
        let mut after = vec![place];
        let mut has_items_of_self = false;
        for line in lines {
            if is_code(line) {
                has_items_of_self |= place.python.is_inside_brackets() && line.trim_start().starts_with("self");
                let (indent, text) = (indentation(line), line.trim());
                place = place.begun(width(indent));
                let python = text.bytes().try_fold(place.python, Python::step)?;
                place = place.line_ended(python)?;
            }
            after.push(place);
        }
        let seen = |line: &&&str| (width(indentation(line)), line.trim_start().starts_with([')', ']', '}']));
        let next = (0..=lines.len()).map(|at| lines[at..].iter().find(|line| is_code(line)).as_ref().map(seen)).collect();
        Some(Self { after, next, has_items_of_self })
    }

    pub(crate) fn after(&self, lines: u16) -> Place {
        self.after[usize::from(lines)]
    }

    /// Where a line starts at `place`, before the parent goes on with its line `end` (from 0). A sampler is kept from beginning what
    /// cannot end: where the next line is in a block of this one's, this one has to open it; and a statement that sets an attribute
    /// does not begin inside brackets, where `self` is an item only if the parent has such items.
    pub(crate) fn start(&self, place: Place, end: u16) -> Python {
        if place.python.is_inside_brackets() {
            return if self.has_items_of_self { place.python } else { place.python.item() };
        }
        let is_deeper = self.next[usize::from(end)].is_some_and(|(indent, _)| indent > place.level);
        if is_deeper && !self.after(end).python.is_inside_brackets() { place.python.header() } else { place.python }
    }

    /// Whether the parent goes on with its line `end` (from 0) after `place`.
    pub(crate) fn go_on(&self, place: Place, end: u16) -> bool {
        let next = self.next[usize::from(end)];
        let closes = next.is_some_and(|(_, closes)| closes);
        place.python.stands_for(self.after(end).python, closes)
            && (place.python.is_inside_brackets() || place.opens == next.is_some_and(|(indent, _)| indent > place.level))
    }
}

impl Place {
    /// Where a line of code starts that will be indented by `level`.
    pub(crate) fn begun(self, level: u8) -> Self {
        if self.python.is_inside_brackets() { self } else { Self { level, ..self } }
    }

    /// After a line whose text led to `python`; none where it may not end there.
    pub(crate) fn line_ended(self, python: Python) -> Option<Self> {
        let (python, opens) = python.next_line()?;
        Some(Self { python, opens, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.Flatten()
        )

        # the head
        for i in range(2):
            self.n = i
    def forward(self, x):
        return self.body(x)
";

    fn lines() -> Vec<&'static str> {
        PARENT.lines().collect()
    }

    #[test]
    fn a_parent_goes_on_after_itself() {
        let places = Places::of(&lines()).unwrap();
        for at in 0..=lines().len() as u16 {
            assert!(places.go_on(places.after(at), at), "{at}");
        }
        assert!(places.after(4).python.is_inside_brackets() && !places.after(7).python.is_inside_brackets());
    }

    #[test]
    fn lines_may_be_left_out_where_python_stays_whole() {
        let places = Places::of(&lines()).unwrap();
        let without = |from: u16, to: u16| places.go_on(places.after(from), to);
        // The call of super, an item of two, both, the whole statement, the loop.
        assert!(without(2, 3) && without(4, 5) && without(4, 6) && without(3, 7) && without(9, 11));
        // The opening line, the closing one, the header of the loop, its only line.
        assert!(!without(3, 4) && !without(6, 7) && !without(9, 10) && !without(10, 11));
    }

    #[test]
    fn what_is_not_read_has_no_places() {
        assert!(Places::of(&["x = lambda: 1"]).is_none());
        assert!(Places::of(&["\"\"\"two", "lines\"\"\""]).is_none());
    }
}
