//! Sums and joins, and backward formulas of arithmetic: nothing is recorded, gradients are moved, not summed into zeros.

use candle_core::{DType, Result, Tensor};

use super::{Shared, blank, each, tensor, wide, with, zip_map};

/// Whether the kernels take it.
pub(crate) fn is_flat(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && x.is_contiguous()
}

/// a + b, of one shape.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() || !is_flat(a) || !is_flat(b) {
        return a + b;
    }
    tensor(with(a, |a| with(b, |b| zip_map([a, b], |[a, b], sum| sums(a, b, sum))))??, a.dims())
}

wide! {
    fn sums(a: &[f32], b: &[f32], sum: &mut [f32]) {
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            *sum = a + b;
        }
    }
}

/// Tensors one after the other along `dim`; their other extents are the same.
pub(crate) fn cat(parts: &[Tensor], dim: usize) -> Result<Tensor> {
    let same = |part: &Tensor| {
        let (a, b) = (part.dims(), parts[0].dims());
        a.len() == b.len() && (0..a.len()).all(|d| d == dim || a[d] == b[d])
    };
    if !parts.iter().all(|part| is_flat(part) && same(part)) {
        return Tensor::cat(parts, dim);
    }
    let mut shape = parts[0].dims().to_vec();
    shape[dim] = parts.iter().map(|part| part.dims()[dim]).sum();
    let outer: usize = shape[..dim].iter().product();
    let inner: usize = shape[dim..].iter().product();
    let mut joined = blank(outer * inner);
    let shared = Shared::new(&mut joined);
    let mut start = 0;
    for part in parts {
        let own: usize = part.dims()[dim..].iter().product();
        with(part, |part| {
            each(outer, |i| {
                // SAFETY: each part has a range of its own in each row of `joined`, which outlives the call.
                let to = unsafe { shared.slice(i * inner + start, own) };
                to.copy_from_slice(&part[i * own..][..own]);
            });
        })?;
        start += own;
    }
    tensor(joined, &shape)
}

/// Sums a gradient over the dimensions along which an operand of `shape` was broadcast.
pub(crate) fn reduce_to(gradient: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if gradient.dims() == shape {
        return Ok(gradient.clone());
    }
    let extra = gradient.rank() - shape.len();
    // Row sums of a contiguous map are the common case (channel gates).
    let dims: Vec<usize> = (0..gradient.rank()).filter(|&d| d < extra || (shape[d - extra] == 1 && gradient.dims()[d] != 1)).collect();
    gradient.sum_keepdim(dims)?.reshape(shape)
}

/// Cuts the gradient of a concatenation along `dim` into those of its parts.
pub(crate) fn split(gradient: &Tensor, dim: usize, extents: impl Iterator<Item = usize>) -> Result<Vec<Tensor>> {
    let mut start = 0;
    if is_flat(gradient) {
        let shape = gradient.dims();
        let outer: usize = shape[..dim].iter().product();
        let inner: usize = shape[dim..].iter().product();
        let step: usize = shape[dim + 1..].iter().product();
        return extents
            .map(|extent| {
                let own = extent * step;
                let mut part = blank(outer * own);
                with(gradient, |gradient| {
                    super::each_chunk(&mut part, own.max(1), |i, part| part.copy_from_slice(&gradient[i * inner + start..][..own]));
                })?;
                start += own;
                let mut shape = shape.to_vec();
                shape[dim] = extent;
                tensor(part, &shape)
            })
            .collect();
    }
    extents
        .map(|extent| {
            let part = gradient.narrow(dim, start, extent)?.contiguous()?;
            start += extent;
            Ok(part)
        })
        .collect()
}
