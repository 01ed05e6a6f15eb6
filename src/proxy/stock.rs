//! Every operation in candle's own differentiable operations: what has no kernel in [`super::ops`], and every other device.
//!
//! Only operations whose gradient candle gets right are used. Windows are shifted slices of the padded map, or gathered by an index table
//! where they are not evenly spaced, because candle's convolution, pooling and upsampling are slow, wrong or both.

use candle_core::{D, DType, Device, Result, Tensor};

use super::ops::conv::Spec;
use super::ops::conv_transpose;
use super::ops::pool::{self, Axis};
use crate::network::graph::{Activation, Binary, Border, Op, Reduction, Unary};

/// The value of an operation that keeps no state and draws nothing (not batch normalisation, not dropout).
/// `tensors` are the node's own, `batch` is the number of images.
pub fn apply(op: &Op, inputs: &[Tensor], tensors: &[Tensor], batch: usize, device: &Device) -> Result<Tensor> {
    let x = || inputs.first().ok_or_else(|| candle_core::Error::Msg("an operation has no input".into()));
    match op {
        Op::Input | Op::BatchNorm { .. } | Op::Dropout { .. } => candle_core::bail!("{op:?} is the network's own business"),
        Op::Tensor => Ok(tensors[0].clone()),
        Op::Constant { values, shape } => Tensor::from_slice(values, &shape[..], device),
        Op::Conv2d { stride, padding, dilation, groups, bias, .. } => {
            let spec = Spec { stride: *stride, padding: *padding, dilation: *dilation, groups: *groups };
            convolution(x()?, &tensors[0], bias.then(|| &tensors[1]), spec)
        }
        Op::ConvTranspose2d { stride, padding: [rows, columns], output_padding, dilation, groups, bias, .. } => {
            let spec = Spec { stride: *stride, padding: [*rows, *rows, *columns, *columns], dilation: *dilation, groups: *groups };
            transposed(x()?, &tensors[0], bias.then(|| &tensors[1]), *output_padding, spec)
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

/// Weights (C) shaped to multiply dimension 1 of a tensor of `rank` dimensions.
pub fn per_channel(weights: &Tensor, rank: usize) -> Result<Tensor> {
    let mut shape = vec![1; rank];
    shape[1] = weights.elem_count();
    weights.reshape(shape)
}

/// Windows of any kind as (n, c, taps, windows); places outside the map, and taps that a window has not, read `fill`.
fn gathered(x: &Tensor, rows: &Axis, columns: &Axis, fill: f32) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if let ([_], [_]) = (&rows.windows[..], &columns.windows[..]) {
        return x.reshape((batch, channels, height * width, 1));
    }
    let (row_taps, column_taps) = (positions(rows), positions(columns));
    let taps = row_taps.len() * column_taps.len();
    windows(x, table(&row_taps, &column_taps, [height, width]), taps, fill)
}

/// Windows by a table of places as (n, c, taps, windows); places outside the map read `fill`.
fn windows(x: &Tensor, table: Vec<u32>, taps: usize, fill: f32) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let border = Tensor::full(fill, (batch, channels, 1), x.device())?;
    let flat = Tensor::cat(&[&x.reshape((batch, channels, height * width))?, &border], 2)?;
    let count = table.len() / taps;
    let index = Tensor::from_vec(table, taps * count, x.device())?;
    flat.contiguous()?.index_select(&index, 2)?.reshape((batch, channels, taps, count))
}

/// Positions of each window of `axis`, `None` where a window is shorter than the longest.
fn positions(axis: &Axis) -> Vec<Vec<Option<usize>>> {
    let of = |w: &pool::Window| (w.start..w.end).step_by(w.step).collect::<Vec<_>>();
    let longest = axis.windows.iter().map(|w| of(w).len()).max().unwrap_or(0);
    (0..longest).map(|tap| axis.windows.iter().map(|w| of(w).get(tap).copied()).collect()).collect()
}

fn table(rows: &[Vec<Option<usize>>], columns: &[Vec<Option<usize>>], size: [usize; 2]) -> Vec<u32> {
    let mut table = Vec::new();
    for row in rows {
        for column in columns {
            for i in row {
                table.extend(column.iter().map(|j| i.zip(*j).map_or(size[0] * size[1], |(i, j)| i * size[1] + j) as u32));
            }
        }
    }
    table
}

/// Evenly spaced windows along one axis: window `i` reads `i * stride + tap * dilation - before`.
#[derive(Clone, Copy)]
struct Even {
    kernel: usize,
    stride: usize,
    before: usize,
    dilation: usize,
    count: usize,
}

impl Even {
    fn of_axis(axis: &Axis, kernel: usize, stride: usize, before: usize, dilation: usize) -> Self {
        Self { kernel, stride, before, dilation, count: axis.windows.len() }
    }

    /// Extent of the padded map, a multiple of the stride.
    fn padded(self) -> usize {
        ((self.count - 1) * self.stride + self.dilation * (self.kernel - 1) + 1).next_multiple_of(self.stride)
    }

    /// Where a tap's slice begins: the remainder by the stride, and the place among those of the same remainder.
    fn tap(self, tap: usize) -> (usize, usize) {
        (tap * self.dilation % self.stride, tap * self.dilation / self.stride)
    }
}

/// `x` cut and filled along `dim` to what the windows read.
fn framed(x: &Tensor, dim: usize, axis: Even, fill: f32) -> Result<Tensor> {
    let kept = x.dim(dim)?.min(axis.padded() - axis.before);
    let x = x.narrow(dim, 0, kept)?;
    let border = |extent: usize| {
        let mut shape = x.dims().to_vec();
        shape[dim] = extent;
        Tensor::full(fill, shape, x.device())
    };
    let after = axis.padded() - axis.before - kept;
    if axis.before == 0 && after == 0 { Ok(x) } else { Tensor::cat(&[&border(axis.before)?, &x, &border(after)?], dim) }
}

/// Evenly spaced windows of the last two dimensions as (n, c, taps, windows); places outside the map read `fill`.
fn slices(x: &Tensor, rows: Even, columns: Even, fill: f32) -> Result<Tensor> {
    let (batch, channels, _, _) = x.dims4()?;
    let x = framed(&framed(x, 2, rows, fill)?, 3, columns, fill)?.contiguous()?;
    let phases =
        x.reshape((batch, channels, rows.padded() / rows.stride, rows.stride, columns.padded() / columns.stride, columns.stride))?;
    let mut taps = Vec::with_capacity(rows.kernel * columns.kernel);
    for i in 0..rows.kernel {
        let (phase, start) = rows.tap(i);
        let lines = phases.narrow(3, phase, 1)?.narrow(2, start, rows.count)?;
        for j in 0..columns.kernel {
            let (phase, start) = columns.tap(j);
            let slice = lines.narrow(5, phase, 1)?.narrow(4, start, columns.count)?;
            taps.push(slice.reshape((batch, channels, 1, rows.count * columns.count))?);
        }
    }
    Tensor::cat(&taps, 2)
}

pub fn convolution(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: Spec) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let (out, depth, kernel_height, kernel_width) = weight.dims4()?;
    let axis = |extent: usize, kernel: usize, stride: usize, before: usize, after: usize, dilation: usize| -> Result<Even> {
        let reach = dilation * (kernel - 1) + 1;
        if extent + before + after < reach {
            candle_core::bail!("a kernel that reaches over {reach} does not fit");
        }
        Ok(Even { kernel, stride, before, dilation, count: (extent + before + after - reach) / stride + 1 })
    };
    let rows = axis(height, kernel_height, spec.stride[0], spec.padding[0], spec.padding[1], spec.dilation[0])?;
    let columns = axis(width, kernel_width, spec.stride[1], spec.padding[2], spec.padding[3], spec.dilation[1])?;
    let (taps, maps, groups) = (kernel_height * kernel_width, rows.count * columns.count, spec.groups);
    let patches = slices(x, rows, columns, 0.0)?;
    let y = if depth == 1 && groups == out {
        // One channel each: a sum over the taps, where products of single rows would be slow.
        patches.broadcast_mul(&weight.reshape((1, out, taps, 1))?)?.sum(2)?
    } else {
        let patches = patches.reshape((batch, groups, channels / groups * taps, maps))?;
        weight.reshape((1, groups, out / groups, depth * taps))?.broadcast_matmul(&patches)?
    };
    let y = y.reshape((batch, out, rows.count, columns.count))?;
    match bias {
        Some(bias) => y.broadcast_add(&per_channel(bias, 4)?),
        None => Ok(y),
    }
}

/// The convolution's form with the windows of the output: each reads the input elements that reach it.
fn transposed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, output_padding: [usize; 2], spec: Spec) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let (_, out, kernel_height, kernel_width) = weight.dims4()?;
    let [out_height, out_width] = conv_transpose::extents(x, weight, spec, output_padding)?;
    let axis = |extent: usize, to: usize, kernel: usize, stride: usize, before: usize, dilation: usize| -> Vec<Vec<Option<usize>>> {
        let from = |tap: usize, o: usize| {
            let at = (o + before).checked_sub(tap * dilation).filter(|at| at.is_multiple_of(stride))?;
            Some(at / stride).filter(|&at| at < extent)
        };
        (0..kernel).map(|tap| (0..to).map(|o| from(tap, o)).collect()).collect()
    };
    let rows = axis(height, out_height, kernel_height, spec.stride[0], spec.padding[0], spec.dilation[0]);
    let columns = axis(width, out_width, kernel_width, spec.stride[1], spec.padding[2], spec.dilation[1]);
    let (taps, groups) = (kernel_height * kernel_width, spec.groups);
    let patches = windows(x, table(&rows, &columns, [height, width]), taps, 0.0)?;
    let patches = patches.reshape((batch, groups, channels / groups * taps, out_height * out_width))?;
    let weight = weight.reshape((groups, channels / groups, out, taps))?.permute((0, 2, 1, 3))?.contiguous()?;
    let weight = weight.reshape((1, groups, out, channels / groups * taps))?;
    let y = weight.broadcast_matmul(&patches)?.reshape((batch, groups * out, out_height, out_width))?;
    match bias {
        Some(bias) => y.broadcast_add(&per_channel(bias, 4)?),
        None => Ok(y),
    }
}

fn sliding(
    x: &Tensor,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    ceil: bool,
) -> Result<(Axis, Axis)> {
    let (_, _, height, width) = x.dims4()?;
    let rows = Axis::sliding(height, kernel[0], stride[0], padding[0], dilation[0], ceil)?;
    Ok((rows, Axis::sliding(width, kernel[1], stride[1], padding[1], dilation[1], ceil)?))
}

fn adaptive(x: &Tensor, out: [usize; 2]) -> Result<(Axis, Axis)> {
    let (_, _, height, width) = x.dims4()?;
    Ok((Axis::adaptive(height, out[0]), Axis::adaptive(width, out[1])))
}

/// The largest of each window; of equal ones the first gets the gradient.
fn max_pool(windows: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
    let (batch, channels, _, _) = windows.dims4()?;
    let first = windows.detach().argmax_keepdim(2)?;
    windows.gather(&first, 2)?.reshape((batch, channels, rows, columns))
}

fn mean_pool(windows: &Tensor, rows: &Axis, columns: &Axis, divisors: &[f32]) -> Result<Tensor> {
    let (batch, channels, _, _) = windows.dims4()?;
    let divisors = Tensor::from_slice(divisors, (1, 1, divisors.len()), windows.device())?;
    windows.sum(2)?.broadcast_div(&divisors)?.reshape((batch, channels, rows.windows.len(), columns.windows.len()))
}

/// Batch normalisation by the batch's own statistics, or by `running` mean and variance.
pub fn batch_norm(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, running: Option<(&Tensor, &Tensor)>, eps: f64) -> Result<Tensor> {
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
pub fn channel_statistics(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let dims: Vec<usize> = (0..x.rank()).filter(|&d| d != 1).collect();
    Ok((x.mean_keepdim(&dims[..])?, variance(x, &dims, true, 0)?))
}

fn group_norm(x: &Tensor, groups: usize, eps: f64, affine: Option<&[Tensor]>) -> Result<Tensor> {
    let grouped = x.reshape((x.dim(0)?, groups, x.elem_count() / x.dim(0)? / groups))?;
    let y = standardise(&grouped, &[2], eps)?.reshape(x.dims())?;
    match affine {
        Some(tensors) => y.broadcast_mul(&per_channel(&tensors[0], x.rank())?)?.broadcast_add(&per_channel(&tensors[1], x.rank())?),
        None => Ok(y),
    }
}

fn layer_norm(x: &Tensor, dims: usize, eps: f64, weight: bool, bias: bool, tensors: &[Tensor]) -> Result<Tensor> {
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

fn variance(x: &Tensor, dims: &[usize], keep: bool, correction: usize) -> Result<Tensor> {
    let count: usize = dims.iter().map(|&d| x.dims()[d]).product();
    let squares = x.broadcast_sub(&x.mean_keepdim(dims)?)?.sqr()?;
    let sums = if keep { squares.sum_keepdim(dims)? } else { squares.sum(dims)? };
    sums.affine(1.0 / (count as f64 - correction as f64), 0.0)
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    // Through tanh, whose gradient stays finite; 1 / (1 + exp(-x)) gives 0 * infinity.
    x.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}

fn softplus(x: &Tensor) -> Result<Tensor> {
    let linear = x.gt(20f64)?;
    let small = linear.where_cond(&x.zeros_like()?, x)?;
    linear.where_cond(x, &small.exp()?.affine(1.0, 1.0)?.log()?)
}

pub fn activation(x: &Tensor, kind: Activation) -> Result<Tensor> {
    let positive = |other: Tensor| x.gt(0f64)?.where_cond(x, &other);
    match kind {
        Activation::Relu => positive(x.zeros_like()?),
        Activation::Relu6 => {
            let inside = (x.gt(0f64)? * x.lt(6f64)?)?;
            inside.where_cond(x, &x.detach().clamp(0f64, 6f64)?)
        }
        Activation::LeakyRelu { slope } => positive(x.affine(slope, 0.0)?),
        Activation::Elu { alpha } => {
            let negative = x.gt(0f64)?.where_cond(&x.zeros_like()?, x)?;
            positive(negative.exp()?.affine(alpha, -alpha)?)
        }
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => {
            let inner = (x + (x.sqr()? * x)?.affine(0.044_715, 0.0)?)?.affine((2.0 / std::f64::consts::PI).sqrt(), 0.0)?;
            x * inner.tanh()?.affine(0.5, 0.5)?
        }
        Activation::Silu => x * sigmoid(x)?,
        Activation::Mish => x * softplus(x)?.tanh()?,
        Activation::Softplus => softplus(x),
        Activation::Hardswish => x * clamp(&x.affine(1.0 / 6.0, 0.5)?, Some(0.0), Some(1.0))?,
        Activation::Hardsigmoid => clamp(&x.affine(1.0 / 6.0, 0.5)?, Some(0.0), Some(1.0)),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

fn softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.detach().max_keepdim(dim)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(dim)?)
}

fn log_softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(dim)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(dim)?.log()?)
}

pub fn binary(kind: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match kind {
        Binary::Add => a.broadcast_add(b),
        Binary::Sub => a.broadcast_sub(b),
        Binary::Mul => a.broadcast_mul(b),
        Binary::Div => a.broadcast_div(b),
        Binary::Maximum => extremum(a, b, 1.0),
        Binary::Minimum => extremum(a, b, -1.0),
    }
}

/// Larger (sign 1) or smaller (-1) of the two; where they are equal each gets half of the gradient.
fn extremum(a: &Tensor, b: &Tensor, sign: f64) -> Result<Tensor> {
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "extremum")?;
    let (a, b) = (a.broadcast_as(&shape)?.contiguous()?, b.broadcast_as(&shape)?.contiguous()?);
    let ahead = (&a - &b)?.detach().affine(sign, 0.0)?;
    let apart = ahead.gt(0f64)?.where_cond(&a, &b)?;
    ahead.eq(0f64)?.where_cond(&((&a + &b)? * 0.5)?, &apart)
}

fn unary(x: &Tensor, kind: Unary) -> Result<Tensor> {
    match kind {
        Unary::Neg => x.neg(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => x.sqrt()?.recip(),
        Unary::Abs => x * x.detach().sign()?,
        Unary::Square => x.sqr(),
    }
}

fn power(x: &Tensor, exponent: f64) -> Result<Tensor> {
    if exponent == 2.0 {
        return x.sqr();
    }
    if exponent == 0.0 {
        return x.affine(0.0, 1.0);
    }
    x.powf(exponent)
}

/// The gradient passes at both limits.
fn clamp(x: &Tensor, low: Option<f64>, high: Option<f64>) -> Result<Tensor> {
    let mut y = x.clone();
    if let Some(low) = low {
        y = x.lt(low)?.where_cond(&(x.zeros_like()? + low)?, &y)?;
    }
    if let Some(high) = high {
        y = y.gt(high)?.where_cond(&(x.zeros_like()? + high)?, &y)?;
    }
    Ok(y)
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

fn select(x: &Tensor, dim: usize, index: Vec<u32>) -> Result<Tensor> {
    let index = Tensor::new(index, x.device())?;
    x.contiguous()?.index_select(&index, dim)
}

fn slice(x: &Tensor, dim: usize, start: usize, end: usize, step: usize) -> Result<Tensor> {
    if step == 1 { x.narrow(dim, start, end - start) } else { select(x, dim, (start..end).step_by(step).map(|i| i as u32).collect()) }
}

fn pad(x: &Tensor, [top, bottom, left, right]: [usize; 4], border: Border) -> Result<Tensor> {
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
fn interpolation(extent: usize, out: usize, align: bool, device: &Device) -> Result<Tensor> {
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

/// One direction of an LSTM (`gates` 4: i f g o) or GRU (3: r z n), batch first, zero initial state, all outputs.
fn recurrent(x: &Tensor, hidden: usize, bias: bool, reverse: bool, tensors: &[Tensor], gates: usize) -> Result<Tensor> {
    let (batch, steps, width) = x.dims3()?;
    let inputs = x.contiguous()?.reshape((batch * steps, width))?.matmul(&tensors[0].t()?)?;
    let inputs = if bias { inputs.broadcast_add(&tensors[2])? } else { inputs };
    let inputs = inputs.reshape((batch, steps, gates * hidden))?;
    let mut h = Tensor::zeros((batch, hidden), DType::F32, x.device())?;
    let mut c = h.clone();
    let mut outputs = Vec::with_capacity(steps);
    for step in 0..steps {
        let at = if reverse { steps - 1 - step } else { step };
        let input = inputs.narrow(1, at, 1)?.squeeze(1)?;
        let state = h.matmul(&tensors[1].t()?)?;
        let state = if bias { state.broadcast_add(&tensors[3])? } else { state };
        let gate = |of: &Tensor, i: usize| of.narrow(1, i * hidden, hidden);
        if gates == 4 {
            let sum = (input + state)?;
            let (i, f, o) = (sigmoid(&gate(&sum, 0)?)?, sigmoid(&gate(&sum, 1)?)?, sigmoid(&gate(&sum, 3)?)?);
            c = ((f * &c)? + (i * gate(&sum, 2)?.tanh()?)?)?;
            h = (o * c.tanh()?)?;
        } else {
            let r = sigmoid(&(gate(&input, 0)? + gate(&state, 0)?)?)?;
            let z = sigmoid(&(gate(&input, 1)? + gate(&state, 1)?)?)?;
            let n = (gate(&input, 2)? + (r * gate(&state, 2)?)?)?.tanh()?;
            h = ((&n - (&z * &n)?)? + (&z * &h)?)?;
        }
        outputs.push(h.unsqueeze(1)?);
    }
    if reverse {
        outputs.reverse();
    }
    Tensor::cat(&outputs, 1)
}
