//! The table of a space: the accuracies of every cell, one a training seed.

use rand::Rng;

use super::cell::Cell;
use super::space::Space;
use crate::base::seed;

/// What is known of one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// From 0 to 1, one value a training seed.
    pub accuracy: Vec<f64>,
    /// None where the table has only accuracies.
    pub costs: Option<Costs>,
}

/// What a cell costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Millions of parameters.
    pub parameters: f64,
    /// Seconds of one batch.
    pub latency: f64,
    /// Seconds of one training.
    pub train_seconds: f64,
}

/// All cells of a space, by [`Cell::index`].
pub struct Table {
    space: &'static Space,
    entries: Vec<Entry>,
    means: Vec<f64>,
    best: Cell,
    sha256: String,
}

impl Table {
    /// Of known entries, by [`Cell::index`]; `sha256` names where they are from.
    pub fn of(space: &'static Space, entries: Vec<Entry>, sha256: String) -> Self {
        assert_eq!(entries.len(), space.cells());
        let means: Vec<f64> = entries.iter().map(|e| e.accuracy.iter().sum::<f64>() / e.accuracy.len() as f64).collect();
        // Of equal ones the first.
        let best = (1..means.len()).fold(0, |best, i| if means[i] > means[best] { i } else { best });
        Self { space, entries, means, best: Cell::at(space, best), sha256 }
    }

    /// What it has accuracies of.
    pub fn space(&self) -> &'static Space {
        self.space
    }

    /// What is known of a cell.
    pub fn entry(&self, cell: Cell) -> &Entry {
        &self.entries[cell.index()]
    }

    /// The accuracy of one of the cell's training seeds, from 0 to 1: which one is drawn once for a run, so asking again gives
    /// the same, in whatever order cells are asked for.
    pub fn query(&self, cell: Cell, run_seed: u64) -> f64 {
        let accuracy = &self.entry(cell).accuracy;
        accuracy[seed::rng(run_seed, "query", &[cell.index() as u64]).random_range(0..accuracy.len())]
    }

    /// The mean over the training seeds: what a query measures with noise.
    pub fn mean(&self, cell: Cell) -> f64 {
        self.means[cell.index()]
    }

    /// The means of all cells, by index.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// The cell of the highest mean.
    pub fn best(&self) -> Cell {
        self.best
    }

    /// Of the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}
