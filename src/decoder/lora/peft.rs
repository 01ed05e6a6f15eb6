//! PEFT's `adapter_config.json`: read where it describes an adapter that is computed as ours, refused otherwise.
//!
//! A key that is not known here and says something is refused too: a newer PEFT may compute with it.

use fancy_regex::Regex;
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::decoder::files::shape::DecoderConfig;
use crate::decoder::settings::lora::{LoraConfig, PROJECTIONS};

/// Keys that say where an adapter comes from or how it was trained, and change nothing of what it computes; and those read below.
const HARMLESS: [&str; 21] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Wider than any matrix of the models, beyond whose width a rank adds nothing.
const MOST_RANK: u64 = 1 << 16;
/// Where an f32 no longer tells an update from the weights.
const MOST_ALPHA: f64 = 1e6;

/// The settings as ours.
///
/// # Errors
/// Where PEFT would compute with them in a way we do not have.
pub(crate) fn settings(json: &Value, model: &DecoderConfig) -> Result<LoraConfig> {
    let refuse = |why: String| Err(Error::input(why));
    if json["peft_type"] != "LORA" {
        return refuse(format!("peft_type is {}, only \"LORA\" is read", json["peft_type"]));
    }
    if !(json["bias"].is_null() || json["bias"] == "none") {
        return refuse(format!("bias is {}, only \"none\" is read", json["bias"]));
    }
    check_start(&json["init_lora_weights"])?;
    let says_something = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let read = |key: &str| HARMLESS.contains(&key) || matches!(key, "bias" | "exclude_modules");
    if let Some((key, value)) = json.as_object().into_iter().flatten().find(|(key, value)| !read(key) && says_something(value)) {
        return Err(Error::input(format!("{key} is {}, which is not supported", short(value)))
            .hint("it may change what the adapter computes; train one without it, or merge this one into its model with PEFT"));
    }
    let Some(rank) = json["r"].as_u64().filter(|rank| (1..=MOST_RANK).contains(rank)) else {
        return refuse(format!("r is {}, and a rank is a whole number from 1 to {MOST_RANK}", json["r"]));
    };
    let Some(alpha) = json["lora_alpha"].as_f64().filter(|alpha| *alpha > 0.0 && *alpha <= MOST_ALPHA) else {
        return refuse(format!("lora_alpha is {}, not a number above 0 and at most {MOST_ALPHA}", json["lora_alpha"]));
    };
    Ok(LoraConfig {
        rank: rank as usize,
        // rsLoRA scales by alpha / sqrt(rank): the same adapter with another alpha.
        alpha: if json["use_rslora"] == true { alpha * (rank as f64).sqrt() } else { alpha },
        dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
        targets: targets(&json["target_modules"], &json["exclude_modules"], model.layers)?,
    })
}

/// Initialisations that leave the model's own weights alone. PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA and what may come take something from
/// them, which the adapter's file does not hold.
fn check_start(start: &Value) -> Result<()> {
    let plain = match start {
        Value::Null | Value::Bool(_) => true,
        Value::String(name) => matches!(name.to_lowercase().as_str(), "true" | "false" | "gaussian" | "eva" | "orthogonal"),
        _ => false,
    };
    if plain {
        return Ok(());
    }
    Err(Error::input(format!("init_lora_weights is {start}, which changes the weights of the model itself"))
        .hint("save it as a plain adapter: PEFT's save_pretrained(.., path_initial_model_for_weight_conversion=..) converts most kinds"))
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { format!("{}..", text.chars().take(60).collect::<String>()) } else { text }
}

/// PEFT's choice among a model's linear layers.
enum Choice {
    All,
    /// The name, or its end after a dot, is one of these.
    Ends(Vec<String>),
    /// The whole name matches.
    Pattern(Regex),
}

impl Choice {
    /// None where nothing is said.
    fn of(key: &str, value: &Value) -> Result<Option<Self>> {
        let wrong = || Error::input(format!("{key} is {}, neither a text nor a list of texts", short(value)));
        match value {
            Value::Null => Ok(None),
            Value::String(text) if text == "all-linear" => Ok(Some(Self::All)),
            Value::String(pattern) => Regex::new(&format!(r"\A(?:{pattern})\z"))
                .map(|regex| Some(Self::Pattern(regex)))
                .map_err(|e| Error::input(format!("{key} is no regular expression: {pattern}")).caused_by(e)),
            Value::Array(list) => {
                let names: Option<Vec<String>> = list.iter().map(|name| name.as_str().map(String::from)).collect();
                names.map(|names| (!names.is_empty()).then_some(Self::Ends(names))).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn takes(&self, name: &str) -> Result<bool> {
        Ok(match self {
            // PEFT leaves the output layer out, and the embedding is none of the linear ones.
            Self::All => !matches!(name, "lm_head" | "model.embed_tokens"),
            Self::Ends(ends) => {
                ends.iter().any(|end| name.strip_suffix(end.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
            }
            Self::Pattern(regex) => {
                regex.is_match(name).map_err(|e| Error::input("target_modules is a regular expression that takes too long").caused_by(e))?
            }
        })
    }
}

/// The projections that every layer has an adapter on.
fn targets(target: &Value, exclude: &Value, layers: usize) -> Result<Vec<String>> {
    let Some(target) = Choice::of("target_modules", target)? else {
        return Err(Error::input("target_modules is missing or empty").hint("PEFT writes it with the adapter; save the adapter again"));
    };
    let exclude = Choice::of("exclude_modules", exclude)?;
    let taken = |name: &str| -> Result<bool> {
        Ok(target.takes(name)? && !exclude.as_ref().map(|exclude| exclude.takes(name)).transpose()?.unwrap_or(false))
    };
    for other in ["lm_head", "model.embed_tokens"] {
        if taken(other)? {
            return Err(Error::input(format!("target_modules takes {other}, which is not supported"))
                .hint(format!("adapters are read on {}", PROJECTIONS.join(", "))));
        }
    }
    let of_layer = |layer: usize| -> Result<Vec<String>> {
        let mut chosen = Vec::new();
        for projection in PROJECTIONS {
            let module =
                if projection.ends_with("gate_proj") || matches!(projection, "up_proj" | "down_proj") { "mlp" } else { "self_attn" };
            if taken(&format!("model.layers.{layer}.{module}.{projection}"))? {
                chosen.push(projection.to_owned());
            }
        }
        Ok(chosen)
    };
    let first = of_layer(0)?;
    for layer in 1..layers {
        if of_layer(layer)? != first {
            return Err(Error::input(format!(
                "target_modules takes other modules of layer {layer} than of layer 0, which is not supported"
            )));
        }
    }
    if first.is_empty() {
        return Err(
            Error::input("target_modules takes no module of this model").hint(format!("its modules are {}", PROJECTIONS.join(", ")))
        );
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn modules_are_chosen_as_by_peft() {
        let chosen = |target: Value, exclude: Value| targets(&target, &exclude, 3).map(|names| names.join(" "));
        let ok = |target: Value| chosen(target, Value::Null).unwrap();
        assert_eq!(ok(json!(["v_proj", "q_proj"])), "q_proj v_proj");
        assert_eq!(ok(json!(["self_attn.q_proj", "mlp.down_proj"])), "q_proj down_proj");
        assert_eq!(ok(json!(r".*\.(q_proj|v_proj)")), "q_proj v_proj");
        assert_eq!(ok(json!(r"model\.layers\.\d+\.mlp\.(?!gate).*")), "up_proj down_proj");
        assert_eq!(ok(json!("all-linear")), PROJECTIONS.join(" "));
        // An end counts after a dot only, and a pattern takes the whole name.
        assert!(ok(json!(["q_proj", "proj"])) == "q_proj");
        assert!(chosen(json!("q_proj"), Value::Null).unwrap_err().to_string().contains("takes no module"));
        assert_eq!(chosen(json!("all-linear"), json!(["mlp.up_proj", "v_proj"])).unwrap(), "q_proj k_proj o_proj gate_proj down_proj");
        for (target, word) in [
            (json!(["q_proj", "lm_head"]), "lm_head"),
            (json!(["q_proj", "embed_tokens"]), "embed_tokens"),
            (json!(["layers.1.self_attn.q_proj"]), "layer 1 than of layer 0"),
            (json!("(q_proj"), "no regular expression"),
            (json!([1]), "neither a text"),
            (json!([]), "missing or empty"),
        ] {
            let error = chosen(target, Value::Null).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
