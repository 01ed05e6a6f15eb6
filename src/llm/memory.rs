//! What a model takes in a run, from its shape alone: an estimate before anything is loaded.

use serde::Serialize;

use super::config::DecoderConfig;
use crate::config::{CardDtype, Dtype, LoraConfig};

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The frozen weights, as they are kept, and once more in panels for decoding.
    pub weights: u64,
    /// The adapter, its gradient and AdamW's two moments.
    pub adapter: u64,
    /// Generation: keys and values of a prompt and its samples, and what reading the prompt widens.
    pub generation: u64,
    /// Tuning: what one forward pass leaves for its backward pass, and the logits.
    pub tuning: u64,
}

/// Samples decoded side by side.
const BRANCHES: u64 = 16;
/// Logits that exist at one time.
const LOGIT_ROWS: u64 = 96;

impl Memory {
    /// `stored` is the size of the weights on disk, `context` the longest prompt and completion together; `pass` the tokens of a forward and backward pass.
    #[must_use]
    pub fn of(model: &DecoderConfig, lora: &LoraConfig, dtype: Dtype, stored: u64, context: usize, pass: usize) -> Self {
        let n = |x: usize| x as u64;
        let (width, ffn, layers, vocab) = (n(model.width), n(model.ffn), n(model.layers), n(model.vocab));
        let (query, kv) = (n(model.heads * model.head_dim), n(model.kv_heads * model.head_dim));
        let projections = width * (2 * query + 2 * kv) + 3 * width * ffn;
        let rank = n(lora.rank);
        let sides = |target: &str| match target {
            "q_proj" | "o_proj" => width + query,
            "k_proj" | "v_proj" => width + kv,
            _ => width + ffn,
        };
        let adapter = layers * lora.targets.iter().map(|target| rank * sides(target)).sum::<u64>();
        // Input, qkv, attention's output and log-sums, the middle, gate and up, the adapter's inner products.
        let qkv = (query + 2 * kv) * if model.qk_norm { 2 } else { 1 };
        let kept = 2 * width + qkv + query + n(model.heads) + 2 * ffn + rank * n(lora.targets.len());
        // The gradients of the widest part of the layer in progress.
        let passing = 2 * width + 5 * ffn;
        let tables = if model.tied { 1 } else { 2 };
        // Panels keep the integers of a file's blocks with f32 scales, half as much again at most; bf16 stays as it is.
        let panels = if dtype == Dtype::Bf16 { 2 * (layers * projections + vocab * width) } else { stored * 3 / 2 };
        let weights = match dtype {
            // The embedding, and the output layer laid out for products.
            Dtype::F32 => 4 * (layers * projections + 2 * vocab * width),
            Dtype::Bf16 => 2 * (layers * projections + tables * vocab * width),
            Dtype::Quantized => stored,
        };
        // The largest matrix as f32.
        let widened = if dtype == Dtype::F32 { 0 } else { (vocab * width).max(2 * width * ffn) };
        // With narrow weights the layers' inputs, and one layer at a time.
        let activations = if dtype == Dtype::F32 { layers * kept } else { layers * width + kept };
        Self {
            weights: weights + panels,
            adapter: 4 * 4 * adapter,
            generation: 4 * (widened + layers * 2 * kv * n(context) * (BRANCHES + 2)),
            tuning: 4 * (n(pass) * (activations + passing) + LOGIT_ROWS * vocab + widened),
        }
    }

    /// On a card, where weights are in one copy, stock operations leave every intermediate value of a layer in its graph, and the samples of a prompt
    /// are decoded `branches` at a time. With `recompute` there is one layer's graph at a time.
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
        let host = Self::of(model, lora, Dtype::F32, 0, context, pass);
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
            adapter: host.adapter / 4,
            generation: 4 * (cache + step.max(prompt)),
            tuning: 4 * (kept + 6 * n(pass) * vocab),
        }
    }

    /// Generation and tuning take turns.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.weights + self.adapter + self.generation.max(self.tuning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::config::Family;

    fn smollm() -> DecoderConfig {
        DecoderConfig {
            family: Family::Llama,
            vocab: 49152,
            width: 576,
            layers: 30,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            ffn: 1536,
            context: 8192,
            rope_base: 100_000.0,
            rope_scaling: None,
            rms_eps: 1e-5,
            tied: true,
            qkv_bias: false,
            qk_norm: false,
        }
    }

    #[test]
    fn a_card_holds_the_weights_once_and_recomputing_saves_most_of_the_graph() {
        let of = |dtype, recompute| Memory::on_card(&smollm(), &LoraConfig::default(), dtype, 1536, 2048, 64, recompute);
        assert_eq!(of(CardDtype::Bf16, false).weights, 2 * 134_479_872);
        assert_eq!(of(CardDtype::F32, false).weights, 4 * 134_479_872);
        let (all, one) = (of(CardDtype::Bf16, false), of(CardDtype::Bf16, true));
        assert!(one.tuning * 4 < all.tuning && one.generation == all.generation && one.peak() < all.peak());
    }
}
