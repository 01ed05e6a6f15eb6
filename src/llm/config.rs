//! The shape of a decoder-only transformer, as its model file states it.

use serde::{Deserialize, Serialize};

/// Model families whose decoders are one computation with small switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    Llama,
    /// Llama with biases on q, k and v.
    Qwen2,
    /// Llama with an RMS norm on each head of q and k.
    Qwen3,
}

impl Family {
    /// The name GGUF (`general.architecture`) and Hugging Face (`model_type`) both use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Llama, Self::Qwen2, Self::Qwen3].into_iter().find(|family| family.name() == name)
    }
}

/// Everything the decoder has to know besides the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    pub family: Family,
    pub vocab: usize,
    /// Of the residual stream.
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// Heads of k and v; each serves `heads / kv_heads` heads of q.
    pub kv_heads: usize,
    /// `heads * head_dim` need not be `width`.
    pub head_dim: usize,
    pub ffn: usize,
    /// Longest sequence the model was trained for.
    pub context: usize,
    pub rope_base: f64,
    pub rms_eps: f64,
    /// The output projection is the token embedding, transposed; `lm_head.weight` does not exist.
    pub tied: bool,
    pub qkv_bias: bool,
    pub qk_norm: bool,
}
