//! The same layer composed of candle's own differentiable operations: for devices our kernels do not run on, and as the
//! reference the kernels are tested against. Only operations whose backward is right are used.

use candle_core::{D, Device, Result, Tensor};

use super::attention::Segment;
use super::layer::{Layer, Pass, Projection};
use super::lora::Layout;
use super::ops::floats;
use super::ops::low_rank::{Dropout, LowRank};

/// What all layers of one pass share, as tensors.
pub struct StockPass<'a> {
    pass: &'a Pass,
    /// 0 where a token (row) sees another (column), minus infinity elsewhere.
    mask: Tensor,
    cos: Tensor,
    sin: Tensor,
}

impl<'a> StockPass<'a> {
    pub fn new(pass: &'a Pass, n: usize, device: &Device) -> Result<Self> {
        let half = pass.heads.dim / 2;
        let cos = Tensor::from_slice(pass.rope.cos(), (n, 1, half), device)?;
        let sin = Tensor::from_slice(pass.rope.sin(), (n, 1, half), device)?;
        Ok(Self { pass, mask: mask(&pass.segments, n, device)?, cos, sin })
    }

    /// `x (n, width)`, `parameters` of the layer's adapter where the pass has one.
    pub fn layer(&self, layer: &Layer, x: &Tensor, parameters: Option<&Tensor>, dropout: Option<Dropout>) -> Result<Tensor> {
        let (pass, heads, n) = (self.pass, self.pass.heads, x.dim(0)?);
        let adapter = pass.adapter.as_deref().zip(parameters);
        let (query, kv) = (heads.query * heads.dim, heads.kv * heads.dim);

        let h = rms_norm(x, &layer.input_norm, pass.eps)?;
        let qkv = linear(&h, &layer.qkv, adapter, |l| &l.qkv, dropout, 1)?;
        let split = |from, heads_count| qkv.narrow(1, from, heads_count * heads.dim)?.reshape((n, heads_count, heads.dim));
        let (mut q, mut k, v) = (split(0, heads.query)?, split(query, heads.kv)?, split(query + kv, heads.kv)?);
        if let Some([q_norm, k_norm]) = &layer.head_norms {
            (q, k) = (rms_norm(&q, q_norm, pass.eps)?, rms_norm(&k, k_norm, pass.eps)?);
        }
        let (q, k) = (self.turn(&q)?, self.turn(&k)?);
        // (heads, n, dim), each key head repeated for the query heads that share it
        let spread = |x: Tensor| {
            let x = x.unsqueeze(2)?.broadcast_as((n, heads.kv, heads.group(), heads.dim))?;
            x.reshape((n, heads.query, heads.dim))?.transpose(0, 1)?.contiguous()
        };
        let (q, k, v) = (q.transpose(0, 1)?.contiguous()?, spread(k)?, spread(v)?);
        let scores = (q.matmul(&k.t()?)? * f64::from(heads.scale()))?.broadcast_add(&self.mask)?;
        let attended = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let attended = attended.transpose(0, 1)?.reshape((n, query))?;
        let middle = (x + linear(&attended, &layer.o, adapter, |l| &l.o, dropout, 2)?)?;

        let h = rms_norm(&middle, &layer.mlp_norm, pass.eps)?;
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

pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + eps)?.sqrt()?)?.broadcast_mul(weight)
}

fn linear(
    x: &Tensor,
    projection: &Projection,
    adapter: Option<(&Layout, &Tensor)>,
    part: impl Fn(&Layout) -> &Option<LowRank>,
    dropout: Option<Dropout>,
    stream: u64,
) -> Result<Tensor> {
    let mut y = x.matmul(&projection.weight.tensor()?)?;
    if let Some(bias) = &projection.bias {
        y = y.broadcast_add(bias)?;
    }
    if let Some(beside) = &projection.beside {
        let (x, mut add) = (x.contiguous()?, vec![0.0; y.elem_count()]);
        beside.low_rank.forward(&beside.parameters, beside.scale, &floats(&x)?, &mut add, None);
        y = (&y + Tensor::from_vec(add, y.shape(), y.device())?)?;
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

fn mask(segments: &[Segment], n: usize, device: &Device) -> Result<Tensor> {
    let mut mask = vec![f32::NEG_INFINITY; n * n];
    for segment in segments {
        for i in segment.tokens.clone() {
            mask[i * n..][segment.parent.clone()].fill(0.0);
            mask[i * n..][segment.tokens.start..=i].fill(0.0);
        }
    }
    Tensor::from_vec(mask, (n, n), device)
}
