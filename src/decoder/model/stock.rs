//! The same layer composed of candle's own differentiable operations: for devices our kernels do not run on, and as the
//! reference the kernels are tested against. Only operations whose backward is right are used.

use candle_core::{D, Device, Result, Tensor};

use super::attention::Segment;
use super::layer::{Layer, Pass, Projection};
use crate::decoder::lora::matrices::Layout;
use crate::decoder::ops::frozen::frozen;
use crate::decoder::ops::low_rank::{Dropout, LowRank};

/// What all layers of one pass share, as tensors.
pub(crate) struct StockPass<'a> {
    pass: &'a Pass,
    /// 0 where a token (row) sees another (column), minus infinity elsewhere.
    mask: Tensor,
    cos: Tensor,
    sin: Tensor,
}

/// Keys and values of one layer: each (key heads, tokens, dim).
#[derive(Clone)]
pub(crate) struct KeysValues {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

impl KeysValues {
    /// These, and `later` behind them.
    pub(crate) fn join(&self, later: &Self) -> Result<Self> {
        let join = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 1)?.contiguous();
        Ok(Self { keys: join(&self.keys, &later.keys)?, values: join(&self.values, &later.values)? })
    }

    /// The first `len` tokens.
    pub(crate) fn cut(&self, len: usize) -> Result<Self> {
        Ok(Self { keys: self.keys.narrow(1, 0, len)?, values: self.values.narrow(1, 0, len)? })
    }
}

/// The adapter of one layer: where the parts lie, and the parameters.
pub(crate) type Adapter<'a> = Option<(&'a Layout, &'a Tensor)>;

impl<'a> StockPass<'a> {
    /// Every token sees `past` cached ones besides what the pass says.
    pub(crate) fn new(pass: &'a Pass, n: usize, past: usize, device: &Device) -> Result<Self> {
        let half = pass.heads.dim / 2;
        let cos = Tensor::from_slice(pass.rope.cos(), (n, 1, half), device)?;
        let sin = Tensor::from_slice(pass.rope.sin(), (n, 1, half), device)?;
        Ok(Self { pass, mask: mask(&pass.segments, n, past, device)?, cos, sin })
    }

    /// `x (n, width)`, `parameters` of the layer's adapter where the pass has one, and what is cached of the layer. Gives `y` and the
    /// keys and values of the new tokens.
    pub(crate) fn layer(
        &self,
        layer: &Layer,
        x: &Tensor,
        parameters: Option<&Tensor>,
        past: Option<&KeysValues>,
        dropout: Option<Dropout>,
    ) -> Result<(Tensor, KeysValues)> {
        let (heads, n) = (self.pass.heads, x.dim(0)?);
        let adapter = self.pass.adapter.as_deref().zip(parameters);
        let (q, fresh) = self.project(layer, x, adapter, dropout)?;
        let all = past.map(|past| past.join(&fresh)).transpose()?;
        let seen = all.as_ref().unwrap_or(&fresh);
        // Each key head repeated for the query heads that share it.
        let spread = |x: &Tensor| {
            let (kv, seen, dim) = x.dims3()?;
            x.unsqueeze(1)?.broadcast_as((kv, heads.group(), seen, dim))?.reshape((heads.query, seen, dim))
        };
        let q = q.transpose(0, 1)?.contiguous()?;
        let scores = (q.matmul(&spread(&seen.keys)?.t()?)? * f64::from(heads.scale()))?.broadcast_add(&self.mask)?;
        let attended = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&spread(&seen.values)?)?;
        let attended = attended.transpose(0, 1)?.reshape((n, heads.query * heads.dim))?;
        Ok((self.finish(layer, x, &attended, adapter, dropout)?, fresh))
    }

    /// The queries (n, query heads, dim) of `x`, and its keys and values.
    pub(crate) fn project(&self, layer: &Layer, x: &Tensor, adapter: Adapter, dropout: Option<Dropout>) -> Result<(Tensor, KeysValues)> {
        let (heads, n) = (self.pass.heads, x.dim(0)?);
        let (query, kv) = (heads.query * heads.dim, heads.kv * heads.dim);
        let h = rms_norm(x, &layer.input_norm, self.pass.eps)?;
        let qkv = linear(&h, &layer.qkv, adapter, |l| &l.qkv, dropout, 1)?;
        let split = |from, heads_count| qkv.narrow(1, from, heads_count * heads.dim)?.reshape((n, heads_count, heads.dim));
        let (mut q, mut k, v) = (split(0, heads.query)?, split(query, heads.kv)?, split(query + kv, heads.kv)?);
        if let Some([q_norm, k_norm]) = &layer.head_norms {
            (q, k) = (rms_norm(&q, q_norm, self.pass.eps)?, rms_norm(&k, k_norm, self.pass.eps)?);
        }
        let keys = self.turn(&k)?.transpose(0, 1)?.contiguous()?;
        Ok((self.turn(&q)?, KeysValues { keys, values: v.transpose(0, 1)?.contiguous()? }))
    }

    /// What follows attention; `attended (n, query heads * dim)`.
    pub(crate) fn finish(
        &self,
        layer: &Layer,
        x: &Tensor,
        attended: &Tensor,
        adapter: Adapter,
        dropout: Option<Dropout>,
    ) -> Result<Tensor> {
        let middle = (x + linear(attended, &layer.o, adapter, |l| &l.o, dropout, 2)?)?;
        let h = rms_norm(&middle, &layer.mlp_norm, self.pass.eps)?;
        let gate_up = linear(&h, &layer.gate_up, adapter, |l| &l.gate_up, dropout, 3)?;
        let ffn = gate_up.dim(1)? / 2;
        let product = (gate_up.narrow(1, 0, ffn)?.silu()? * gate_up.narrow(1, ffn, ffn)?)?;
        &middle + linear(&product, &layer.down, adapter, |l| &l.down, dropout, 4)?
    }

    fn turn(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.dim(2)? / 2;
        let (a, b) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        let first = (a.broadcast_mul(&self.cos)? - b.broadcast_mul(&self.sin)?)?;
        let second = (b.broadcast_mul(&self.cos)? + a.broadcast_mul(&self.sin)?)?;
        Tensor::cat(&[first, second], 2)
    }
}

pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + eps)?.sqrt()?)?.broadcast_mul(weight)
}

fn linear(
    x: &Tensor,
    projection: &Projection,
    adapter: Adapter,
    part: impl Fn(&Layout) -> &Option<LowRank>,
    dropout: Option<Dropout>,
    stream: u64,
) -> Result<Tensor> {
    let mut y = frozen(x, &projection.weight.tensor()?)?;
    if let Some(bias) = &projection.bias {
        y = y.broadcast_add(bias)?;
    }
    let Some((layout, parameters)) = adapter else { return Ok(y) };
    let Some(low_rank) = part(layout) else { return Ok(y) };
    let n = x.dim(0)?;
    let mut columns = Vec::new();
    let mut at = 0;
    for (i, part) in low_rank.parts.iter().enumerate() {
        let a = parameters.narrow(0, low_rank.a_of(i), low_rank.rank * low_rank.input)?.reshape((low_rank.rank, low_rank.input))?;
        let b = parameters.narrow(0, part.b, part.width * low_rank.rank)?.reshape((part.width, low_rank.rank))?;
        let x = match dropout {
            Some(d) => {
                let mask = Dropout { seed: d.seed ^ (stream << 56), ..d }.apply(&vec![1.0; n * low_rank.input], i);
                (x * Tensor::from_vec(mask, x.shape(), x.device())?)?
            }
            None => x.clone(),
        };
        if part.column > at {
            columns.push(Tensor::zeros((n, part.column - at), x.dtype(), x.device())?);
        }
        columns.push((x.matmul(&a.t()?)?.matmul(&b.t()?)? * f64::from(layout.scale))?);
        at = part.column + part.width;
    }
    if low_rank.output > at {
        columns.push(Tensor::zeros((n, low_rank.output - at), x.dtype(), x.device())?);
    }
    y + Tensor::cat(&columns, 1)?
}

fn mask(segments: &[Segment], n: usize, past: usize, device: &Device) -> Result<Tensor> {
    let width = past + n;
    let mut mask = vec![f32::NEG_INFINITY; n * width];
    for segment in segments {
        for i in segment.tokens.clone() {
            let (cached, row) = mask[i * width..][..width].split_at_mut(past);
            cached.fill(0.0);
            row[segment.parent.clone()].fill(0.0);
            row[segment.tokens.start..=i].fill(0.0);
        }
    }
    Tensor::from_vec(mask, (n, width), device)
}
