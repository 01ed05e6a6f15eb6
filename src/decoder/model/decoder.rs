//! The decoder of the Llama, Qwen2 and Qwen3 families: tokens of several sequences flat in one list, each with its own
//! position, attending by an explicit structure ([`Rows`]); logits only where they are asked for.
//!
//! On the CPU each layer is one fused node ([`super::layer`]); elsewhere, or when asked, stock operations ([`super::stock_decoder`]).

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};

use super::attention::{Heads, Past, Segment};
use super::layer::{Adapter, Kept, Layer, LayerOp, Pass, Projection};
use super::repack::{repack, repack_tensor};
use super::stock;
use super::weight::{self, Part, Weight};
use crate::base::device::{Kernels, Place};
use crate::base::error::{Error, Result};
use crate::decoder::files::model_file::ModelFile;
use crate::decoder::files::shape::DecoderConfig;
use crate::decoder::lora::matrices::{Layout, Lora};
use crate::decoder::ops::cross_entropy::{nll, nll_stock};
use crate::decoder::ops::floats;
use crate::decoder::ops::frozen::frozen;
use crate::decoder::ops::low_rank::Dropout;
use crate::decoder::ops::matmul::Into;
use crate::decoder::ops::norm;
use crate::decoder::ops::panel::{Panels, product};
use crate::decoder::ops::rope::Rope;
use crate::decoder::settings::llm::{CardDtype, Dtype, TuningDtype};

/// Several sequences laid out flat.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub(crate) tokens: Vec<u32>,
    /// Where each token stands in its sequence, from 0.
    pub positions: Vec<u32>,
    pub(crate) segments: Vec<Segment>,
}

impl Rows {
    /// One sequence.
    pub fn single(tokens: &[u32]) -> Self {
        let mut rows = Self::default();
        rows.push(tokens, 0, 0..0);
        rows
    }

    /// Adds a segment whose first token stands at `position` and which sees the tokens `parent` besides itself.
    pub fn push(&mut self, tokens: &[u32], position: usize, parent: Range<usize>) -> Range<usize> {
        let start = self.tokens.len();
        let range = start..start + tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((position..position + tokens.len()).map(|p| p as u32));
        if !tokens.is_empty() {
            self.segments.push(Segment { tokens: range.clone(), parent });
        }
        range
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// Whether a forward pass keeps what gradients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Without gradients and without dropout.
    Evaluate,
    /// With gradients; the seed draws the dropout of this pass.
    Train {
        /// Each pass has its own.
        dropout_seed: u64,
    },
}

/// Gives a matrix in its narrow type, by its Hugging Face name.
type Narrow<'a> = &'a mut dyn FnMut(&str) -> Result<Part>;

fn rows(parts: Vec<Part>) -> Result<weight::Rows> {
    weight::Rows::new(parts).ok_or_else(|| Error::machine("projections of one input that are of different widths"))
}

/// A model's weights, frozen.
pub struct Decoder {
    pub(super) config: DecoderConfig,
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<Arc<Layer>>,
    pub(super) norm: Tensor,
    pub(super) head: Weight,
    pub(super) head_panels: Arc<Vec<Panels>>,
    pub(super) kernels: Kernels,
    pub(crate) recompute: bool,
    pub(super) tuning_dtype: TuningDtype,
    /// An adapter for good, for stock operations; for our kernels it lies beside each projection.
    pub(super) adapter: Option<Arc<Placed>>,
    pub(super) device: Device,
}

/// A row a token.
#[derive(Clone)]
pub(super) enum Embedding {
    Plain(Tensor),
    Narrow(Arc<weight::Rows>),
}

/// An adapter on the decoder's device.
pub(super) struct Placed {
    pub(crate) layout: Arc<Layout>,
    pub(crate) layers: Vec<Tensor>,
}

/// How `build` keeps matrices that are not narrow.
struct Keep {
    device: Device,
    dtype: DType,
    kernels: Kernels,
}

impl Keep {
    /// For our kernels.
    fn own() -> Self {
        Self { device: Device::Cpu, dtype: DType::F32, kernels: Kernels::Own }
    }

    /// As cards have it.
    fn stock(device: &Device, dtype: CardDtype) -> Self {
        let dtype = if dtype == CardDtype::Bf16 { DType::BF16 } else { DType::F32 };
        Self { device: device.clone(), dtype, kernels: Kernels::Stock }
    }

    fn has_panels(&self) -> bool {
        self.kernels == Kernels::Own
    }

    fn matrix(&self, out_in: &Tensor) -> Result<Weight> {
        let turned = if self.has_panels() {
            out_in.t()?.contiguous()?
        } else {
            // Products on a card take either order: no second copy for the sake of one.
            out_in.to_dtype(self.dtype)?.to_device(&self.device)?.t()?
        };
        Ok(Weight::Plain(turned))
    }
}

impl Decoder {
    /// Takes the weights from `get`, by their Hugging Face names and in that layout: (out, in).
    ///
    /// # Errors
    /// When a tensor is missing or of another shape than the settings say.
    pub fn new(config: &DecoderConfig, get: impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        Self::build(config, get, None, None, &Keep::own())
    }

    /// Loads a model, its matrices kept as `dtype` says; norms and biases are f32 always. Narrow types are for little memory, so
    /// tuning then keeps only the input of each layer.
    ///
    /// # Errors
    /// Where the file cannot be read, or `dtype` wants blocks and it has none.
    pub fn open(file: &ModelFile, dtype: Dtype) -> Result<Self> {
        let processor = Keep::own();
        if dtype == Dtype::F32 {
            let mut blocks = |name: &str| file.narrow(name, Dtype::Quantized);
            let blocks: Option<Narrow> = if file.has_blocks() { Some(&mut blocks) } else { None };
            return Self::build(file.config(), |name| file.tensor(name), None, blocks, &processor);
        }
        let mut part = |name: &str| file.narrow(name, dtype);
        let narrow = Self::build(file.config(), |name| file.tensor(name), Some(&mut part), None, &processor)?;
        Ok(Self { recompute: true, ..narrow })
    }

    /// On the processor [`Decoder::open`]; on a card f32 stays f32, and everything else becomes bf16.
    ///
    /// # Errors
    /// See [`Decoder::open`]; where the card cannot be had.
    pub fn open_at(file: &ModelFile, dtype: Dtype, place: Place) -> Result<Self> {
        let device = place.open()?;
        if device.is_cpu() {
            return Self::open(file, dtype);
        }
        Self::open_on(file, if dtype == Dtype::F32 { CardDtype::F32 } else { CardDtype::Bf16 }, &device, false)
    }

    /// Loads a model as a card has it: stock operations, one copy of the weights. `recompute` says whether tuning keeps only each layer's input, for little memory.
    ///
    /// # Errors
    /// Where the file cannot be read or the card is full.
    pub fn open_on(file: &ModelFile, dtype: CardDtype, device: &Device, recompute: bool) -> Result<Self> {
        let keep = Keep::stock(device, dtype);
        Ok(Self { recompute, ..Self::build(file.config(), |name| file.tensor(name), None, None, &keep)? })
    }

    /// The same from weights in memory: see [`Decoder::new`].
    ///
    /// # Errors
    /// See [`Decoder::new`].
    pub fn new_on(config: &DecoderConfig, get: impl FnMut(&str) -> Result<Tensor>, dtype: CardDtype, device: &Device) -> Result<Self> {
        Self::build(config, get, None, None, &Keep::stock(device, dtype))
    }

    /// `narrow` gives the matrices that are kept in its type; without it they are f32, and `blocks` gives what decoding reads.
    fn build(
        config: &DecoderConfig,
        mut get: impl FnMut(&str) -> Result<Tensor>,
        mut narrow: Option<Narrow>,
        mut blocks: Option<Narrow>,
        keep: &Keep,
    ) -> Result<Self> {
        if !config.heads.is_multiple_of(config.kv_heads) || !config.head_dim.is_multiple_of(2) {
            let shape = format!("{} heads over {} key heads of {} elements", config.heads, config.kv_heads, config.head_dim);
            return Err(Error::input(format!("the model has {shape}, which is not a Llama-like attention")));
        }
        let (query, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let mut tensor = |name: &str, shape: &[usize]| -> Result<Tensor> {
            let tensor = get(name)?;
            if tensor.dims() != shape {
                return Err(Error::input(format!("{name} is {:?}, the model's settings want {shape:?}", tensor.dims())));
            }
            Ok(tensor)
        };
        let embedding = match &mut narrow {
            None => {
                let table = tensor("model.embed_tokens.weight", &[config.vocab, config.width])?.contiguous()?;
                Embedding::Plain(table.to_dtype(keep.dtype)?.to_device(&keep.device)?)
            }
            Some(narrow) => Embedding::Narrow(Arc::new(rows(vec![narrow("model.embed_tokens.weight")?])?)),
        };
        let mut layers = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let mut joined = |module: &str, parts: &[(&str, usize)], input: usize, bias: bool| -> Result<Projection> {
                let name = |part: &str, kind: &str| format!("model.layers.{i}.{module}.{part}.{kind}");
                let all = |get: &mut dyn FnMut(&str) -> Result<Part>| {
                    rows(parts.iter().map(|(part, _)| get(&name(part, "weight"))).collect::<Result<Vec<_>>>()?)
                };
                let (weight, panels) = if let Some(narrow) = &mut narrow {
                    let rows = all(narrow)?;
                    let panels = repack(&rows);
                    (Weight::Narrow(Arc::new(rows)), panels)
                } else {
                    let weights =
                        parts.iter().map(|(part, out)| tensor(&name(part, "weight"), &[*out, input])).collect::<Result<Vec<_>>>()?;
                    let panels = match &mut blocks {
                        Some(blocks) => repack(&all(blocks)?),
                        None if !keep.has_panels() => Vec::new(),
                        None => weights.iter().map(repack_tensor).collect::<candle_core::Result<Vec<_>>>()?,
                    };
                    (keep.matrix(&Tensor::cat(&weights, 0)?)?, panels)
                };
                let biases = if bias { parts } else { &[] };
                let biases = biases.iter().map(|(part, out)| tensor(&name(part, "bias"), &[*out])).collect::<Result<Vec<_>>>()?;
                let bias = if bias { Some(Tensor::cat(&biases, 0)?.to_device(&keep.device)?) } else { None };
                Ok(Projection { weight, bias, panels: Arc::new(panels), beside: None })
            };
            let qkv = joined("self_attn", &[("q_proj", query), ("k_proj", kv), ("v_proj", kv)], config.width, config.qkv_bias)?;
            let o = joined("self_attn", &[("o_proj", config.width)], query, false)?;
            let gate_up = joined("mlp", &[("gate_proj", config.ffn), ("up_proj", config.ffn)], config.width, false)?;
            let down = joined("mlp", &[("down_proj", config.width)], config.ffn, false)?;
            let mut norm = |name: &str, size: usize| -> Result<Tensor> {
                Ok(tensor(&format!("model.layers.{i}.{name}.weight"), &[size])?.to_device(&keep.device)?)
            };
            let head_norms = if config.qk_norm {
                Some([norm("self_attn.q_norm", config.head_dim)?, norm("self_attn.k_norm", config.head_dim)?])
            } else {
                None
            };
            let (input_norm, mlp_norm) = (norm("input_layernorm", config.width)?, norm("post_attention_layernorm", config.width)?);
            layers.push(Arc::new(Layer { input_norm, qkv, head_norms, o, mlp_norm, gate_up, down }));
        }
        let norm = tensor("model.norm.weight", &[config.width])?.to_device(&keep.device)?;
        let name = if config.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let (head, panels) = match (&embedding, &mut narrow) {
            (Embedding::Narrow(rows), _) if config.tied => (Weight::Narrow(rows.clone()), repack(rows)),
            (_, Some(narrow)) => {
                let rows = rows(vec![narrow(name)?])?;
                let panels = repack(&rows);
                (Weight::Narrow(Arc::new(rows)), panels)
            }
            (_, None) => {
                let table = match &embedding {
                    Embedding::Plain(table) if config.tied => table.clone(),
                    _ => tensor(name, &[config.vocab, config.width])?.contiguous()?.to_dtype(keep.dtype)?.to_device(&keep.device)?,
                };
                let panels = match &mut blocks {
                    Some(blocks) => repack(&rows(vec![blocks(name)?])?),
                    None if !keep.has_panels() => Vec::new(),
                    None => vec![repack_tensor(&table)?],
                };
                // In the file's order: a tied embedding is in it too, and products of so many outputs are faster.
                (Weight::FileOrder(table), panels)
            }
        };
        let head_panels = Arc::new(panels);
        let (config, device, kernels) = (config.clone(), keep.device.clone(), keep.kernels.on(&keep.device));
        Ok(Self {
            config,
            embedding,
            layers,
            norm,
            head,
            head_panels,
            kernels,
            recompute: false,
            tuning_dtype: TuningDtype::F32,
            adapter: None,
            device,
        })
    }

    /// The model's shape; its `vocab` is the tokens that can be read, of a restricted decoder fewer than the model has.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Tokens that it can say: the vocabulary, or part of it ([`Decoder::restricted`]).
    pub(crate) fn outputs(&self) -> usize {
        self.head.output()
    }

    /// Computes with candle's own operations even where there is a kernel of ours, as a card does: the reference in tests.
    #[must_use]
    pub fn with_stock_ops(mut self) -> Self {
        assert!(self.layers.iter().all(|layer| layer.qkv.beside.is_none() && layer.down.beside.is_none()), "an adapter comes after this");
        self.kernels = Kernels::Stock;
        self
    }

    /// Whether tuning keeps only each layer's input.
    #[must_use]
    pub fn with_recompute(mut self, recompute: bool) -> Self {
        self.recompute = recompute;
        self
    }

    /// In what passes with gradients multiply by the frozen matrices on the processor; f32 if not set.
    #[must_use]
    pub fn with_tuning_dtype(mut self, dtype: TuningDtype) -> Self {
        self.tuning_dtype = dtype;
        self
    }

    pub(crate) fn uses_stock_ops(&self) -> bool {
        self.kernels == Kernels::Stock
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn heads(&self) -> Heads {
        Heads { query: self.config.heads, kv: self.config.kv_heads, dim: self.config.head_dim }
    }

    /// The residual stream after the last layer, before the final norm: (n, width). In training, differentiable in the adapter.
    pub fn hidden(&self, rows: &Rows, lora: Option<&Lora>, mode: Mode) -> Result<Tensor> {
        self.check(&rows.tokens)?;
        let (n, width) = (rows.len(), self.config.width);
        let device = &self.device;
        let dropout = match (mode, lora) {
            (Mode::Train { dropout_seed }, Some(lora)) if lora.config.dropout > 0.0 => {
                Some(Dropout { p: lora.config.dropout, seed: dropout_seed })
            }
            _ => None,
        };
        let pass = self.pass(rows, lora, dropout);
        if self.uses_stock_ops() {
            return self.stock_hidden(rows, &pass, lora, mode);
        }
        if let (Mode::Train { .. }, Some(lora)) = (mode, lora) {
            let pass = Arc::new(Pass { dtype: self.tuning_dtype, ..pass });
            let mut x = Tensor::from_vec(self.embed(&rows.tokens)?, (n, width), device)?;
            for (i, (layer, parameters)) in self.layers.iter().zip(lora.layers()).enumerate() {
                x = x.apply_op2(parameters, LayerOp::new(layer.clone(), pass.clone(), i))?;
            }
            return Ok(x);
        }
        let parameters = lora.map(Lora::layers);
        let x = self.evaluate(&pass, &rows.tokens, parameters, |_| None, |_, _| ())?;
        Ok(Tensor::from_vec(x, (n, width), device)?)
    }

    /// The residual stream without a graph; `past` gives each layer's cache, `keep` sees what each layer leaves for one.
    pub(super) fn evaluate<'a>(
        &self,
        pass: &Pass,
        tokens: &[u32],
        parameters: Option<&[Var]>,
        past: impl Fn(usize) -> Option<Past<'a>>,
        mut keep: impl FnMut(usize, Kept),
    ) -> Result<Vec<f32>> {
        let mut x = self.embed(tokens)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let parameters = parameters.map(|p| floats(&p[i])).transpose()?;
            let adapter = match (&pass.adapter, &parameters) {
                (Some(layout), Some(parameters)) => Some(Adapter { layout, parameters, dropout: None }),
                _ => None,
            };
            let (y, kept) = layer.forward(pass, &x, adapter, past(i))?;
            keep(i, kept);
            x = y;
        }
        Ok(x)
    }

    pub(super) fn pass(&self, rows: &Rows, lora: Option<&Lora>, dropout: Option<Dropout>) -> Pass {
        Pass {
            heads: self.heads(),
            eps: self.config.rms_eps,
            rope: Rope::new(&rows.positions, &self.config.rope_turns()),
            segments: rows.segments.clone(),
            adapter: lora.map(Lora::layout).or(self.adapter.as_ref().map(|adapter| &adapter.layout)).cloned(),
            dropout,
            recompute: self.recompute,
            dtype: TuningDtype::F32,
        }
    }

    pub(super) fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let width = self.config.width;
        match &self.embedding {
            Embedding::Plain(_) if self.uses_stock_ops() => Ok(self.stock_embed(tokens)?.flatten_all()?.to_vec1()?),
            Embedding::Plain(table) => {
                let table = floats(table)?;
                Ok(tokens.iter().flat_map(|t| &table[*t as usize * width..][..width]).copied().collect())
            }
            Embedding::Narrow(rows) => {
                let mut out = vec![0.0; tokens.len() * width];
                tokens.iter().zip(out.chunks_mut(width)).for_each(|(t, out)| rows.widen_row(*t as usize, out));
                Ok(out)
            }
        }
    }

    pub(super) fn check(&self, tokens: &[u32]) -> Result<()> {
        match tokens.iter().find(|t| **t as usize >= self.config.vocab) {
            Some(token) => Err(Error::machine(format!("token {token} is outside the model's vocabulary of {}", self.config.vocab))),
            None if tokens.is_empty() => Err(Error::machine("the decoder was given no tokens")),
            None => Ok(()),
        }
    }

    /// `hidden (m, width)` from [`Decoder::hidden`], all rows or some; gives (m, vocab).
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(frozen(&stock::rms_norm(hidden, &self.norm, self.config.rms_eps)?, &self.head.tensor()?)?)
    }

    /// Logits of hidden rows in plain memory: (m, vocab) flat.
    pub(super) fn logits_of(&self, hidden: &[f32]) -> Result<Vec<f32>> {
        let (width, vocab) = (self.config.width, self.outputs());
        let m = hidden.len() / width;
        let h = norm::forward(hidden, &floats(&self.norm)?, self.config.rms_eps);
        let mut logits = vec![0.0; m * vocab];
        product(&self.head_panels, None, &h, &mut logits, Into::Overwrite);
        Ok(logits)
    }

    /// Negative log-likelihood (m) of `targets`, each predicted by row `at[i]` of `hidden (n, width)`.
    pub fn nll(&self, hidden: &Tensor, at: &[u32], targets: &[u32]) -> Result<Tensor> {
        let chosen = hidden.index_select(&Tensor::new(at, hidden.device())?, 0)?;
        let h = stock::rms_norm(&chosen, &self.norm, self.config.rms_eps)?;
        if self.uses_stock_ops() {
            return Ok(nll_stock(&h, &self.head.tensor()?, targets)?);
        }
        let dtype = if h.track_op() { self.tuning_dtype } else { TuningDtype::F32 };
        Ok(nll(&h, &self.head, targets, dtype)?)
    }
}
