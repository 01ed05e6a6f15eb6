//! The decoder of the Llama, Qwen2 and Qwen3 families: tokens of several sequences flat in one list, each with its own
//! position, attending by an explicit structure ([`Rows`]); logits only where they are asked for.
//!
//! On the CPU each layer is one fused node ([`super::layer`]); elsewhere, or when asked, stock operations ([`super::stock`]).

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};

use super::attention::{Heads, Past, Segment};
use super::config::DecoderConfig;
use super::layer::{Adapter, Beside, Kept, Layer, LayerOp, Pass, Projection};
use super::lora::Lora;
use super::model_file::ModelFile;
use super::ops::cross_entropy::{nll, nll_stock};
use super::ops::floats;
use super::ops::low_rank::Dropout;
use super::ops::matmul::{Into, Threads, View, matmul};
use super::ops::norm;
use super::ops::rope::Rope;
use super::stock::{self, StockPass};
use super::weight::{self, Part, Weight};
use crate::config::Dtype;
use crate::error::{Error, Result};

/// Several sequences laid out flat.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub tokens: Vec<u32>,
    pub positions: Vec<u32>,
    pub segments: Vec<Segment>,
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

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// Whether a forward pass keeps what gradients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Evaluate,
    /// With gradients; the seed draws the dropout of this pass.
    Train {
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
    pub(super) stock: bool,
    pub(super) recompute: bool,
    pub(super) device: Device,
}

/// A row a token.
#[derive(Clone)]
pub(super) enum Embedding {
    F32(Tensor),
    Narrow(Arc<weight::Rows>),
}

impl Decoder {
    /// Takes the weights from `get`, by their Hugging Face names and in that layout: (out, in).
    ///
    /// # Errors
    /// When a tensor is missing or of another shape than the settings say.
    pub fn new(config: &DecoderConfig, get: impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        Self::build(config, get, None)
    }

    /// Loads a model, its matrices kept as `dtype` says; norms and biases are f32 always. Narrow types are for little memory, so
    /// tuning then keeps only the input of each layer.
    ///
    /// # Errors
    /// Where the file cannot be read, or `dtype` wants blocks and it has none.
    pub fn open(file: &ModelFile, dtype: Dtype) -> Result<Self> {
        let mut part = |name: &str| file.narrow(name, dtype);
        if dtype == Dtype::F32 {
            return Self::new(file.config(), |name| file.tensor(name));
        }
        let narrow = Self::build(file.config(), |name| file.tensor(name), Some(&mut part))?;
        Ok(Self { recompute: true, ..narrow })
    }

    fn build(config: &DecoderConfig, mut get: impl FnMut(&str) -> Result<Tensor>, mut narrow: Option<Narrow>) -> Result<Self> {
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
            None => Embedding::F32(tensor("model.embed_tokens.weight", &[config.vocab, config.width])?.contiguous()?),
            Some(narrow) => Embedding::Narrow(Arc::new(rows(vec![narrow("model.embed_tokens.weight")?])?)),
        };
        let mut layers = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let mut joined = |module: &str, parts: &[(&str, usize)], input: usize, bias: bool| -> Result<Projection> {
                let name = |part: &str, kind: &str| format!("model.layers.{i}.{module}.{part}.{kind}");
                let weight = if let Some(narrow) = &mut narrow {
                    let parts = parts.iter().map(|(part, _)| narrow(&name(part, "weight"))).collect::<Result<Vec<_>>>()?;
                    Weight::Narrow(Arc::new(rows(parts)?))
                } else {
                    let weights =
                        parts.iter().map(|(part, out)| tensor(&name(part, "weight"), &[*out, input])).collect::<Result<Vec<_>>>()?;
                    Weight::F32(Tensor::cat(&weights, 0)?.t()?.contiguous()?)
                };
                let biases = if bias { parts } else { &[] };
                let biases = biases.iter().map(|(part, out)| tensor(&name(part, "bias"), &[*out])).collect::<Result<Vec<_>>>()?;
                Ok(Projection { weight, bias: if bias { Some(Tensor::cat(&biases, 0)?) } else { None }, beside: None })
            };
            let qkv = joined("self_attn", &[("q_proj", query), ("k_proj", kv), ("v_proj", kv)], config.width, config.qkv_bias)?;
            let o = joined("self_attn", &[("o_proj", config.width)], query, false)?;
            let gate_up = joined("mlp", &[("gate_proj", config.ffn), ("up_proj", config.ffn)], config.width, false)?;
            let down = joined("mlp", &[("down_proj", config.width)], config.ffn, false)?;
            let mut norm = |name: &str, size: usize| tensor(&format!("model.layers.{i}.{name}.weight"), &[size]);
            let head_norms = if config.qk_norm {
                Some([norm("self_attn.q_norm", config.head_dim)?, norm("self_attn.k_norm", config.head_dim)?])
            } else {
                None
            };
            let (input_norm, mlp_norm) = (norm("input_layernorm", config.width)?, norm("post_attention_layernorm", config.width)?);
            layers.push(Arc::new(Layer { input_norm, qkv, head_norms, o, mlp_norm, gate_up, down }));
        }
        let norm = tensor("model.norm.weight", &[config.width])?;
        let device = norm.device().clone();
        let head = match (&embedding, &mut narrow) {
            (Embedding::Narrow(rows), _) if config.tied => Weight::Narrow(rows.clone()),
            (Embedding::F32(table), _) if config.tied => Weight::F32(table.t()?.contiguous()?),
            (_, Some(narrow)) => Weight::Narrow(Arc::new(rows(vec![narrow("lm_head.weight")?])?)),
            (_, None) => Weight::F32(tensor("lm_head.weight", &[config.vocab, config.width])?.t()?.contiguous()?),
        };
        Ok(Self { config: config.clone(), embedding, layers, norm, head, stock: false, recompute: false, device })
    }

    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Tokens that it can say: the vocabulary, or part of it ([`Decoder::restricted`]).
    pub fn outputs(&self) -> usize {
        match &self.head {
            Weight::F32(head) => head.dims()[1],
            Weight::Narrow(rows) => rows.count(),
        }
    }

    /// Computes with candle's own operations even where there is a kernel of ours: the reference in tests.
    #[must_use]
    pub fn with_stock_ops(mut self) -> Self {
        self.stock = true;
        self
    }

    fn uses_stock_ops(&self) -> bool {
        self.stock || !matches!(self.device, Device::Cpu)
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
        let pass = Arc::new(self.pass(rows, lora, dropout));
        if self.uses_stock_ops() {
            let shared = StockPass::new(&pass, n, device)?;
            let mut x = match &self.embedding {
                Embedding::F32(table) => table.index_select(&Tensor::new(rows.tokens.as_slice(), device)?, 0)?,
                Embedding::Narrow(_) => Tensor::from_vec(self.embed(&rows.tokens)?, (n, width), device)?,
            };
            for (i, layer) in self.layers.iter().enumerate() {
                let parameters = lora.map(|l| l.layers()[i].as_tensor());
                x = shared.layer(layer, &x, parameters, pass.dropout_of(i))?;
            }
            return Ok(if mode == Mode::Evaluate { x.detach() } else { x });
        }
        if let (Mode::Train { .. }, Some(lora)) = (mode, lora) {
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
            adapter: lora.map(|l| l.layout().clone()),
            dropout,
            recompute: self.recompute,
        }
    }

    pub(super) fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let width = self.config.width;
        match &self.embedding {
            Embedding::F32(table) => {
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
        Ok(stock::rms_norm(hidden, &self.norm, self.config.rms_eps)?.matmul(&self.head.tensor()?)?)
    }

    /// Logits of hidden rows in plain memory: (m, vocab) flat.
    pub(super) fn logits_of(&self, hidden: &[f32]) -> Result<Vec<f32>> {
        let (width, vocab) = (self.config.width, self.outputs());
        let m = hidden.len() / width;
        let h = norm::forward(hidden, &floats(&self.norm)?, self.config.rms_eps);
        let mut logits = vec![0.0; m * vocab];
        matmul(&mut logits, vocab, Into::Overwrite, 1.0, View::new(&h, m, width), self.head.dense()?.view(), Threads::All);
        Ok(logits)
    }

    /// Negative log-likelihood (m) of `targets`, each predicted by row `at[i]` of `hidden (n, width)`.
    pub fn nll(&self, hidden: &Tensor, at: &[u32], targets: &[u32]) -> Result<Tensor> {
        let chosen = hidden.index_select(&Tensor::new(at, hidden.device())?, 0)?;
        let h = stock::rms_norm(&chosen, &self.norm, self.config.rms_eps)?;
        Ok(if self.uses_stock_ops() { nll_stock(&h, &self.head.tensor()?, targets)? } else { nll(&h, &self.head, targets)? })
    }

    /// A decoder with the adapter added to its weights, for generation; embedding and output projection are shared. Weights of
    /// narrow types stay as they are, with the adapter beside them.
    pub fn merged(&self, lora: &Lora) -> Result<Self> {
        let layout = lora.layout();
        let mut layers = Vec::with_capacity(self.layers.len());
        for (layer, parameters) in self.layers.iter().zip(lora.layers()) {
            let parameters = Arc::new(floats(parameters)?.to_vec());
            let merge = |projection: &Projection, low_rank: &Option<super::ops::low_rank::LowRank>| -> Result<Projection> {
                let Some(low_rank) = low_rank else { return Ok(projection.clone()) };
                let bias = projection.bias.clone();
                let Weight::F32(base) = &projection.weight else {
                    let beside = Beside { low_rank: low_rank.clone(), parameters: parameters.clone(), scale: layout.scale };
                    return Ok(Projection { weight: projection.weight.clone(), bias, beside: Some(beside) });
                };
                let mut weight = floats(base)?.to_vec();
                for (i, part) in low_rank.parts.iter().enumerate() {
                    let a = View::new(&parameters[low_rank.a_of(i)..], low_rank.rank, low_rank.input);
                    let b = View::new(&parameters[part.b..], part.width, low_rank.rank);
                    matmul(&mut weight[part.column..], low_rank.output, Into::Add, layout.scale, a.t(), b.t(), Threads::All);
                }
                let weight = Weight::F32(Tensor::from_vec(weight, base.shape(), base.device())?);
                Ok(Projection { weight, bias, beside: None })
            };
            layers.push(Arc::new(Layer {
                qkv: merge(&layer.qkv, &layout.qkv)?,
                o: merge(&layer.o, &layout.o)?,
                gate_up: merge(&layer.gate_up, &layout.gate_up)?,
                down: merge(&layer.down, &layout.down)?,
                ..(**layer).clone()
            }));
        }
        let (embedding, norm, head) = (self.embedding.clone(), self.norm.clone(), self.head.clone());
        Ok(Self {
            config: self.config.clone(),
            embedding,
            layers,
            norm,
            head,
            stock: self.stock,
            recompute: self.recompute,
            device: self.device.clone(),
        })
    }
}
