//! `[llm]`: the LLM that proposes, and where it computes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::device::Place;
use crate::base::error::Result;
use crate::base::range::{Check, MOST_MIB, whole};

/// Tokens: more than any model was trained to see at once.
pub(crate) const MOST_CONTEXT: usize = 1 << 24;

/// Which LLM proposes, how its weights are kept, and what memory it may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LlmConfig {
    /// A name that `eliteloop models list` shows, a path to a GGUF file or a Hugging Face folder, or `hf:owner/name` in the local
    /// Hugging Face cache.
    pub model: String,
    /// The adapter a run starts from: `warmup` or `schooled` (shipped, for the default model), `none`, or a PEFT folder. `schooled` goes on
    /// from `warmup` and learnt from measured deltas on CIFAR-10 which of them help, so what it does on CIFAR-10 is no evidence for it.
    pub adapter: String,
    /// Longest prompt plus completion, in tokens; a longer prompt is refused with its length.
    pub max_context: usize,
    /// How the frozen weights are kept. Narrow ones are widened one matrix at a time, and tuning computes each layer's activations
    /// twice instead of keeping them: much less memory, more time.
    pub dtype: Dtype,
    /// In what tuning multiplies by the frozen weights on the processor: `f32`, or `bf16` for speed where it has AVX512-BF16 (factors are
    /// rounded, sums are f32). Losses before and after, sampling and scoring stay in f32.
    pub tuning_dtype: TuningDtype,
    /// What the LLM may take by the estimate: tuning's passes are made as long as that allows, and a model that does not fit is
    /// refused before it is loaded. Of the processor's memory, where it computes there.
    pub memory_mib: u64,
    /// Where it computes: `cpu`, `cuda:N`, `metal:N`, or `auto`. `--device` sets this and `proxy.device`.
    pub device: Place,
    /// How a card keeps the frozen weights, in place of `dtype`; adapter and optimiser are f32 always. Products of bf16 weights are
    /// rounded to bf16.
    pub card_dtype: CardDtype,
    /// Memory of the card it may take, in MiB; 0 is what is free when it is opened.
    pub card_memory_mib: u64,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            model: "smollm2-135m-instruct".into(),
            adapter: "warmup".into(),
            max_context: 1536,
            dtype: Dtype::F32,
            tuning_dtype: TuningDtype::F32,
            memory_mib: 6144,
            device: Place::Cpu,
            card_dtype: CardDtype::Bf16,
            card_memory_mib: 0,
        }
    }
}

impl Check for LlmConfig {
    fn check(&self) -> Result<()> {
        // A prompt and a completion of a token each.
        whole("llm.max_context", self.max_context, 2..=MOST_CONTEXT)?;
        whole("llm.memory_mib", self.memory_mib, 1..=MOST_MIB)?;
        whole("llm.card_memory_mib", self.card_memory_mib, 0..=MOST_MIB)
    }
}

/// The type in which a card keeps the frozen weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CardDtype {
    /// Two bytes an element; products are rounded to bf16.
    #[default]
    Bf16,
    /// Four bytes an element, as on the processor.
    F32,
}

/// What passes with gradients multiply in, as PyTorch's autocast has a type beside that of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TuningDtype {
    /// As all else is computed.
    #[default]
    F32,
    /// Factors are rounded to bf16, sums are f32.
    Bf16,
}

/// The type the frozen weights are kept in. Everything is computed in f32, but for [`TuningDtype`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// Four bytes an element.
    F32,
    /// Two bytes an element, widened to f32 when used.
    Bf16,
    /// As the GGUF file has them.
    Quantized,
}
