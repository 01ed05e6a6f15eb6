//! `policy`: what proposes.

use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

/// What proposes the candidates of a run or an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The LLM, tuned on the elites of each cycle.
    #[default]
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
    /// The same mutations of where a local search stands, which goes to the first child that is better: see
    /// [`crate::policy::local_search`]. In a run it begins at the best start network.
    LocalSearch,
    /// The LLM as it is before any update, on the start networks alone (in an audit of deltas on random cells): independent draws, of which
    /// the best counts.
    BestOfN,
    /// Random mutations of parents that are drawn uniformly of all that was measured, whatever their rank.
    Uniform,
}

impl Policy {
    /// Its word in settings, stores and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Frozen => "frozen",
            Self::TableCe => "table-ce",
            Self::MixtureCe => "mixture-ce",
            Self::TiltCe => "tilt-ce",
            Self::Random => "random",
            Self::Evolution => "evolution",
            Self::LocalSearch => "local-search",
            Self::BestOfN => "best-of-n",
            Self::Uniform => "uniform",
        }
    }

    /// Whether an LLM proposes.
    pub const fn has_llm(self) -> bool {
        matches!(self, Self::Llm | Self::Frozen | Self::BestOfN)
    }

    /// Whether the elites change it.
    pub(crate) const fn is_tuned(self) -> bool {
        matches!(self, Self::Llm | Self::TableCe | Self::MixtureCe | Self::TiltCe)
    }

    /// Whether its distribution over all cells is kept itself.
    pub(crate) const fn is_exact(self) -> bool {
        matches!(self, Self::MixtureCe | Self::TiltCe)
    }
}

/// Reads the policy of a run: there is no table of its networks.
pub(super) fn of_run<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
    use Policy::{BestOfN, Evolution, Frozen, Llm, LocalSearch, Random, Uniform};
    const OF_RUNS: [Policy; 7] = [Llm, Frozen, Random, Evolution, LocalSearch, BestOfN, Uniform];
    const NAMES: &[&str] =
        &[Llm.name(), Frozen.name(), Random.name(), Evolution.name(), LocalSearch.name(), BestOfN.name(), Uniform.name()];
    let name = String::deserialize(deserializer)?;
    OF_RUNS.into_iter().find(|policy| policy.name() == name).ok_or_else(|| D::Error::unknown_variant(&name, NAMES))
}
