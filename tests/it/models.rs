//! Models for tests: the default one from its GGUF, and tiny random ones of each family.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use candle_core::{Device, Tensor};
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::shape::{DecoderConfig, Family};
use eliteloop::decoder::model::decoder::Decoder;
use rand::Rng;

pub fn smollm_file() -> ModelFile {
    let path = eliteloop::base::home::models().join("SmolLM2-135M-Instruct.Q4_1.gguf");
    ModelFile::open(&path).unwrap_or_else(|e| panic!("the default model has to be there (scripts/fetch): {e}"))
}

pub fn load_smollm() -> Decoder {
    Decoder::open(&smollm_file(), eliteloop::decoder::settings::llm::Dtype::F32).unwrap()
}

pub fn smollm() -> &'static Decoder {
    static MODEL: OnceLock<Decoder> = OnceLock::new();
    MODEL.get_or_init(load_smollm)
}

pub fn tiny_config(family: Family) -> DecoderConfig {
    DecoderConfig {
        family,
        vocab: 97,
        // The Llama reference derives the head size from the width; the others state it.
        width: if family == Family::Llama { 32 } else { 24 },
        layers: 3,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        ffn: 40,
        context: 256,
        rope_base: 1000.0,
        rope_scaling: None,
        rms_eps: 1e-5,
        tied: family == Family::Llama,
        qkv_bias: family == Family::Qwen2,
        qk_norm: family == Family::Qwen3,
    }
}

/// Random weights under their Hugging Face names.
pub fn weights(config: &DecoderConfig, seed: u64) -> BTreeMap<String, Tensor> {
    let mut rng = eliteloop::base::seed::rng(seed, "tiny model", &[]);
    let mut all = BTreeMap::new();
    let mut add = |name: String, shape: &[usize], mean: f32, spread: f32| {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| mean + spread * rng.random_range(-1.0..1.0)).collect();
        all.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    };
    let (q, kv, w, f) = (config.heads * config.head_dim, config.kv_heads * config.head_dim, config.width, config.ffn);
    add("model.embed_tokens.weight".into(), &[config.vocab, w], 0.0, 1.0);
    add("model.norm.weight".into(), &[w], 1.0, 0.3);
    if !config.tied {
        add("lm_head.weight".into(), &[config.vocab, w], 0.0, 0.5);
    }
    for i in 0..config.layers {
        let name = |part: &str| format!("model.layers.{i}.{part}");
        for norm in ["input_layernorm.weight", "post_attention_layernorm.weight"] {
            add(name(norm), &[w], 1.0, 0.3);
        }
        for (part, out, input) in [
            ("self_attn.q_proj", q, w),
            ("self_attn.k_proj", kv, w),
            ("self_attn.v_proj", kv, w),
            ("self_attn.o_proj", w, q),
            ("mlp.gate_proj", f, w),
            ("mlp.up_proj", f, w),
            ("mlp.down_proj", w, f),
        ] {
            add(name(&format!("{part}.weight")), &[out, input], 0.0, 0.4);
            if config.qkv_bias && !part.ends_with("o_proj") && part.starts_with("self_attn") {
                add(name(&format!("{part}.bias")), &[out], 0.0, 0.3);
            }
        }
        if config.qk_norm {
            for norm in ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] {
                add(name(norm), &[config.head_dim], 1.0, 0.3);
            }
        }
    }
    all
}

pub fn tiny(config: &DecoderConfig, seed: u64) -> Decoder {
    let weights = weights(config, seed);
    Decoder::new(config, |name| Ok(weights[name].clone())).unwrap()
}

pub fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}
