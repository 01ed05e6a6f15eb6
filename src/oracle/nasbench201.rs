//! NAS-Bench-201: validation accuracy after 200 epochs of all 15,625 cells, for two or three training seeds each.
//!
//! The table is a pickle of `{"421211": {"val_acc": [..], "train_time": [..], "latency": [..], "model_size": [..]}, ..}`; a
//! key's digits are the operations of the six edges.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::Rng;
use serde::Deserialize;

use super::cell::{CELLS, Cell};
use crate::base::error::{AtPath, Error, Result};
use crate::base::hash::sha256;
use crate::base::seed;

/// The image sets that the cells were trained on, and the SHA-256 of each table.
pub const DATASETS: [(&str, &str); 3] = [
    ("cifar10", "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11"),
    ("cifar100", "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2"),
    ("imagenet", "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8"),
];

/// What is known of one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// From 0 to 1, one value a training seed.
    pub accuracy: Vec<f64>,
    /// Millions of parameters.
    pub parameters: f64,
    /// Seconds of one batch.
    pub latency: f64,
    /// Seconds of one training.
    pub train_seconds: f64,
}

/// One cell as the file has it: a value a training seed, accuracies in percent.
#[derive(Deserialize)]
struct Stored {
    val_acc: Vec<f64>,
    train_time: Vec<f64>,
    latency: Vec<f64>,
    model_size: Vec<f64>,
}

/// All cells on one image set, by [`Cell::index`].
pub struct Table {
    entries: Vec<Entry>,
    means: Vec<f64>,
    best: Cell,
    sha256: String,
}

/// Where the table of an image set lies under the data folder.
pub fn path(dataset: &str, data: &Path) -> PathBuf {
    data.join("nasbench201").join(format!("{dataset}.pkl"))
}

impl Table {
    /// Reads the table of an image set and checks that it is the published one.
    ///
    /// # Errors
    /// When there is no such image set, the file is not there, or its SHA-256 is another.
    pub fn load(dataset: &str, data: &Path) -> Result<Self> {
        let Some((_, expected)) = DATASETS.iter().find(|(name, _)| *name == dataset) else {
            let names: Vec<_> = DATASETS.iter().map(|(name, _)| *name).collect();
            return Err(
                Error::input(format!("NAS-Bench-201 has no image set '{dataset}'")).hint(format!("image sets: {}", names.join(", ")))
            );
        };
        let path = path(dataset, data);
        let bring = "bring the tables with: scripts/fetch nasbench201";
        if !path.is_file() {
            return Err(Error::input(format!("the NAS-Bench-201 table {} is not there", path.display())).hint(bring));
        }
        let bytes = std::fs::read(&path).at("read the table", &path)?;
        let found = sha256(&bytes);
        if found != *expected {
            return Err(Error::input(format!("{} is not the published table (SHA-256 {found}, not {expected})", path.display()))
                .hint(format!("delete it, then {bring}")));
        }
        Self::read(&bytes).map_err(|e| Error::input(format!("{}: {e}", path.display())).hint(format!("delete it, then {bring}")))
    }

    /// Reads a table from the bytes of its pickle.
    ///
    /// # Errors
    /// When it is no pickle of this shape, a cell is missing, or a number makes no sense.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let stored: BTreeMap<String, Stored> = serde_pickle::from_slice(bytes, serde_pickle::DeOptions::new())
            .map_err(|e| Error::input("not a pickled NAS-Bench-201 table").caused_by(e))?;
        let mut entries: Vec<Option<Entry>> = vec![None; CELLS];
        for (key, stored) in stored {
            let digits: Option<Vec<usize>> = key.chars().map(|c| Some(c.to_digit(10)? as usize)).collect();
            let cell = digits.and_then(|d| Cell::new(&d).ok()).ok_or_else(|| Error::input(format!("'{key}' names no cell")))?;
            entries[cell.index()] = Some(entry(&key, stored)?);
        }
        let missing = entries.iter().filter(|e| e.is_none()).count();
        if missing > 0 {
            return Err(Error::input(format!("{missing} of {CELLS} cells are missing")));
        }
        Ok(Self::of(entries.into_iter().flatten().collect(), sha256(bytes)))
    }

    /// Of known entries, by [`Cell::index`]; `sha256` names where they are from.
    pub fn of(entries: Vec<Entry>, sha256: String) -> Self {
        assert_eq!(entries.len(), CELLS);
        let means: Vec<f64> = entries.iter().map(|e| e.accuracy.iter().sum::<f64>() / e.accuracy.len() as f64).collect();
        // Of equal ones the first.
        let best = (1..CELLS).fold(0, |best, i| if means[i] > means[best] { i } else { best });
        Self { entries, means, best: Cell::at(best), sha256 }
    }

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

fn entry(key: &str, stored: Stored) -> Result<Entry> {
    let Stored { val_acc, train_time, latency, model_size } = stored;
    let finite = |values: &[f64]| !values.is_empty() && values.iter().all(|v| v.is_finite());
    if ![&val_acc, &train_time, &latency, &model_size].into_iter().all(|v| finite(v)) || val_acc.iter().any(|a| !(0.0..=100.0).contains(a))
    {
        return Err(Error::input(format!("cell '{key}' has no accuracies, or numbers that make no sense")));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let accuracy = val_acc.iter().map(|percent| percent / 100.0).collect();
    Ok(Entry { parameters: mean(&model_size), latency: mean(&latency), train_seconds: mean(&train_time), accuracy })
}
