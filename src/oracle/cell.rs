//! A cell of NAS-Bench-201 (Dong and Yang 2020): four nodes, an operation on each of the six edges between them.
//!
//! As text it is six words, the edges in the table's order: `none skip one three pool none`.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result};

pub const EDGES: usize = 6;

/// The operations in the table's order (`none`, `skip_connect`, `nor_conv_1x1`, `nor_conv_3x3`, `avg_pool_3x3`), each as one
/// short word: common tokenizers have each of them, with the space before it, as one token.
pub const WORDS: [&str; 5] = ["none", "skip", "one", "three", "pool"];

/// How many cells there are: 5^6.
pub const CELLS: usize = WORDS.len().pow(EDGES as u32);

/// How many cells differ from a given one in one edge.
pub const NEIGHBOURS: usize = EDGES * (WORDS.len() - 1);

/// The operation of each edge, as an index into [`WORDS`]. Stored as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cell([u8; EDGES]);

impl Cell {
    /// # Errors
    /// When these are not six indices of operations.
    pub fn new(operations: &[usize]) -> Result<Self> {
        let wrong = || Error::input(format!("{operations:?} is no cell: six operations from 0 to {} are", WORDS.len() - 1));
        if operations.iter().any(|&o| o >= WORDS.len()) {
            return Err(wrong());
        }
        let operations: Vec<u8> = operations.iter().map(|&o| o as u8).collect();
        operations.try_into().map(Self).map_err(|_| wrong())
    }

    /// The place in the lexicographic order of all cells, below [`CELLS`].
    pub fn index(self) -> usize {
        self.0.iter().fold(0, |index, &operation| index * WORDS.len() + usize::from(operation))
    }

    /// The inverse of [`Cell::index`].
    pub fn at(index: usize) -> Self {
        assert!(index < CELLS, "there are {CELLS} cells");
        let mut rest = index;
        let mut operations = [0; EDGES];
        for operation in operations.iter_mut().rev() {
            *operation = (rest % WORDS.len()) as u8;
            rest /= WORDS.len();
        }
        Self(operations)
    }

    /// Every cell, by index.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CELLS).map(Self::at)
    }

    pub fn operations(self) -> [usize; EDGES] {
        self.0.map(usize::from)
    }

    /// Uniform over all cells.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self::at(rng.random_range(0..CELLS))
    }

    /// The cell with another operation on one edge.
    #[must_use]
    pub fn with(mut self, edge: usize, operation: usize) -> Self {
        assert!(operation < WORDS.len(), "there are {} operations", WORDS.len());
        self.0[edge] = operation as u8;
        self
    }

    /// The cells that differ in one edge.
    pub fn neighbours(self) -> impl Iterator<Item = Self> {
        let others = move |edge: usize| (0..WORDS.len()).filter(move |&o| o != usize::from(self.0[edge]));
        (0..EDGES).flat_map(move |edge| others(edge).map(move |operation| self.with(edge, operation)))
    }

    /// A uniform one of [`Cell::neighbours`].
    #[must_use]
    pub fn mutated(self, rng: &mut impl Rng) -> Self {
        let edge = rng.random_range(0..EDGES);
        let other = rng.random_range(0..WORDS.len() - 1);
        self.with(edge, other + usize::from(other >= usize::from(self.0[edge])))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|operation| WORDS[usize::from(operation)]).join(" "))
    }
}

impl From<Cell> for String {
    fn from(cell: Cell) -> Self {
        cell.to_string()
    }
}

impl TryFrom<String> for Cell {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Cell {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let operation = |word: &str| {
            WORDS.iter().position(|known| *known == word).ok_or_else(|| {
                Error::input(format!("'{word}' is no operation of a cell")).hint(format!("operations: {}", WORDS.join(", ")))
            })
        };
        Self::new(&text.split_whitespace().map(operation).collect::<Result<Vec<_>>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed;

    #[test]
    fn index_and_text_name_every_cell_once() {
        for (index, cell) in Cell::all().enumerate() {
            assert_eq!((cell.index(), Cell::at(index)), (index, cell));
            if index % 97 == 0 {
                assert_eq!(cell.to_string().parse::<Cell>().unwrap(), cell);
            }
        }
        assert_eq!(Cell::new(&[4, 2, 1, 2, 1, 1]).unwrap().to_string(), "pool one skip one skip skip");
    }

    #[test]
    fn what_is_no_cell_is_refused() {
        for text in ["", "none none none none none", "none none none none none none none", "none none none none none conv"] {
            assert!(text.parse::<Cell>().is_err(), "{text}");
        }
        assert!(Cell::new(&[0, 0, 0, 0, 0, 5]).is_err());
    }

    #[test]
    fn a_mutation_changes_one_edge_to_each_other_operation() {
        let mut rng = seed::rng(1, "test", &[]);
        let cell = Cell::at(7_777);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let mutant = cell.mutated(&mut rng);
            assert_eq!(mutant.operations().iter().zip(cell.operations()).filter(|(a, b)| **a != *b).count(), 1);
            seen.insert(mutant);
        }
        assert_eq!(seen.len(), EDGES * (WORDS.len() - 1));
    }
}
