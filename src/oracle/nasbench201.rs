//! NAS-Bench-201 (Dong and Yang 2020): validation accuracy after 200 epochs of all 15,625 cells of four nodes, an operation on each of the
//! six edges between them, for two or three training seeds each.
//!
//! The table is a pickle of `{"421211": {"val_acc": [..], "train_time": [..], "latency": [..], "model_size": [..]}, ..}`; a
//! key's digits are the operations of the six edges.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

use super::cell::Cell;
use super::space::Space;
use super::table::{Costs, Entry, Table};
use crate::base::error::{AtPath, Error, Result};
use crate::base::hash::sha256;

/// The names of the edges in a delta: one between each two nodes, in the table's order.
const EDGES: [&str; 6] = ["A", "B", "C", "D", "E", "F"];

/// The operations in the table's order (`none`, `skip_connect`, `nor_conv_1x1`, `nor_conv_3x3`, `avg_pool_3x3`), each as one
/// short word: common tokenizers have each of them, with the space before it, as one token.
const WORDS: [&str; 5] = ["none", "skip", "one", "three", "pool"];

/// The image sets that the cells were trained on, and the SHA-256 of each table.
const DATASETS: [(&str, &str); 3] = [
    ("cifar10", "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11"),
    ("cifar100", "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2"),
    ("imagenet", "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8"),
];

/// One cell as the file has it: a value a training seed, accuracies in percent.
#[derive(Deserialize)]
struct Stored {
    val_acc: Vec<f64>,
    train_time: Vec<f64>,
    latency: Vec<f64>,
    model_size: Vec<f64>,
}

/// Its cells.
pub fn space() -> &'static Space {
    static SPACE: LazyLock<&Space> = LazyLock::new(|| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Space::of(names(&EDGES), names(&WORDS)).expect("it is within the limits")
    });
    *SPACE
}

/// Reads the table of an image set under the data folder and checks that it is the published one.
///
/// # Errors
/// When there is no such image set, the file is not there, or its SHA-256 is another.
pub(crate) fn load(dataset: &str, data: &Path) -> Result<Table> {
    let Some((_, expected)) = DATASETS.iter().find(|(name, _)| *name == dataset) else {
        let names: Vec<_> = DATASETS.iter().map(|(name, _)| *name).collect();
        return Err(Error::input(format!("NAS-Bench-201 has no image set '{dataset}'"))
            .hint(format!("image sets: {}; a table of your own is a file whose name ends in .json", names.join(", "))));
    };
    let path = data.join("nasbench201").join(format!("{dataset}.pkl"));
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
    read(&bytes).map_err(|e| Error::input(format!("{}: {e}", path.display())).hint(format!("delete it, then {bring}")))
}

/// Reads a table from the bytes of its pickle.
///
/// # Errors
/// When it is no pickle of this shape, a cell is missing, or a number makes no sense.
pub fn read(bytes: &[u8]) -> Result<Table> {
    let stored: BTreeMap<String, Stored> = serde_pickle::from_slice(bytes, serde_pickle::DeOptions::new())
        .map_err(|e| Error::input("not a pickled NAS-Bench-201 table").caused_by(e))?;
    let cells = space().cells();
    let mut entries: Vec<Option<Entry>> = vec![None; cells];
    for (key, stored) in stored {
        let digits: Option<Vec<usize>> = key.chars().map(|c| Some(c.to_digit(10)? as usize)).collect();
        let cell = digits.and_then(|d| Cell::new(space(), &d).ok()).ok_or_else(|| Error::input(format!("'{key}' names no cell")))?;
        entries[cell.index()] = Some(entry(&key, stored)?);
    }
    let missing = entries.iter().filter(|e| e.is_none()).count();
    if missing > 0 {
        return Err(Error::input(format!("{missing} of {cells} cells are missing")));
    }
    Ok(Table::of(space(), entries.into_iter().flatten().collect(), sha256(bytes)))
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
    let costs = Costs { parameters: mean(&model_size), latency: mean(&latency), train_seconds: mean(&train_time) };
    Ok(Entry { accuracy, costs: Some(costs) })
}
