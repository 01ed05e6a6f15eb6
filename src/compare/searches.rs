//! Audits side by side: for each arm how many distinct cells it took to query the best
//! one, and how good the best cell was after so many.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use toml::Table as Settings;

use super::arms::{Member, grouped};
use super::page::header;
use crate::audit::record::{self, Cycle};
use crate::audit::settings::AuditConfig;
use crate::base::error::Result;
use crate::config::Policy;
use crate::oracle::Table;
use crate::record::{Store, folder};
use crate::report::html::{Section, document, titled_table};
use crate::theory::statistics::{mean, median_interval, quantile};
use crate::theory::values::{self as table, Cell, Column, Show, estimate, part, value, values};

/// Distinct cells after which searches are compared.
pub(crate) const AFTER: [usize; 3] = [100, 500, 1100];

/// One search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    /// Of the audit.
    pub seed: u64,
    /// Distinct cells queried in all.
    pub distinct: usize,
    /// How many had been when the best cell of the space was queried.
    pub best_found_at: Option<usize>,
    /// After [`AFTER`] distinct cells, or at the end of a shorter search: the mean over training seeds of the best of the cells
    /// queried.
    pub best: [f64; AFTER.len()],
    /// After as many cells: the mean over training seeds of the cell whose queried accuracy was highest.
    pub incumbent: [f64; AFTER.len()],
}

/// The same search under several seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// In a comparison the policy of the method, or the settings in which an arm differs from it; in a study `model/arm`.
    pub name: String,
    pub(crate) policy: Policy,
    pub(crate) dataset: String,
    /// By seed.
    pub searches: Vec<Search>,
    pub(crate) found: usize,
    /// Of [`Search::best_found_at`] where it was found, with its bootstrap interval over the seeds.
    pub(crate) median_found_at: Option<f64>,
    pub(crate) median_interval: Option<(f64, f64)>,
    /// Mean of [`Search::best`] over the searches.
    pub best: [f64; AFTER.len()],
    /// Mean of [`Search::incumbent`] over the searches.
    pub incumbent: [f64; AFTER.len()],
}

impl Search {
    /// The search of an audit by its cycles; samples without a quality are left out, and a cell counts once.
    pub fn of(seed: u64, cycles: &[Cycle], table: &Table) -> Self {
        Self::with_curve(seed, cycles, table).0
    }

    /// Also the best of the cells queried after one, two, .. distinct ones.
    pub(crate) fn with_curve(seed: u64, cycles: &[Cycle], table: &Table) -> (Self, Vec<f64>) {
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

/// One audit of an arm.
struct Searched {
    folder: PathBuf,
    config: AuditConfig,
    search: Search,
}

impl Searched {
    fn read(folder: &Path) -> Result<Self> {
        let config = record::settings(folder)?;
        let store = Store::read(&folder::store_path(folder))?;
        let (table, cycles) = (record::table(&config, &store)?, record::cycles(&store)?);
        Ok(Self { folder: folder.into(), search: Search::of(config.seed, &cycles, &table), config })
    }
}

impl Member for Searched {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn seed(&self) -> u64 {
        self.config.seed
    }

    fn policy(&self) -> &'static str {
        self.config.policy.name()
    }

    fn is_method(&self) -> bool {
        is_method(&self.config)
    }

    fn identity(&self) -> Settings {
        identity(&self.config).to_toml().parse().expect("settings are TOML")
    }
}

/// Whether these are the settings of the method and not of one of its controls.
pub(crate) fn is_method(config: &AuditConfig) -> bool {
    config.policy == Policy::Llm
}

/// The settings that make an arm: all but the seed and what changes nothing but the time.
pub(crate) fn identity(config: &AuditConfig) -> AuditConfig {
    AuditConfig { seed: 0, threads: 0, ..config.clone() }
}

/// Reads audits and puts their arms side by side.
///
/// # Errors
/// When there are none, one is given twice, or one cannot be read.
pub fn compare(folders: &[PathBuf]) -> Result<Vec<Arm>> {
    let audits = folders.iter().map(|folder| Searched::read(folder)).collect::<Result<Vec<_>>>()?;
    let arm = |(name, own): (String, Vec<Searched>)| {
        let AuditConfig { policy, dataset, .. } = own[0].config.clone();
        Arm::of(name, policy, &dataset, own.into_iter().map(|audit| audit.search).collect())
    };
    Ok(grouped(audits)?.into_iter().map(arm).collect())
}

impl Arm {
    pub(crate) fn of(name: String, policy: Policy, dataset: &str, searches: Vec<Search>) -> Self {
        let found: Vec<f64> = searches.iter().filter_map(|s| Some(s.best_found_at? as f64)).collect();
        let average = |get: fn(&Search) -> &[f64; AFTER.len()]| {
            std::array::from_fn(|i| mean(&searches.iter().map(|s| get(s)[i]).collect::<Vec<_>>()))
        };
        Self {
            name,
            policy,
            dataset: dataset.into(),
            found: found.len(),
            median_found_at: (!found.is_empty()).then(|| quantile(&found, 0.5)),
            median_interval: median_interval(&found, 0).map(|e| (e.low, e.high)),
            best: average(|s| &s.best),
            incumbent: average(|s| &s.incumbent),
            searches,
        }
    }

    /// As cells, in the order of [`head`].
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let median = self.median_found_at.map(|median| Cell::estimate(median, self.median_interval, Show::Fixed(1)));
        let mut row = vec![Cell::Part(self.found as u64, self.searches.len() as u64), median.into()];
        row.extend(self.best.iter().chain(&self.incumbent).map(|accuracy| Cell::number(*accuracy, Show::Percent(2))));
        row
    }
}

/// What [`Arm::cells`] are.
pub(crate) fn head() -> Vec<Column> {
    let after = ["best after 100", "best after 500", "best after 1100", "chosen after 100", "chosen after 500", "chosen after 1100"];
    [vec![part("found in"), estimate("median cells until")], values(after)].concat()
}

/// What stands under a table of them.
pub(crate) fn note() -> String {
    let [a, b, c] = AFTER;
    format!(
        "Seeds that queried the best cell of the space; of these, median distinct cells until they did, with its bootstrap interval; the true \
         accuracy of the best cell queried after {a}, {b} and {c} distinct cells, and of the cell chosen by then, which is the one with the \
         highest accuracy as measured."
    )
}

/// One line an arm, and one a search.
pub fn tables(arms: &[Arm]) -> [table::Table; 2] {
    let of = |id, title: &str, note, head, rows| table::Table { id, title: title.into(), note, head, rows };
    let rows = arms.iter().map(|arm| [vec![arm.name.as_str().into()], arm.cells()].concat()).collect();
    let arm_head = [vec![value("arm")], head()].concat();
    let searches = arms.iter().flat_map(|arm| arm.searches.iter().map(move |search| (arm, search)));
    let search = |(arm, s): (&Arm, &Search)| {
        let mut row = vec![arm.name.as_str().into(), s.seed.into(), s.distinct.into(), s.best_found_at.into()];
        row.extend(s.best.iter().chain(&s.incumbent).map(|accuracy| Cell::number(*accuracy, Show::Percent(2))));
        row
    };
    let search_head = [values(["arm", "seed", "distinct cells", "best cell found at"]), head().split_off(2)].concat();
    [
        of("arms", "The search", note(), arm_head, rows),
        of("searches", "Search by search", String::new(), search_head, searches.map(search).collect()),
    ]
}

/// The tables as one HTML file.
pub fn page(arms: &[Arm]) -> String {
    let searches: usize = arms.iter().map(|arm| arm.searches.len()).sum();
    let verdict = format!("{searches} audits of {} arms.", arms.len());
    let [arms, searches] = tables(arms);
    let sections = [Section::new("arms", "Arms", titled_table(&arms)), Section::new("audits", "Audits", titled_table(&searches))];
    document("eliteloop: comparison", &header("Audits side by side", &verdict), &sections, None)
}
