//! `[delta]`: how changes are written and sampled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::range::{Check, above, real, whole};
use crate::decoder::settings::llm::MOST_CONTEXT;

/// A run's `[delta]`: how changes are written and sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeltaConfig {
    /// How the policy writes a change.
    pub format: Format,
    /// What the sampler may write; anything but `none` draws from q, which is p cut to what is allowed.
    pub(crate) mask: Masking,
    /// 1 with `top_p` 1 samples from the model itself (q = p), which claims 1-3 need.
    pub(crate) temperature: f64,
    /// The likeliest tokens that together have so much probability are sampled from, the others never; 1 is all of them.
    pub(crate) top_p: f64,
    /// Longest completion in tokens, the end token included; one that has not ended by then is invalid.
    pub max_tokens: usize,
}

impl Default for DeltaConfig {
    fn default() -> Self {
        Self { format: Format::Edit, mask: Masking::None, temperature: 1.0, top_p: 1.0, max_tokens: 160 }
    }
}

impl Check for DeltaConfig {
    fn check(&self) -> Result<()> {
        // Below, every draw is the likeliest token; above, every token is as likely as any other.
        real("delta.temperature", self.temperature, 0.001..=1000.0)?;
        real("delta.top_p", self.top_p, above(0.0, 1.0))?;
        whole("delta.max_tokens", self.max_tokens, 1..=MOST_CONTEXT)
    }
}

/// How a change is written; see [`crate::delta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Numbered edits: `5`, `5-8` or `5+`, then lines.
    Edit,
    /// Unified diff.
    Diff,
    /// The whole new source.
    Full,
}

/// What the sampler may write; see [`crate::delta::grammar`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Masking {
    /// Anything.
    #[default]
    None,
    /// Deltas that apply to their parent.
    Patch,
    /// The same, and the lines they give are Python as it occurs in networks, with layers that there are.
    Layers,
}
