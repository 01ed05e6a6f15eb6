//! Words and numbers of a network's source, a byte at a time.

use super::names::Prefix;

/// A word of up to eight bytes is known, a longer one is no keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Word {
    Short {
        bytes: u64,
        len: u8,
    },
    Long,
    /// A name that has to be one of a module's.
    Listed(Prefix),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Number {
    Whole,
    /// A dot and no digit yet.
    Dot,
    Fraction,
    /// `e`, perhaps a sign, and no digit yet.
    Exponent {
        signed: bool,
    },
    Power,
}

const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try",
    "while", "with", "yield",
];

fn packed(word: &[u8]) -> u64 {
    word.iter().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte))
}

pub(crate) fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

impl Word {
    pub(crate) fn new(byte: u8) -> Self {
        Self::Short { bytes: u64::from(byte), len: 1 }
    }

    pub(crate) fn with(self, byte: u8) -> Option<Self> {
        Some(match self {
            Self::Short { bytes, len } if len < 8 => Self::Short { bytes: bytes << 8 | u64::from(byte), len: len + 1 },
            Self::Short { .. } | Self::Long => Self::Long,
            Self::Listed(prefix) => Self::Listed(prefix.with(byte)?),
        })
    }

    /// The keyword it is, or "".
    pub(crate) fn keyword(self) -> &'static str {
        KEYWORDS.into_iter().find(|keyword| self.is(keyword)).unwrap_or_default()
    }

    pub(crate) fn is(self, word: &str) -> bool {
        matches!(self, Self::Short { bytes, .. } if bytes == packed(word.as_bytes()))
    }

    /// Whether it starts one of `words`.
    pub(crate) fn starts(self, words: &[&str]) -> bool {
        let Self::Short { bytes, len } = self else { return false };
        words.iter().any(|word| word.as_bytes().get(..usize::from(len)).is_some_and(|start| packed(start) == bytes))
    }
}

impl Number {
    pub(crate) fn step(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Whole | Self::Fraction | Self::Power, b'0'..=b'9') => self,
            (Self::Whole, b'.') | (Self::Dot, b'0'..=b'9') => Self::Fraction,
            (Self::Whole | Self::Fraction, b'e') => Self::Exponent { signed: false },
            (Self::Exponent { signed: false }, b'+' | b'-') => Self::Exponent { signed: true },
            (Self::Exponent { .. }, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Whole | Self::Fraction | Self::Power)
    }
}
