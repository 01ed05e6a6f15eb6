//! `policy`: what proposes.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The LLM, tuned on the elites of each cycle.
    Llm,
    /// The same LLM, never tuned.
    Frozen,
    /// The cross-entropy method with an independent table for each edge of a cell; of audits alone, whose space has a table.
    TableCe,
    /// The cross-entropy method without any family: (1 - alpha) p + alpha e on all cells, exactly; of audits alone.
    MixtureCe,
    /// p e^{beta S} on all cells, exactly, what weights exp(beta S) for elites would give; of audits alone.
    TiltCe,
    /// Random mutations of the parents, in a run by the generator of the warm-up corpus; no LLM.
    Random,
    /// The same mutations under regularised evolution (Real et al. 2019): see [`crate::policy::evolution`]. In an audit the population
    /// is 50 and a tournament 10.
    Evolution,
}

impl Policy {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Frozen => "frozen",
            Self::TableCe => "table-ce",
            Self::MixtureCe => "mixture-ce",
            Self::TiltCe => "tilt-ce",
            Self::Random => "random",
            Self::Evolution => "evolution",
        }
    }

    /// Whether an LLM proposes.
    pub const fn has_llm(self) -> bool {
        matches!(self, Self::Llm | Self::Frozen)
    }

    /// Whether the elites change it.
    pub const fn is_tuned(self) -> bool {
        matches!(self, Self::Llm | Self::TableCe | Self::MixtureCe | Self::TiltCe)
    }

    /// Whether its distribution over all cells is kept itself.
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::MixtureCe | Self::TiltCe)
    }
}

/// Reads the policy of a run: there is no table of its networks.
pub(super) fn of_run<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
    const OF_RUNS: [Policy; 4] = [Policy::Llm, Policy::Frozen, Policy::Random, Policy::Evolution];
    const NAMES: &[&str] = &[OF_RUNS[0].name(), OF_RUNS[1].name(), OF_RUNS[2].name(), OF_RUNS[3].name()];
    let name = String::deserialize(deserializer)?;
    OF_RUNS.into_iter().find(|policy| policy.name() == name).ok_or_else(|| D::Error::unknown_variant(&name, NAMES))
}
