//! What is compared: runs, and the arms that they are runs of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Table;

use super::arms::{Member, grouped};
use super::contest::{Entry, Side};
use crate::base::error::Result;
use crate::config::TuneData;
use crate::config::{Policy, RunConfig};
use crate::record::Funnel;
use crate::record::{NetworkId, Store, folder};
use crate::report::claims::Evidence;

/// The facts of one run.
#[derive(Clone, Debug, Serialize)]
pub struct RunFacts {
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) finished: bool,
    pub(crate) cycles: u64,
    pub(crate) funnel: Funnel,
    /// (cycle, quality) of the trained candidates in the order in which they were proposed.
    pub(crate) qualities: Vec<(u64, f64)>,
    /// Of every candidate that was asked for, in order.
    #[serde(skip)]
    asked: Vec<Option<f64>>,
    /// Wall seconds by the end of each cycle, and the best quality by then.
    #[serde(skip)]
    best_at: Vec<(f64, f64)>,
    /// What the qualities are measured by, see [`Entry`].
    #[serde(skip)]
    ground: BTreeMap<String, String>,
    pub(crate) best_start: Option<f64>,
    /// Wall seconds of each phase.
    pub(crate) seconds: Vec<(String, f64)>,
    /// Tokens written by the policy, and tokens that went through the decoder in tuning.
    pub(crate) tokens_written: u64,
    pub(crate) tokens_tuned: u64,
    #[serde(skip)]
    pub(crate) config: RunConfig,
    #[serde(skip)]
    pub(crate) evidence: Evidence,
}

impl RunFacts {
    /// Reads a run; cycles that are not closed are left out.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let config = folder::settings(path)?;
        let store = Store::read(&folder::store_path(path))?;
        let closed = store.cycles()?;
        let last = closed.last().map_or(0, |c| c.cycle);
        let candidates = store.candidates_up_to(last)?;
        let quality = store.qualities()?;
        let mut seconds: Vec<(String, f64)> = Vec::new();
        for phase in store.phases()?.into_iter().filter(|p| p.cycle <= last) {
            match seconds.iter_mut().find(|(name, _)| *name == phase.name) {
                Some((_, sum)) => *sum += phase.seconds,
                None => seconds.push((phase.name, phase.seconds)),
            }
        }
        let asked: Vec<Option<f64>> = candidates.iter().map(|c| quality.get(&c.id()).copied()).collect();
        let until = |cycle: u64| -> Result<(f64, f64)> {
            let seconds: f64 = store.phases()?.iter().filter(|p| p.cycle <= cycle).map(|p| p.seconds).sum();
            let own = candidates.iter().zip(&asked).filter(|(c, _)| c.cycle <= cycle).filter_map(|(_, q)| *q);
            Ok((seconds, own.fold(f64::NEG_INFINITY, f64::max)))
        };
        Ok(Self {
            best_at: (1..=last).map(until).collect::<Result<_>>()?,
            ground: ground(&store, &config)?,
            asked,
            folder: path.to_path_buf(),
            seed: config.seed,
            finished: last == config.cycles,
            cycles: last,
            funnel: Funnel::of(&candidates, store.elites()?.len()),
            qualities: candidates.iter().filter_map(|c| Some((c.cycle, *quality.get(&c.id())?))).collect(),
            best_start: quality.iter().filter(|(id, _)| matches!(id, NetworkId::Start(_))).map(|(_, q)| *q).reduce(f64::max),
            seconds,
            tokens_written: candidates.iter().map(|c| c.tokens.len() as u64).sum(),
            tokens_tuned: closed.iter().filter_map(|c| c.tuning.as_ref()).map(|t| t.tokens as u64).sum(),
            evidence: Evidence::of(&store, &config, &candidates)?,
            config,
        })
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        let sum: f64 = self.qualities.iter().map(|(_, q)| q).sum();
        (!self.qualities.is_empty()).then(|| sum / self.qualities.len() as f64)
    }

    /// The best of the first `budget` trained candidates.
    pub(crate) fn best_of(&self, budget: usize) -> Option<f64> {
        self.qualities.iter().take(budget).map(|(_, q)| *q).reduce(f64::max)
    }

    /// As a contest sees it: a trained candidate is a trial of the budget.
    pub(crate) fn entry(&self) -> Entry {
        let qualities: Vec<f64> = self.qualities.iter().map(|(_, q)| *q).collect();
        let rising = |values: &mut dyn Iterator<Item = f64>| {
            let best = values.scan(f64::NEG_INFINITY, |best, q| {
                *best = best.max(q);
                Some(*best)
            });
            best.collect::<Vec<f64>>()
        };
        Entry {
            seed: self.seed,
            best_so_far: rising(&mut qualities.iter().copied()),
            best_asked: rising(&mut self.asked.iter().map(|quality| quality.unwrap_or(f64::NEG_INFINITY))),
            best_at: self.best_at.clone(),
            ground: self.ground.clone(),
            qualities,
        }
    }

    pub(crate) fn total_seconds(&self) -> f64 {
        self.seconds.iter().map(|(_, s)| s).sum()
    }
}

/// Runs of the same settings but for the seed.
#[derive(Clone, Debug, Serialize)]
pub struct Arm {
    /// In a comparison the policy of the method, or the settings in which an arm differs from it; in a study `model/arm`.
    pub name: String,
    /// By seed.
    pub runs: Vec<RunFacts>,
}

impl Arm {
    pub(crate) fn config(&self) -> &RunConfig {
        &self.runs[0].config
    }

    /// Of its runs, in their order.
    pub fn seeds(&self) -> Vec<u64> {
        self.runs.iter().map(|r| r.seed).collect()
    }

    pub(crate) fn side(&self) -> Side {
        Side { name: self.name.clone(), entries: self.runs.iter().map(RunFacts::entry).collect() }
    }

    /// The share of the candidates of each run that are networks.
    pub(crate) fn valid(&self) -> Vec<f64> {
        self.runs.iter().filter(|r| r.funnel.asked > 0).map(|r| r.funnel.traced as f64 / r.funnel.asked as f64).collect()
    }

    /// The evidence of all its runs.
    pub(crate) fn evidence(&self) -> Evidence {
        let all: Vec<Evidence> = self.runs.iter().map(|r| r.evidence.clone()).collect();
        Evidence::pool(&all).expect("an arm has a run")
    }

    /// Whether this is the method and not one of its controls.
    pub(crate) fn is_method(&self) -> bool {
        is_method(self.config())
    }
}

/// Groups runs into arms, in the order of their first run, named by how their settings differ from those of the method (or else of
/// the first arm).
///
/// # Errors
/// When there is no run, or one twice.
pub(crate) fn arms(runs: Vec<RunFacts>) -> Result<Vec<Arm>> {
    Ok(grouped(runs)?.into_iter().map(|(name, runs)| Arm { name, runs }).collect())
}

impl Member for RunFacts {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn policy(&self) -> &'static str {
        self.config.policy.name()
    }

    fn is_method(&self) -> bool {
        is_method(&self.config)
    }

    fn identity(&self) -> Table {
        identity(&self.config).to_toml().parse().expect("settings are TOML")
    }
}

/// Whether these are the settings of the method and not of one of its controls.
pub(crate) fn is_method(config: &RunConfig) -> bool {
    config.policy == Policy::Llm && config.tune.data == TuneData::Elites && config.novelty.enabled
}

/// What the qualities of a run are measured by: its images, the recipe of a training, and the networks it starts from.
fn ground(store: &Store, config: &RunConfig) -> Result<BTreeMap<String, String>> {
    // What changes time, place or the number of measurements, and not what is measured.
    const FREE: [&str; 9] =
        ["on", "slurm_script", "workers", "cpu_seconds", "memory_mib", "card_memory_mib", "device", "repeats", "halving"];
    let recipe: Table = toml::to_string(&config.proxy).expect("settings are plain TOML").parse().expect("it was written a moment ago");
    let keys = recipe.into_iter().filter(|(key, _)| !FREE.contains(&key.as_str()));
    let mut ground: BTreeMap<String, String> =
        keys.map(|(key, value)| (format!("proxy.{key}"), value.to_string().trim_matches('"').to_owned())).collect();
    if let Some(split) = store.meta("dataset")? {
        ground.insert("data split, SHA-256".into(), split);
    }
    let starts = store.networks()?.into_iter().filter(|n| matches!(n.id, NetworkId::Start(_)));
    let mut starts: Vec<String> = starts.map(|n| format!("{} {}", n.id, n.graph_hash)).collect();
    starts.sort();
    ground.insert("start networks".into(), starts.join(", "));
    Ok(ground)
}

/// The settings that make an arm: all but the seed and what changes nothing but the time.
pub(crate) fn identity(config: &RunConfig) -> RunConfig {
    RunConfig { seed: 0, ..config.essential() }
}
