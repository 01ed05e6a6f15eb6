//! A cell of a [`Space`]: which word stands at each of its slots. In NAS-Bench-201 the slots are edges and the words their operations.
//!
//! As text it is its words in the slots' order: `none skip one three pool none`.

use std::fmt;

use rand::Rng;
use serde::Serialize;

use super::space::{MOST_SLOTS, Space};
use crate::base::error::{Error, Result};

/// The word of each slot, as an index into [`Space::words`]. Stored as its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Cell {
    space: &'static Space,
    /// Beyond the slots of the space all are 0.
    words: [u8; MOST_SLOTS],
}

impl Cell {
    /// # Errors
    /// When these are not as many indices of words as there are slots.
    pub fn new(space: &'static Space, words: &[usize]) -> Result<Self> {
        let most = space.words().len() - 1;
        if words.len() != space.slots().len() || words.iter().any(|word| *word > most) {
            return Err(Error::input(format!("{words:?} is no cell: {} numbers from 0 to {most} are", space.slots().len())));
        }
        let mut cell = Self { space, words: [0; MOST_SLOTS] };
        for (slot, word) in cell.words.iter_mut().zip(words) {
            *slot = *word as u8;
        }
        Ok(cell)
    }

    /// The cell that a text names.
    ///
    /// # Errors
    /// When it is not as many words of the space as there are slots.
    pub fn parse(space: &'static Space, text: &str) -> Result<Self> {
        let index =
            |word: &str| {
                space.words().iter().position(|known| known == word).ok_or_else(|| {
                    Error::input(format!("'{word}' is no word of a cell")).hint(format!("words: {}", space.words().join(", ")))
                })
            };
        let words = text.split_whitespace().map(index).collect::<Result<Vec<_>>>()?;
        Self::new(space, &words).map_err(|_| {
            Error::input(format!("'{text}' has {} words, and a cell {}", words.len(), space.slots().len()))
                .hint(format!("one for each of {}", space.slots().join(", ")))
        })
    }

    /// What it is a cell of.
    pub fn space(self) -> &'static Space {
        self.space
    }

    /// The place in the lexicographic order of all cells, below [`Space::cells`].
    pub fn index(self) -> usize {
        self.words().fold(0, |index, word| index * self.space.words().len() + word)
    }

    /// The inverse of [`Cell::index`].
    pub fn at(space: &'static Space, index: usize) -> Self {
        assert!(index < space.cells(), "there are {} cells", space.cells());
        let mut rest = index;
        let mut words = [0; MOST_SLOTS];
        for word in words[..space.slots().len()].iter_mut().rev() {
            *word = (rest % space.words().len()) as u8;
            rest /= space.words().len();
        }
        Self { space, words }
    }

    /// Every cell, by index.
    pub fn all(space: &'static Space) -> impl Iterator<Item = Self> {
        (0..space.cells()).map(move |index| Self::at(space, index))
    }

    /// The word of each slot, as an index into [`Space::words`].
    pub fn words(self) -> impl Iterator<Item = usize> {
        self.words.into_iter().take(self.space.slots().len()).map(usize::from)
    }

    /// Uniform over all cells.
    pub fn random(space: &'static Space, rng: &mut impl Rng) -> Self {
        Self::at(space, rng.random_range(0..space.cells()))
    }

    /// The cell with another word in one slot.
    #[must_use]
    pub fn with(mut self, slot: usize, word: usize) -> Self {
        assert!(slot < self.space.slots().len() && word < self.space.words().len(), "slot {slot}, word {word}");
        self.words[slot] = word as u8;
        self
    }

    /// In how many slots two cells of a space differ.
    pub fn distance(self, other: Self) -> usize {
        self.words.iter().zip(other.words).filter(|(a, b)| **a != *b).count()
    }

    /// The cells that differ in one slot.
    pub fn neighbours(self) -> impl Iterator<Item = Self> {
        let all = self.space.words().len();
        self.words().enumerate().flat_map(move |(slot, own)| (0..all).filter(move |w| *w != own).map(move |word| self.with(slot, word)))
    }

    /// A uniform one of [`Cell::neighbours`].
    #[must_use]
    pub(crate) fn mutated(self, rng: &mut impl Rng) -> Self {
        let slot = rng.random_range(0..self.space.slots().len());
        let other = rng.random_range(0..self.space.words().len() - 1);
        self.with(slot, other + usize::from(other >= usize::from(self.words[slot])))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (slot, word) in self.words().enumerate() {
            let space = if slot > 0 { " " } else { "" };
            write!(f, "{space}{}", self.space.words()[word])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({self})")
    }
}

impl From<Cell> for String {
    fn from(cell: Cell) -> Self {
        cell.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed;
    use crate::oracle::nasbench201;

    /// NAS-Bench-201, one of other sizes, and the smallest.
    fn spaces() -> [&'static Space; 3] {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let of = |slots, words| Space::of(names(slots), names(words)).unwrap();
        [nasbench201::space(), of("width depth kernel rate", "w1 w2 w3 w4 w5 w6 w7"), of("A B", "x y")]
    }

    #[test]
    fn index_and_text_name_every_cell_once() {
        for space in spaces() {
            for (index, cell) in Cell::all(space).enumerate() {
                assert_eq!((cell.index(), Cell::at(space, index)), (index, cell));
                if index % 97 == 0 {
                    assert_eq!(Cell::parse(space, &cell.to_string()).unwrap(), cell);
                }
            }
        }
        let [nas, ..] = spaces();
        assert_eq!(Cell::all(nas).count(), 15_625);
        assert_eq!(Cell::new(nas, &[4, 2, 1, 2, 1, 1]).unwrap().to_string(), "pool one skip one skip skip");
    }

    #[test]
    fn what_is_no_cell_is_refused() {
        let [nas, other, small] = spaces();
        for text in ["", "none none none none none", "none none none none none none none", "none none none none none conv"] {
            assert!(Cell::parse(nas, text).is_err(), "{text}");
        }
        assert!(Cell::new(nas, &[0, 0, 0, 0, 0, 5]).is_err());
        assert!(Cell::parse(other, "none none none none").is_err() && Cell::parse(small, "x").is_err());
        let long = Cell::parse(small, "x y x").unwrap_err();
        assert!(long.to_string().contains("3 words, and a cell 2") && long.hint_text() == Some("one for each of A, B"), "{long}");
        assert_ne!(Cell::at(nas, 0), Cell::at(other, 0), "each of a space of its own");
    }

    #[test]
    fn a_mutation_changes_one_slot_to_each_other_word() {
        for (space, index) in spaces().into_iter().zip([7_777, 1_234, 2]) {
            let mut rng = seed::rng(1, "test", &[]);
            let cell = Cell::at(space, index);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..1000 {
                let mutant = cell.mutated(&mut rng);
                assert_eq!((mutant.distance(cell), mutant.words().zip(cell.words()).filter(|(a, b)| a != b).count()), (1, 1));
                seen.insert(mutant);
            }
            assert_eq!(seen, cell.neighbours().collect());
            assert_eq!(seen.len(), space.neighbours());
        }
    }
}
