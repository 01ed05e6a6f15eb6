//! A model on disk: its shape, its weights under their Hugging Face names, its tokenizer and its chat template.
//!
//! GGUF names weights otherwise (`blk.0.attn_q.weight`) and stores the rows of q and k of the Llama family in the order of
//! interleaved `RoPE`. Both are undone here: row (head, j, s) of the file is row (head, s, j) of Hugging Face's layout, with
//! `j < head_dim / 2` and `s < 2`, so the decoder rotates halves for every family.
//!
//! A file is refused when it lacks a weight the family needs, when a shape differs, and when it holds a weight the decoder does
//! not know, since leaving one out would change the model silently.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use candle_core::quantized::GgmlDType;

use super::chat::ChatTemplate;
use super::folder::Folder;
use super::gguf::{Gguf, Value};
use super::hub::repo_of;
use super::shape::{DecoderConfig, Family, RopeScaling};
use super::tokenizer::{Pre, Tokenizer, Vocabulary};
use super::trial;
use crate::base::error::{AtPath, Error, Result};
use crate::base::hash::{sha256_file, sha256_list};
use crate::decoder::model::weight::Part;
use crate::decoder::settings::llm::Dtype;

/// An open model; weights are read when asked for.
#[derive(Debug)]
pub struct ModelFile {
    source: Source,
    config: DecoderConfig,
}

#[derive(Debug)]
enum Source {
    Gguf(Gguf),
    Folder(Folder),
}

/// One weight of the decoder under both its names.
struct Weight {
    hugging_face: String,
    gguf: String,
    dims: Vec<usize>,
    /// The heads whose rows GGUF interleaves.
    interleaved: Option<usize>,
}

/// A matrix of the model and how the file has it.
pub(crate) struct Matrix {
    /// Hugging Face's.
    pub(crate) name: String,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) dtype: GgmlDType,
    pub(crate) bytes: u64,
}

impl ModelFile {
    /// Opens a GGUF file or a Hugging Face folder and checks that everything the decoder needs is in it.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or is a model this program cannot run.
    pub fn open(path: &Path) -> Result<Self> {
        let (source, config) = if path.is_dir() {
            let folder = Folder::open(path)?;
            let config = folder.config()?;
            (Source::Folder(folder), config)
        } else {
            let gguf = Gguf::open(path)?;
            let config = read_config(&gguf)?;
            (Source::Gguf(gguf), config)
        };
        let model = Self { source, config };
        if let Some(flaw) = model.config.flaw() {
            return Err(model.error(flaw));
        }
        model.check_weights()?;
        Ok(model)
    }

    /// The shape of its decoder.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The file or folder; of a split file the first part.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.source {
            Source::Gguf(gguf) => gguf.path(),
            Source::Folder(folder) => folder.path(),
        }
    }

    /// What the file calls itself, else its name.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.source {
            Source::Gguf(gguf) if gguf.text("general.name").is_ok_and(|name| !name.is_empty()) => {
                gguf.text("general.name").unwrap_or_default().to_owned()
            }
            Source::Folder(folder) if repo_of(folder.path()).is_some() => repo_of(folder.path()).unwrap_or_default(),
            _ => self.path().file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    /// The licence, where the model's own files state one.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(crate) fn licence(&self) -> Result<Option<String>> {
        match &self.source {
            Source::Gguf(gguf) => Ok(gguf.text("general.license").ok().map(String::from)),
            Source::Folder(folder) => folder.licence(),
        }
    }

    /// The files that make the model.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.source {
            Source::Gguf(gguf) => gguf.paths().to_vec(),
            Source::Folder(folder) => folder.files(),
        }
    }

    /// Their size together.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub(crate) fn bytes(&self) -> Result<u64> {
        self.files().iter().map(|file| Ok(file.metadata().at("read", file)?.len())).sum()
    }

    /// The SHA-256 of the whole file, in hexadecimal; of a folder or a split file, that of the list of its files' hashes and names.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        match &self.source {
            Source::Gguf(gguf) => match gguf.paths() {
                [one] => sha256_file(one),
                // A part's name is the user's to choose, its number is not.
                parts => sha256_list(parts.iter().enumerate().map(|(i, path)| (path.as_path(), i.to_string()))),
            },
            Source::Folder(folder) => folder.sha256(),
        }
    }

    /// Whether there is a weight of this Hugging Face name.
    #[must_use]
    pub fn has_tensor(&self, name: &str) -> bool {
        weights(&self.config).iter().any(|weight| weight.hugging_face == name)
    }

    /// Every weight's Hugging Face name and shape.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        weights(&self.config).into_iter().map(|weight| (weight.hugging_face, weight.dims)).collect()
    }

    /// Every matrix, as it lies on disk; those of a folder are bf16 where all are, else f32.
    #[must_use]
    pub(crate) fn matrices(&self) -> Vec<Matrix> {
        let of_folder = match &self.source {
            Source::Folder(folder) if folder.is_bf16() => GgmlDType::BF16,
            _ => GgmlDType::F32,
        };
        let matrix = |weight: Weight| {
            let [rows, columns] = weight.dims[..] else { return None };
            let dtype = match &self.source {
                Source::Gguf(gguf) => gguf.tensors().get(&weight.gguf).map_or(of_folder, |info| info.dtype),
                Source::Folder(_) => of_folder,
            };
            let bytes = (rows * columns / dtype.block_size() * dtype.type_size()) as u64;
            Some(Matrix { name: weight.hugging_face, rows, columns, dtype, bytes })
        };
        weights(&self.config).into_iter().filter_map(matrix).collect()
    }

    /// A weight as f32 on the CPU, in Hugging Face's layout.
    ///
    /// # Errors
    /// Where the model has no such weight or the file cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let weight = self.weight(name)?;
        match &self.source {
            Source::Folder(folder) => folder.tensor(name),
            Source::Gguf(gguf) => match weight.interleaved {
                None => gguf.tensor(&weight.gguf),
                Some(heads) => rotate_halves(&gguf.tensor(&weight.gguf)?, heads),
            },
        }
    }

    /// A matrix in a narrow type, its rows in Hugging Face's order.
    ///
    /// # Errors
    /// Where the model has no such matrix, the file cannot be read, or its blocks are wanted and it has none.
    pub fn narrow(&self, name: &str, dtype: Dtype) -> Result<Part> {
        if dtype != Dtype::Quantized {
            return Ok(Part::bf16(&self.tensor(name)?)?);
        }
        let Source::Gguf(gguf) = &self.source else {
            return Err(self.error("its weights are not quantised").hint("set llm.dtype to bf16 or f32, or use a GGUF file of the model"));
        };
        let weight = self.weight(name)?;
        let (dtype, bytes) = gguf.raw(&weight.gguf)?;
        let part = match weight.dims[..] {
            [rows, columns] => Part::new(dtype, rows, columns, &bytes),
            _ => None,
        };
        let part = part.ok_or_else(|| self.error(format!("the tensor {} is no matrix of whole blocks", weight.gguf)))?;
        Ok(match weight.interleaved {
            None => part,
            Some(heads) => {
                // From rows in the order (head, j, s) to (head, s, j).
                let (head, half) = (part.rows / heads, part.rows / heads / 2);
                part.reordered(|row| row / head * head + row % half * 2 + row % head / half)
            }
        })
    }

    /// Whether [`ModelFile::narrow`] gives its matrices as the file has them.
    pub(crate) fn has_blocks(&self) -> bool {
        matches!(self.source, Source::Gguf(_))
    }

    /// # Errors
    /// Where the file has no tokenizer, or one that is not supported.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let vocabulary = self.vocabulary()?;
        if vocabulary.tokens.len() > self.config.vocab {
            return Err(self.error(format!("{} tokens, but embeddings for {}", vocabulary.tokens.len(), self.config.vocab)));
        }
        let tokenizer = Tokenizer::new(vocabulary).map_err(|flaw| self.error(flaw))?;
        if let Some(lost) = tokenizer.lost(PRINTED) {
            let error = self.error(format!("its vocabulary has no token for {lost:?}, of which sources are written"));
            return Err(error.hint("the vocabulary is not whole, or not byte-level; use another conversion of the model"));
        }
        // Where a template closes an answer with another token than the file's end, the model learned to end answers with that one.
        let end = self.chat_template()?.and_then(|template| template.end_of_answer(&tokenizer));
        Ok(match end {
            Some(end) => tokenizer.ending_with(end),
            None => tokenizer,
        })
    }

    /// What a run reads besides the weights: that it can be read, and what is to be known of it.
    ///
    /// # Errors
    /// Where a run would refuse it.
    pub fn check(&self) -> Result<Vec<String>> {
        let tokenizer = self.tokenizer()?;
        let mut notes = Vec::new();
        let Some(template) = self.chat_template()? else {
            notes.push("it has no chat template: prompts are plain text".into());
            return Ok(notes);
        };
        if template.folds_system() {
            notes.push("its chat template takes no system turn: that text goes in front of the user's".into());
        }
        if template.tells_the_date() {
            notes.push(format!("its chat template tells the date; here it is always {}, so that a run repeats itself", super::chat::TODAY));
        }
        let stated = self.vocabulary()?.eos;
        if let (Some(end), Some(stated)) = (tokenizer.token(tokenizer.eos()), stated.filter(|id| *id != tokenizer.eos())) {
            let stated = tokenizer.token(stated).unwrap_or_default();
            notes.push(format!("answers end with {end}, as its chat template has it, not with {stated}, its end token"));
        }
        Ok(notes)
    }

    pub(super) fn vocabulary(&self) -> Result<Vocabulary> {
        match &self.source {
            Source::Gguf(gguf) => read_vocabulary(gguf),
            Source::Folder(folder) => folder.vocabulary(),
        }
    }

    /// The chat template, where the model has one.
    ///
    /// # Errors
    /// Where it cannot be parsed.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        let template = match &self.source {
            Source::Folder(folder) => folder.chat_template()?,
            Source::Gguf(gguf) => {
                let text = match gguf.get("tokenizer.chat_template") {
                    None => return Ok(None),
                    Some(Value::Text(text)) => text,
                    Some(_) => return Err(gguf.error("the key tokenizer.chat_template is not text")),
                };
                let tokens = gguf.texts("tokenizer.ggml.tokens")?;
                let written = |part: &str| {
                    let id = token_id(gguf, part)?;
                    Ok::<_, Error>(id.and_then(|id| tokens.get(id as usize)).map_or("", String::as_str))
                };
                Some(trial::compiled(text, written("bos")?, written("eos")?)?)
            }
        };
        template.as_ref().map_or(Ok(()), |template| template.check().map_err(|e| self.refused_template(e)))?;
        Ok(template)
    }

    fn refused_template(&self, error: Error) -> Error {
        let hint = error.hint_text().map_or_else(
            || "take the template of another conversion of the model; of a folder, chat_template.jinja may be edited".into(),
            String::from,
        );
        self.error(&error).hint(hint).caused_by(error)
    }

    fn weight(&self, name: &str) -> Result<Weight> {
        let weight = weights(&self.config).into_iter().find(|weight| weight.hugging_face == name);
        weight.ok_or_else(|| Error::machine(format!("{} has no weight {name}", self.path().display())))
    }

    /// What GGUF calls a weight, and how many heads its rows are interleaved by there, where they are.
    ///
    /// # Errors
    /// The model has no such weight.
    pub(crate) fn name_in_gguf(&self, name: &str) -> Result<(String, Option<usize>)> {
        let Weight { gguf, interleaved, .. } = self.weight(name)?;
        Ok((gguf, interleaved))
    }

    fn check_weights(&self) -> Result<()> {
        let weights = weights(&self.config);
        let ours = |weight: &Weight| match self.source {
            Source::Gguf(_) => weight.gguf.clone(),
            Source::Folder(_) => weight.hugging_face.clone(),
        };
        let found = match &self.source {
            Source::Gguf(gguf) => gguf.tensors().iter().map(|(name, info)| (name.clone(), info.dims.clone())).collect(),
            Source::Folder(folder) => folder.shapes(self.config.tied),
        };
        for weight in &weights {
            let name = ours(weight);
            let dims = found.get(&name).ok_or_else(|| self.missing(&name))?;
            if *dims != weight.dims {
                return Err(self.error(format!("the tensor {name} has the shape {dims:?}, not {:?}", weight.dims)));
            }
        }
        let divided = matches!(self.config.rope_scaling, Some(RopeScaling::Llama3 { .. })) && matches!(self.source, Source::Gguf(_));
        let scaled = divided.then(|| ROPE_DIVISORS.to_owned());
        let known: HashSet<String> = weights.iter().map(ours).chain(scaled).collect();
        match found.keys().filter(|name| !known.contains(*name)).min() {
            None => Ok(()),
            Some(name) => Err(self
                .error(format!("it holds the tensor {name}, which a {} decoder does not have", self.config.family.name()))
                .hint("the model is of a variant that this program cannot run")),
        }
    }

    fn missing(&self, name: &str) -> Error {
        let error = self.error(format!("the tensor {name} is missing"));
        if name == "lm_head.weight" {
            return error.hint("if its output layer is its embedding, config.json has to say \"tie_word_embeddings\": true");
        }
        error.hint("the model is not whole, or its settings are another model's; fetch or copy it again")
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: {what}", self.path().display()))
    }
}

/// What a prompt is written with.
const PRINTED: &str = "\t\n !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

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
    let head_dim = optional("attention.key_length", width.checked_div(heads).unwrap_or_default())?;
    if optional("attention.value_length", head_dim)? != head_dim {
        return Err(gguf.error("its heads have other sizes for values than for keys, which is not supported"));
    }
    if optional("rope.dimension_count", head_dim)? != head_dim {
        return Err(gguf.error("its position encoding turns only a part of each head, which is not supported"));
    }
    if optional("expert_count", 0)? != 0 {
        return Err(gguf.error("mixtures of experts are not supported"));
    }
    let linear = linear_scaling(gguf, architecture)?;
    let rows = |name: &str| gguf.tensors().get(name).map(|info| info.dims[0]);
    let vocab = rows("token_embd.weight").ok_or_else(|| gguf.error("the tensor token_embd.weight is missing"))?;
    let mut config = DecoderConfig {
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
        rope_scaling: linear,
        rms_eps: gguf.number(&key("attention.layer_norm_rms_epsilon"))?,
        tied: rows("output.weight").is_none(),
        qkv_bias: rows("blk.0.attn_q.bias").is_some(),
        qk_norm: family.has_head_norms(),
    };
    if gguf.tensors().contains_key(ROPE_DIVISORS) {
        let divisors: Vec<f32> = gguf.tensor(ROPE_DIVISORS)?.flatten_all()?.to_vec1()?;
        config.rope_scaling = config.scaling_of(&divisors);
        if config.rope_scaling.is_none() || linear.is_some() {
            return Err(gguf.error("its position encoding is scaled in a way no published Llama 3 has, which is not supported"));
        }
    }
    Ok(config)
}

/// As llama.cpp has it: without a type the scaling is linear, an older file names its factor otherwise, and a factor of 0 or 1 is none.
fn linear_scaling(gguf: &Gguf, architecture: &str) -> Result<Option<RopeScaling>> {
    let key = |name: &str| format!("{architecture}.rope.{name}");
    match gguf.get(&key("scaling.type")) {
        Some(Value::Text(kind)) if kind == "none" => return Ok(None),
        Some(Value::Text(kind)) if kind == "linear" => {}
        Some(kind) => {
            let kind = if let Value::Text(kind) = kind { kind } else { "not text" };
            return Err(gguf.error(format!(
                "its position encoding is scaled in another way than linearly or as Llama 3's, which is not supported ({})",
                format_args!("{}: {kind}", key("scaling.type"))
            )));
        }
        None => {}
    }
    let names = [key("scaling.factor"), key("scale_linear")];
    let Some(name) = names.iter().find(|name| gguf.get(name).is_some()) else { return Ok(None) };
    let factor = gguf.number(name)?;
    Ok((factor != 0.0 && factor != 1.0).then_some(RopeScaling::Linear { factor }))
}

/// A tensor of Llama 3's files: what each pair's speed is divided by.
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// The id of the token that plays this part, where the file names one.
fn token_id(gguf: &Gguf, part: &str) -> Result<Option<u32>> {
    let key = format!("tokenizer.ggml.{part}_token_id");
    match gguf.get(&key) {
        None => Ok(None),
        Some(_) => gguf.count(&key).map(|id| Some(id as u32)),
    }
}

fn read_vocabulary(gguf: &Gguf) -> Result<Vocabulary> {
    let kind = gguf.text("tokenizer.ggml.model")?;
    if kind != "gpt2" {
        return Err(gguf.error(format!("the tokenizer is of the kind '{kind}'")).hint("supported are byte-level BPE tokenizers ('gpt2')"));
    }
    let pre = gguf.text("tokenizer.ggml.pre")?;
    let (pre, ignore_merges) = Pre::from_name(pre).ok_or_else(|| {
        let known: Vec<_> = Pre::names().collect();
        gguf.error(format!("the pre-tokenizer '{pre}' is not supported"))
            .hint(format!("supported are {}; a Hugging Face folder of the model describes its own", known.join(", ")))
    })?;
    Ok(Vocabulary {
        tokens: gguf.texts("tokenizer.ggml.tokens")?.to_vec(),
        kinds: gguf.ints("tokenizer.ggml.token_type")?.to_vec(),
        merges: gguf.texts("tokenizer.ggml.merges")?.to_vec(),
        pre,
        ignore_merges,
        bos: token_id(gguf, "bos")?,
        eos: token_id(gguf, "eos")?,
    })
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
                interleaved: rotated.filter(|_| config.family.interleaves_rows()),
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
