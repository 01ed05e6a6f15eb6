//! `[elite]`: which candidates the LLM is tuned on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result};
use crate::base::range::{Check, above, real};

/// A run's `[elite]`: who is elite, how much each counts, and how many are held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EliteConfig {
    /// Elite fraction of the N samples; gamma is the (1-rho) quantile of the qualities, invalid ones at the bottom.
    pub rho: f64,
    /// An absolute threshold instead of the quantile, in the unit of `by`.
    pub(crate) threshold: Option<f64>,
    /// What they are the best by.
    pub(crate) by: EliteBy,
    /// Of which cycles they are the best.
    pub(crate) source: EliteSource,
    /// How much each elite counts in the update.
    pub weights: EliteWeights,
    /// Share of the elites kept out of tuning to see whether the update generalises.
    pub(crate) held_out: f64,
}

impl Default for EliteConfig {
    fn default() -> Self {
        Self {
            rho: 0.25,
            threshold: None,
            by: EliteBy::Quality,
            source: EliteSource::Cycle,
            weights: EliteWeights::Truncation,
            held_out: 0.2,
        }
    }
}

impl Check for EliteConfig {
    fn check(&self) -> Result<()> {
        check_shares(self.rho, self.held_out)?;
        if self.weights == EliteWeights::Entropic && self.threshold.is_some() {
            return Err(Error::input(
                "setting elite.weights = entropic: it weights all that was measured, and elite.threshold leaves some out",
            )
            .hint("leave elite.threshold away: elite.rho says how sharp the weights are"));
        }
        // A quality is an accuracy, and a gain the difference of two.
        let least = if self.by == EliteBy::Gain { -1.0 } else { 0.0 };
        self.threshold.map_or(Ok(()), |threshold| real("elite.threshold", threshold, least..=1.0))
    }
}

/// The shares of the samples that are elite, and of the elites that are held out.
pub(crate) fn check_shares(rho: f64, held_out: f64) -> Result<()> {
    real("elite.rho", rho, above(0.0, 1.0))?;
    real("elite.held_out", held_out, 0.0..1.0)
}

/// What `S(x)` is, by which the elites are chosen and weighed. An update by any of them is a CE update, each for an objective of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EliteBy {
    /// The network's accuracy.
    Quality,
    /// The accuracy less the parent's: what the delta did, whatever it began from.
    Gain,
    /// The place among the deltas of the same parent in the same cycle: 1 is above all of them, 0 below.
    RankWithinParent,
}

impl EliteBy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Gain => "gain over the parent",
            Self::RankWithinParent => "rank among the deltas of a parent",
        }
    }
}

/// How much each elite counts in the update: `method/weights.rs` has the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EliteWeights {
    /// All the same: the CE update.
    Truncation,
    /// `exp(beta S)` over all that was measured, which are then all elite, as sharp as truncation to `rho` is. Relative entropy policy search,
    /// not CE.
    Entropic,
    /// By rank, as CMA-ES weighs its parents. Not CE.
    Rank,
}

/// Which cycles the elites are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EliteSource {
    /// Elites of this cycle only: the CE update.
    Cycle,
    /// Elites of all cycles so far.
    Cumulative,
}
