//! A model on disk: its shape, its weights under their Hugging Face names, its tokenizer and its chat template.
//!
//! GGUF names weights otherwise (`blk.0.attn_q.weight`) and stores the rows of q and k of the Llama family in the order of interleaved RoPE. Both are undone
//! here: with row (head, j, s) of the file being row (head, s, j) of Hugging Face's layout, j < head_dim / 2, s < 2, the
//! decoder rotates halves for every family.
//!
//! A file is refused when it lacks a weight the family needs, when a shape differs, and when it holds a weight the decoder does
//! not know, since leaving one out would change the model silently.

use std::collections::HashSet;
use std::path::Path;

use candle_core::Tensor;
use sha2::{Digest, Sha256};

use super::chat::ChatTemplate;
use super::config::{DecoderConfig, Family};
use super::gguf::{Gguf, Value};
use super::tokenizer::{Pre, Tokenizer, Vocabulary};
use crate::error::{AtPath, Error, Result};

/// An open model; weights are read when asked for.
#[derive(Debug)]
pub struct ModelFile {
    gguf: Gguf,
    config: DecoderConfig,
}

/// One weight of the decoder under both its names.
struct Weight {
    hugging_face: String,
    gguf: String,
    dims: Vec<usize>,
    /// The heads whose rows GGUF interleaves.
    interleaved: Option<usize>,
}

impl ModelFile {
    /// Opens a GGUF file and checks that everything the decoder needs is in it.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or is a model this program cannot run.
    pub fn open(path: &Path) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let config = read_config(&gguf)?;
        check_weights(&gguf, &config)?;
        Ok(Self { gguf, config })
    }

    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.gguf.path()
    }

    /// What the file calls itself, else the name of the file.
    #[must_use]
    pub fn name(&self) -> String {
        match self.gguf.get("general.name") {
            Some(Value::Text(name)) => name.clone(),
            _ => self.path().file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    /// The SHA-256 of the whole file, in hexadecimal.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        sha256(self.path())
    }

    /// Whether there is a weight of this Hugging Face name.
    #[must_use]
    pub fn has_tensor(&self, name: &str) -> bool {
        weights(&self.config).iter().any(|weight| weight.hugging_face == name)
    }

    /// A weight as f32 on the CPU, in Hugging Face's layout.
    ///
    /// # Errors
    /// Where the model has no such weight or the file cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let weight = weights(&self.config).into_iter().find(|weight| weight.hugging_face == name);
        let weight = weight.ok_or_else(|| Error::machine(format!("{} has no weight {name}", self.path().display())))?;
        let tensor = self.gguf.tensor(&weight.gguf)?;
        match weight.interleaved {
            None => Ok(tensor),
            Some(heads) => rotate_halves(&tensor, heads),
        }
    }

    /// # Errors
    /// Where the file has no tokenizer, or one that is not supported.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let gguf = &self.gguf;
        let kind = gguf.text("tokenizer.ggml.model")?;
        if kind != "gpt2" {
            return Err(gguf
                .error(format!("the tokenizer is of the kind '{kind}'"))
                .hint("supported are byte-level BPE tokenizers ('gpt2')"));
        }
        let pre = gguf.text("tokenizer.ggml.pre")?;
        let pre = Pre::from_name(pre).ok_or_else(|| {
            let known: Vec<_> = Pre::ALL.map(Pre::name).to_vec();
            gguf.error(format!("the pre-tokenizer '{pre}' is not supported")).hint(format!("supported are {}", known.join(", ")))
        })?;
        let token = |key: &str| match gguf.get(key) {
            None => Ok(None),
            Some(_) => gguf.count(key).map(|id| Some(id as u32)),
        };
        let vocabulary = Vocabulary {
            tokens: gguf.texts("tokenizer.ggml.tokens")?.to_vec(),
            kinds: gguf.ints("tokenizer.ggml.token_type")?.to_vec(),
            merges: gguf.texts("tokenizer.ggml.merges")?.to_vec(),
            pre,
            bos: token("tokenizer.ggml.bos_token_id")?,
            eos: token("tokenizer.ggml.eos_token_id")?,
        };
        if vocabulary.tokens.len() > self.config.vocab {
            return Err(gguf.error(format!("{} tokens, but embeddings for {}", vocabulary.tokens.len(), self.config.vocab)));
        }
        Tokenizer::new(vocabulary).map_err(|flaw| gguf.error(flaw))
    }

    /// The chat template, where the model has one.
    ///
    /// # Errors
    /// Where it cannot be parsed.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        let Some(Value::Text(text)) = self.gguf.get("tokenizer.chat_template") else { return Ok(None) };
        ChatTemplate::new(text, &self.tokenizer()?).map(Some)
    }
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// Where it cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).at("open", path)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).at("read", path)?;
    Ok(hex(&hash.finalize()))
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_config(gguf: &Gguf) -> Result<DecoderConfig> {
    let architecture = gguf.text("general.architecture")?;
    let family = Family::from_name(architecture).ok_or_else(|| {
        gguf.error(format!("models of the architecture '{architecture}' are not supported")).hint("supported are llama, qwen2 and qwen3")
    })?;
    let key = |name: &str| format!("{architecture}.{name}");
    let optional = |name: &str, otherwise: usize| match gguf.get(&key(name)) {
        None => Ok(otherwise),
        Some(_) => gguf.count(&key(name)),
    };
    let width = gguf.count(&key("embedding_length"))?;
    let layers = gguf.count(&key("block_count"))?;
    let heads = gguf.count(&key("attention.head_count"))?;
    let kv_heads = optional("attention.head_count_kv", heads)?;
    if heads == 0 || kv_heads == 0 || heads % kv_heads != 0 || width == 0 || layers == 0 || layers > 1024 {
        return Err(gguf.error(format!("{layers} layers of width {width} with {heads} heads over {kv_heads} make no model")));
    }
    let head_dim = optional("attention.key_length", width / heads)?;
    if head_dim == 0 || head_dim % 2 != 0 || optional("attention.value_length", head_dim)? != head_dim {
        return Err(gguf
            .error(format!("heads of {head_dim} numbers for keys are not supported"))
            .hint("they are to be even, and as many for values"));
    }
    if optional("rope.dimension_count", head_dim)? != head_dim {
        return Err(gguf.error("its position encoding turns only a part of each head, which is not supported"));
    }
    if optional("expert_count", 0)? != 0 {
        return Err(gguf.error("mixtures of experts are not supported"));
    }
    let scaling = gguf.get(&key("rope.scaling.type"));
    let scaled = scaling.is_some_and(|kind| *kind != Value::Text("none".into()));
    if scaled || gguf.tensors().contains_key("rope_freqs.weight") {
        return Err(gguf.error("its position encoding is scaled, which is not supported"));
    }
    let rows = |name: &str| gguf.tensors().get(name).map(|info| info.dims[0]);
    let vocab = rows("token_embd.weight").ok_or_else(|| gguf.error("the tensor token_embd.weight is missing"))?;
    Ok(DecoderConfig {
        family,
        vocab,
        width,
        layers,
        heads,
        kv_heads,
        head_dim,
        ffn: gguf.count(&key("feed_forward_length"))?,
        context: gguf.count(&key("context_length"))?,
        rope_base: match gguf.get(&key("rope.freq_base")) {
            None => 10_000.0,
            Some(_) => gguf.number(&key("rope.freq_base"))?,
        },
        rms_eps: gguf.number(&key("attention.layer_norm_rms_epsilon"))?,
        tied: rows("output.weight").is_none(),
        qkv_bias: rows("blk.0.attn_q.bias").is_some(),
        qk_norm: family == Family::Qwen3,
    })
}

fn check_weights(gguf: &Gguf, config: &DecoderConfig) -> Result<()> {
    let weights = weights(config);
    for weight in &weights {
        let info = gguf.tensors().get(&weight.gguf).ok_or_else(|| gguf.error(format!("the tensor {} is missing", weight.gguf)))?;
        if info.dims != weight.dims {
            return Err(gguf.error(format!("the tensor {} has the shape {:?}, not {:?}", weight.gguf, info.dims, weight.dims)));
        }
    }
    let known: HashSet<&str> = weights.iter().map(|weight| weight.gguf.as_str()).collect();
    let mut unknown: Vec<_> = gguf.tensors().keys().filter(|name| !known.contains(name.as_str())).collect();
    unknown.sort();
    match unknown.first() {
        None => Ok(()),
        Some(name) => Err(gguf
            .error(format!("it holds the tensor {name}, which a {} decoder does not have", config.family.name()))
            .hint("the model is of a variant that this program cannot run")),
    }
}

/// Every weight of a decoder.
fn weights(config: &DecoderConfig) -> Vec<Weight> {
    let DecoderConfig { vocab, width, heads, kv_heads, head_dim, ffn, .. } = *config;
    let plain = |hugging_face: String, gguf: String, dims: &[usize]| Weight { hugging_face, gguf, dims: dims.to_vec(), interleaved: None };
    let mut all = vec![
        plain("model.embed_tokens.weight".into(), "token_embd.weight".into(), &[vocab, width]),
        plain("model.norm.weight".into(), "output_norm.weight".into(), &[width]),
    ];
    if !config.tied {
        all.push(plain("lm_head.weight".into(), "output.weight".into(), &[vocab, width]));
    }
    for layer in 0..config.layers {
        let mut add = |ours: &str, theirs: &str, dims: &[usize], rotated: Option<usize>| {
            all.push(Weight {
                hugging_face: format!("model.layers.{layer}.{ours}"),
                gguf: format!("blk.{layer}.{theirs}"),
                dims: dims.to_vec(),
                interleaved: rotated.filter(|_| config.family == Family::Llama),
            });
        };
        add("input_layernorm.weight", "attn_norm.weight", &[width], None);
        add("post_attention_layernorm.weight", "ffn_norm.weight", &[width], None);
        for (ours, theirs, heads, rotated) in
            [("q_proj", "attn_q", heads, Some(heads)), ("k_proj", "attn_k", kv_heads, Some(kv_heads)), ("v_proj", "attn_v", kv_heads, None)]
        {
            add(&format!("self_attn.{ours}.weight"), &format!("{theirs}.weight"), &[heads * head_dim, width], rotated);
            if config.qkv_bias {
                add(&format!("self_attn.{ours}.bias"), &format!("{theirs}.bias"), &[heads * head_dim], rotated);
            }
        }
        if config.qk_norm {
            add("self_attn.q_norm.weight", "attn_q_norm.weight", &[head_dim], None);
            add("self_attn.k_norm.weight", "attn_k_norm.weight", &[head_dim], None);
        }
        add("self_attn.o_proj.weight", "attn_output.weight", &[width, heads * head_dim], None);
        add("mlp.gate_proj.weight", "ffn_gate.weight", &[ffn, width], None);
        add("mlp.up_proj.weight", "ffn_up.weight", &[ffn, width], None);
        add("mlp.down_proj.weight", "ffn_down.weight", &[width, ffn], None);
    }
    all
}

/// From rows in the order (head, j, s) to (head, s, j).
fn rotate_halves(tensor: &Tensor, heads: usize) -> Result<Tensor> {
    let dims = tensor.dims().to_vec();
    let rows = dims[0];
    let columns = tensor.elem_count() / rows;
    let pairs = tensor.reshape((heads, rows / heads / 2, 2, columns))?;
    Ok(pairs.transpose(1, 2)?.contiguous()?.reshape(dims)?)
}
