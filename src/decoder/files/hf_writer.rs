//! A model written as a Hugging Face folder: `model.safetensors`, `config.json`, the tokenizer and the chat template.
//!
//! Of a folder, everything but the weights is copied. Of a GGUF file, `tokenizer.json` is written from its vocabulary.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::Tensor;
use serde_json::{Map, Value, json};

use super::model_file::ModelFile;
use super::shape::{DecoderConfig, RopeScaling};
use super::tokenizer::Vocabulary;
use crate::base::error::{AtPath, Error, Result};
use crate::decoder::ops::floats;

/// How weights lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stored {
    /// Four bytes an element, nothing rounded.
    F32,
    /// Two bytes an element, rounded to bf16.
    Bf16,
}

impl Stored {
    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// The names safetensors and `config.json` have for it.
    fn names(self) -> [&'static str; 2] {
        if self == Self::F32 { ["F32", "float32"] } else { ["BF16", "bfloat16"] }
    }
}

/// What a folder holds besides its weights.
const COPIED: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

/// Writes `model` into an empty folder, each weight as `get` gives it by its Hugging Face name.
pub(crate) fn write(folder: &Path, model: &ModelFile, stored: Stored, get: impl FnMut(&str) -> Result<Tensor>) -> Result<()> {
    write_weights(&folder.join("model.safetensors"), &model.shapes(), stored, get)?;
    let put = |name: &str, value: &Value| {
        let path = folder.join(name);
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(value)?)).at("write", &path)
    };
    if model.path().is_dir() {
        let path = model.path().join("config.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).at("read", &path)?)?;
        for key in ["dtype", "torch_dtype"] {
            if !config[key].is_null() {
                config[key] = stored.names()[1].into();
            }
        }
        // A source may say that it is tied and hold an output layer of its own.
        config["tie_word_embeddings"] = model.config().tied.into();
        put("config.json", &config)?;
        for name in COPIED.iter().filter(|name| model.path().join(name).is_file()) {
            let from = model.path().join(name);
            std::fs::copy(&from, folder.join(name)).at("copy", &from)?;
        }
        return Ok(());
    }
    let vocabulary = model.vocabulary()?;
    put("config.json", &config(model.config(), &vocabulary, stored))?;
    put("tokenizer.json", &tokenizer(&vocabulary))?;
    put("tokenizer_config.json", &tokenizer_config(model.config(), &vocabulary))?;
    if let Some(template) = model.chat_template()? {
        let path = folder.join("chat_template.jinja");
        std::fs::write(&path, template.text()).at("write", &path)?;
    }
    Ok(())
}

/// Length of the header (u64), header (JSON: type, shape and place of each weight, padded to 8 bytes), data. One weight is in
/// memory at a time.
fn write_weights(path: &Path, shapes: &[(String, Vec<usize>)], stored: Stored, mut get: impl FnMut(&str) -> Result<Tensor>) -> Result<()> {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut at = 0;
    for (name, shape) in shapes {
        let end = at + shape.iter().product::<usize>() * stored.bytes();
        header.insert(name.clone(), json!({"dtype": stored.names()[0], "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).at("write", path)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(&header)).at("write", path)?;
    for (name, shape) in shapes {
        let tensor = get(name)?;
        if tensor.dims() != shape {
            return Err(Error::machine(format!("{name} is {:?}, not {shape:?}", tensor.dims())));
        }
        let tensor = tensor.contiguous()?;
        let values = floats(&tensor)?;
        match stored {
            Stored::F32 => file.write_all(bytemuck::cast_slice(&values)).at("write", path)?,
            Stored::Bf16 => {
                for chunk in values.chunks(1 << 16) {
                    let bytes: Vec<u8> = chunk.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
                    file.write_all(&bytes).at("write", path)?;
                }
            }
        }
    }
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", path)?;
    file.sync_all().at("write", path)
}

fn config(config: &DecoderConfig, vocabulary: &Vocabulary, stored: Stored) -> Value {
    let scaling = config.rope_scaling.map(|scaling| match scaling {
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low, high, original_context } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original_context,
        }),
    });
    let mut described = json!({
        "architectures": [config.family.class()],
        "model_type": config.family.name(),
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.context,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_eps,
        "rope_theta": config.rope_base,
        "rope_scaling": scaling,
        "tie_word_embeddings": config.tied,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "torch_dtype": stored.names()[1],
    });
    if config.family.states_attention_bias() {
        described["attention_bias"] = config.qkv_bias.into();
    }
    described
}

fn token(vocabulary: &Vocabulary, id: Option<u32>) -> Option<&str> {
    vocabulary.tokens.get(id? as usize).map(String::as_str)
}

fn tokenizer_config(config: &DecoderConfig, vocabulary: &Vocabulary) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token(vocabulary, vocabulary.bos),
        "eos_token": token(vocabulary, vocabulary.eos),
        "model_max_length": config.context,
        "clean_up_tokenization_spaces": false,
    })
}

fn tokenizer(vocabulary: &Vocabulary) -> Value {
    let ids: Map<String, Value> = vocabulary.tokens.iter().zip(0_u32..).map(|(token, id)| (token.clone(), id.into())).collect();
    let merges: Vec<Value> =
        vocabulary.merges.iter().map(|merge| merge.split_once(' ').map_or(Value::Null, |(a, b)| json!([a, b]))).collect();
    let added = vocabulary.tokens.iter().zip(&vocabulary.kinds).zip(0_u32..).filter(|((_, kind), _)| matches!(kind, 2..=4));
    let added: Vec<Value> = added
        .map(|((token, kind), id)| {
            json!({
                "id": id, "content": token, "special": *kind != 4,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": vocabulary.pre.described(),
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": vocabulary.ignore_merges,
            "vocab": ids,
            "merges": merges,
        },
    })
}
