//! `policy`: what proposes.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The LLM, tuned on the elites of each cycle.
    Llm,
    /// The same LLM, never tuned.
    Frozen,
    /// Random mutations of the parent by the generator of the warm-up corpus; no LLM.
    Random,
    /// The same mutations under regularised evolution (Real et al. 2019): see [`crate::policy::evolution`].
    Evolution,
}

impl Policy {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Frozen => "frozen",
            Self::Random => "random",
            Self::Evolution => "evolution",
        }
    }

    /// Whether an LLM proposes.
    pub const fn has_llm(self) -> bool {
        matches!(self, Self::Llm | Self::Frozen)
    }
}
