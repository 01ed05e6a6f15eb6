//! The decoder against the models of candle-transformers, which others wrote: every family, head tied and not, Llama 3's positions.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, qwen2, qwen3};
use eliteloop::decoder::files::shape::{DecoderConfig, Family, RopeScaling};

use crate::llm_goldens::{evaluate, row};
use crate::models::{self, tiny, tiny_config};

/// Logits of the token after some, a row of one.
type Model = Box<dyn FnMut(&Tensor) -> candle_core::Result<Tensor>>;

fn by_candle(config: &DecoderConfig, weights: VarBuilder) -> candle_core::Result<Model> {
    match config.family {
        Family::Llama => {
            let stretched = |by: RopeScaling| {
                let RopeScaling::Llama3 { factor, low, high, original_context } = by else { panic!("candle has Llama 3's only") };
                llama::Llama3RopeConfig {
                    factor: factor as f32,
                    low_freq_factor: low as f32,
                    high_freq_factor: high as f32,
                    original_max_position_embeddings: original_context,
                    rope_type: llama::Llama3RopeType::Llama3,
                }
            };
            let theirs = llama::Config {
                hidden_size: config.width,
                intermediate_size: config.ffn,
                vocab_size: config.vocab,
                num_hidden_layers: config.layers,
                num_attention_heads: config.heads,
                num_key_value_heads: config.kv_heads,
                use_flash_attn: false,
                rms_norm_eps: config.rms_eps,
                rope_theta: config.rope_base as f32,
                bos_token_id: None,
                eos_token_id: None,
                rope_scaling: config.rope_scaling.map(stretched),
                max_position_embeddings: config.context,
                tie_word_embeddings: config.tied,
            };
            let model = llama::Llama::load(weights, &theirs)?;
            Ok(Box::new(move |tokens| model.forward(tokens, 0, &mut llama::Cache::new(false, DType::F32, &theirs, &Device::Cpu)?)))
        }
        Family::Qwen2 => {
            let theirs = qwen2::Config {
                vocab_size: config.vocab,
                hidden_size: config.width,
                intermediate_size: config.ffn,
                num_hidden_layers: config.layers,
                num_attention_heads: config.heads,
                num_key_value_heads: config.kv_heads,
                max_position_embeddings: config.context,
                sliding_window: config.context,
                max_window_layers: config.layers,
                tie_word_embeddings: config.tied,
                rope_theta: config.rope_base,
                rms_norm_eps: config.rms_eps,
                use_sliding_window: false,
                hidden_act: candle_nn::Activation::Silu,
            };
            let mut model = qwen2::ModelForCausalLM::new(&theirs, weights)?;
            Ok(Box::new(move |tokens| {
                model.clear_kv_cache();
                model.forward(tokens, 0)
            }))
        }
        Family::Qwen3 => {
            let theirs = qwen3::Config {
                vocab_size: config.vocab,
                hidden_size: config.width,
                intermediate_size: config.ffn,
                num_hidden_layers: config.layers,
                num_attention_heads: config.heads,
                head_dim: config.head_dim,
                attention_bias: false,
                num_key_value_heads: config.kv_heads,
                max_position_embeddings: config.context,
                sliding_window: None,
                max_window_layers: config.layers,
                tie_word_embeddings: config.tied,
                rope_theta: config.rope_base,
                rms_norm_eps: config.rms_eps,
                use_sliding_window: false,
                hidden_act: candle_nn::Activation::Silu,
            };
            let mut model = qwen3::ModelForCausalLM::new(&theirs, weights)?;
            Ok(Box::new(move |tokens| {
                model.clear_kv_cache();
                model.forward(tokens, 0)
            }))
        }
    }
}

#[test]
fn every_family_equals_the_model_of_candle_transformers() {
    let stretch = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_context: 32 };
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        for tied in [true, false] {
            for rope_scaling in [None, (family == Family::Llama).then_some(stretch)] {
                // Qwen2's reference too derives the size of a head from the width.
                let width = if family == Family::Qwen3 { 24 } else { 32 };
                let config = DecoderConfig { width, tied, rope_scaling, ..tiny_config(family) };
                let weights = models::weights(&config, 3).into_iter().collect();
                let mut theirs = by_candle(&config, VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu)).unwrap();
                let tokens: Vec<u32> = (0..60).map(|i| (i * 7919 + 13) % 97).collect();
                let ours = evaluate(&tiny(&config, 3), &tokens);
                for count in [1, 2, 19, 60] {
                    let read = Tensor::new(&tokens[..count], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
                    let theirs: Vec<f32> = theirs(&read).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                    let apart = row(&ours, count - 1).iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(theirs.len() == config.vocab && apart < 2e-5, "{config:?}, {count} tokens: {apart}");
                }
            }
        }
    }
}
