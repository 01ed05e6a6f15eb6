//! `[tune]`: the update of the LLM at the end of a cycle.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TuneConfig {
    /// What the update is tuned on; anything but the elites is a control.
    pub data: TuneData,
    /// What happens to an update under which the logged samples promise less quality.
    pub gate: Gate,
    pub objective: Objective,
    pub lr: f64,
    /// Passes over the elites.
    pub epochs: usize,
    /// Tuning ends early once a step's loss is below this, so that the policy stays able to explore; 0 is never.
    pub stop_below: f64,
    /// Optimiser steps over which the learning rate rises.
    pub warmup_steps: usize,
    pub weight_decay: f64,
    /// Largest gradient norm; 0 is no clipping.
    pub clip: f64,
    /// CE smoothing alpha: new = alpha * tuned + (1 - alpha) * old, on the adapter's weights.
    pub smoothing: f64,
    /// Whether the moments of AdamW go on from cycle to cycle.
    pub moments: Moments,
}

impl Default for TuneConfig {
    fn default() -> Self {
        Self {
            data: TuneData::Elites,
            gate: Gate::Off,
            objective: Objective::Sum,
            lr: 1e-4,
            epochs: 4,
            stop_below: 0.0,
            warmup_steps: 2,
            weight_decay: 0.0,
            clip: 1.0,
            smoothing: 1.0,
            moments: Moments::Fresh,
        }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Mean over elites of the summed negative log-likelihood of the completion: the CE update.
    Sum,
    /// Mean over tokens: weights each elite by 1/length, so not the CE update.
    TokenMean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moments {
    Fresh,
    Keep,
}
