//! `[lora]`: the adapter.

use serde::{Deserialize, Serialize};

/// Low-rank adapters (Hu et al. 2021): W x + (alpha/rank) B A x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    pub rank: usize,
    pub alpha: f64,
    /// On the adapter's input, in tuning only.
    pub dropout: f64,
    /// Of `q_proj k_proj v_proj o_proj gate_proj up_proj down_proj`.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        Self { rank: 16, alpha: 32.0, dropout: 0.0, targets: targets.map(String::from).to_vec() }
    }
}
