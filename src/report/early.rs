//! What a store knows of each network before its quality: scores of the fresh parameters and accuracies after earlier epochs.

use super::data::ReportData;
use super::html::table;
use crate::base::error::Result;
use crate::base::show::NONE;
use crate::config::RunConfig;
use crate::proxy::estimate::Estimates;
use crate::record::Store;
use crate::theory::early::{Correlation, Scores, correlations};

/// How well each of these ranks the networks of a run by quality; of those that were trained through all epochs, since what halving
/// dropped has another kind of quality.
pub(crate) fn early(store: &Store, config: &RunConfig) -> Result<Vec<Correlation>> {
    let qualities = store.qualities()?;
    let mut networks = Vec::new();
    for training in store.trainings()?.into_iter().filter(|t| t.seed_index == 0) {
        let (Some(&quality), Some(estimates)) = (qualities.get(&training.network), &training.estimates) else { continue };
        let Estimates { parameters, synflow, nwot } = serde_json::from_str(estimates)?;
        let curve = training.epochs()?;
        if curve.len() < config.proxy.epochs {
            continue;
        }
        let scores = [("parameters", Some(parameters as f64)), ("synflow", synflow), ("nwot", nwot)];
        let mut early: Vec<(String, f64)> = scores.into_iter().filter_map(|(name, score)| Some((name.to_owned(), score?))).collect();
        // The last epoch's accuracy is the quality itself.
        let before = &curve[..curve.len().saturating_sub(1)];
        early.extend(before.iter().map(|e| (format!("accuracy after epoch {}", e.epoch), e.valid_accuracy)));
        networks.push(Scores { quality, early });
    }
    Ok(correlations(&networks))
}

/// The table of these correlations; None where there are none.
pub(crate) fn section(data: &ReportData) -> Option<String> {
    if data.early.is_empty() {
        return None;
    }
    let row = |found: &Correlation| {
        let [value, low, high] = match found.rank {
            Some(rank) => [rank.value, rank.low, rank.high].map(|r| format!("{r:.2}").replace('-', "\u{2212}")),
            None => [NONE; 3].map(String::from),
        };
        vec![found.name.clone(), value, low, high, found.networks.to_string()]
    };
    let rows: Vec<Vec<String>> = data.early.iter().map(row).collect();
    let mut html = String::from(
        "<p>How well what is known early ranks networks by their quality: Spearman's rank correlation with its 95% interval (bootstrap \
         over networks). Parameters, synflow and nwot are scores of the fresh parameters; only networks that were trained through all \
         epochs count.</p>\n",
    );
    html.push_str(&table("Cheap scores", &["score", "correlation", "from", "to", "networks"], &rows));
    Some(html)
}
