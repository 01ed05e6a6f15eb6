//! Adapters on disk, in PEFT's format: `adapter_config.json` and `adapter_model.safetensors` with the matrices under
//! `base_model.model.model.layers.{i}.self_attn.q_proj.lora_A.weight` and so on, as f32 or f16.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use super::matrices::Lora;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;
use crate::decoder::files::shape::DecoderConfig;
use crate::decoder::settings::lora::LoraConfig;

const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";
const ROOT: &str = "base_model.model.";

/// How the elements lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
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
        let at = folder.join(CONFIG);
        let text = std::fs::read_to_string(&at).at("read", &at)?;
        let config = settings(&text).map_err(|why| Error::input(format!("{}: {why}", at.display())))?;
        let mut lora = Self::new(model, &config, 0)?;
        let at = folder.join(WEIGHTS);
        let data = std::fs::read(&at).at("read", &at)?;
        let file = SafeTensors::deserialize(&data)
            .map_err(|e| Error::input(format!("{} is not a safetensors file", at.display())).caused_by(e))?;
        let mut used = 0;
        lora.fill(|name, shape| {
            let name = format!("{ROOT}{name}");
            let wrong =
                |why: String| Error::input(format!("{}: {name} {why}", at.display())).hint("this adapter was made for another model");
            let tensor = file.tensor(&name).map_err(|_| wrong("is missing".into()))?;
            if tensor.shape() != shape {
                return Err(wrong(format!("is {:?}, this model wants {shape:?}", tensor.shape())));
            }
            used += 1;
            let values: Vec<f32> = match tensor.dtype() {
                Dtype::F32 => tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                Dtype::F16 => tensor.data().as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
                Dtype::BF16 => tensor.data().as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
                other => return Err(wrong(format!("is {other:?}, not f32, f16 or bf16"))),
            };
            if values.iter().any(|v| !v.is_finite()) {
                return Err(wrong("holds numbers that are not finite".into()));
            }
            Ok(values)
        })?;
        if used < file.len() {
            let count = file.len() - used;
            return Err(Error::input(format!("{} holds {count} tensors that are no adapter matrices of this model", at.display())));
        }
        Ok(lora)
    }
}

/// PEFT's settings; those that would change the computation in a way we do not have are refused.
fn settings(text: &str) -> Result<LoraConfig, String> {
    let json: Value = serde_json::from_str(text).map_err(|e| format!("not JSON ({e})"))?;
    if json["peft_type"] != "LORA" {
        return Err(format!("peft_type is {}, only LORA is read", json["peft_type"]));
    }
    if !(json["bias"].is_null() || json["bias"] == "none") {
        return Err(format!("bias is {}, only \"none\" is read", json["bias"]));
    }
    for switch in ["use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"] {
        if json[switch] == true {
            return Err(format!("{switch} is on, which is not supported"));
        }
    }
    // These start from changed base weights, which the adapter does not hold.
    if let Some(start) =
        json["init_lora_weights"].as_str().filter(|s| ["pissa", "olora", "corda", "loftq"].iter().any(|p| s.starts_with(p)))
    {
        return Err(format!("init_lora_weights is {start}, which changes the model itself"));
    }
    for special in [
        "rank_pattern",
        "alpha_pattern",
        "modules_to_save",
        "layers_to_transform",
        "layer_replication",
        "target_parameters",
        "trainable_token_indices",
        "alora_invocation_tokens",
    ] {
        let empty = match &json[special] {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        if !empty {
            return Err(format!("{special} is set, which is not supported"));
        }
    }
    let rank = json["r"].as_u64().ok_or("r is not a whole number")? as usize;
    let targets = json["target_modules"].as_array().ok_or("target_modules is not a list")?;
    let targets = targets.iter().map(|t| t.as_str().map(String::from).ok_or("a target module is not text"));
    let alpha = json["lora_alpha"].as_f64().ok_or("lora_alpha is not a number")?;
    Ok(LoraConfig {
        rank,
        // rsLoRA scales by alpha / sqrt(rank): the same adapter with another alpha.
        alpha: if json["use_rslora"] == true { alpha * (rank as f64).sqrt() } else { alpha },
        dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
        targets: targets.collect::<Result<_, _>>()?,
    })
}
