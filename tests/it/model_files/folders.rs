//! Hugging Face folders.

use std::path::PathBuf;

use eliteloop::decoder::files::chat::Message;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::shape::{Family, RopeScaling};
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use serde_json::Value;

use super::ids;

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Sharded and not, f32 and bfloat16, tied and not, with biases and with head norms: as transformers saves them.
#[test]
fn folders_are_read_as_by_transformers() {
    for (name, family) in
        [("tiny-llama", Family::Llama), ("tiny-llama3", Family::Llama), ("tiny-qwen2", Family::Qwen2), ("tiny-qwen3", Family::Qwen3)]
    {
        let model = ModelFile::open(&fixture(name)).unwrap();
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(fixture(name).join("golden.json")).unwrap()).unwrap();
        let config = model.config();
        assert_eq!((config.family, config.vocab, config.layers, config.kv_heads), (family, 320, 2, 2));
        assert_eq!(config.tied, family != Family::Llama);
        assert_eq!((config.qkv_bias, config.qk_norm), (name == "tiny-qwen2", name == "tiny-qwen3"));
        assert_eq!(config.rope_base, if family == Family::Llama { 1e4 } else { 1e6 });
        let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_context: 32 };
        assert_eq!(config.rope_scaling, (name == "tiny-llama3").then_some(scaling));
        for (weight, row) in golden["weights"].as_object().unwrap() {
            let tensor = model.tensor(weight).unwrap();
            assert_eq!(serde_json::json!(tensor.dims()), row["shape"], "{weight}");
            let sum = f64::from(tensor.sum_all().unwrap().to_scalar::<f32>().unwrap());
            assert!((sum - row["sum"].as_f64().unwrap()).abs() < 1e-3, "{name} {weight}");
            let first: Vec<f32> = serde_json::from_value(row["first"].clone()).unwrap();
            assert_eq!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[..first.len()], first);
        }
        let tokenizer = model.tokenizer().unwrap();
        for case in golden["strings"].as_array().unwrap() {
            assert_eq!(tokenizer.encode(case["text"].as_str().unwrap()), ids(&case["ids"]), "{name}: {}", case["text"]);
        }
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), 2));
        let chat = model.chat_template().unwrap().unwrap().render(&[Message::user("hi")], true).unwrap();
        assert_eq!(chat, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
        assert_eq!((model.name(), model.sha256().unwrap().len()), (name.to_owned(), 64));
    }
}

/// Biases, head norms, heads that are wider than the stream, Llama 3's positions: each family's decoder against transformers' own.
#[test]
fn each_family_gives_the_logits_transformers_gives() {
    for name in ["tiny-llama", "tiny-llama3", "tiny-qwen2", "tiny-qwen3"] {
        let model = ModelFile::open(&fixture(name)).unwrap();
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(fixture(name).join("golden.json")).unwrap()).unwrap();
        let decoder = Decoder::new(model.config(), |weight| model.tensor(weight)).unwrap();
        let hidden = decoder.hidden(&Rows::single(&ids(&golden["input"])), None, Mode::Evaluate).unwrap();
        let ours = decoder.logits(&hidden).unwrap().to_vec2::<f32>().unwrap();
        let theirs: Vec<Vec<f32>> = serde_json::from_value(golden["logits"].clone()).unwrap();
        assert_eq!(theirs.len(), 12);
        for (ours, theirs) in ours[ours.len() - 12..].iter().zip(&theirs) {
            let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "{name}: {apart}");
        }
    }
}

#[test]
fn a_folder_that_is_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |expected: &str| {
        let error = ModelFile::open(folder.path()).expect_err(expected);
        assert!(error.to_string().contains(expected), "'{error}' does not say '{expected}'");
        assert_eq!(error.exit_code(), 2, "{error}");
    };
    let from = |name: &str, file: &str| std::fs::read(fixture(name).join(file)).unwrap();
    let put = |file: &str, bytes: &[u8]| std::fs::write(folder.path().join(file), bytes).unwrap();
    refused("holds no config.json");
    put("config.json", b"{");
    refused("config.json is not JSON");
    put("config.json", &from("tiny-qwen2", "config.json"));
    refused("holds no .safetensors file");
    let weights = from("tiny-qwen2", "model.safetensors");
    put("model.safetensors", &weights[..weights.len() / 2]);
    refused("is damaged");
    put("model.safetensors", &weights);
    let changed = |key: &str, value: Value| {
        let mut config: Value = serde_json::from_slice(&from("tiny-qwen2", "config.json")).unwrap();
        config[key] = value;
        put("config.json", config.to_string().as_bytes());
    };
    for (key, value, expected) in [
        ("model_type", "gemma".into(), "the type 'gemma'"),
        ("hidden_act", "gelu".into(), "a hidden_act other than silu"),
        ("hidden_size", Value::Null, "hidden_size is missing"),
        ("num_hidden_layers", 3.into(), "model.layers.2.input_layernorm.weight is missing"),
        ("intermediate_size", 48.into(), "has the shape"),
        ("num_attention_heads", 0.into(), "make no model"),
        ("use_sliding_window", true.into(), "sliding-window"),
        ("rope_parameters", serde_json::json!({"rope_type": "yarn", "factor": 4.0}), "scaled in another way"),
        ("rope_parameters", serde_json::json!({"rope_type": "llama3", "factor": 8.0}), "scaling of the position encoding is incomplete"),
        ("model_type", "llama".into(), ""),
    ] {
        changed(key, value);
        if expected.is_empty() {
            // A Llama with biases is a Llama all the same.
            assert!(ModelFile::open(folder.path()).unwrap().config().qkv_bias);
        } else {
            refused(expected);
        }
    }
    let tokenizer = |expected: &str| {
        let error = ModelFile::open(folder.path()).unwrap().tokenizer().expect_err(expected);
        assert!(error.to_string().contains(expected), "'{error}' does not say '{expected}'");
    };
    tokenizer("tokenizer.json is missing");
    put("tokenizer.json", &from("tiny-qwen2", "tokenizer.json"));
    tokenizer("tokenizer_config.json is missing");
    put("tokenizer_config.json", &from("tiny-qwen2", "tokenizer_config.json"));
    let mut described: Value = serde_json::from_slice(&from("tiny-qwen2", "tokenizer.json")).unwrap();
    described["pre_tokenizer"] = serde_json::json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"});
    put("tokenizer.json", described.to_string().as_bytes());
    tokenizer("its pre_tokenizer");
}
