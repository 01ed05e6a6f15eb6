//! Low-rank adapters: `W x + (alpha/rank) B A x` on the chosen projections of every layer.
//!
//! The parameters of a layer are one flat vector: for each merged projection (qkv, o, gate-up, down) its `A (rank, in)`
//! matrices, then its `B (out, rank)`. So a layer is one node of the graph, and an optimiser, a hash or a mixture of two
//! adapters is a loop over layers.

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use rand::Rng;

use crate::base::error::{Error, Result};
use crate::base::hash::Hash;
use crate::base::seed;
use crate::decoder::files::shape::DecoderConfig;
use crate::decoder::ops::floats;
use crate::decoder::ops::low_rank::{LowRank, Part};
use crate::decoder::settings::lora::{LoraConfig, PROJECTIONS};

/// Where the parameters of a layer lie; the same for every layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// `alpha / rank`.
    pub scale: f32,
    pub(crate) qkv: Option<LowRank>,
    pub(crate) o: Option<LowRank>,
    pub(crate) gate_up: Option<LowRank>,
    pub(crate) down: Option<LowRank>,
    /// Parameters of one layer.
    pub(crate) len: usize,
    places: Vec<Place>,
}

/// One `A` or `B` inside a layer's parameters.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    /// `self_attn.q_proj.lora_A.weight`
    name: String,
    at: usize,
    shape: [usize; 2],
}

/// An adapter: the settings it was made with, and one variable a layer.
pub struct Lora {
    /// Rank, alpha, dropout and targets.
    pub config: LoraConfig,
    layout: Arc<Layout>,
    layers: Vec<Var>,
}

impl Layout {
    fn new(model: &DecoderConfig, config: &LoraConfig) -> Result<Self> {
        if let Some(wrong) = config.targets.iter().find(|t| !PROJECTIONS.contains(&t.as_str())) {
            return Err(Error::input(format!("LoRA target `{wrong}` is not a projection of the model"))
                .hint(format!("lora.targets takes any of {}", PROJECTIONS.join(", "))));
        }
        if config.targets.is_empty() || config.rank == 0 {
            return Err(
                Error::input("an adapter needs a rank of at least 1 and at least one target").hint("set lora.rank and lora.targets")
            );
        }
        if !(0.0..1.0).contains(&config.dropout) {
            return Err(Error::input(format!("lora.dropout is {}, not in 0..1", config.dropout)));
        }
        let (mut len, mut places) = (0, Vec::new());
        let mut group = |module: &str, input: usize, outputs: &[(&'static str, usize)]| {
            let chosen = |name: &str| config.targets.iter().any(|t| t == name);
            let parts: Vec<_> = outputs.iter().filter(|(name, _)| chosen(name)).collect();
            let a = len;
            for (name, _) in &parts {
                places.push(Place { name: format!("{module}.{name}.lora_A.weight"), at: len, shape: [config.rank, input] });
                len += config.rank * input;
            }
            let mut column = 0;
            let mut placed = Vec::new();
            for (name, width) in outputs {
                if chosen(name) {
                    places.push(Place { name: format!("{module}.{name}.lora_B.weight"), at: len, shape: [*width, config.rank] });
                    placed.push(Part { name, column, width: *width, b: len });
                    len += width * config.rank;
                }
                column += width;
            }
            (!placed.is_empty()).then_some(LowRank { rank: config.rank, input, output: column, a, parts: placed })
        };
        let (query, kv) = (model.heads * model.head_dim, model.kv_heads * model.head_dim);
        let qkv = group("self_attn", model.width, &[("q_proj", query), ("k_proj", kv), ("v_proj", kv)]);
        let o = group("self_attn", query, &[("o_proj", model.width)]);
        let gate_up = group("mlp", model.width, &[("gate_proj", model.ffn), ("up_proj", model.ffn)]);
        let down = group("mlp", model.ffn, &[("down_proj", model.width)]);
        Ok(Self { scale: (config.alpha / config.rank as f64) as f32, qkv, o, gate_up, down, len, places })
    }
}

impl Lora {
    /// A fresh adapter: `A` uniform within `1/sqrt(in)` (Kaiming with a = sqrt 5, as PEFT), `B` zero, so it changes nothing yet.
    pub fn new(model: &DecoderConfig, config: &LoraConfig, run_seed: u64) -> Result<Self> {
        let layout = Layout::new(model, config)?;
        let layers = (0..model.layers).map(|layer| {
            let mut rng = seed::rng(run_seed, "lora", &[layer as u64]);
            let mut values = vec![0f32; layout.len];
            for place in layout.places.iter().filter(|p| p.name.ends_with("lora_A.weight")) {
                let bound = (1.0 / place.shape[1] as f64).sqrt() as f32;
                values[place.at..][..place.shape[0] * place.shape[1]].fill_with(|| rng.random_range(-bound..bound));
            }
            Ok(Var::from_vec(values, layout.len, &Device::Cpu)?)
        });
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { config: config.clone(), layout: Arc::new(layout), layers })
    }

    /// Where each matrix lies in a layer's parameters.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The parameters of each layer, one flat f32 vector a layer.
    pub fn layers(&self) -> &[Var] {
        &self.layers
    }

    /// The same variables, to be read without dropout.
    #[must_use]
    pub fn without_dropout(&self) -> Self {
        let config = LoraConfig { dropout: 0.0, ..self.config.clone() };
        Self { config, layout: self.layout.clone(), layers: self.layers.clone() }
    }

    /// Number of trained elements.
    pub fn parameters(&self) -> usize {
        self.layers.len() * self.layout.len
    }

    /// Every matrix under its PEFT name (without `base_model.model.`), layer by layer, of `layers` laid out as ours.
    pub fn named(&self, layers: &[Tensor]) -> Result<Vec<(String, Tensor)>> {
        let mut named = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            for place in &self.layout.places {
                let [rows, columns] = place.shape;
                let matrix = layer.narrow(0, place.at, rows * columns)?.reshape((rows, columns))?;
                named.push((format!("model.layers.{i}.{}", place.name), matrix));
            }
        }
        Ok(named)
    }

    /// The matrices of the adapter itself, under their PEFT names.
    pub(crate) fn matrices(&self) -> Result<Vec<(String, Tensor)>> {
        self.named(&self.layers.iter().map(Var::as_detached_tensor).collect::<Vec<_>>())
    }

    /// Replaces every matrix by what `get` gives for its PEFT name and shape.
    pub fn fill(&mut self, mut get: impl FnMut(&str, [usize; 2]) -> Result<Vec<f32>>) -> Result<()> {
        for (i, layer) in self.layers.iter().enumerate() {
            let mut values = vec![0f32; self.layout.len];
            for place in &self.layout.places {
                let matrix = get(&format!("model.layers.{i}.{}", place.name), place.shape)?;
                values[place.at..][..matrix.len()].copy_from_slice(&matrix);
            }
            layer.set(&Tensor::from_vec(values, self.layout.len, layer.device())?)?;
        }
        Ok(())
    }

    /// The parameters of every layer, to be given back to [`Lora::restore`].
    pub fn snapshot(&self) -> Result<Vec<Vec<f32>>> {
        self.layers.iter().map(|layer| Ok(floats(layer)?.to_vec())).collect()
    }

    /// Sets every parameter to what a [`Lora::snapshot`] holds.
    ///
    /// # Errors
    /// Where that is of an adapter of another shape.
    pub fn restore(&mut self, snapshot: &[Vec<f32>]) -> Result<()> {
        if snapshot.len() != self.layers.len() || snapshot.iter().any(|l| l.len() != self.layout.len) {
            return Err(Error::machine("a snapshot of another adapter"));
        }
        for (layer, values) in self.layers.iter().zip(snapshot) {
            layer.set(&Tensor::from_slice(values, values.len(), layer.device())?)?;
        }
        Ok(())
    }

    /// CE smoothing: `new = alpha * tuned + (1 - alpha) * old`.
    pub fn smooth(&mut self, alpha: f64, old: &[Vec<f32>]) -> Result<()> {
        let mut mixed = self.snapshot()?;
        for (new, old) in mixed.iter_mut().flatten().zip(old.iter().flatten()) {
            *new = (alpha * f64::from(*new) + (1.0 - alpha) * f64::from(*old)) as f32;
        }
        self.restore(&mixed)
    }

    /// SHA-256 over every parameter's bytes, in hexadecimal.
    pub fn hash(&self) -> Result<String> {
        let mut hash = Hash::default();
        for layer in self.snapshot()? {
            hash.update(bytemuck::cast_slice::<f32, u8>(&layer));
        }
        Ok(hash.hex())
    }
}
