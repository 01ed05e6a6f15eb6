//! The text of a line that a delta gives, without its end.

use super::parent::Lines;
use super::python::{Line, Python};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Given {
    utf8: Utf8,
    python: Option<Python>,
}

impl Given {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { utf8: Utf8::Whole, python: (lines == Lines::Python).then(|| Python::new(Line::Alone)) }
    }

    /// A line that stands where `python` is.
    pub(crate) fn at(python: Python) -> Self {
        Self { utf8: Utf8::Whole, python: Some(python.given()) }
    }

    pub(crate) fn python(self) -> Option<Python> {
        self.python
    }

    /// `byte` is not a line feed.
    pub(crate) fn step(self, byte: u8) -> Option<Self> {
        let utf8 = self.utf8.step(byte)?;
        let python = match self.python {
            Some(python) => Some(python.step(byte)?),
            None => None,
        };
        Some(Self { utf8, python })
    }

    pub(crate) fn is_complete(self) -> bool {
        self.utf8 == Utf8::Whole && self.python.is_none_or(Python::line_may_end)
    }
}

/// How much of a character is still to come, and what its next byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Utf8 {
    Whole,
    One,
    Two,
    Three,
    /// After E0, ED, F0, F4: the next byte's range is narrower (no long forms, no surrogates, nothing above U+10FFFF).
    AfterE0,
    AfterEd,
    AfterF0,
    AfterF4,
}

impl Utf8 {
    pub(crate) fn step(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Whole, 0..=0x7F) | (Self::One, 0x80..=0xBF) => Self::Whole,
            (Self::Whole, 0xC2..=0xDF) | (Self::Two, 0x80..=0xBF) | (Self::AfterE0, 0xA0..=0xBF) | (Self::AfterEd, 0x80..=0x9F) => {
                Self::One
            }
            (Self::Whole, 0xE0) => Self::AfterE0,
            (Self::Whole, 0xED) => Self::AfterEd,
            (Self::Whole, 0xE1..=0xEF) | (Self::Three, 0x80..=0xBF) | (Self::AfterF0, 0x90..=0xBF) | (Self::AfterF4, 0x80..=0x8F) => {
                Self::Two
            }
            (Self::Whole, 0xF0) => Self::AfterF0,
            (Self::Whole, 0xF1..=0xF3) => Self::Three,
            (Self::Whole, 0xF4) => Self::AfterF4,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_is_what_the_standard_library_takes() {
        let whole = |bytes: &[u8]| bytes.iter().try_fold(Utf8::Whole, |state, &byte| state.step(byte)) == Some(Utf8::Whole);
        // All characters, and all sequences of two bytes; longer wrong ones at the edges of the ranges.
        for c in (0..=0x10_FFFF).filter_map(char::from_u32) {
            assert!(whole(c.encode_utf8(&mut [0; 4]).as_bytes()), "{c:?}");
        }
        let edges = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3,
            0xF4, 0xF5, 0xFF,
        ];
        for a in edges {
            for b in edges {
                for c in edges {
                    for bytes in [&[a, b][..], &[a, b, c], &[a, b, c, 0x80], &[a, b, c, 0xBF]] {
                        assert_eq!(whole(bytes), std::str::from_utf8(bytes).is_ok(), "{bytes:x?}");
                    }
                }
            }
        }
    }
}
