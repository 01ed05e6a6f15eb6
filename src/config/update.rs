//! `[tune]` of a run: what the update is made of, and whether it is adopted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::range::{Check, real};
use crate::config::elite::EliteWeights;
use crate::decoder::settings::tune::{Moments, Objective, Optimizer, StartFrom, TuneConfig, Until};

/// A run's `[tune]`: what the update is made of and whether it is adopted, beside how the LLM is tuned. All are keys of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Keys", into = "Keys")]
#[schemars(!from, !into)]
pub struct UpdateConfig {
    /// What the update is tuned on; anything but the elites is a control.
    pub data: TuneData,
    /// Of `data = replay`: an elite of k cycles ago weighs this to the power of k.
    pub(crate) decay: f64,
    /// What happens to an update under which the logged samples promise less quality.
    pub(crate) gate: Gate,
    /// How the LLM is tuned on it: objective, optimiser, length.
    #[schemars(flatten)]
    pub tuning: TuneConfig,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self { data: TuneData::Elites, decay: 0.5, gate: Gate::Off, tuning: TuneConfig::default() }
    }
}

/// The keys of [`UpdateConfig`]: serde refuses an unknown one only where it sees them all.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    data: TuneData,
    decay: f64,
    gate: Gate,
    objective: Objective,
    optimizer: Optimizer,
    lr: f64,
    epochs: usize,
    backtrack: bool,
    stop_below: f64,
    warmup_steps: usize,
    weight_decay: f64,
    clip: f64,
    damping: f64,
    fisher_mib: u64,
    smoothing: f64,
    moments: Moments,
    from: StartFrom,
    until: Until,
}

impl Default for Keys {
    fn default() -> Self {
        UpdateConfig::default().into()
    }
}

impl From<UpdateConfig> for Keys {
    fn from(config: UpdateConfig) -> Self {
        let UpdateConfig { data, decay, gate, tuning } = config;
        let TuneConfig {
            objective,
            optimizer,
            lr,
            epochs,
            backtrack,
            stop_below,
            warmup_steps,
            weight_decay,
            clip,
            damping,
            fisher_mib,
            smoothing,
            moments,
            from,
            until,
        } = tuning;
        Self {
            data,
            decay,
            gate,
            objective,
            optimizer,
            lr,
            epochs,
            backtrack,
            stop_below,
            warmup_steps,
            weight_decay,
            clip,
            damping,
            fisher_mib,
            smoothing,
            moments,
            from,
            until,
        }
    }
}

impl From<Keys> for UpdateConfig {
    fn from(keys: Keys) -> Self {
        let Keys {
            data,
            decay,
            gate,
            objective,
            optimizer,
            lr,
            epochs,
            backtrack,
            stop_below,
            warmup_steps,
            weight_decay,
            clip,
            damping,
            fisher_mib,
            smoothing,
            moments,
            from,
            until,
        } = keys;
        let tuning = TuneConfig {
            objective,
            optimizer,
            lr,
            epochs,
            backtrack,
            stop_below,
            warmup_steps,
            weight_decay,
            clip,
            damping,
            fisher_mib,
            smoothing,
            moments,
            from,
            until,
        };
        Self { data, decay, gate, tuning }
    }
}

/// Which candidates an update is tuned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TuneData {
    /// The elites: the CE update.
    Elites,
    /// Every candidate that was trained.
    AllValid,
    /// As many of these as there are elites, drawn whatever their quality.
    RandomSubset,
    /// The best that was trained in all cycles so far, as many as this cycle has elites (Abolafia et al. 2018, priority queue training).
    /// Samples of earlier policies, so not the CE update.
    Archive,
    /// The elites of every cycle so far, older ones weighing less: see `decay`. Not the CE update, for the same reason.
    Replay,
}

impl Check for UpdateConfig {
    fn check(&self) -> Result<()> {
        real("tune.decay", self.decay, 0.0..=1.0)?;
        self.tuning.check()
    }
}

/// What keeps an update from being that of the cross-entropy method, whose policy after it maximises the mean `log p` of the elites of
/// the samples of the policy before it; nothing where it is literal.
pub fn departures(data: TuneData, weights: EliteWeights, tuning: &TuneConfig) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |is: bool, what: &str| {
        if is {
            all.push(what.to_owned());
        }
    };
    match data {
        TuneData::Elites => {}
        TuneData::AllValid => add(true, "tuned on all valid candidates"),
        TuneData::RandomSubset => add(true, "tuned on a random subset"),
        TuneData::Archive => add(true, "tuned on an archive, samples of earlier policies"),
        TuneData::Replay => add(true, "tuned on earlier cycles' elites too"),
    }
    match weights {
        EliteWeights::Truncation => {}
        EliteWeights::Entropic => add(true, "entropic weights (REPS)"),
        EliteWeights::Rank => add(true, "rank weights (as CMA-ES)"),
    }
    add(tuning.objective == Objective::TokenMean, "the mean over tokens");
    add(tuning.from == StartFrom::Prior, "from the prior each cycle");
    add(tuning.smoothing < 1.0, "smoothed in the adapter's weights");
    add(tuning.until.kl.is_some(), "held to a trust region");
    all
}

/// What happens to an update under which the logged samples promise less quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Nothing is asked: every update is adopted.
    Off,
    /// A significant fall is put on record.
    Warn,
    /// The adapter goes back to what it was before the update.
    Rollback,
}
