//! `[tune]` of a run: what the update is made of, and whether it is adopted.

use serde::{Deserialize, Serialize};

use crate::decoder::settings::tune::{Moments, Objective, Optimizer, TuneConfig, Until};

/// A run's `[tune]`: what the update is made of and whether it is adopted, beside how the LLM is tuned. All are keys of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Keys", into = "Keys")]
pub struct UpdateConfig {
    /// What the update is tuned on; anything but the elites is a control.
    pub data: TuneData,
    /// What happens to an update under which the logged samples promise less quality.
    pub gate: Gate,
    pub tuning: TuneConfig,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self { data: TuneData::Elites, gate: Gate::Off, tuning: TuneConfig::default() }
    }
}

/// The keys of [`UpdateConfig`]: serde refuses an unknown one only where it sees them all.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    data: TuneData,
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
    until: Until,
}

impl Default for Keys {
    fn default() -> Self {
        UpdateConfig::default().into()
    }
}

impl From<UpdateConfig> for Keys {
    fn from(config: UpdateConfig) -> Self {
        let UpdateConfig { data, gate, tuning } = config;
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
            until,
        } = tuning;
        Self {
            data,
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
            until,
        }
    }
}

impl From<Keys> for UpdateConfig {
    fn from(keys: Keys) -> Self {
        let Keys {
            data,
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
            until,
        };
        Self { data, gate, tuning }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TuneData {
    /// The elites: the CE update.
    Elites,
    /// Every candidate that was trained.
    AllValid,
    /// As many of these as there are elites, drawn whatever their quality.
    RandomSubset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    Off,
    /// A significant fall is put on record.
    Warn,
    /// The adapter goes back to what it was before the update.
    Rollback,
}
