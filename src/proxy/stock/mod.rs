//! Every operation in candle's own differentiable operations: what has no kernel in [`super::ops`], and every other device.
//!
//! Only operations whose gradient candle gets right are used; its convolution, pooling and upsampling are slow, wrong or both, so
//! [`windows`] and [`layout`] are there in their place.

mod choice;
mod layout;
mod norm;
mod pointwise;
mod recurrent;
mod windows;

use candle_core::{D, DType, Device, Result, Tensor};

use super::ops::conv::Spec;
use super::ops::pool::{self, Axis};
pub(crate) use crate::proxy::stock::choice::choice_gradients;
use crate::proxy::stock::choice::{choose, compare, cumulated, gather, index, scatter, top};
use crate::proxy::stock::layout::{interpolation, pad, per_channel, select, slice};
pub(crate) use crate::proxy::stock::norm::{batch_norm, channel_statistics};
use crate::proxy::stock::norm::{group_norm, layer_norm, variance};
use crate::proxy::stock::pointwise::{activation, binary, clamp, log_softmax, power, softmax, unary};
pub(crate) use crate::proxy::stock::pointwise::{power_gradients, slope, zipped};
use crate::proxy::stock::recurrent::recurrent;
use crate::proxy::stock::windows::{Even, adaptive, convolution, gathered, max_pool, mean_pool, slices, sliding, transposed};
use crate::tracer::graph::{Op, Reduction};

/// The value of an operation that keeps no state and draws nothing (not batch normalisation, not dropout).
/// `tensors` are the node's own, `batch` is the number of images.
pub(crate) fn apply(op: &Op, inputs: &[Tensor], tensors: &[Tensor], batch: usize, device: &Device) -> Result<Tensor> {
    let x = || inputs.first().ok_or_else(|| candle_core::Error::Msg("an operation has no input".into()));
    match op {
        Op::Input | Op::BatchNorm { .. } | Op::Dropout { .. } | Op::Switch | Op::Random { .. } => {
            candle_core::bail!("{op:?} is the network's own business")
        }
        // A table of indices is one of whole numbers.
        Op::Tensor => tensors[0].to_dtype(DType::F32)?.to_device(device),
        Op::Constant { values, shape } => Tensor::from_slice(values, &shape[..], device),
        Op::Conv2d { stride, padding, dilation, groups, bias, .. } => {
            let spec = Spec { stride: *stride, padding: *padding, dilation: *dilation, groups: *groups };
            let own = if tensors.is_empty() { &inputs[1..] } else { tensors };
            convolution(x()?, &own[0], bias.then(|| &own[1]), spec)
        }
        Op::ConvTranspose2d { stride, padding: [rows, columns], output_padding, dilation, groups, bias, .. } => {
            let spec = Spec { stride: *stride, padding: [*rows, *rows, *columns, *columns], dilation: *dilation, groups: *groups };
            let own = if tensors.is_empty() { &inputs[1..] } else { tensors };
            transposed(x()?, &own[0], bias.then(|| &own[1]), *output_padding, spec)
        }
        Op::GroupNorm { groups, eps, affine } => group_norm(x()?, *groups, *eps, affine.then_some(tensors)),
        Op::LayerNorm { dims, eps, weight, bias } => layer_norm(x()?, *dims, *eps, *weight, *bias, tensors),
        Op::Linear { bias, .. } => {
            let x = x()?;
            let rows = x.elem_count() / x.dim(D::Minus1)?;
            let mut shape = x.dims().to_vec();
            *shape.last_mut().expect("the last dimension was just read") = tensors[0].dim(0)?;
            let y = x.reshape((rows, x.dim(D::Minus1)?))?.matmul(&tensors[0].t()?)?;
            let y = if *bias { y.broadcast_add(&tensors[1])? } else { y };
            y.reshape(shape)
        }
        Op::Activation(kind) => activation(x()?, *kind),
        Op::Prelu => {
            let x = x()?;
            let slope = match tensors[0].elem_count() {
                1 => tensors[0].reshape(vec![1; x.rank()])?,
                _ => per_channel(&tensors[0], x.rank())?,
            };
            let open = x.gt(0f64)?;
            open.where_cond(x, &x.broadcast_mul(&slope)?)
        }
        Op::Softmax { dim } => softmax(x()?, *dim),
        Op::LogSoftmax { dim } => log_softmax(x()?, *dim),
        Op::MaxPool2d { kernel, stride, padding, dilation, ceil } => {
            let (rows, columns) = sliding(x()?, *kernel, *stride, *padding, *dilation, *ceil)?;
            let even = |i, axis: &Axis| Even::of_axis(axis, kernel[i], stride[i], padding[i], dilation[i]);
            let windows = slices(x()?, even(0, &rows), even(1, &columns), f32::NEG_INFINITY)?;
            max_pool(&windows, rows.windows.len(), columns.windows.len())
        }
        Op::AvgPool2d { kernel, stride, padding, ceil, count_pad, divisor } => {
            let (rows, columns) = sliding(x()?, *kernel, *stride, *padding, [1, 1], *ceil)?;
            let even = |i, axis: &Axis| Even::of_axis(axis, kernel[i], stride[i], padding[i], 1);
            let windows = slices(x()?, even(0, &rows), even(1, &columns), 0.0)?;
            mean_pool(&windows, &rows, &columns, &pool::divisors(&rows, &columns, *count_pad, *divisor))
        }
        Op::AdaptiveAvgPool2d { out } => {
            let (rows, columns) = adaptive(x()?, *out)?;
            mean_pool(&gathered(x()?, &rows, &columns, 0.0)?, &rows, &columns, &pool::divisors(&rows, &columns, false, None))
        }
        Op::AdaptiveMaxPool2d { out } => {
            let (rows, columns) = adaptive(x()?, *out)?;
            max_pool(&gathered(x()?, &rows, &columns, f32::NEG_INFINITY)?, rows.windows.len(), columns.windows.len())
        }
        Op::Binary(kind) => binary(*kind, x()?, &inputs[1]),
        Op::Affine { scale, shift } => x()?.affine(*scale, *shift),
        Op::Power { exponent } => power(x()?, *exponent),
        Op::Unary(kind) => unary(x()?, *kind),
        Op::Detach => Ok(x()?.clone()),
        Op::Compare(kind) => compare(*kind, x()?, &inputs[1]),
        Op::Where => choose(x()?, &inputs[1], &inputs[2]),
        Op::Index { dim } => index(x()?, &inputs[1], *dim),
        Op::Gather { dim } => gather(x()?, &inputs[1], *dim),
        Op::Scatter { dim, add } => scatter(x()?, &inputs[1], &inputs[2], *dim, *add),
        Op::TopK { k, dim, largest } => top(x()?, *k, *dim, *largest),
        Op::CumSum { dim } => cumulated(x()?, *dim, false),
        Op::Clamp { low, high } => clamp(x()?, *low, *high),
        Op::MatMul => matmul(x()?, &inputs[1]),
        Op::Cat { dim } => Tensor::cat(inputs, *dim),
        Op::Reduce { kind, dims, keep } => reduce(x()?, *kind, dims, *keep),
        Op::Variance { dims, keep, correction } => variance(x()?, dims, *keep, *correction),
        Op::Reshape { shape } => x()?.reshape(shape.iter().map(|d| d.at(batch)).collect::<Vec<_>>()),
        Op::Permute { dims } => x()?.permute(&dims[..]),
        Op::Expand { shape } => x()?.broadcast_as(shape.iter().map(|d| d.at(batch)).collect::<Vec<_>>()),
        Op::Slice { dim, start, end, step } => slice(x()?, *dim, *start, *end, *step),
        Op::Pad { padding, border } => pad(x()?, *padding, *border),
        Op::UpsampleNearest { factor } => {
            let (_, _, height, width) = x()?.dims4()?;
            let index = |extent: usize, factor: usize| (0..extent * factor).map(|i| (i / factor) as u32).collect::<Vec<_>>();
            select(&select(x()?, 2, index(height, factor[0]))?, 3, index(width, factor[1]))
        }
        Op::UpsampleBilinear { out, align } => {
            let (_, _, height, width) = x()?.dims4()?;
            let rows = interpolation(height, out[0], *align, x()?.device())?;
            let columns = interpolation(width, out[1], *align, x()?.device())?;
            rows.broadcast_matmul(&x()?.broadcast_matmul(&columns.t()?)?)
        }
        Op::Lstm { hidden, bias, reverse } => recurrent(x()?, *hidden, *bias, *reverse, tensors, 4),
        Op::Gru { hidden, bias, reverse } => recurrent(x()?, *hidden, *bias, *reverse, tensors, 3),
    }
}

fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let a = if row { a.unsqueeze(0)? } else { a.clone() };
    let b = if column { b.unsqueeze(1)? } else { b.clone() };
    let y = a.contiguous()?.broadcast_matmul(&b.contiguous()?)?;
    let y = if column { y.squeeze(D::Minus1)? } else { y };
    if row { y.squeeze(if column { D::Minus1 } else { D::Minus2 }) } else { Ok(y) }
}

fn reduce(x: &Tensor, kind: Reduction, dims: &[usize], keep: bool) -> Result<Tensor> {
    let y = match kind {
        Reduction::Mean => x.mean_keepdim(dims)?,
        Reduction::Sum => x.sum_keepdim(dims)?,
        Reduction::Max => extreme(x, dims)?,
        Reduction::Min => extreme(&x.neg()?, dims)?.neg()?,
    };
    if keep {
        return Ok(y);
    }
    let left: Vec<usize> = x.dims().iter().enumerate().filter(|(d, _)| !dims.contains(d)).map(|(_, &n)| n).collect();
    y.reshape(left)
}

/// Maximum over `dims`; equal maxima share the gradient evenly.
fn extreme(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let mut best = x.detach();
    for &dim in dims {
        best = best.max_keepdim(dim)?;
    }
    let mask = x.detach().broadcast_eq(&best)?.to_dtype(DType::F32)?;
    let share = mask.broadcast_div(&mask.sum_keepdim(dims)?)?;
    let sums = (x * share)?.sum_keepdim(dims)?;
    // The sum carries the gradient, the maximum the exact value.
    best + (&sums - sums.detach())?
}
