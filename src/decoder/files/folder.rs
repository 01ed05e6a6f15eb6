//! A model as Hugging Face's libraries save it: a folder with `config.json`, one or more safetensors files, `tokenizer.json` and,
//! for chats, a template in `chat_template.jinja` or `tokenizer_config.json`.
//!
//! A `tokenizer.json` can describe any pipeline; taken are those whose ids [`Tokenizer`](super::tokenizer::Tokenizer) gives. One
//! difference stays: where it normalises text to NFC, this program leaves the text as it is, as llama.cpp does.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::chat::ChatTemplate;
use super::shape::{DecoderConfig, Family, RopeScaling};
use super::stand_in::stand_in;
use super::tokenizer::{Pre, Vocabulary};
use super::trial;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::{read_file, read_text};
use crate::base::hash::sha256_list;

const TOKENS_MAP: &str = "special_tokens_map.json";
const GENERATION: &str = "generation_config.json";
const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";
/// Bytes of a JSON file; the longest is a tokenizer of 256,000 words.
const MOST_JSON: u64 = 128 << 20;

/// An open folder; weights are read when asked for.
pub(crate) struct Folder {
    path: PathBuf,
    /// Sorted by name.
    weight_files: Vec<PathBuf>,
    weights: MmapedSafetensors,
    config: Value,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Folder {
    /// # Errors
    /// Where a part is missing or damaged.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let config = json(&path.join("config.json"))?.ok_or_else(|| {
            Error::input(format!("{} holds no config.json", path.display()))
                .hint("give a .gguf file or a folder as Hugging Face's libraries save it")
        })?;
        let weight_files = weight_files(path)?;
        if weight_files.is_empty() {
            let error = Error::input(format!("{} holds no .safetensors file", path.display()));
            return Err(error.hint("weights in other formats are to be converted first"));
        }
        // SAFETY: the mapping is sound as long as nobody changes the files while the program runs, as for any mapped file.
        let weights = unsafe { MmapedSafetensors::multi(&weight_files) }.map_err(|e| {
            let damaged =
                || Error::input(format!("{}: a .safetensors file is damaged", path.display())).hint("fetch or copy it again").caused_by(e);
            weight_files.iter().find_map(|file| stand_in(file)).unwrap_or_else(damaged)
        })?;
        Ok(Self { path: path.to_path_buf(), weight_files, weights, config })
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// Where `config.json` describes no model that this program can run.
    pub(crate) fn config(&self) -> Result<DecoderConfig> {
        let config = &self.config;
        let kind = config["model_type"].as_str().unwrap_or("unknown");
        let family = Family::from_name(kind).ok_or_else(|| {
            self.error(format!("models of the type '{kind}' are not supported")).hint("supported are llama, qwen2 and qwen3")
        })?;
        let refuse = |what: &str| Err(self.error(format!("config.json: {what} is not supported")));
        let absent = |value: &Value| value.is_null() || *value == Value::Bool(false);
        if config["hidden_act"].as_str().is_some_and(|act| act != "silu") {
            return refuse("a hidden_act other than silu");
        }
        if !absent(&config["quantization_config"]) {
            return refuse("a quantisation of safetensors");
        }
        let sliding = config["layer_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind != "full_attention"));
        if sliding || !absent(&config["use_sliding_window"]) {
            return refuse("sliding-window attention");
        }
        let rope = &config["rope_parameters"];
        let scaling = if rope.is_null() { &config["rope_scaling"] } else { rope };
        let rope_scaling = match scaling["rope_type"].as_str().or(scaling["type"].as_str()) {
            Some("default") => None,
            None if absent(scaling) => None,
            Some("linear") => {
                let factor = scaling["factor"].as_f64();
                let factor = factor.ok_or_else(|| self.error("config.json: the position encoding is scaled linearly, but by no factor"))?;
                Some(RopeScaling::Linear { factor })
            }
            Some("llama3") => Some(
                serde_json::from_value(scaling.clone())
                    .map(Llama3::scaling)
                    .map_err(|e| self.error("config.json: the scaling of the position encoding is incomplete").caused_by(e))?,
            ),
            kind => {
                let kind = kind.unwrap_or("of no name");
                return refuse(&format!("a position encoding scaled in another way than linearly or as Llama 3's ({kind})"));
            }
        };
        if rope["partial_rotary_factor"].as_f64().is_some_and(|share| share != 1.0) {
            return refuse("a position encoding of a part of each head");
        }
        let count = |key: &str| {
            let number = config[key].as_u64().filter(|&n| u32::try_from(n).is_ok());
            number.map(|n| n as usize).ok_or_else(|| self.error(format!("config.json: {key} is missing or not a count")))
        };
        let optional = |key: &str, otherwise: usize| if config[key].is_null() { Ok(otherwise) } else { count(key) };
        let (width, heads) = (count("hidden_size")?, count("num_attention_heads")?);
        let rms_eps = config["rms_norm_eps"].as_f64().ok_or_else(|| self.error("config.json: rms_norm_eps is missing"))?;
        Ok(DecoderConfig {
            family,
            vocab: count("vocab_size")?,
            width,
            layers: count("num_hidden_layers")?,
            heads,
            kv_heads: optional("num_key_value_heads", heads)?,
            head_dim: optional("head_dim", width.checked_div(heads).unwrap_or_default())?,
            ffn: count("intermediate_size")?,
            context: count("max_position_embeddings")?,
            rope_base: rope["rope_theta"].as_f64().or(config["rope_theta"].as_f64()).unwrap_or(10_000.0),
            rope_scaling,
            rms_eps,
            tied: self.is_tied()?,
            qkv_bias: self.weights.get("model.layers.0.self_attn.q_proj.bias").is_ok(),
            qk_norm: family.has_head_norms(),
        })
    }

    /// Whether the output layer is the embedding. A file that says so and holds an output layer of other values keeps that one, as in
    /// transformers (5.24); an equal one is a copy.
    fn is_tied(&self) -> Result<bool> {
        if self.config["tie_word_embeddings"] != true {
            return Ok(false);
        }
        let (Ok(head), Ok(embedding)) = (self.weights.get(HEAD), self.weights.get(EMBEDDING)) else { return Ok(true) };
        if head.shape() != embedding.shape() || head.dtype() == embedding.dtype() {
            return Ok(head.shape() == embedding.shape() && head.data() == embedding.data());
        }
        let difference = (self.tensor(HEAD)? - self.tensor(EMBEDDING)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
        Ok(difference == 0.0)
    }

    /// The shape of every weight of a model whose output layer is `tied` or not; a copy of a tied one, which some files carry, is left out.
    #[must_use]
    pub(crate) fn shapes(&self, tied: bool) -> HashMap<String, Vec<usize>> {
        // The speeds of the position encoding are computed; older files store them too.
        let kept = |name: &str| !(tied && name == HEAD || name.ends_with("rotary_emb.inv_freq"));
        let all = self.weights.tensors().into_iter().filter(|(name, _)| kept(name));
        all.map(|(name, view)| (name, view.shape().to_vec())).collect()
    }

    /// Whether every weight is bf16.
    #[must_use]
    pub(crate) fn is_bf16(&self) -> bool {
        self.weights.tensors().iter().all(|(_, view)| view.dtype() == safetensors::Dtype::BF16)
    }

    /// A weight as f32 on the CPU.
    ///
    /// # Errors
    /// Where there is no such weight, or it is of a type without a meaning as f32.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.weights.load(name, &Device::Cpu)?.to_dtype(DType::F32)?)
    }

    /// # Errors
    /// Where `tokenizer.json` is missing or describes a pipeline that this program does not have.
    pub(crate) fn vocabulary(&self) -> Result<Vocabulary> {
        let described = json(&self.path.join("tokenizer.json"))?.ok_or_else(|| self.error("tokenizer.json is missing"))?;
        let refuse = |what: &str| self.error(format!("tokenizer.json: {what} is not supported"));
        let model = &described["model"];
        let entries = model["vocab"].as_object().filter(|_| model["type"] == "BPE").ok_or_else(|| refuse("a model other than BPE"))?;
        let normalizer = &described["normalizer"];
        if !normalizer.is_null() && normalizer["type"] != "NFC" {
            return Err(refuse("its normalizer"));
        }
        let pre = pre_tokenizer(&described["pre_tokenizer"]).ok_or_else(|| refuse("its pre_tokenizer"))?;
        let affix =
            ["continuing_subword_prefix", "end_of_word_suffix"].iter().any(|key| model[key].as_str().is_some_and(|text| !text.is_empty()));
        if model["byte_fallback"] == true || affix {
            return Err(refuse("its kind of BPE"));
        }
        let ignore_merges = model["ignore_merges"] == true;
        let added = described["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(token) = added.iter().find(|token| ["lstrip", "rstrip", "single_word"].iter().any(|key| token[key] == true)) {
            return Err(refuse(&format!("the token {}, which takes the space beside it away", token["content"])));
        }
        let added = added.iter().map(|token| (token["content"].as_str(), &token["id"], if token["special"] == true { 3 } else { 4 }));
        let listed = entries.iter().map(|(token, id)| (Some(token.as_str()), id, 1));
        let mut tokens = Vec::new();
        let mut kinds = Vec::new();
        for (token, id, kind) in listed.chain(added) {
            let id = id.as_u64().filter(|&id| id < 1 << 22).map(|id| id as usize);
            let (Some(token), Some(id)) = (token, id) else { return Err(self.error("tokenizer.json: a token has no text or no id")) };
            if id >= tokens.len() {
                tokens.resize(id + 1, None);
                kinds.resize(id + 1, 5);
            }
            tokens[id] = Some(token.to_owned());
            kinds[id] = kind;
        }
        let tokens = tokens.into_iter().enumerate().map(|(id, token)| token.unwrap_or_else(|| format!("[unused {id}]"))).collect();
        let merges = model["merges"].as_array().map(Vec::as_slice).unwrap_or_default();
        let merges: Option<Vec<String>> = merges
            .iter()
            .map(|merge| match merge {
                Value::String(text) => Some(text.clone()),
                pair => Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)),
            })
            .collect();
        let merges = merges.ok_or_else(|| self.error("tokenizer.json: a merge is not two texts"))?;
        let (bos, eos) = self.ends()?;
        let id = |token: Option<String>| token.and_then(|token| find_id(&described, &token));
        let eos = match id(eos) {
            Some(id) => Some(id),
            None => self.stop_id()?,
        };
        Ok(Vocabulary { tokens, kinds, merges, pre, ignore_merges, bos: id(bos), eos })
    }

    /// # Errors
    /// Where the template cannot be parsed.
    pub(crate) fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        let file = self.path.join("chat_template.jinja");
        let text = if file.try_exists().at("read", &file)? {
            Some(read_text(&file, "read")?)
        } else {
            self.stated_template(&self.tokenizer_config()?["chat_template"])?
        };
        let (bos, eos) = self.ends()?;
        text.map(|text| trial::compiled(&text, &bos.unwrap_or_default(), &eos.unwrap_or_default())).transpose()
    }

    /// The template of `tokenizer_config.json`: a text, or several by their names, of which transformers takes `default`.
    fn stated_template(&self, stated: &Value) -> Result<Option<String>> {
        let named: Vec<(&str, &str)> = match stated {
            Value::Null => return Ok(None),
            Value::String(text) => return Ok(Some(text.clone())),
            Value::Array(list) => list.iter().filter_map(|entry| Some((entry["name"].as_str()?, entry["template"].as_str()?))).collect(),
            Value::Object(map) => map.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?))).collect(),
            _ => Vec::new(),
        };
        let default = named.iter().find(|(name, _)| *name == "default").map(|(_, text)| (*text).to_owned());
        let names = || named.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        default.map(Some).ok_or_else(|| {
            self.error(format!("tokenizer_config.json: chat_template names no template 'default' (it names: {})", names()))
                .hint("write the template to be used into chat_template.jinja beside it")
        })
    }

    /// The files that make the model, sorted by name.
    #[must_use]
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut others = vec!["chat_template.jinja", "config.json", "tokenizer.json", "tokenizer_config.json"];
        // Of these only the end of a text is read, and only where the others do not name it.
        let named = self.tokenizer_config().is_ok_and(|config| !config["eos_token"].is_null());
        if !named {
            others.extend([GENERATION, TOKENS_MAP]);
        }
        let mut files: Vec<PathBuf> = others.iter().map(|name| self.path.join(name)).filter(|file| file.is_file()).collect();
        files.extend(self.weight_files.iter().cloned());
        files.sort();
        files
    }

    /// What the head of the model card states.
    ///
    /// # Errors
    /// Where the card cannot be read.
    pub(crate) fn licence(&self) -> Result<Option<String>> {
        let card = self.path.join("README.md");
        if !card.try_exists().at("read", &card)? {
            return Ok(None);
        }
        let text = read_text(&card, "read")?;
        let mut lines = text.lines();
        if lines.next() != Some("---") {
            return Ok(None);
        }
        let stated = lines.take_while(|line| *line != "---").find_map(|line| line.strip_prefix("license:"));
        Ok(stated.map(|licence| licence.trim().trim_matches(['"', '\'']).to_owned()).filter(|licence| !licence.is_empty()))
    }

    /// The SHA-256 of the lines `hash  name` of all files that make the model, sorted by name.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub(crate) fn sha256(&self) -> Result<String> {
        let files = self.files();
        sha256_list(files.iter().map(|file| (file.as_path(), file.file_name().unwrap_or_default().to_string_lossy().into_owned())))
    }

    /// The tokens that begin and end a text, as they are written. Older models name them in `special_tokens_map.json`.
    fn ends(&self) -> Result<(Option<String>, Option<String>)> {
        let config = self.tokenizer_config()?;
        let map = json(&self.path.join(TOKENS_MAP))?.unwrap_or_default();
        // Older files write a token as an object.
        let read = |from: &Value, key: &str| from[key].as_str().or(from[key]["content"].as_str()).map(String::from);
        let token = |key: &str| read(&config, key).or_else(|| read(&map, key));
        Ok((token("bos_token"), token("eos_token")))
    }

    /// What generation stops at, the first where there are several, for a tokenizer that names no end token.
    fn stop_id(&self) -> Result<Option<u32>> {
        let generation = json(&self.path.join(GENERATION))?.unwrap_or_default();
        let stated = |from: &Value| from["eos_token_id"].as_u64().or(from["eos_token_id"][0].as_u64());
        Ok(stated(&generation).or_else(|| stated(&self.config)).and_then(|id| u32::try_from(id).ok()))
    }

    fn tokenizer_config(&self) -> Result<Value> {
        json(&self.path.join("tokenizer_config.json"))?.ok_or_else(|| self.error("tokenizer_config.json is missing"))
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: {what}", self.path.display()))
    }
}

/// Llama 3's scaling as `config.json` writes it.
#[derive(serde::Deserialize)]
struct Llama3 {
    factor: f64,
    low_freq_factor: f64,
    high_freq_factor: f64,
    original_max_position_embeddings: usize,
}

impl Llama3 {
    fn scaling(self) -> RopeScaling {
        let Self { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original_context } = self;
        RopeScaling::Llama3 { factor, low, high, original_context }
    }
}

/// The shards that the index names, else `model.safetensors`, else whatever there is, sorted by name. A repository may hold the same
/// weights once more in other files.
fn weight_files(path: &Path) -> Result<Vec<PathBuf>> {
    if let Some(index) = json(&path.join("model.safetensors.index.json"))? {
        let shards = index["weight_map"].as_object().into_iter().flat_map(|map| map.values()).filter_map(Value::as_str);
        let names: BTreeSet<&str> = shards.filter(|name| !name.contains(['/', '\\'])).collect();
        let files: Vec<PathBuf> = names.into_iter().map(|name| path.join(name)).collect();
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            return Err(Error::input(format!("{} is missing", missing.display())).hint("fetch or copy the model again, all of it"));
        }
        return Ok(files);
    }
    let whole = path.join("model.safetensors");
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().at("read", path)? {
        let file = entry.at("read", path)?.path();
        if file.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// A JSON file, or none where there is no such file.
fn json(path: &Path) -> Result<Option<Value>> {
    if !path.try_exists().at("read", path)? {
        return Ok(None);
    }
    serde_json::from_slice(&read_file(path, "read", MOST_JSON)?).map(Some).map_err(|e| {
        let not_json = || Error::input(format!("{} is not JSON", path.display())).hint("fetch or copy it again").caused_by(e);
        stand_in(path).unwrap_or_else(not_json)
    })
}

fn find_id(described: &Value, token: &str) -> Option<u32> {
    let added = described["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    let id = added.iter().find(|entry| entry["content"] == token).map_or(&described["model"]["vocab"][token], |entry| &entry["id"]);
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// The pipeline of this description: cuts, then bytes. Known ones by their names.
fn pre_tokenizer(described: &Value) -> Option<Pre> {
    let one = [described.clone()];
    let steps = if described["type"] == "Sequence" { described["pretokenizers"].as_array()?.as_slice() } else { &one };
    let (bytes, cuts) = steps.split_last()?;
    if bytes["type"] != "ByteLevel" || bytes["add_prefix_space"] == true {
        return None;
    }
    let known = match (cuts, bytes["use_regex"] != false) {
        ([], true) => Some(Pre::Gpt2),
        ([first], true) if first["type"] == "Digits" && first["individual_digits"] == true => Some(Pre::Smollm),
        ([first], false) if first["type"] == "Split" => {
            // What a pattern that matches everything does not leave over is the same as what it cuts out.
            let whole = (first["behavior"] == "Isolated" && first["invert"] == false)
                || (first["behavior"] == "Removed" && first["invert"] == true);
            first["pattern"]["Regex"].as_str().filter(|_| whole).and_then(Pre::from_pattern)
        }
        _ => None,
    };
    let can = |step: &Value| match step["type"].as_str() {
        Some("Digits") => true,
        // What is removed would be lost from the text.
        Some("Split") => step["behavior"] != "Removed" || step["invert"] == true,
        _ => false,
    };
    known.or_else(|| cuts.iter().all(can).then(|| Pre::Described(described.to_string().into())))
}
