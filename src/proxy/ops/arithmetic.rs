//! Backward formulas of arithmetic that candle's own forward does well: nothing is recorded, gradients are moved, not summed
//! into zeros.

use candle_core::{Result, Tensor};

/// Sums a gradient over the dimensions along which an operand of `shape` was broadcast.
pub fn reduce_to(gradient: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if gradient.dims() == shape {
        return Ok(gradient.clone());
    }
    let extra = gradient.rank() - shape.len();
    // Row sums of a contiguous map are the common case (channel gates).
    let dims: Vec<usize> = (0..gradient.rank()).filter(|&d| d < extra || (shape[d - extra] == 1 && gradient.dims()[d] != 1)).collect();
    gradient.sum_keepdim(dims)?.reshape(shape)
}

/// Cuts the gradient of a concatenation along `dim` into those of its parts.
pub fn split(gradient: &Tensor, dim: usize, extents: impl Iterator<Item = usize>) -> Result<Vec<Tensor>> {
    let mut start = 0;
    extents
        .map(|extent| {
            let part = gradient.narrow(dim, start, extent)?.contiguous()?;
            start += extent;
            Ok(part)
        })
        .collect()
}
