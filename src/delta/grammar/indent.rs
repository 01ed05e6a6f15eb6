//! Indentation as a number, so that it can be part of a state.

/// Blanks and tabs, at most 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Indent {
    pub(crate) len: u8,
    /// Bit i: the i-th character is a tab.
    tabs: u64,
}

const LONGEST: u8 = 64;

impl Indent {
    /// The end of `indentation` that is blanks and tabs: only the end is ever taken off.
    pub(crate) fn of(indentation: &str) -> Self {
        let end = indentation.bytes().rev().take(usize::from(LONGEST)).take_while(|b| matches!(b, b' ' | b'\t')).count();
        indentation.bytes().skip(indentation.len() - end).fold(Self::default(), |indent, byte| indent.with(byte).unwrap_or(indent))
    }

    pub(crate) fn with(self, byte: u8) -> Option<Self> {
        (self.len < LONGEST).then(|| Self { len: self.len + 1, tabs: self.tabs | u64::from(byte == b'\t') << self.len })
    }

    fn starts_with(self, first: Self) -> bool {
        self.len >= first.len && (self.tabs ^ first.tabs) & low(first.len) == 0
    }

    /// What `self` has after `first`, which it starts with.
    fn after(self, first: Self) -> Self {
        Self { len: self.len - first.len, tabs: self.tabs.checked_shr(u32::from(first.len)).unwrap_or(0) }
    }

    fn ends_with(self, end: Self) -> bool {
        self.len >= end.len && self.after(Self { len: self.len - end.len, tabs: 0 }).tabs == end.tabs
    }

    /// Whether a line at this indentation can be given where the first one is at `first` and is moved to `base`.
    pub(crate) fn fits(self, first: Self, base: Self) -> bool {
        self.starts_with(first) || (first.starts_with(self) && base.ends_with(first.after(self)))
    }
}

/// The lowest `n` bits.
fn low(n: u8) -> u64 {
    1_u64.checked_shl(u32::from(n)).map_or(u64::MAX, |bit| bit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indentation_fits_where_strings_say_so() {
        let all: Vec<String> = (0..5)
            .flat_map(|n| (0..1 << n).map(move |bits| (0..n).map(|i| if bits >> i & 1 == 1 { '\t' } else { ' ' }).collect()))
            .collect();
        for own in &all {
            for first in &all {
                for base in &all {
                    let expected =
                        own.starts_with(first.as_str()) || first.strip_prefix(own.as_str()).is_some_and(|more| base.ends_with(more));
                    assert_eq!(Indent::of(own).fits(Indent::of(first), Indent::of(base)), expected, "{own:?} {first:?} {base:?}");
                }
            }
        }
        let long = "\t".repeat(70);
        assert_eq!(Indent::of(&long).len, LONGEST);
        assert!(Indent::of(&long).ends_with(Indent::of(&long)) && Indent::of(&long).fits(Indent::of(&long), Indent::default()));
    }
}
