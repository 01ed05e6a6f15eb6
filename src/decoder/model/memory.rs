//! What a model takes in a run, from its shape and its file's types alone: an estimate before anything is loaded, and the length of
//! tuning's passes that keeps to it.

use candle_core::quantized::GgmlDType;
use serde::Serialize;

use super::repack::panel_bytes;
use crate::base::error::{Error, Result};
use crate::decoder::files::model_file::{Matrix, ModelFile};
use crate::decoder::files::shape::DecoderConfig;
use crate::decoder::ops::cross_entropy::ROWS as LOGIT_ROWS;
use crate::decoder::settings::llm::{CardDtype, Dtype};
use crate::decoder::settings::lora::LoraConfig;

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The frozen weights, as they are kept, and once more in panels for decoding.
    pub weights: u64,
    /// The adapter, its gradient, `AdamW`'s two moments, and the copies that an update can be taken back to.
    pub adapter: u64,
    /// What is in the way while the largest matrix is laid out.
    pub(crate) loading: u64,
    /// Generation: keys and values of a prompt and its samples, and what reading the prompt takes.
    pub generation: u64,
    /// Tuning: what one forward pass leaves for its backward pass, and the logits or the layer in progress.
    pub tuning: u64,
}

/// Samples decoded side by side.
const BRANCHES: u64 = 16;
/// Longest completion that generation makes room for.
const COMPLETION: usize = 768;
/// Code, tokenizer, masks and the allocator's own, which differs by up to 50 MiB between runs of one command; on a card, the
/// driver's.
pub const PROGRAM: u64 = 232 << 20;
/// Adapter, working copy, gradients here and in the graph, two moments; copies of it and of the moments, twice of the adapter.
const COPIES: u64 = 10;
/// Tokens of one forward and backward pass, where memory allows them.
pub const PASS_TOKENS: usize = 2048;
/// Shorter passes are shorter by this.
const SHORTER: usize = 256;

impl Memory {
    /// `context` is the longest prompt and completion together; `pass` the tokens of a forward and backward pass.
    #[must_use]
    pub fn of(file: &ModelFile, lora: &LoraConfig, dtype: Dtype, context: usize, pass: usize) -> Self {
        let n = |x: usize| x as u64;
        let model = file.config();
        let (width, ffn, layers, vocab) = (n(model.width), n(model.ffn), n(model.layers), n(model.vocab));
        let (query, kv) = (n(model.heads * model.head_dim), n(model.kv_heads * model.head_dim));
        let rank = n(lora.rank);
        let adapter = adapter_elements(model, lora);
        // Input, qkv, attention's output and log-sums, the middle, gate and up, the adapter's inner products.
        let qkv = (query + 2 * kv) * if model.qk_norm { 2 } else { 1 };
        let kept = 2 * width + qkv + query + n(model.heads) + 2 * ffn + rank * n(lora.targets.len());
        // The gradients of the widest part of the layer in progress.
        let passing = 2 * width + 5 * ffn;
        let (recomputes, head) = (dtype != Dtype::F32, vocab * width);
        // With narrow weights: the matrix in use as f32, and only the inputs of layers, of which one at a time is computed again.
        let widened = |matrix: u64| if recomputes { matrix } else { 0 };
        let layer = |tokens: u64| tokens * (passing + if recomputes { kept } else { 0 }) + widened(2 * width * ffn);
        let (pass, context) = (n(pass), n(context));
        let predicted = pass * 4 * width + n(LOGIT_ROWS) * vocab + widened(head);
        let activations = pass * layers * if recomputes { width } else { kept };
        Self {
            weights: weights(file, dtype),
            adapter: 4 * COPIES * adapter,
            loading: 8 * head,
            generation: 4
                * (layers * kv * (5 * context + 2 * BRANCHES * context.min(n(COMPLETION)))
                    + context * (kept + passing)
                    + widened(2 * width * ffn)
                    + BRANCHES * vocab
                    + 2 * adapter),
            // By turns, but freed memory is kept, and what one leaves does not wholly fit the other.
            tuning: 4 * (activations + layer(pass).max(predicted) + n(LOGIT_ROWS) * vocab),
        }
    }

    /// On a card, where weights are in one copy, stock operations leave every intermediate value of a layer in its graph, and
    /// the samples of a prompt are decoded `branches` at a time. With `recompute` there is one layer's graph at a time.
    #[must_use]
    pub fn on_card(
        model: &DecoderConfig,
        lora: &LoraConfig,
        dtype: CardDtype,
        context: usize,
        pass: usize,
        branches: usize,
        recompute: bool,
    ) -> Self {
        let n = |x: usize| x as u64;
        let (width, ffn, layers, vocab) = (n(model.width), n(model.ffn), n(model.layers), n(model.vocab));
        let (query, kv, heads) = (n(model.heads * model.head_dim), n(model.kv_heads * model.head_dim), n(model.heads));
        let projections = width * (2 * query + 2 * kv) + 3 * width * ffn;
        let tables = if model.tied { 1 } else { 2 };
        let each = if dtype == CardDtype::Bf16 { 2 } else { 4 };
        // Norms, turns, repeated keys and values, gates, and what narrow products are rounded from: generously.
        let token = 16 * width + 8 * (query + 2 * kv) + 4 * query + 10 * ffn + 6 * n(lora.rank) * n(lora.targets.len());
        // Scores, their scaled and masked forms, and what a softmax keeps.
        let graph = n(pass) * (token + 7 * heads * n(pass));
        let kept = if recompute { layers * n(pass) * width + 2 * graph } else { (layers + 1) * graph };
        let cache = layers * 2 * kv * (n(context) * (n(branches) + 2));
        let step = n(branches) * (3 * vocab + token + 3 * heads * n(context));
        let prompt = n(context) * (token + 4 * heads * n(context)) + 2 * vocab;
        Self {
            weights: each * (layers * projections + tables * vocab * width),
            // Optimiser and gradients are on the processor.
            adapter: 4 * adapter_elements(model, lora),
            loading: 0,
            generation: 4 * (cache + step.max(prompt)),
            tuning: 4 * (kept + 6 * n(pass) * vocab),
        }
    }

    /// Loading, generation and tuning take turns.
    #[must_use]
    pub fn peak(&self) -> u64 {
        PROGRAM + self.weights + self.adapter + self.generation.max(self.tuning).max(self.loading)
    }

    /// Of tuning alone.
    #[must_use]
    pub fn peak_of_tuning(&self) -> u64 {
        PROGRAM + self.weights + self.adapter + self.tuning.max(self.loading)
    }
}

fn adapter_elements(model: &DecoderConfig, lora: &LoraConfig) -> u64 {
    let sides = |target: &str| match target {
        "q_proj" | "o_proj" => model.width + model.heads * model.head_dim,
        "k_proj" | "v_proj" => model.width + model.kv_heads * model.head_dim,
        _ => model.width + model.ffn,
    };
    lora.targets.iter().map(|target| (model.layers * lora.rank * sides(target)) as u64).sum()
}

/// The weights as they are kept and their panels.
fn weights(file: &ModelFile, dtype: Dtype) -> u64 {
    let tied = file.config().tied;
    let matrices = file.matrices();
    let bytes = |matrix: &Matrix| {
        let elements = (matrix.rows * matrix.columns) as u64;
        let is_embedding = matrix.name == "model.embed_tokens.weight";
        let kept = match dtype {
            Dtype::F32 => 4 * elements,
            Dtype::Bf16 => 2 * elements,
            Dtype::Quantized => matrix.bytes,
        };
        let panels = if dtype == Dtype::Bf16 { GgmlDType::BF16 } else { matrix.dtype };
        kept + if is_embedding && !tied { 0 } else { panel_bytes(matrix.rows, matrix.columns, panels) }
    };
    matrices.iter().map(bytes).sum()
}

/// The longest pass whose estimate keeps to `memory_mib`: [`PASS_TOKENS`] at most, `context` at least.
///
/// # Errors
/// Where not even a pass of one example fits.
pub fn longest_pass(file: &ModelFile, lora: &LoraConfig, dtype: Dtype, context: usize, memory_mib: u64) -> Result<usize> {
    let mut pass = PASS_TOKENS.max(context);
    loop {
        let peak = Memory::of(file, lora, dtype, context, pass).peak() >> 20;
        if peak <= memory_mib {
            return Ok(pass);
        }
        if pass == context {
            let name = file.name();
            return Err(Error::input(format!(
                "{name} with prompts and completions of up to {context} tokens takes about {peak} MiB, llm.memory_mib allows {memory_mib}"
            ))
            .hint("set llm.dtype to quantized (of a GGUF file) or bf16, lower llm.max_context, or raise llm.memory_mib"));
        }
        pass = pass.saturating_sub(SHORTER).max(context);
    }
}
