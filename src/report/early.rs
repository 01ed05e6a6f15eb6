//! What a store knows of each network before its quality: scores of the fresh parameters and accuracies after earlier epochs.

use std::path::Path;

use crate::error::Result;
use crate::proxy::Epoch;
use crate::proxy::estimate::Estimates;
use crate::record::{Store, folder};
use crate::theory::early::{Correlation, Scores, correlations};

/// How well each of these ranks the networks of a run by quality.
pub fn early(run: &Path) -> Result<Vec<Correlation>> {
    let store = Store::read(&folder::store_path(run))?;
    let qualities = store.qualities()?;
    let mut networks = Vec::new();
    for training in store.trainings()?.into_iter().filter(|t| t.seed_index == 0) {
        let (Some(&quality), Some(estimates)) = (qualities.get(&training.network), &training.estimates) else { continue };
        let Estimates { parameters, synflow, nwot } = serde_json::from_str(estimates)?;
        let curve: Vec<Epoch> = serde_json::from_str(&training.curve)?;
        let scores = [("parameters", Some(parameters as f64)), ("synflow", synflow), ("nwot", nwot)];
        let mut early: Vec<(String, f64)> = scores.into_iter().filter_map(|(name, score)| Some((name.to_owned(), score?))).collect();
        // The last epoch's accuracy is the quality itself.
        let before = &curve[..curve.len().saturating_sub(1)];
        early.extend(before.iter().map(|e| (format!("accuracy after epoch {}", e.epoch), e.valid_accuracy)));
        networks.push(Scores { quality, early });
    }
    Ok(correlations(&networks))
}
