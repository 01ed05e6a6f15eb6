//! One decoder layer, forward and backward, as a single node of the graph:
//!
//! ```text
//! h = x + O attention(rope(QKV norm(x)))
//! y = h + Down(silu(Gate norm(h)) * Up norm(h))
//! ```
//!
//! The weights are frozen: backward gives the gradients of `x (n, width)` and of the layer's adapter parameters only. Of the
//! forward pass it keeps qkv, the attention's output, h and gate-up; norms and products are computed again.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout as TensorLayout, Shape, Tensor};

use super::attention::{self, Attended, Heads, Past, Segment};
use super::repack::repack_f32;
use super::weight::Weight;
use crate::decoder::lora::matrices::Layout;
use crate::decoder::ops::bf16_matmul::matmul_in;
use crate::decoder::ops::low_rank::{Dropout, LowRank};
use crate::decoder::ops::matmul::{Into, View};
use crate::decoder::ops::panel::{LowRankPanels, Panels, product};
use crate::decoder::ops::rope::{Rope, Turn};
use crate::decoder::ops::{floats, norm, slice_of, swiglu};
use crate::decoder::settings::llm::TuningDtype;

/// A frozen linear; several projections of the same input are one matrix.
#[derive(Clone)]
pub(crate) struct Projection {
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Tensor>,
    /// The weight once more, for the few rows of decoding.
    pub(crate) panels: Arc<Vec<Panels>>,
    /// An adapter for good.
    pub(crate) beside: Option<Beside>,
}

/// The part of an adapter that belongs to one projection, with the parameters of its layer.
#[derive(Clone)]
pub(crate) struct Beside {
    pub(crate) low_rank: LowRank,
    pub(crate) parameters: Arc<Vec<f32>>,
    pub(crate) scale: f32,
    pub(crate) panels: LowRankPanels,
}

impl Beside {
    pub(crate) fn new(low_rank: &LowRank, parameters: &Arc<Vec<f32>>, scale: f32, widths: &[usize]) -> Self {
        let (rank, input) = (low_rank.rank, low_rank.input);
        let a = &parameters[low_rank.a..][..low_rank.parts.len() * rank * input];
        let a = repack_f32(input, low_rank.parts.len() * rank, |i, o| a[o * input + i]);
        // Parts of the weight that the adapter leaves alone get no inputs.
        let mut column = 0;
        let b = widths.iter().map(|width| {
            let part = low_rank.parts.iter().position(|part| part.column == column);
            column += width;
            part.map_or((0, repack_f32(0, *width, |_, _| 0.0)), |index| {
                let b = &parameters[low_rank.parts[index].b..][..width * rank];
                (index * rank, repack_f32(rank, *width, |j, o| scale * b[o * rank + j]))
            })
        });
        let panels = LowRankPanels { a, b: b.collect() };
        Self { low_rank: low_rank.clone(), parameters: parameters.clone(), scale, panels }
    }
}

#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) input_norm: Tensor,
    pub(crate) qkv: Projection,
    /// Of Qwen3: norms of each head of q and k.
    pub(crate) head_norms: Option<[Tensor; 2]>,
    pub(crate) o: Projection,
    pub(crate) mlp_norm: Tensor,
    pub(crate) gate_up: Projection,
    pub(crate) down: Projection,
}

/// What all layers of one forward pass share.
pub(crate) struct Pass {
    pub(crate) heads: Heads,
    pub(crate) eps: f64,
    pub(crate) rope: Rope,
    pub(crate) segments: Vec<Segment>,
    pub(crate) adapter: Option<Arc<Layout>>,
    pub(crate) dropout: Option<Dropout>,
    /// Nothing is kept for backward but each layer's input; backward runs its layer forward once more.
    pub(crate) recompute: bool,
    /// Of the products with frozen matrices.
    pub(crate) dtype: TuningDtype,
}

/// The adapter of one layer.
#[derive(Clone, Copy)]
pub(crate) struct Adapter<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) parameters: &'a [f32],
    pub(crate) dropout: Option<Dropout>,
}

/// What a forward pass leaves for backward (and `qkv` for the cache).
pub(crate) struct Kept {
    /// Turned by its positions.
    pub(crate) qkv: Vec<f32>,
    /// The same before the head norms, where there are some.
    before_norms: Option<Vec<f32>>,
    attended: Attended,
    middle: Vec<f32>,
    gate_up: Vec<f32>,
    /// `x A^T` of qkv, o, gate-up, down.
    inner: [Vec<f32>; 4],
}

impl Adapter<'_> {
    /// The low-rank parts in the order of the layer's projections, each with a dropout stream of its own.
    fn parts(&self) -> [Option<(&LowRank, Option<Dropout>)>; 4] {
        let layout = self.layout;
        let mut index = 0;
        [&layout.qkv, &layout.o, &layout.gate_up, &layout.down].map(|part| {
            index += 1;
            let dropout = self.dropout.map(|d| Dropout { seed: d.seed ^ (index << 56), ..d });
            part.as_ref().map(|p| (p, dropout))
        })
    }
}

impl Projection {
    /// `out = [out +] x W [+ bias] + adapter`; returns what the adapter's backward wants.
    fn forward(
        &self,
        dtype: TuningDtype,
        x: &[f32],
        out: &mut [f32],
        into: Into,
        adapter: Option<Adapter>,
        which: usize,
    ) -> candle_core::Result<Vec<f32>> {
        self.frozen(dtype, x, out, into)?;
        let Some(adapter) = adapter else { return Ok(Vec::new()) };
        let Some((part, dropout)) = adapter.parts()[which] else { return Ok(Vec::new()) };
        Ok(part.forward(adapter.parameters, adapter.layout.scale, x, out, dropout))
    }

    pub(super) fn frozen(&self, dtype: TuningDtype, x: &[f32], out: &mut [f32], into: Into) -> candle_core::Result<()> {
        let (input, output) = (self.weight.input(), self.weight.output());
        let n = x.len() / input;
        let into = self.with_bias(out, output, into)?;
        matmul_in(dtype, out, output, into, View::new(x, n, input), self.weight.dense()?.view());
        if let Some(beside) = &self.beside {
            beside.low_rank.forward(&beside.parameters, beside.scale, x, out, None);
        }
        Ok(())
    }

    /// The same for few rows, each of whose sums do not depend on the others.
    pub(super) fn decode(&self, x: &[f32], out: &mut [f32], into: Into) -> candle_core::Result<()> {
        let into = self.with_bias(out, self.weight.output(), into)?;
        product(&self.panels, self.beside.as_ref().map(|beside| &beside.panels), x, out, into);
        Ok(())
    }

    fn with_bias(&self, out: &mut [f32], output: usize, into: Into) -> candle_core::Result<Into> {
        let Some(bias) = &self.bias else { return Ok(into) };
        let bias = floats(bias)?;
        for row in out.chunks_mut(output) {
            match into {
                Into::Overwrite => row.copy_from_slice(&bias),
                Into::Add => row.iter_mut().zip(&*bias).for_each(|(o, b)| *o += b),
            }
        }
        Ok(Into::Add)
    }

    /// Returns the gradient of `x` and adds that of the adapter to `dp`.
    #[allow(clippy::too_many_arguments)]
    fn backward(
        &self,
        dtype: TuningDtype,
        x: &[f32],
        inner: &[f32],
        g: &[f32],
        adapter: Adapter,
        dp: &mut [f32],
        which: usize,
    ) -> candle_core::Result<Vec<f32>> {
        let (input, output) = (self.weight.input(), self.weight.output());
        let n = x.len() / input;
        let mut dx = vec![0.0; x.len()];
        matmul_in(dtype, &mut dx, input, Into::Overwrite, View::new(g, n, output), self.weight.dense()?.view().t());
        if let Some((part, dropout)) = adapter.parts()[which] {
            part.backward(adapter.parameters, adapter.layout.scale, x, inner, g, &mut dx, dp, dropout);
        }
        Ok(dx)
    }
}

impl Layer {
    /// `x (n, width)`; gives `y` and what backward needs.
    pub(crate) fn forward(
        &self,
        pass: &Pass,
        x: &[f32],
        adapter: Option<Adapter>,
        past: Option<Past>,
    ) -> candle_core::Result<(Vec<f32>, Kept)> {
        let heads = pass.heads;
        let (width, stride, ffn) = (self.input_norm.elem_count(), heads.stride(), self.down.weight.input());
        let n = x.len() / width;

        let h = norm::forward(x, &floats(&self.input_norm)?, pass.eps);
        let mut qkv = vec![0.0; n * stride];
        let inner_qkv = self.qkv.forward(pass.dtype, &h, &mut qkv, Into::Overwrite, adapter, 0)?;
        drop(h);
        let before_norms = match &self.head_norms {
            Some(norms) => {
                let before = qkv.clone();
                norm_heads(&mut qkv, heads, norms, pass.eps)?;
                Some(before)
            }
            None => None,
        };
        pass.rope.apply(&mut qkv, stride, heads.query + heads.kv, Turn::Forward);
        let attended = attention::forward(heads, &qkv, &pass.segments, past);
        let mut middle = x.to_vec();
        let inner_o = self.o.forward(pass.dtype, &attended.out, &mut middle, Into::Add, adapter, 1)?;

        let h = norm::forward(&middle, &floats(&self.mlp_norm)?, pass.eps);
        let mut gate_up = vec![0.0; n * 2 * ffn];
        let inner_gate_up = self.gate_up.forward(pass.dtype, &h, &mut gate_up, Into::Overwrite, adapter, 2)?;
        drop(h);
        let product = swiglu::forward(&gate_up, ffn);
        let mut y = middle.clone();
        let inner_down = self.down.forward(pass.dtype, &product, &mut y, Into::Add, adapter, 3)?;
        let inner = [inner_qkv, inner_o, inner_gate_up, inner_down];
        Ok((y, Kept { qkv, before_norms, attended, middle, gate_up, inner }))
    }

    /// The gradients of `x` and of the adapter's parameters, from `g`, that of `y`.
    pub(crate) fn backward(
        &self,
        pass: &Pass,
        x: &[f32],
        adapter: Adapter,
        kept: Kept,
        g: &[f32],
    ) -> candle_core::Result<(Vec<f32>, Vec<f32>)> {
        let (heads, ffn) = (pass.heads, self.down.weight.input());
        let mut dp = vec![0.0; adapter.parameters.len()];
        let Kept { qkv, before_norms, attended, middle, gate_up, inner } = kept;

        let product = swiglu::forward(&gate_up, ffn);
        let g_product = self.down.backward(pass.dtype, &product, &inner[3], g, adapter, &mut dp, 3)?;
        drop(product);
        let g_gate_up = swiglu::backward(&g_product, &gate_up, ffn);
        drop((g_product, gate_up));
        let mlp_norm = floats(&self.mlp_norm)?;
        let h = norm::forward(&middle, &mlp_norm, pass.eps);
        let g_h = self.gate_up.backward(pass.dtype, &h, &inner[2], &g_gate_up, adapter, &mut dp, 2)?;
        drop((h, g_gate_up));
        let mut dx = g.to_vec();
        norm::backward(&mut dx, &g_h, &middle, &mlp_norm, pass.eps);

        let g_attended = self.o.backward(pass.dtype, &attended.out, &inner[1], &dx, adapter, &mut dp, 1)?;
        let mut g_qkv = attention::backward(heads, &qkv, &pass.segments, &attended, &g_attended);
        drop((g_attended, attended, qkv));
        pass.rope.apply(&mut g_qkv, heads.stride(), heads.query + heads.kv, Turn::Back);
        if let (Some(norms), Some(before)) = (&self.head_norms, &before_norms) {
            norm_heads_backward(&mut g_qkv, before, heads, norms, pass.eps)?;
        }
        let input_norm = floats(&self.input_norm)?;
        let h = norm::forward(x, &input_norm, pass.eps);
        let g_h = self.qkv.backward(pass.dtype, &h, &inner[0], &g_qkv, adapter, &mut dp, 0)?;
        norm::backward(&mut dx, &g_h, x, &input_norm, pass.eps);
        Ok((dx, dp))
    }
}

pub(super) fn norm_heads(qkv: &mut [f32], heads: Heads, norms: &[Tensor; 2], eps: f64) -> candle_core::Result<()> {
    let [q, k] = [floats(&norms[0])?, floats(&norms[1])?];
    for row in qkv.chunks_mut(heads.stride()) {
        for (i, head) in row.chunks_mut(heads.dim).take(heads.query + heads.kv).enumerate() {
            let before = head.to_vec();
            norm::forward_row(head, &before, if i < heads.query { &q } else { &k }, eps);
        }
    }
    Ok(())
}

fn norm_heads_backward(g: &mut [f32], before: &[f32], heads: Heads, norms: &[Tensor; 2], eps: f64) -> candle_core::Result<()> {
    let [q, k] = [floats(&norms[0])?, floats(&norms[1])?];
    for (row, before) in g.chunks_mut(heads.stride()).zip(before.chunks(heads.stride())) {
        let each = row.chunks_mut(heads.dim).zip(before.chunks(heads.dim)).take(heads.query + heads.kv);
        for (i, (head, before)) in each.enumerate() {
            let g = head.to_vec();
            head.fill(0.0);
            norm::backward_row(head, &g, before, if i < heads.query { &q } else { &k }, eps);
        }
    }
    Ok(())
}

/// The node: arguments `x (n, width)` and the layer's adapter parameters.
pub(crate) struct LayerOp {
    layer: Arc<Layer>,
    pass: Arc<Pass>,
    dropout: Option<Dropout>,
    kept: Mutex<Option<Kept>>,
}

impl LayerOp {
    /// `index` of the layer gives it dropout streams of its own.
    pub(crate) fn new(layer: Arc<Layer>, pass: Arc<Pass>, index: usize) -> Self {
        let dropout = pass.dropout_of(index);
        Self { layer, pass, dropout, kept: Mutex::new(None) }
    }

    fn adapter<'a>(&'a self, parameters: &'a [f32]) -> candle_core::Result<Adapter<'a>> {
        let Some(layout) = &self.pass.adapter else { candle_core::bail!("a pass without an adapter has no gradients") };
        Ok(Adapter { layout, parameters, dropout: self.dropout })
    }
}

impl Pass {
    pub(crate) fn dropout_of(&self, layer: usize) -> Option<Dropout> {
        self.dropout.map(|d| Dropout { seed: d.seed.wrapping_add(crate::decoder::ops::low_rank::mix(layer as u64)), ..d })
    }
}

impl CustomOp2 for LayerOp {
    fn name(&self) -> &'static str {
        "decoder-layer"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &TensorLayout, s2: &CpuStorage, l2: &TensorLayout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, parameters) = (slice_of(s1, l1)?, slice_of(s2, l2)?);
        let (y, kept) = self.layer.forward(&self.pass, x, Some(self.adapter(parameters)?), None)?;
        if !self.pass.recompute {
            *self.kept.lock().expect("no panic holds this lock") = Some(kept);
        }
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, parameters: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (x_floats, parameters_floats, g) = (floats(x)?, floats(parameters)?, floats(&g)?);
        let kept = if self.pass.recompute {
            self.layer.forward(&self.pass, &x_floats, Some(self.adapter(&parameters_floats)?), None)?.1
        } else if let Some(kept) = self.kept.lock().expect("no panic holds this lock").take() {
            kept
        } else {
            candle_core::bail!("backward of a decoder layer runs once: its activations are freed as it goes")
        };
        let (dx, dp) = self.layer.backward(&self.pass, &x_floats, self.adapter(&parameters_floats)?, kept, &g)?;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), Some(Tensor::from_vec(dp, parameters.shape(), parameters.device())?)))
    }
}
