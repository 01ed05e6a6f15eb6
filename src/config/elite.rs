//! `[elite]`: which candidates the LLM is tuned on.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EliteConfig {
    /// Elite fraction of the N samples; gamma is the (1-rho) quantile of the qualities, invalid ones at the bottom.
    pub rho: f64,
    /// An absolute threshold instead of the quantile.
    pub threshold: Option<f64>,
    pub source: EliteSource,
    /// Share of the elites kept out of tuning to see whether the update generalises.
    pub held_out: f64,
}

impl Default for EliteConfig {
    fn default() -> Self {
        Self { rho: 0.25, threshold: None, source: EliteSource::Cycle, held_out: 0.2 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EliteSource {
    /// Elites of this cycle only: the CE update.
    Cycle,
    /// Elites of all cycles so far.
    Cumulative,
}
