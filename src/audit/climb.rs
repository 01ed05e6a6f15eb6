//! Local search on cells: what of a neighbourhood is known needs no query, and where all of it is known and nothing better, it begins
//! anew on a random cell that was not queried.

use std::collections::HashMap;

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::oracle::Cell;
use crate::oracle::cell::CELLS;
use crate::policy::local_search::LocalSearch;

#[derive(Default)]
pub struct Climber {
    search: LocalSearch<Cell>,
    known: HashMap<Cell, f64>,
}

impl Climber {
    /// As it stands after these cells, in the order in which they were queried.
    pub fn after(history: &[(Cell, f64)]) -> Self {
        let mut climber = Self::default();
        for (cell, quality) in history {
            climber.observe(*cell, *quality);
        }
        climber
    }

    /// Takes a cell that was queried.
    pub fn observe(&mut self, cell: Cell, quality: f64) {
        self.known.insert(cell, quality);
        self.search.observe(&cell, quality, |a, b| are_neighbours(*a, *b));
        while let (Some(at), Some(own)) = (self.search.at().copied(), self.search.quality()) {
            let better = at.neighbours().filter_map(|next| Some((next, *self.known.get(&next)?))).find(|(_, quality)| *quality > own);
            if let Some((next, quality)) = better {
                self.search.observe(&next, quality, |a, b| are_neighbours(*a, *b));
            } else {
                if at.neighbours().all(|next| self.known.contains_key(&next)) {
                    self.search.restart();
                }
                break;
            }
        }
    }

    /// The next cell to be queried: one that was not, as long as there is one.
    pub fn next(&self, rng: &mut impl Rng) -> Cell {
        let open: Vec<Cell> = match self.search.at() {
            Some(at) => at.neighbours().filter(|next| !self.known.contains_key(next)).collect(),
            None => Vec::new(),
        };
        open.choose(rng).copied().unwrap_or_else(|| {
            loop {
                let cell = Cell::random(rng);
                if self.known.len() >= CELLS || !self.known.contains_key(&cell) {
                    return cell;
                }
            }
        })
    }
}

fn are_neighbours(a: Cell, b: Cell) -> bool {
    a.operations().iter().zip(b.operations()).filter(|(a, b)| **a != *b).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed;

    #[test]
    fn it_climbs_a_hill_without_a_query_twice_and_begins_anew_on_its_top() {
        // The operations' sum: from anywhere a climb, with one top.
        let quality = |cell: Cell| cell.operations().iter().sum::<usize>() as f64;
        let mut history: Vec<(Cell, f64)> = Vec::new();
        let mut stood = Vec::new();
        for i in 0..400 {
            let climber = Climber::after(&history);
            let cell = climber.next(&mut seed::rng(3, "test", &[i]));
            assert!(history.iter().all(|(known, _)| *known != cell), "{cell} twice");
            if let Some(at) = climber.search.at() {
                assert!(are_neighbours(*at, cell));
            }
            stood.push(climber.search.at().copied());
            history.push((cell, quality(cell)));
        }
        let top = Cell::new(&[4; 6]).unwrap();
        let found = history.iter().position(|(cell, _)| *cell == top).expect("the top is found");
        assert!((10..150).contains(&found), "{found}");
        // All around the top is queried, then it is left.
        let left = stood.iter().rposition(|at| *at == Some(top)).unwrap();
        assert!(left < 399 && top.neighbours().all(|next| history[..=left].iter().any(|(cell, _)| *cell == next)));
        // As it goes on by one, it is as if it had seen all at once.
        let mut one = Climber::default();
        for (cell, quality) in &history {
            one.observe(*cell, *quality);
        }
        assert_eq!(one.search, Climber::after(&history).search);
    }
}
