//! Normalisation, and the statistics it takes.

use candle_core::{Result, Tensor};

use super::layout::per_channel;

/// Batch normalisation by the batch's own statistics, or by `running` mean and variance.
pub(crate) fn batch_norm(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, running: Option<(&Tensor, &Tensor)>, eps: f64) -> Result<Tensor> {
    let (mean, variance) = match running {
        Some((mean, variance)) => (per_channel(mean, x.rank())?, per_channel(variance, x.rank())?),
        None => channel_statistics(x)?,
    };
    let y = x.broadcast_sub(&mean)?.broadcast_div(&variance.affine(1.0, eps)?.sqrt()?)?;
    match affine {
        Some((weight, bias)) => y.broadcast_mul(&per_channel(weight, x.rank())?)?.broadcast_add(&per_channel(bias, x.rank())?),
        None => Ok(y),
    }
}

/// Mean and biased variance over all dimensions but the second, kept as 1.
pub(crate) fn channel_statistics(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let dims: Vec<usize> = (0..x.rank()).filter(|&d| d != 1).collect();
    Ok((x.mean_keepdim(&dims[..])?, variance(x, &dims, true, 0)?))
}

pub(crate) fn group_norm(x: &Tensor, groups: usize, eps: f64, affine: Option<&[Tensor]>) -> Result<Tensor> {
    let grouped = x.reshape((x.dim(0)?, groups, x.elem_count() / x.dim(0)? / groups))?;
    let y = standardise(&grouped, &[2], eps)?.reshape(x.dims())?;
    match affine {
        Some(tensors) => y.broadcast_mul(&per_channel(&tensors[0], x.rank())?)?.broadcast_add(&per_channel(&tensors[1], x.rank())?),
        None => Ok(y),
    }
}

pub(crate) fn layer_norm(x: &Tensor, dims: usize, eps: f64, weight: bool, bias: bool, tensors: &[Tensor]) -> Result<Tensor> {
    let over: Vec<usize> = (x.rank() - dims..x.rank()).collect();
    let y = standardise(x, &over, eps)?;
    let y = if weight { y.broadcast_mul(&tensors[0])? } else { y };
    if bias { y.broadcast_add(&tensors[usize::from(weight)]) } else { Ok(y) }
}

fn standardise(x: &Tensor, dims: &[usize], eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(dims)?)?;
    let variance = centred.sqr()?.mean_keepdim(dims)?;
    centred.broadcast_div(&variance.affine(1.0, eps)?.sqrt()?)
}

pub(crate) fn variance(x: &Tensor, dims: &[usize], keep: bool, correction: usize) -> Result<Tensor> {
    let count: usize = dims.iter().map(|&d| x.dims()[d]).product();
    let squares = x.broadcast_sub(&x.mean_keepdim(dims)?)?.sqr()?;
    let sums = if keep { squares.sum_keepdim(dims)? } else { squares.sum(dims)? };
    sums.affine(1.0 / (count as f64 - correction as f64), 0.0)
}
