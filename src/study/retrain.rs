//! What the best network of a run is worth. It was chosen for the highest quality of many, and so its quality is too high (the winner's
//! curse; Efron, "Tweedie's formula and selection bias", JASA 2011). It is trained again with fresh seeds on images that are drawn anew from
//! the training part, which nothing chose it for, and each of these trainings sees the test part once.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result};
use crate::base::files::{read_text, write_whole};
use crate::base::home;
use crate::base::seed;
use crate::config::RunConfig;
use crate::method::evaluate::Evaluation;
use crate::proxy::dataset::{self, Part};
use crate::record::{Store, best, folder};

/// The best network of a run, and its trainings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retrained {
    /// `start/NAME` or `cycle/index`.
    pub network: String,
    /// The quality that it was chosen for.
    pub quality: f64,
    /// Validation accuracy on other images, from 0 to 1; one a seed.
    pub valid: Vec<f64>,
    /// Test accuracy of the same trainings, in their order, from 0 to 1.
    pub test: Vec<f64>,
}

/// Where it is kept, beside the record of the run.
fn path(run: &Path) -> PathBuf {
    run.join("retrained.json")
}

/// What is there of a run; None where it was not trained again.
///
/// # Errors
/// The file is damaged.
pub fn read(run: &Path) -> Result<Option<Retrained>> {
    let path = path(run);
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(&path, "read the trainings of the best network")?;
    let damaged = |e: serde_json::Error| {
        Error::input(format!("{}: {e}", path.display())).hint("delete it: the command that ran the study trains the network again")
    };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// Trains the best network of a finished run `seeds` times, where that was not done yet. Nothing is kept of what is stopped halfway.
///
/// # Errors
/// A training failed or was stopped; the data set is not there.
pub(crate) fn retrain(run: &Path, config: &RunConfig, seeds: u64, stop: &AtomicBool) -> Result<()> {
    if read(run)?.is_some_and(|done| done.valid.len() as u64 == seeds) {
        return Ok(());
    }
    let store = Store::read(&folder::store_path(run))?;
    let Some((network, quality)) = best::of(&store)? else { return Ok(()) };
    let graph = store.network(&network)?.graph;
    let data = dataset::load(&config.proxy.dataset, &home::data(), Part::Train)?;
    let split = config.proxy.draw(&data, seed::derive(config.seed, "retrain split", &[]))?;
    let seeds: Vec<u64> = (0..seeds).map(|k| seed::derive(config.seed, "retrain", &[k])).collect();
    let evaluation = Evaluation { graph: &graph, split: &split, config: &config.proxy, seeds: &seeds, test: true, weights: None };
    let trained = evaluation.run(stop, |_, _| ())?;
    let valid = trained.iter().map(|t| t.outcome.accuracy).collect();
    let test = trained.iter().filter_map(|t| Some(t.test?.accuracy)).collect();
    let done = Retrained { network: network.to_string(), quality, valid, test };
    write_whole(&path(run), (serde_json::to_string_pretty(&done)? + "\n").as_bytes())
}
