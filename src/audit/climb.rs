//! Local search on cells: the neighbours of a cell are visited in a drawn order; what is known of them needs no query, and where none is
//! better, it begins anew on a random cell that was not queried.

use std::collections::HashMap;

use rand::Rng;
use rand::seq::SliceRandom;

use crate::base::seed;
use crate::oracle::{Cell, Space};
use crate::policy::local_search::LocalSearch;

/// A local search over cells: where it stands, and what is known of the cells that were queried.
pub struct Climber {
    space: &'static Space,
    seed: u64,
    search: LocalSearch<Cell>,
    known: HashMap<Cell, f64>,
    /// Neighbours of where it stands that are to be visited, the next one last.
    ahead: Vec<Cell>,
}

impl Climber {
    /// Knows no cell yet; the order in which neighbours are visited is drawn from `seed`.
    pub fn new(space: &'static Space, seed: u64) -> Self {
        Self { space, seed, search: LocalSearch::default(), known: HashMap::new(), ahead: Vec::new() }
    }

    /// As it stands after these cells, in the order in which they were queried.
    pub(crate) fn after(space: &'static Space, seed: u64, history: &[(Cell, f64)]) -> Self {
        let mut climber = Self::new(space, seed);
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
        self.search.observe(&cell, quality, |a, b| a.distance(*b) == 1);
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
                let cell = Cell::random(self.space, rng);
                if self.known.len() >= self.space.cells() || !self.known.contains_key(&cell) {
                    return cell;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::nasbench201::space;

    #[test]
    fn it_climbs_a_hill_without_a_query_twice_and_begins_anew_on_its_top() {
        // The words' sum: from anywhere a climb, with one top.
        let quality = |cell: Cell| cell.words().sum::<usize>() as f64;
        let mut history: Vec<(Cell, f64)> = Vec::new();
        let mut stood = Vec::new();
        for i in 0..400 {
            let climber = Climber::after(space(), 7, &history);
            let cell = climber.next(&mut seed::rng(3, "test", &[i]));
            assert!(history.iter().all(|(known, _)| *known != cell), "{cell} twice");
            if let Some(at) = climber.search.at() {
                assert_eq!(at.distance(cell), 1);
            }
            stood.push(climber.search.at().copied());
            history.push((cell, quality(cell)));
        }
        let top = Cell::new(space(), &[4; 6]).unwrap();
        let found = history.iter().position(|(cell, _)| *cell == top).expect("the top is found");
        assert!((3..150).contains(&found), "{found}");
        // All around the top is queried, then it is left.
        let left = stood.iter().rposition(|at| *at == Some(top)).unwrap();
        assert!(left < 399 && top.neighbours().all(|next| history[..=left].iter().any(|(cell, _)| *cell == next)));
        // As it goes on by one, it is as if it had seen all at once.
        let mut one = Climber::new(space(), 7);
        for (cell, quality) in &history {
            one.observe(*cell, *quality);
        }
        assert_eq!(one.search, Climber::after(space(), 7, &history).search);
    }
}
