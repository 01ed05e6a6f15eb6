//! Local search on cells: the neighbours of a cell are visited in a drawn order; what is known of them needs no query, and where none is
//! better, it begins anew on a random cell that was not queried.

use std::collections::HashMap;

use rand::Rng;
use rand::seq::SliceRandom;

use crate::base::seed;
use crate::oracle::Cell;
use crate::oracle::cell::CELLS;
use crate::policy::local_search::LocalSearch;

#[derive(Default)]
pub struct Climber {
    seed: u64,
    search: LocalSearch<Cell>,
    known: HashMap<Cell, f64>,
    /// Neighbours of where it stands that are to be visited, the next one last.
    ahead: Vec<Cell>,
}

impl Climber {
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// As it stands after these cells, in the order in which they were queried.
    pub fn after(seed: u64, history: &[(Cell, f64)]) -> Self {
        let mut climber = Self::new(seed);
        for (cell, quality) in history {
            climber.observe(*cell, *quality);
        }
        climber
    }

    /// Takes a cell that was queried, and goes on as far as no query is needed.
    pub fn observe(&mut self, cell: Cell, quality: f64) {
        self.known.insert(cell, quality);
        self.visit(cell, quality);
        while let Some(&next) = self.ahead.last() {
            let Some(&quality) = self.known.get(&next) else { return };
            self.ahead.pop();
            self.visit(next, quality);
        }
        self.search.restart();
    }

    fn visit(&mut self, cell: Cell, quality: f64) {
        let stood = self.search.at().copied();
        self.search.observe(&cell, quality, |a, b| are_neighbours(*a, *b));
        if self.search.at().copied() != stood {
            self.ahead = cell.neighbours().collect();
            // The number of cells that are known tells a second visit from the first.
            self.ahead.shuffle(&mut seed::rng(self.seed, "climb", &[cell.index() as u64, self.known.len() as u64]));
        }
    }

    /// The next cell to be queried: one that was not, as long as there is one. Where it begins anew it is drawn.
    pub fn next(&self, rng: &mut impl Rng) -> Cell {
        self.ahead.last().copied().unwrap_or_else(|| {
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

    #[test]
    fn it_climbs_a_hill_without_a_query_twice_and_begins_anew_on_its_top() {
        // The operations' sum: from anywhere a climb, with one top.
        let quality = |cell: Cell| cell.operations().iter().sum::<usize>() as f64;
        let mut history: Vec<(Cell, f64)> = Vec::new();
        let mut stood = Vec::new();
        for i in 0..400 {
            let climber = Climber::after(7, &history);
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
        assert!((3..150).contains(&found), "{found}");
        // All around the top is queried, then it is left.
        let left = stood.iter().rposition(|at| *at == Some(top)).unwrap();
        assert!(left < 399 && top.neighbours().all(|next| history[..=left].iter().any(|(cell, _)| *cell == next)));
        // As it goes on by one, it is as if it had seen all at once.
        let mut one = Climber::new(7);
        for (cell, quality) in &history {
            one.observe(*cell, *quality);
        }
        assert_eq!(one.search, Climber::after(7, &history).search);
    }
}
