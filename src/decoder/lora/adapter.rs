//! Adapters on disk, in PEFT's format: `adapter_config.json` and `adapter_model.safetensors` with the matrices under
//! `base_model.model.model.layers.{i}.self_attn.q_proj.lora_A.weight` and so on, as f32 or f16.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use super::matrices::Lora;
use super::peft::settings;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::{read_file, read_text, write_whole};
use crate::decoder::files::shape::DecoderConfig;
use crate::decoder::files::stand_in::stand_in;

const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";
/// Bytes of its matrices.
const MOST_WEIGHTS: u64 = 16 << 30;
const ROOT: &str = "base_model.model.";

/// How the elements lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Four bytes an element, nothing rounded.
    F32,
    /// Two bytes an element, rounded to f16.
    F16,
}

impl Lora {
    /// Writes the adapter into a folder, each file complete before it gets its name. `base` names the model it is for.
    pub fn save(&self, folder: &Path, base: &str, precision: Precision) -> Result<()> {
        std::fs::create_dir_all(folder).at("create", folder)?;
        let mut bytes = BTreeMap::new();
        for (name, matrix) in self.matrices()? {
            let values: Vec<f32> = matrix.flatten_all()?.to_vec1()?;
            let data: Vec<u8> = match precision {
                Precision::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                Precision::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            };
            bytes.insert(format!("{ROOT}{name}"), (matrix.dims().to_vec(), data));
        }
        let dtype = if precision == Precision::F32 { Dtype::F32 } else { Dtype::F16 };
        let views = bytes.iter().map(|(name, (shape, data))| Ok((name, TensorView::new(dtype, shape.clone(), data)?)));
        let views = views.collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        write_whole(&folder.join(WEIGHTS), &safetensors::serialize(views, Some(metadata))?)?;
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": self.config.rank,
            "lora_alpha": self.config.alpha,
            "lora_dropout": self.config.dropout,
            "target_modules": self.config.targets,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
        });
        write_whole(&folder.join(CONFIG), format!("{}\n", serde_json::to_string_pretty(&config)?).as_bytes())
    }

    /// Reads an adapter for this model.
    ///
    /// # Errors
    /// When a file is missing or malformed, a setting is one we do not have, or a matrix is missing, unknown or of another shape.
    pub fn load(folder: &Path, model: &DecoderConfig) -> Result<Self> {
        let json = config(folder)?;
        let at = folder.join(CONFIG);
        let config = settings(&json, model).map_err(|e| {
            let error = Error::input(format!("{}: {e}", at.display()));
            let hint = e.hint_text().map(String::from);
            if let Some(hint) = hint { error.hint(hint) } else { error }
        })?;
        let at = weights(folder)?;
        let data = read_file(&at, "read", MOST_WEIGHTS)?;
        let file = SafeTensors::deserialize(&data).map_err(|e| {
            stand_in(&at).unwrap_or_else(|| {
                Error::input(format!("{} is not a whole safetensors file", at.display())).hint("copy it again").caused_by(e)
            })
        })?;
        let keys: Vec<&str> = file.names().into_iter().collect();
        let made_for = json["base_model_name_or_path"].as_str().filter(|base| !base.is_empty());
        let other_model = || {
            let named = made_for.map_or_else(String::new, |base| format!("; it names the base model {base}"));
            format!("this adapter was made for another model{named}")
        };
        // Before a matrix is made, as both sizes are the file's to say.
        let rank = keys.iter().filter(|key| key.contains("lora_A")).find_map(|key| file.tensor(key).ok()?.shape().first().copied());
        if let Some(found) = rank.filter(|&found| found != config.rank) {
            return Err(Error::input(format!("{}: its matrices are of rank {found}, r in {CONFIG} is {}", at.display(), config.rank))
                .hint("the two files are of different adapters"));
        }
        let mut lora = Self::new(model, &config, 0)?;
        let mut used = HashSet::new();
        lora.fill(|name, shape| {
            let key = format!("{ROOT}{name}");
            let wrong = |why: String| Error::input(format!("{}: {key} {why}", at.display()));
            let Ok(tensor) = file.tensor(&key) else {
                return Err(wrong("is missing".into()).hint(named_otherwise(name, &keys, model).unwrap_or_else(other_model)));
            };
            if tensor.shape() != shape {
                return Err(wrong(format!("is {:?}, this model wants {shape:?}", tensor.shape())).hint(other_model()));
            }
            let values: Vec<f32> = match tensor.dtype() {
                Dtype::F32 => tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                Dtype::F16 => tensor.data().as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
                Dtype::BF16 => tensor.data().as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
                other => return Err(wrong(format!("is {other:?}, not f32, f16 or bf16")).hint("save the adapter in one of these")),
            };
            if values.iter().any(|v| !v.is_finite()) {
                return Err(wrong("holds numbers that are not finite".into()).hint("its training diverged"));
            }
            used.insert(key);
            Ok(values)
        })?;
        let mut others: Vec<&str> = keys.into_iter().filter(|key| !used.contains(*key)).collect();
        others.sort_unstable();
        let Some(first) = others.first() else { return Ok(lora) };
        let what = format!("{} holds {} tensors that are no adapter matrices of this model, such as {first}", at.display(), others.len());
        Err(Error::input(what).hint(deeper(&others, model).unwrap_or_else(|| {
            format!("{CONFIG} names {} in target_modules, and this program reads matrices of these alone", config.targets.join(", "))
        })))
    }

    /// The base model that an adapter names.
    ///
    /// # Errors
    /// Where its settings cannot be read.
    pub fn base_of(folder: &Path) -> Result<Option<String>> {
        Ok(config(folder)?["base_model_name_or_path"].as_str().filter(|base| !base.is_empty()).map(String::from))
    }
}

/// The settings of the adapter in a folder.
fn config(folder: &Path) -> Result<Value> {
    let at = folder.join(CONFIG);
    if !at.try_exists().at("read", &at)? {
        return Err(no_adapter(folder));
    }
    serde_json::from_str(&read_text(&at, "read")?).map_err(|e| {
        let not_json = || Error::input(format!("{} is not JSON", at.display())).hint("copy it again").caused_by(e);
        stand_in(&at).unwrap_or_else(not_json)
    })
}

fn no_adapter(folder: &Path) -> Error {
    let error = Error::input(format!("{} holds no {CONFIG}", folder.display()));
    let checkpoint = |path: &Path| -> Option<u64> {
        let step = path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()?;
        path.join(CONFIG).is_file().then_some(step)
    };
    let inside = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut steps: Vec<(u64, PathBuf)> = inside.filter_map(|path| Some((checkpoint(&path)?, path))).collect();
    steps.sort();
    match steps.last() {
        Some((_, last)) => {
            error.hint(format!("it holds {} checkpoints of a training; give one, the last is {}", steps.len(), last.display()))
        }
        None if folder.join("adapters.safetensors").is_file() => {
            error.hint("this is an adapter of mlx-lm, which keeps its matrices transposed; convert it to PEFT's format first")
        }
        None => error.hint("give a folder as PEFT's save_pretrained writes it: adapter_config.json and adapter_model.safetensors"),
    }
}

fn weights(folder: &Path) -> Result<PathBuf> {
    let at = folder.join(WEIGHTS);
    if at.is_file() {
        return Ok(at);
    }
    let error = Error::input(format!("{} is missing", at.display()));
    let pickled = folder.join("adapter_model.bin");
    Err(if pickled.is_file() {
        error.hint(format!(
            "it has adapter_model.bin instead, a pickle, which is not read; convert it there: python -c \"import torch, safetensors.torch as s; \
             s.save_file({{k: v.contiguous() for k, v in torch.load('adapter_model.bin', map_location='cpu', weights_only=True).items()}}, \
             '{WEIGHTS}')\""
        ))
    } else {
        error.hint("copy the folder again, all of it")
    })
}

/// What to say where the matrix `name` is missing, but there under another name.
fn named_otherwise(name: &str, keys: &[&str], model: &DecoderConfig) -> Option<String> {
    let wanted = format!("{ROOT}{name}");
    // `lora_A.default.weight`: between kind and `weight` stands the adapter's name.
    let plain = |key: &str| {
        let (module, rest) = key.split_once(".lora_")?;
        let tail = module.rsplit_once("layers.").map_or(module, |(_, tail)| tail);
        Some(format!("{tail}.lora_{}.weight", rest.get(..1)?.to_uppercase()))
    };
    let ours = plain(name)?;
    let Some(found) = keys.iter().find(|key| plain(key).as_deref() == Some(ours.as_str())) else {
        return deeper(keys, model);
    };
    if found.contains("lora_a") || found.contains("lora_b") {
        return Some(format!("it is there as {found}: an adapter of mlx-lm, whose matrices are transposed; convert it to PEFT's format"));
    }
    Some(format!("it is there as {found}, where PEFT would not find it either; rename it to {wanted}, and the others alike"))
}

/// What to say where the adapter is on another number of layers.
fn deeper(keys: &[&str], model: &DecoderConfig) -> Option<String> {
    let layer = |key: &&str| key.rsplit_once("layers.")?.1.split('.').next()?.parse::<usize>().ok();
    let layers = keys.iter().filter_map(layer).max()? + 1;
    (layers != model.layers)
        .then(|| format!("the adapter goes to layer {layers}, this model has {}: it was made for another", model.layers))
}
