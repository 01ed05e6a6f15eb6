//! Choosing, padding and resizing along dimensions.

use candle_core::{Device, Result, Tensor};

use crate::tracer::graph::Border;

pub(crate) fn select(x: &Tensor, dim: usize, index: Vec<u32>) -> Result<Tensor> {
    let index = Tensor::new(index, x.device())?;
    x.contiguous()?.index_select(&index, dim)
}

pub(crate) fn slice(x: &Tensor, dim: usize, start: usize, end: usize, step: usize) -> Result<Tensor> {
    if step == 1 { x.narrow(dim, start, end - start) } else { select(x, dim, (start..end).step_by(step).map(|i| i as u32).collect()) }
}

pub(crate) fn pad(x: &Tensor, [top, bottom, left, right]: [usize; 4], border: Border) -> Result<Tensor> {
    let rank = x.rank();
    if rank < 2 {
        candle_core::bail!("padding was given {:?}", x.dims());
    }
    if let Border::Constant(value) = border {
        let shifted = x.affine(1.0, -value)?;
        return shifted.pad_with_zeros(rank - 2, top, bottom)?.pad_with_zeros(rank - 1, left, right)?.affine(1.0, value);
    }
    let index = |extent: usize, before: usize, after: usize| -> Vec<u32> {
        let extent = extent as isize;
        let source = |i: isize| match border {
            Border::Reflect if i < 0 => -i,
            Border::Reflect if i >= extent => 2 * (extent - 1) - i,
            Border::Circular => i.rem_euclid(extent),
            _ => i.clamp(0, extent - 1),
        };
        (-(before as isize)..extent + after as isize).map(|i| source(i) as u32).collect()
    };
    let rows = select(x, rank - 2, index(x.dim(rank - 2)?, top, bottom))?;
    select(&rows, rank - 1, index(x.dim(rank - 1)?, left, right))
}

/// Matrix (out, extent) of linear interpolation along one axis.
pub(crate) fn interpolation(extent: usize, out: usize, align: bool, device: &Device) -> Result<Tensor> {
    let mut weights = vec![0f32; out * extent];
    for i in 0..out {
        let at = if align {
            if out > 1 { i as f64 * (extent - 1) as f64 / (out - 1) as f64 } else { 0.0 }
        } else {
            ((i as f64 + 0.5) * extent as f64 / out as f64 - 0.5).max(0.0)
        };
        let low = (at as usize).min(extent - 1);
        let high = (low + 1).min(extent - 1);
        let share = (at - low as f64) as f32;
        weights[i * extent + low] += 1.0 - share;
        weights[i * extent + high] += share;
    }
    Tensor::from_vec(weights, (out, extent), device)
}

/// Weights (C) shaped to multiply dimension 1 of a tensor of `rank` dimensions.
pub(crate) fn per_channel(weights: &Tensor, rank: usize) -> Result<Tensor> {
    let mut shape = vec![1; rank];
    shape[1] = weights.elem_count();
    weights.reshape(shape)
}
