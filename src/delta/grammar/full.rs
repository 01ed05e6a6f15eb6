//! A whole source: any text without a Markdown fence, or Python with its blocks indented.

use super::given::Utf8;
use super::parent::Lines;
use super::python::{self, Python};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Free { utf8: Utf8, fence: Fence },
    Python { utf8: Utf8, line: Python, blocks: Blocks },
}

/// How much of a fence the line may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fence {
    /// Nothing yet but white space (or what may be) and then this many backticks.
    Ticks(u8),
    /// The line has begun otherwise.
    Never,
}

/// Indentation of the open blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blocks {
    /// One byte each, the innermost lowest; 0, the outermost, is not kept, and of more than eight the inner ones are.
    open: u64,
    /// Blanks at the start of this line; then, whether the line has begun.
    column: u8,
    begun: bool,
    /// The line before ended in a colon.
    wants_deeper: bool,
    /// After a line that could not be read any indentation is right.
    any: bool,
}

/// Most blanks at the start of a line.
const DEEPEST: u8 = 250;

impl Blocks {
    fn new() -> Self {
        Self { open: 0, column: 0, begun: false, wants_deeper: false, any: false }
    }

    /// The statement starts at `self.column`.
    fn begin(mut self) -> Option<Self> {
        let innermost = (self.open & 0xFF) as u8;
        if self.any {
            while (self.open & 0xFF) as u8 >= self.column && self.open > 0 {
                self.open >>= 8;
            }
            if self.column > 0 {
                self.open = self.open << 8 | u64::from(self.column);
            }
        } else if self.wants_deeper {
            if self.column <= innermost {
                return None;
            }
            self.open = self.open << 8 | u64::from(self.column);
        } else {
            while (self.open & 0xFF) as u8 > self.column {
                self.open >>= 8;
            }
            if (self.open & 0xFF) as u8 != self.column {
                return None;
            }
        }
        Some(Self { begun: true, wants_deeper: false, any: false, ..self })
    }
}

impl State {
    pub(crate) fn new(lines: Lines) -> Self {
        match lines {
            Lines::Free => Self::Free { utf8: Utf8::Whole, fence: Fence::Ticks(0) },
            Lines::Python => Self::Python { utf8: Utf8::Whole, line: Python::new(python::Line::Whole), blocks: Blocks::new() },
        }
    }

    pub(crate) fn step(self, byte: u8) -> Option<Self> {
        match self {
            Self::Free { utf8, fence } => {
                let fence = match (fence, byte) {
                    (_, b'\n') => Fence::Ticks(0),
                    (Fence::Ticks(2), b'`') => return None,
                    (Fence::Ticks(n), b'`') => Fence::Ticks(n + 1),
                    // Some characters outside ASCII are white space; those that are not are taken for it.
                    (Fence::Ticks(0), 0x80..) => Fence::Ticks(0),
                    (Fence::Ticks(0), _) if byte.is_ascii_whitespace() || byte == 0x0B => Fence::Ticks(0),
                    _ => Fence::Never,
                };
                Some(Self::Free { utf8: utf8.step(byte)?, fence })
            }
            Self::Python { utf8, line, blocks } => {
                let utf8 = utf8.step(byte)?;
                if byte == b'\n' {
                    return Self::end_line(line, blocks).map(|(line, blocks)| Self::Python { utf8, line, blocks });
                }
                let blocks = if line.is_inside_brackets() || blocks.begun {
                    blocks
                } else if byte == b' ' {
                    Blocks { column: (blocks.column < DEEPEST).then(|| blocks.column + 1)?, ..blocks }
                } else if matches!(byte, b'#' | b'\r') {
                    // A line of white space and a comment starts nothing.
                    Blocks { begun: true, ..blocks }
                } else {
                    blocks.begin()?
                };
                // An indented line starts as if it were not.
                Some(Self::Python { utf8, line: line.step(byte)?, blocks })
            }
        }
    }

    fn end_line(line: Python, blocks: Blocks) -> Option<(Python, Blocks)> {
        let (line, wants_deeper) = line.next_line()?;
        // Inside brackets the statement goes on, and its block with it.
        let begun = line.is_inside_brackets();
        Some((line, Blocks { column: 0, begun, wants_deeper: blocks.wants_deeper || wants_deeper, ..blocks }))
    }

    pub(crate) fn is_complete(self) -> bool {
        match self {
            Self::Free { utf8, .. } => utf8 == Utf8::Whole,
            Self::Python { utf8, line, blocks } => {
                utf8 == Utf8::Whole
                    && Self::end_line(line, blocks).is_some_and(|(line, blocks)| !line.is_inside_brackets() && !blocks.wants_deeper)
            }
        }
    }

    /// At the next line after one that could not be read.
    pub(crate) fn resume(self) -> Self {
        match self {
            Self::Free { .. } => Self::new(Lines::Free),
            Self::Python { blocks, .. } => {
                let blocks = Blocks { column: 0, begun: false, wants_deeper: false, any: true, ..blocks };
                Self::Python { utf8: Utf8::Whole, line: Python::new(python::Line::Whole), blocks }
            }
        }
    }
}
