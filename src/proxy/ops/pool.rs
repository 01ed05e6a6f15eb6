//! Pooling over windows of the last two dimensions of (n, c, h, w).
//!
//! Maximum: the gradient goes to the first maximum of the window in row order; NaN wins, as in `PyTorch`. Mean: the
//! divisor of a window is the given one, else its extent inside the padded (`count_pad`) or the unpadded map.

use candle_core::{Result, Tensor};

use rayon::prelude::*;

use super::{GRAIN, Shared, blank, each_chunk, tensor, with};

/// Windows along one axis, each a range of input positions, and what a mean divides by along the axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) windows: Vec<Window>,
    pub(crate) extent: usize,
    grid: Option<Grid>,
}

/// Windows that all have the same extent once the map is padded.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// Positions inside the map, `step` apart.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) step: usize,
    /// Extent that counts the padding too.
    pub(crate) padded: usize,
}

impl Axis {
    /// Windows of a pooling layer; with `ceil` a last window may hang over, if it starts inside the map or its left border.
    pub(crate) fn sliding(extent: usize, kernel: usize, stride: usize, padding: usize, dilation: usize, ceil: bool) -> Result<Self> {
        let reach = dilation * (kernel - 1) + 1;
        let padded = extent + 2 * padding;
        let within = if ceil { padded + stride.max(1) - 1 } else { padded };
        if within < reach || stride == 0 {
            candle_core::bail!("a pooling window of {reach} does not fit a padded extent of {padded}");
        }
        let mut count = (within - reach) / stride + 1;
        if ceil && (count - 1) * stride >= extent + padding {
            count -= 1;
        }
        let windows = (0..count).map(|i| {
            let start = i * stride;
            let skipped = padding.saturating_sub(start).div_ceil(dilation) * dilation;
            let end = (start + reach).min(extent + padding);
            let padded = (start + reach).min(extent + 2 * padding) - start;
            Window { start: start + skipped - padding, end: end.saturating_sub(padding), step: dilation, padded }
        });
        Ok(Self { windows: windows.collect(), extent, grid: Some(Grid { kernel, stride, padding, dilation }) })
    }

    /// Windows from `floor(i * extent / out)` to `ceil((i + 1) * extent / out)`.
    pub(crate) fn adaptive(extent: usize, out: usize) -> Self {
        let windows = (0..out).map(|i| {
            let (start, end) = (i * extent / out, ((i + 1) * extent).div_ceil(out));
            Window { start, end, step: 1, padded: end - start }
        });
        Self { windows: windows.collect(), extent, grid: None }
    }
}

fn maps(x: &Tensor, rows: &Axis, columns: &Axis) -> Result<(Vec<usize>, usize, usize)> {
    let mut shape = x.dims().to_vec();
    let rank = shape.len();
    if rank < 2 || shape[rank - 2] != rows.extent || shape[rank - 1] != columns.extent {
        candle_core::bail!("pooling of a {}x{} map was given {shape:?}", rows.extent, columns.extent);
    }
    shape[rank - 2] = rows.windows.len();
    shape[rank - 1] = columns.windows.len();
    Ok((shape, rows.extent * columns.extent, rows.windows.len() * columns.windows.len()))
}

/// The maxima and, for the backward, where in its map each was found.
pub(crate) fn max_forward(x: &Tensor, rows: &Axis, columns: &Axis) -> Result<(Tensor, Vec<u32>)> {
    let (shape, map, out) = maps(x, rows, columns)?;
    let count = x.elem_count() / map;
    let mut y = blank(count * out);
    let mut places = vec![0u32; count * out];
    let halves = [rows, columns]
        .iter()
        .all(|axis| axis.windows.iter().enumerate().all(|(i, w)| w.step == 1 && w.start == 2 * i && w.end == 2 * i + 2));
    let group = GRAIN.div_ceil(map).min(count.max(1));
    with(x, |x| {
        let work = |first: usize, y: &mut [f32], places: &mut [u32]| {
            let mut lines = Lines::new(rows, columns);
            let placed = y.chunks_mut(out).zip(places.chunks_mut(out)).zip(x[first * map..].chunks_exact(map));
            for ((y, places), x) in placed {
                match (&mut lines, columns.grid) {
                    _ if halves => max_halves(x, columns.extent, columns.windows.len(), y, places),
                    (Some(lines), Some(grid)) => lines.max_map(x, rows, columns, grid, y, places),
                    _ => max_map(x, rows, columns, y, places),
                }
            }
        };
        let pieces = y.par_chunks_mut(group * out).zip(places.par_chunks_mut(group * out)).enumerate();
        pieces.for_each(|(i, (y, places))| work(i * group, y, places));
    })?;
    Ok((tensor(y, &shape)?, places))
}

/// Buffers for maxima over windows that overlap: along the rows of the map first, then across these.
struct Lines {
    /// A row with its borders, which never win.
    padded: Vec<f32>,
    /// Maxima of each row of the map and their columns.
    best: Vec<f32>,
    places: Vec<u32>,
}

impl Lines {
    /// `None` where the windows are not all alike.
    fn new(rows: &Axis, columns: &Axis) -> Option<Self> {
        let grid = columns.grid?;
        let out = columns.windows.len();
        let reach = (out - 1) * grid.stride + grid.dilation * (grid.kernel - 1) + 1;
        let padded = vec![f32::NEG_INFINITY; reach.max(grid.padding + columns.extent)];
        Some(Self { padded, best: vec![0.0; rows.extent * out], places: vec![0; rows.extent * out] })
    }

    fn max_map(&mut self, x: &[f32], rows: &Axis, columns: &Axis, grid: Grid, y: &mut [f32], places: &mut [u32]) {
        let (width, out) = (columns.extent, columns.windows.len());
        let lines = self.best.chunks_exact_mut(out).zip(self.places.chunks_exact_mut(out));
        for (i, (row, (best, places))) in x.chunks_exact(width).zip(lines).enumerate() {
            self.padded[grid.padding..grid.padding + width].copy_from_slice(row);
            for ((best, place), window) in best.iter_mut().zip(&mut *places).zip(&columns.windows) {
                (*best, *place) = (f32::NEG_INFINITY, (i * width + window.start) as u32);
            }
            for tap in 0..grid.kernel {
                let shift = tap * grid.dilation;
                // In borders, where this would be negative, nothing wins.
                let first = (i * width + shift).wrapping_sub(grid.padding) as u32;
                raise_strided(&self.padded[shift..], grid.stride, first, best, places);
            }
        }
        let windows = rows.windows.iter().zip(y.chunks_exact_mut(out)).zip(places.chunks_exact_mut(out));
        for ((window, y), places) in windows {
            let mut lines = (window.start..window.end).step_by(window.step).map(|row| row * out);
            let Some(first) = lines.next() else { continue };
            y.copy_from_slice(&self.best[first..first + out]);
            places.copy_from_slice(&self.places[first..first + out]);
            for line in lines {
                raise(&self.best[line..line + out], &self.places[line..line + out], y, places);
            }
        }
    }
}

super::wide! {
    /// Raises each maximum to `from[i * stride]`, whose place is `first + i * stride`.
    fn raise_strided(from: &[f32], stride: usize, first: u32, best: &mut [f32], places: &mut [u32]) {
        let outputs = best.iter_mut().zip(places).enumerate();
        let put = |value: f32, i: usize, best: &mut f32, place: &mut u32| {
            let wins = value > *best || value.is_nan();
            *best = if wins { value } else { *best };
            *place = if wins { first.wrapping_add((i * stride) as u32) } else { *place };
        };
        match stride {
            1 => outputs.zip(from).for_each(|((i, (best, place)), value)| put(*value, i, best, place)),
            _ => outputs.zip(from.iter().step_by(stride)).for_each(|((i, (best, place)), value)| put(*value, i, best, place)),
        }
    }
}

super::wide! {
    fn raise(from: &[f32], from_places: &[u32], best: &mut [f32], places: &mut [u32]) {
        for (((best, place), value), from) in best.iter_mut().zip(places).zip(from).zip(from_places) {
            let wins = *value > *best || value.is_nan();
            *best = if wins { *value } else { *best };
            *place = if wins { *from } else { *place };
        }
    }
}

fn max_map(x: &[f32], rows: &Axis, columns: &Axis, y: &mut [f32], places: &mut [u32]) {
    let mut at = 0;
    for row in &rows.windows {
        for column in &columns.windows {
            let mut best = f32::NEG_INFINITY;
            let mut place = row.start * columns.extent + column.start;
            for i in (row.start..row.end).step_by(row.step) {
                for j in (column.start..column.end).step_by(column.step) {
                    let value = x[i * columns.extent + j];
                    if value > best || value.is_nan() {
                        best = value;
                        place = i * columns.extent + j;
                    }
                }
            }
            y[at] = best;
            places[at] = place as u32;
            at += 1;
        }
    }
}

super::wide! {
    /// Windows of 2x2 that do not overlap.
    fn max_halves(x: &[f32], width: usize, out_width: usize, y: &mut [f32], places: &mut [u32]) {
        let rows = y.chunks_exact_mut(out_width).zip(places.chunks_exact_mut(out_width)).enumerate();
        for (row, (y, places)) in rows {
            let start = 2 * row * width;
            let (top, _) = x[start..start + 2 * out_width].as_chunks::<2>();
            let (bottom, _) = x[start + width..start + width + 2 * out_width].as_chunks::<2>();
            for j in 0..out_width {
                let place = (start + 2 * j) as u32;
                let (mut best, mut at) = (top[j][0], place);
                for (value, candidate) in
                    [(top[j][1], place + 1), (bottom[j][0], place + width as u32), (bottom[j][1], place + width as u32 + 1)]
                {
                    let wins = value > best || value.is_nan();
                    best = if wins { value } else { best };
                    at = if wins { candidate } else { at };
                }
                y[j] = best;
                places[j] = at;
            }
        }
    }
}

/// dx from the places that [`max_forward`] found.
pub(crate) fn max_backward(shape: &[usize], places: &[u32], gradient: &Tensor) -> Result<Tensor> {
    let map: usize = shape[shape.len() - 2..].iter().product();
    let mut dx = vec![0f32; shape.iter().product()];
    let out = places.len() / (dx.len() / map).max(1);
    with(gradient, |dy| {
        each_chunk(&mut dx, map, |i, dx| {
            for (place, value) in places[i * out..][..out].iter().zip(&dy[i * out..][..out]) {
                dx[*place as usize] += value;
            }
        });
    })?;
    tensor(dx, shape)
}

/// What the mean of each window divides its sum by.
pub(crate) fn divisors(rows: &Axis, columns: &Axis, count_pad: bool, divisor: Option<usize>) -> Vec<f32> {
    let extent = |w: &Window| if count_pad { w.padded } else { w.end - w.start };
    let of = |row: &Window, column: &Window| divisor.unwrap_or_else(|| extent(row) * extent(column)) as f32;
    rows.windows.iter().flat_map(|row| columns.windows.iter().map(move |column| of(row, column))).collect()
}

pub(crate) fn mean_forward(x: &Tensor, rows: &Axis, columns: &Axis, divisors: &[f32]) -> Result<Tensor> {
    let (shape, map, out) = maps(x, rows, columns)?;
    let mut y = vec![0f32; x.elem_count() / map * out];
    with(x, |x| {
        each_chunk(&mut y, out, |i, y| {
            let x = &x[i * map..][..map];
            if let [row] = &rows.windows[..]
                && let [column] = &columns.windows[..]
                && (row.start, row.end, column.start, column.end) == (0, rows.extent, 0, columns.extent)
            {
                y[0] = super::sum(x) / divisors[0];
                return;
            }
            let mut line = vec![0f32; columns.extent];
            let lines = y.chunks_exact_mut(columns.windows.len()).zip(divisors.chunks_exact(columns.windows.len()));
            for (row, (y, divisors)) in rows.windows.iter().zip(lines) {
                line.fill(0.0);
                for row in x[row.start * columns.extent..row.end * columns.extent].chunks_exact(columns.extent) {
                    line.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
                for ((y, divisor), column) in y.iter_mut().zip(divisors).zip(&columns.windows) {
                    *y = line[column.start..column.end].iter().fold(0.0, |sum, x| sum + x) / divisor;
                }
            }
        });
    })?;
    tensor(y, &shape)
}

pub(crate) fn mean_backward(shape: &[usize], rows: &Axis, columns: &Axis, divisors: &[f32], gradient: &Tensor) -> Result<Tensor> {
    let map = rows.extent * columns.extent;
    let out = divisors.len();
    let mut dx = vec![0f32; shape.iter().product()];
    let maps = dx.len() / map;
    let shared = Shared::new(&mut dx);
    with(gradient, |dy| {
        super::each(maps, |i| {
            // SAFETY: map i belongs to this call alone, and `dx` outlives it.
            let dx = unsafe { shared.slice(i * map, map) };
            let mut line = vec![0f32; columns.extent];
            let width = columns.windows.len();
            let lines = dy[i * out..][..out].chunks_exact(width).zip(divisors.chunks_exact(width));
            for (row, (dy, divisors)) in rows.windows.iter().zip(lines) {
                line.fill(0.0);
                for ((dy, divisor), column) in dy.iter().zip(divisors).zip(&columns.windows) {
                    let share = dy / divisor;
                    line[column.start..column.end].iter_mut().for_each(|sum| *sum += share);
                }
                for row in dx[row.start * columns.extent..row.end * columns.extent].chunks_exact_mut(columns.extent) {
                    row.iter_mut().zip(&line).for_each(|(dx, share)| *dx += share);
                }
            }
        });
    })?;
    tensor(dx, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.nn.functional.max_pool2d(torch.tensor([[[[1., 2.], [4., 3.]]]]), 3, 2, ceil_mode=True)` is 4; the mean is 2.5.
    #[test]
    fn the_only_window_may_hang_over_where_ceil() {
        let axis = Axis::sliding(2, 3, 2, 0, 1, true).unwrap();
        assert_eq!(axis.windows.iter().map(|w| (w.start, w.end)).collect::<Vec<_>>(), [(0, 2)]);
        assert!(Axis::sliding(2, 3, 2, 0, 1, false).is_err());
        assert!(Axis::sliding(2, 5, 2, 0, 1, true).is_err(), "by less than a stride");
        let x = Tensor::new(&[[[[1.0_f32, 2.0], [4.0, 3.0]]]], &candle_core::Device::Cpu).unwrap();
        let (y, places) = max_forward(&x, &axis, &axis).unwrap();
        assert_eq!((y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), places), (vec![4.0], vec![2]));
        let y = mean_forward(&x, &axis, &axis, &divisors(&axis, &axis, true, None)).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [2.5]);
    }
}
