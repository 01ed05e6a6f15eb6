//! Convolutions and pooling over (n, c, h, w): windows are shifted slices of the padded map, or gathered by an index table where they
//! are not evenly spaced.

use candle_core::{Result, Tensor};

use super::layout::per_channel;
use crate::proxy::ops::conv::Spec;
use crate::proxy::ops::conv_transpose;
use crate::proxy::ops::pool::{Axis, Window};

/// Windows of any kind as (n, c, taps, windows); places outside the map, and taps that a window has not, read `fill`.
pub(crate) fn gathered(x: &Tensor, rows: &Axis, columns: &Axis, fill: f32) -> Result<Tensor> {
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
    let of = |w: &Window| (w.start..w.end).step_by(w.step).collect::<Vec<_>>();
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
pub(crate) struct Even {
    kernel: usize,
    stride: usize,
    before: usize,
    dilation: usize,
    count: usize,
}

impl Even {
    pub(crate) fn of_axis(axis: &Axis, kernel: usize, stride: usize, before: usize, dilation: usize) -> Self {
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
pub(crate) fn slices(x: &Tensor, rows: Even, columns: Even, fill: f32) -> Result<Tensor> {
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

pub(crate) fn convolution(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: Spec) -> Result<Tensor> {
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
pub(crate) fn transposed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, output_padding: [usize; 2], spec: Spec) -> Result<Tensor> {
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

pub(crate) fn sliding(
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

pub(crate) fn adaptive(x: &Tensor, out: [usize; 2]) -> Result<(Axis, Axis)> {
    let (_, _, height, width) = x.dims4()?;
    Ok((Axis::adaptive(height, out[0]), Axis::adaptive(width, out[1])))
}

/// The largest of each window; of equal ones the first gets the gradient.
pub(crate) fn max_pool(windows: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
    let (batch, channels, _, _) = windows.dims4()?;
    let first = windows.detach().argmax_keepdim(2)?;
    windows.gather(&first, 2)?.reshape((batch, channels, rows, columns))
}

pub(crate) fn mean_pool(windows: &Tensor, rows: &Axis, columns: &Axis, divisors: &[f32]) -> Result<Tensor> {
    let (batch, channels, _, _) = windows.dims4()?;
    let divisors = Tensor::from_slice(divisors, (1, 1, divisors.len()), windows.device())?;
    windows.sum(2)?.broadcast_div(&divisors)?.reshape((batch, channels, rows.windows.len(), columns.windows.len()))
}
