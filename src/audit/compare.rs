//! Searches side by side: for each arm (audits that differ in their seed only) how many distinct cells it took to query the best
//! one, and how good the best cell was after so many.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::record::{self, Cycle};
use crate::error::{AtPath, Error, Result};
use crate::home;
use crate::oracle::Table;
use crate::theory::statistics::{mean, median_interval, quantile};

/// Distinct cells after which searches are compared.
pub const AFTER: [usize; 3] = [100, 500, 1100];

/// One search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    pub seed: u64,
    /// Distinct cells queried in all.
    pub distinct: usize,
    /// How many had been when the best cell of the space was queried.
    pub best_found_at: Option<usize>,
    /// After [`AFTER`] distinct cells, or at the end of a shorter search: the mean over training seeds of the best of the cells
    /// queried, and of the cell whose queried accuracy was highest, in percent.
    pub best: [f64; AFTER.len()],
    pub incumbent: [f64; AFTER.len()],
}

/// The same search under several seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    pub name: String,
    pub policy: String,
    pub dataset: String,
    pub searches: Vec<Search>,
    pub found: usize,
    /// Of [`Search::best_found_at`] where it was found, with its bootstrap interval over the seeds.
    pub median_found_at: Option<f64>,
    pub median_interval: Option<(f64, f64)>,
    /// Means over the searches.
    pub best: [f64; AFTER.len()],
    pub incumbent: [f64; AFTER.len()],
}

impl Search {
    pub fn of(seed: u64, cycles: &[Cycle], table: &Table) -> Self {
        Self::with_curve(seed, cycles, table).0
    }

    /// Also the best of the cells queried after one, two, .. distinct ones.
    pub fn with_curve(seed: u64, cycles: &[Cycle], table: &Table) -> (Self, Vec<f64>) {
        let mut seen = HashSet::new();
        let mut curve = Vec::new();
        let mut search = Self { seed, distinct: 0, best_found_at: None, best: [0.0; AFTER.len()], incumbent: [0.0; AFTER.len()] };
        let (mut best, mut incumbent, mut highest) = (0f64, 0f64, f64::NEG_INFINITY);
        for sample in cycles.iter().flat_map(|c| &c.samples) {
            let (Some(cell), Some(quality)) = (sample.cell(), sample.quality) else { continue };
            if !seen.insert(cell) {
                continue;
            }
            if cell == table.best() {
                search.best_found_at = Some(seen.len());
            }
            best = best.max(table.mean(cell));
            curve.push(best);
            if quality > highest {
                (highest, incumbent) = (quality, table.mean(cell));
            }
            for (i, after) in AFTER.into_iter().enumerate() {
                if seen.len() <= after {
                    (search.best[i], search.incumbent[i]) = (best, incumbent);
                }
            }
        }
        search.distinct = seen.len();
        (search, curve)
    }
}

impl Arm {
    /// Reads an audit, or a folder of audits of one arm.
    ///
    /// # Errors
    /// Where there are none, or they are not of one policy and image set.
    pub fn read(folder: &Path) -> Result<Self> {
        let folders = audits(folder)?;
        let config = record::settings(&folders[0])?;
        let table = Table::load(&config.dataset, &home::data())?;
        let mut searches = Vec::new();
        for audit in &folders {
            let own = record::settings(audit)?;
            if (own.policy, &own.dataset) != (config.policy, &config.dataset) {
                return Err(Error::input(format!("{} and {} are not of one arm", folders[0].display(), audit.display()))
                    .hint("audits of one folder have one policy and one image set"));
            }
            searches.push(Search::of(own.seed, &record::cycles(audit)?, &table));
        }
        let name = folder.file_name().map_or_else(|| folder.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Self::of(name, config.policy.name(), &config.dataset, searches))
    }

    pub fn of(name: String, policy: &str, dataset: &str, searches: Vec<Search>) -> Self {
        let found: Vec<f64> = searches.iter().filter_map(|s| Some(s.best_found_at? as f64)).collect();
        let average = |get: fn(&Search) -> &[f64; AFTER.len()]| {
            std::array::from_fn(|i| mean(&searches.iter().map(|s| get(s)[i]).collect::<Vec<_>>()))
        };
        Self {
            name,
            policy: policy.into(),
            dataset: dataset.into(),
            found: found.len(),
            median_found_at: (!found.is_empty()).then(|| quantile(&found, 0.5)),
            median_interval: median_interval(&found, 0).map(|e| (e.low, e.high)),
            best: average(|s| &s.best),
            incumbent: average(|s| &s.incumbent),
            searches,
        }
    }

    /// The median and its interval.
    pub fn show_median(&self) -> String {
        let median = self.median_found_at.map_or("-".into(), |n| n.to_string());
        self.median_interval.map_or(median.clone(), |(low, high)| format!("{median} [{low:.0}, {high:.0}]"))
    }
}

/// The audit in a folder, or those in its folders, by name.
fn audits(folder: &Path) -> Result<Vec<PathBuf>> {
    if record::is_audit(folder) {
        return Ok(vec![folder.into()]);
    }
    let entries = std::fs::read_dir(folder).at("read the folder", folder)?;
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>().at("read the folder", folder)?;
    found.retain(|path| record::is_audit(path));
    found.sort();
    if found.is_empty() {
        return Err(record::no_audit(folder));
    }
    Ok(found)
}

/// One line an arm.
pub fn table(arms: &[Arm]) -> String {
    let width = arms.iter().map(|a| a.name.len()).max().unwrap_or(0).max("arm".len());
    let mut text = format!("{:<width$}  best cell found in  median cells until", "arm");
    for after in AFTER {
        let _ = write!(text, "{:>16}", format!("best @ {after}"));
    }
    text.push_str("   (in brackets: of the highest accuracy queried)");
    for arm in arms {
        let median = arm.show_median();
        let found = format!("{} of {}", arm.found, arm.searches.len());
        let _ = write!(text, "\n{:<width$}  {found:>18}  {median:>18}", arm.name);
        for (best, incumbent) in arm.best.iter().zip(&arm.incumbent) {
            let _ = write!(text, "{:>16}", format!("{best:.2} ({incumbent:.2})"));
        }
    }
    text
}
