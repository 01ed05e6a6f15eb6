//! The shape of a decoder-only transformer, as its model file states it.

use serde::{Deserialize, Serialize};

/// Model families whose decoders are one computation with small switches. What a file of a family looks like stands here and nowhere
/// else: readers and writers of model files ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Rotary positions, grouped heads of k and v, a gated feed-forward layer, RMS norms before both.
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
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Llama, Self::Qwen2, Self::Qwen3].into_iter().find(|family| family.name() == name)
    }

    /// The class of Hugging Face's transformers (`architectures` of a `config.json`).
    #[must_use]
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }

    /// Whether each head of q and k has an RMS norm.
    #[must_use]
    pub(crate) fn has_head_norms(self) -> bool {
        self == Self::Qwen3
    }

    /// Whether transformers reads the biases of q, k and v off `attention_bias`; else the class decides.
    #[must_use]
    pub(crate) fn states_attention_bias(self) -> bool {
        self != Self::Qwen2
    }

    /// Whether GGUF keeps the rows of q and k with the halves of each head interleaved.
    #[must_use]
    pub(crate) fn interleaves_rows(self) -> bool {
        self == Self::Llama
    }
}

/// How the position encoding is stretched over more tokens than it was trained for: what the speed of each pair of elements is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RopeScaling {
    /// Every speed by `factor` (Chen et al. 2023).
    Linear {
        /// Finite and above 0.
        factor: f64,
    },
    /// Llama 3's. With `n` the turns that a pair makes over the original context, its speed is kept where `n > high`, divided by `factor`
    /// where `n < low`, and in between mixed, `(n - low) / (high - low)` of it kept.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Turns, above 0.
        low: f64,
        /// Turns, above `low`.
        high: f64,
        /// In tokens: what the model was trained for before it was stretched.
        original_context: usize,
    },
}

impl RopeScaling {
    /// What the speed of `turn` radians a position is divided by.
    fn divisor(&self, turn: f64) -> f64 {
        match *self {
            Self::Linear { factor } => factor,
            Self::Llama3 { factor, low, high, original_context } => {
                let turns = original_context as f64 * turn / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                1.0 / (kept + (1.0 - kept) / factor)
            }
        }
    }

    fn makes_sense(&self) -> bool {
        match *self {
            Self::Linear { factor } => factor.is_finite() && factor > 0.0,
            Self::Llama3 { factor, low, high, original_context } => factor >= 1.0 && low > 0.0 && high > low && original_context > 0,
        }
    }
}

/// Everything the decoder has to know besides the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    /// Which weights there are, and how files name and order them.
    pub family: Family,
    /// Tokens that have an embedding.
    pub vocab: usize,
    /// Of the residual stream.
    pub width: usize,
    /// Each attention and feed-forward.
    pub layers: usize,
    /// Heads of q.
    pub heads: usize,
    /// Heads of k and v; each serves `heads / kv_heads` heads of q.
    pub kv_heads: usize,
    /// `heads * head_dim` need not be `width`.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub ffn: usize,
    /// Longest sequence the model was trained for.
    pub context: usize,
    /// Base b of the position encoding: pair i of a head's d elements turns by `b^(-2i/d)` radians a position, before scaling.
    pub rope_base: f64,
    /// None where positions are encoded as in training.
    pub rope_scaling: Option<RopeScaling>,
    /// Added to the mean square in every RMS norm.
    pub rms_eps: f64,
    /// The output projection is the token embedding, transposed; `lm_head.weight` does not exist.
    pub tied: bool,
    /// Whether the projections to q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether each head of q and k has an RMS norm, before it is rotated.
    pub qk_norm: bool,
}

impl DecoderConfig {
    /// Radians a position by which each pair of elements of a head turns: `base^(-2i/d)`, scaled.
    #[must_use]
    pub(crate) fn rope_turns(&self) -> Vec<f64> {
        let turns = (0..self.head_dim / 2).map(|i| self.rope_base.powf(-2.0 * i as f64 / self.head_dim as f64));
        turns.map(|turn| turn / self.rope_scaling.map_or(1.0, |scaling| scaling.divisor(turn))).collect()
    }

    /// The scaling whose divisors a GGUF file lists (`rope_freqs`), where it is one that published models have.
    #[must_use]
    pub(crate) fn scaling_of(&self, divisors: &[f32]) -> Option<RopeScaling> {
        let factor = f64::from(*divisors.last()?);
        let scaling = RopeScaling::Llama3 { factor, low: 1.0, high: 4.0, original_context: 8192 };
        let plain = Self { rope_scaling: None, ..self.clone() }.rope_turns();
        let same = |(divisor, turn): (&f32, &f64)| (f64::from(*divisor) / scaling.divisor(*turn) - 1.0).abs() < 1e-4;
        (plain.len() == divisors.len() && divisors.iter().zip(&plain).all(same)).then_some(scaling)
    }

    /// Says why no decoder has this shape, where none has.
    #[must_use]
    pub(crate) fn flaw(&self) -> Option<String> {
        let Self { width, layers, heads, kv_heads, head_dim, ffn, .. } = *self;
        if width == 0 || ffn == 0 || layers == 0 || layers > 1024 || kv_heads == 0 || heads == 0 || heads % kv_heads != 0 {
            return Some(format!("{layers} layers of width {width} with {heads} heads over {kv_heads} make no model"));
        }
        if head_dim == 0 || head_dim % 2 != 0 {
            return Some(format!("heads of {head_dim} numbers are not supported"));
        }
        if !(self.rms_eps > 0.0 && self.rope_base > 0.0) {
            return Some(format!("an RMS epsilon of {} and a RoPE base of {} make no model", self.rms_eps, self.rope_base));
        }
        if self.rope_scaling.is_some_and(|scaling| !scaling.makes_sense()) {
            return Some(format!("its position encoding is scaled in a way that makes no sense: {:?}", self.rope_scaling));
        }
        None
    }
}
