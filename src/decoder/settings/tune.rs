//! `[tune]`: the update of the LLM at the end of a cycle.

use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::range::{Check, MANY, above, real, whole};

/// How an LLM is tuned on examples: all of an audit's `[tune]`, and of a run's the part that is about the LLM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TuneConfig {
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

impl Check for TuneConfig {
    fn check(&self) -> Result<()> {
        // A step of AdamW moves a weight by about the rate; a rate of 0 is `policy = frozen`.
        real("tune.lr", self.lr, above(0.0, 10.0))?;
        whole("tune.epochs", self.epochs, 1..=MANY)?;
        real("tune.stop_below", self.stop_below, 0.0..=1e9)?;
        whole("tune.warmup_steps", self.warmup_steps, 0..=MANY)?;
        real("tune.weight_decay", self.weight_decay, 0.0..=1000.0)?;
        real("tune.clip", self.clip, 0.0..=1e9)?;
        real("tune.smoothing", self.smoothing, above(0.0, 1.0))
    }
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
