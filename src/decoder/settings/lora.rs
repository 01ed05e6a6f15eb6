//! `[lora]`: a new adapter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::base::error::{Error, Result};
use crate::base::range::{Check, above, real, refused, whole};

/// The matrices of a layer that an adapter can be on.
pub(crate) const PROJECTIONS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Low-rank adapters (Hu et al. 2021): W x + (alpha/rank) B A x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rows of each A, columns of each B; from 1 to 1024.
    pub rank: usize,
    /// Above 0; only its ratio to `rank` counts.
    pub alpha: f64,
    /// On the adapter's input, in tuning only.
    pub dropout: f64,
    /// Each once, of [`PROJECTIONS`].
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 16, alpha: 32.0, dropout: 0.0, targets: PROJECTIONS.map(String::from).to_vec() }
    }
}

impl LoraConfig {
    /// `[lora]` beside `llm.adapter`: of a new adapter in full, and none where the adapter is there and has a rank of its own.
    ///
    /// # Errors
    /// Where something was `given` of an adapter that would not be as it says.
    pub(crate) fn beside(adapter: &str, asked: Option<Self>, given: &Table) -> Result<Option<Self>> {
        if adapter == "none" {
            return Ok(Some(asked.unwrap_or_default()));
        }
        let Some(table) = given.get("lora") else { return Ok(None) };
        let key = table.as_table().and_then(|table| table.keys().next()).map_or_else(String::new, |key| format!(".{key}"));
        Err(Error::input(format!("setting lora{key}: llm.adapter = '{adapter}' has a rank, alpha, dropout and targets of its own"))
            .hint("lora.* is of a new adapter: set llm.adapter=none, or have one of another rank made by `eliteloop warmup`"))
    }
}

impl Check for LoraConfig {
    fn check(&self) -> Result<()> {
        // No matrix of the models is narrower than a few hundred, and beyond its width a rank adds nothing.
        whole("lora.rank", self.rank, 1..=1024)?;
        // Only alpha/rank counts; up to here an f32 still tells the update from the weights.
        real("lora.alpha", self.alpha, above(0.0, 1e5))?;
        real("lora.dropout", self.dropout, 0.0..1.0)?;
        let wrong = (0..self.targets.len()).find(|&i| {
            let target = &self.targets[i];
            !PROJECTIONS.contains(&target.as_str()) || self.targets[..i].contains(target)
        });
        let wanted = || format!("each at most once, and at least one, of {}", PROJECTIONS.join(", "));
        match wrong {
            Some(at) => Err(refused("lora.targets", format!("[.. {:?} ..]", self.targets[at]), &wanted())),
            None if self.targets.is_empty() => Err(refused("lora.targets", "[]", &wanted())),
            None => Ok(()),
        }
    }
}
