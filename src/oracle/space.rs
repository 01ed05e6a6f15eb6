//! A search space that can be enumerated: a word at each of its slots, independent of the others, so `words ^ slots` cells in all.
//!
//! A space is what makes the audit's numbers exact, and its size what they cost, so its size has limits. Two spaces of the same slots and
//! words are one.

use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::base::error::{Error, Result};

/// Slots of a space at most; a cell has room for so many.
pub const MOST_SLOTS: usize = 16;
/// Words of a space at most.
pub const MOST_WORDS: usize = 64;
/// Cells of a space at most: every exact number is a sum over all of them.
pub const MOST_CELLS: usize = 1 << 16;
/// Bytes of a word or of a slot's name at most.
const LONGEST_WORD: usize = 32;

/// The slots of a cell and the words that may stand in each, by their names.
#[derive(Debug)]
pub struct Space {
    slots: Vec<String>,
    words: Vec<String>,
    cells: usize,
}

/// The spaces of this process.
static KNOWN: Mutex<Vec<&'static Space>> = Mutex::new(Vec::new());

impl Space {
    /// The space of these slots and words. It lives as long as the process, so that a cell can be a few bytes that are copied; a process
    /// reads few of them, and each once.
    ///
    /// # Errors
    /// When there are too few or too many slots, words or cells, or a name is none: empty, too long, of other than letters, digits and
    /// `_-.+`, or there twice.
    pub fn of(slots: Vec<String>, words: Vec<String>) -> Result<&'static Self> {
        let cells = check(&slots, &words)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = known.iter().find(|space| space.slots == slots && space.words == words) {
            return Ok(space);
        }
        let space: &'static Self = Box::leak(Box::new(Self { slots, words, cells }));
        known.push(space);
        Ok(space)
    }

    /// The names of the slots, in the order of a cell's text.
    pub fn slots(&self) -> &[String] {
        &self.slots
    }

    /// What may stand in a slot.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// How many cells differ from a given one in one slot.
    pub fn neighbours(&self) -> usize {
        self.slots.len() * (self.words.len() - 1)
    }
}

// By its place in memory, as there is one of each.
impl PartialEq for Space {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Space {}

impl Hash for Space {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

/// The number of cells.
fn check(slots: &[String], words: &[String]) -> Result<usize> {
    for (found, what, most) in [(slots.len(), "slots", MOST_SLOTS), (words.len(), "words", MOST_WORDS)] {
        if !(2..=most).contains(&found) {
            return Err(Error::input(format!("a space of {found} {what}: from 2 to {most} are possible")));
        }
    }
    for (at, name) in slots.iter().chain(words).enumerate() {
        let fits = |c: char| c.is_alphanumeric() || "_-.+".contains(c);
        if name.is_empty() || name.len() > LONGEST_WORD || !name.chars().all(fits) {
            let shown: String = name.chars().take(LONGEST_WORD).collect();
            return Err(Error::input(format!("{shown:?} can be no word of a space"))
                .hint(format!("words and names of slots are letters, digits and _-.+ only, at most {LONGEST_WORD} bytes")));
        }
        if slots.iter().chain(words).take(at).any(|earlier| earlier == name) {
            return Err(Error::input(format!("'{name}' is there twice among the words and slots of a space"))
                .hint("a delta names a slot and a word, so that each needs a name of its own"));
        }
    }
    let cells = u32::try_from(slots.len()).ok().and_then(|slots| words.len().checked_pow(slots)).filter(|cells| *cells <= MOST_CELLS);
    cells.ok_or_else(|| {
        Error::input(format!("a space of {} words at {} slots has more than {MOST_CELLS} cells", words.len(), slots.len()))
            .hint("an audit enumerates them all; take fewer words or slots")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_space_is_there_once_however_often_it_is_asked_for() {
        let of = |slots, words| Space::of(names(slots), names(words)).unwrap();
        let space = of("A B C", "none skip one three");
        assert_eq!((space.cells(), space.neighbours()), (64, 9));
        assert!(std::ptr::eq(space, of("A B C", "none skip one three")));
        for (slots, words) in [("A B", "none skip one three"), ("A B C", "skip none one three"), ("A C B", "none skip one three")] {
            assert_ne!(space, of(slots, words));
        }
    }

    #[test]
    fn what_is_no_space_is_refused() {
        let many = |n: usize, name: &str| (0..n).map(|i| format!("{name}{i}")).collect::<Vec<_>>();
        let refused = |slots: Vec<String>, words: Vec<String>, why: &str| {
            let error = Space::of(slots, words).unwrap_err();
            assert!(error.to_string().contains(why), "{error} for {why}");
        };
        refused(names("A"), names("x y"), "1 slots");
        refused(names("A B"), names("x"), "1 words");
        refused(many(MOST_SLOTS + 1, "s"), names("x y"), "17 slots");
        refused(names("A B"), many(MOST_WORDS + 1, "w"), "65 words");
        refused(many(16, "s"), many(64, "w"), "more than 65536 cells");
        refused(names("A B"), names("x y x"), "'x' is there twice");
        refused(names("A B"), names("x A"), "'A' is there twice");
        for odd in ["", "a b", "a\nb", "a>b", &"w".repeat(33)] {
            refused(names("A B"), vec!["x".into(), odd.to_owned()], "no word of a space");
        }
        assert_eq!(Space::of(many(16, "s"), names("x y")).unwrap().cells(), MOST_CELLS);
    }
}
