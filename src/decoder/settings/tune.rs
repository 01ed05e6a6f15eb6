//! `[tune]`: the update of the LLM at the end of a cycle.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result};
use crate::base::range::{Check, MANY, MOST_MIB, above, real, whole};

/// How an LLM is tuned on examples: all of an audit's `[tune]`, and of a run's the part that is about the LLM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TuneConfig {
    /// What tuning lowers.
    pub objective: Objective,
    /// What a gradient is turned into.
    pub optimizer: Optimizer,
    /// Of `adamw` about how far a step moves each weight. Of `natural` to first order the alpha of the mixture (1 - alpha) p + alpha e.
    pub lr: f64,
    /// Passes over the elites.
    pub epochs: usize,
    /// A step that does not lower the loss of the elites, or that leaves the trust region of `until.kl`, is taken back, the optimiser's
    /// state with it, and tried at half the size: the condition of a generalised EM step.
    pub backtrack: bool,
    /// Tuning ends early once a step's loss is below this, so that the policy stays able to explore; 0 is never.
    pub stop_below: f64,
    /// Optimiser steps over which the learning rate rises.
    pub warmup_steps: usize,
    /// Decoupled from the gradient: each step first scales the adapter's parameters by 1 - lr * weight_decay.
    pub weight_decay: f64,
    /// Largest gradient norm; 0 is no clipping. The natural gradient, whose metric bounds it, is not clipped.
    pub clip: f64,
    /// Of the natural gradient: what is added to the Fisher matrix's diagonal, in means of its eigenvalues that are not zero.
    pub damping: f64,
    /// Of the natural gradient: the memory that the gradients of all samples may take.
    pub fisher_mib: u64,
    /// CE smoothing alpha: new = alpha * tuned + (1 - alpha) * old, on the adapter's weights.
    pub smoothing: f64,
    /// Whether the moments of AdamW go on from cycle to cycle.
    pub moments: Moments,
    /// What the update starts from.
    pub from: StartFrom,
    /// When the update ends: see [`Until`].
    pub until: Until,
}

/// When an update ends: at the first of these that is reached. Of neither a share nor a KL it is `tune.epochs`, as the literal CE update
/// with a fixed number of steps has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Until {
    /// The largest number of steps; where it is not given `tune.epochs`, or 200 beside a share or a KL.
    pub steps: Option<usize>,
    /// The share realised: `(NLL_before - NLL_now) / (NLL_before - H(e))` of the elites, H(e) being what no policy gets below. 1 is the
    /// whole cross-entropy update.
    pub share: Option<f64>,
    /// A trust region: `KL(p_now || p_t)` in nats, estimated over what the cycle sampled (`decoder/lora/divergence.rs` has the formula).
    pub kl: Option<f64>,
}

/// Beside a share or a KL: what is not reached in so many steps is not reached by this rate.
pub(crate) const MOST_STEPS: usize = 200;

impl Until {
    /// Whether the losses or the divergence after each step are asked for.
    pub(crate) fn is_measured(&self) -> bool {
        self.share.is_some() || self.kl.is_some()
    }

    /// The largest number of steps, `epochs` being `tune.epochs` times the steps of one.
    pub(crate) fn most(&self, epochs: usize) -> usize {
        self.steps.unwrap_or(if self.is_measured() { MOST_STEPS } else { epochs })
    }
}

impl Check for Until {
    fn check(&self) -> Result<()> {
        self.steps.map_or(Ok(()), |steps| whole("tune.until.steps", steps, 1..=MANY))?;
        self.share.map_or(Ok(()), |share| real("tune.until.share", share, above(0.0, 1.0)))?;
        self.kl.map_or(Ok(()), |kl| real("tune.until.kl", kl, above(0.0, 1e6)))
    }
}

impl Default for TuneConfig {
    fn default() -> Self {
        Self {
            objective: Objective::Sum,
            optimizer: Optimizer::AdamW,
            lr: 1e-4,
            epochs: 4,
            backtrack: false,
            stop_below: 0.0,
            warmup_steps: 2,
            weight_decay: 0.0,
            clip: 1.0,
            damping: 0.1,
            fisher_mib: 2048,
            smoothing: 1.0,
            moments: Moments::Fresh,
            from: StartFrom::Last,
            until: Until::default(),
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
        real("tune.damping", self.damping, above(0.0, 1e6))?;
        whole("tune.fisher_mib", self.fisher_mib, 1..=MOST_MIB)?;
        real("tune.smoothing", self.smoothing, above(0.0, 1.0))?;
        if self.from == StartFrom::Prior && (self.until.kl.is_some() || self.optimizer == Optimizer::Natural) {
            return Err(Error::input(
                "setting tune.from = prior: tune.until.kl and tune.optimizer = natural measure from the policy that sampled",
            )
            .hint("set tune.from = last, or tune.until.share with another optimiser"));
        }
        self.until.check()
    }
}

/// What an update starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartFrom {
    /// The policy that sampled: the cross-entropy method's.
    Last,
    /// The adapter before the first cycle, each time anew, with fresh moments, as expert iteration has it (Gulcehre et al. 2023, `ReST`). The
    /// loss before is still that of the policy that sampled; `until.share` counts from the adapter that it starts from.
    Prior,
}

/// The loss over the examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Mean over elites of the summed negative log-likelihood of the completion: the CE update.
    Sum,
    /// The same sum over all tokens divided by their number: of one batch a multiple of the CE objective, of several each batch's by a
    /// number of its own. Its losses are a token's, so no share of the CE update can be read off them.
    TokenMean,
}

/// What a gradient is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Loshchilov and Hutter 2019, with betas 0.9 and 0.999: see `decoder/lora/adamw.rs`.
    AdamW,
    /// Plain gradient descent, without momentum.
    Sgd,
    /// The natural gradient (Amari 1998) under the Fisher matrix of what the cycle sampled: see `decoder/lora/natural.rs`.
    Natural,
}

/// What becomes of the moments of AdamW between cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Moments {
    /// Each update begins with moments of 0.
    Fresh,
    /// They go on from cycle to cycle, and lie in the checkpoints.
    Keep,
}
