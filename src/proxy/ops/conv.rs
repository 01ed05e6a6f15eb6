//! Two-dimensional convolution (cross-correlation, as `PyTorch` has it) with groups, stride, dilation and uneven padding.
//!
//! `y[n,o,i,j] = bias[o] + sum_{c,u,v} w[o,c,u,v] * x[n,c, i*s_h + u*d_h - top, j*s_w + v*d_w - left]`
//!
//! An image is copied once into a padded buffer, split into `s_h * s_w` *phase planes* (rows and columns with the same
//! remainder by the stride), in which every tap of every stride reads a contiguous run. Output, padded input and padded
//! gradient share one row width W', so `y`, `dx` and `dw` are [`super::kernel`] products over tables of offsets:
//!
//! - y: rows of w, taps as offsets into the phase planes;
//! - dx: rows of w transposed, the same taps as *negative* offsets into the gradient, whose rows are W' wide with zeros behind;
//! - dw: gradient rows against the same shifted runs.

use std::cell::RefCell;

use candle_core::{Result, Tensor};

use super::kernel::{Correlation, Outer, Packed, correlate, outer, product, transpose};
use super::{Shared, blank, each, sum, tensor, wide, with};

/// Images whose weight gradients are summed together before the sums of such chunks are added, in order.
const CHUNK: usize = 16;
/// Elements of buffers that should stay in a core's cache while their products run.
const CACHE: usize = 96 * 1024;

/// The attributes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) stride: [usize; 2],
    /// Top, bottom, left, right.
    pub(crate) padding: [usize; 4],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

/// Extents and offsets that follow from the shapes.
struct Geometry {
    spec: Spec,
    batch: usize,
    channels: usize,
    size: [usize; 2],
    out: usize,
    kernel: [usize; 2],
    out_size: [usize; 2],
    /// Rows and columns of a phase plane.
    plane: [usize; 2],
}

impl Geometry {
    fn new(x: &Tensor, weight: &Tensor, spec: Spec) -> Result<Self> {
        let (batch, channels, height, width) = x.dims4()?;
        let (out, depth, kernel_height, kernel_width) = weight.dims4()?;
        if spec.groups == 0 || depth * spec.groups != channels || !out.is_multiple_of(spec.groups) {
            candle_core::bail!("a convolution of {channels} channels in {} groups has a weight of {:?}", spec.groups, weight.dims());
        }
        let padded = [height + spec.padding[0] + spec.padding[1], width + spec.padding[2] + spec.padding[3]];
        let kernel = [kernel_height, kernel_width];
        let mut out_size = [0; 2];
        let mut plane = [0; 2];
        for axis in 0..2 {
            let reach = spec.dilation[axis] * (kernel[axis] - 1) + 1;
            if padded[axis] < reach {
                candle_core::bail!("a kernel that reaches over {reach} does not fit a padded extent of {}", padded[axis]);
            }
            out_size[axis] = (padded[axis] - reach) / spec.stride[axis] + 1;
            plane[axis] = padded[axis].div_ceil(spec.stride[axis]);
        }
        Ok(Self { spec, batch, channels, size: [height, width], out, kernel, out_size, plane })
    }

    fn group_channels(&self) -> usize {
        self.channels / self.spec.groups
    }

    fn group_out(&self) -> usize {
        self.out / self.spec.groups
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn phases(&self) -> usize {
        self.spec.stride[0] * self.spec.stride[1]
    }

    fn plane_len(&self) -> usize {
        self.plane[0] * self.plane[1]
    }

    /// Elements of one channel's phase planes.
    fn channel_len(&self) -> usize {
        self.phases() * self.plane_len()
    }

    fn input_len(&self) -> usize {
        self.channels * self.size[0] * self.size[1]
    }

    fn output_len(&self) -> usize {
        self.out * self.out_size[0] * self.out_size[1]
    }

    /// The image is its own padded buffer: kernel 1, stride 1, no padding.
    fn is_plain(&self) -> bool {
        self.taps() == 1 && self.phases() == 1 && self.spec.padding == [0; 4]
    }

    /// Positions of an output map laid out with rows as wide as the phase planes.
    fn run(&self) -> usize {
        (self.out_size[0] - 1) * self.plane[1] + self.out_size[1]
    }

    /// Whether dw is summed with output channels side by side, rather than positions: where that wastes fewer lanes. Unaligned
    /// runs cost the other form a third of its speed.
    fn sums_across(&self) -> bool {
        let channels = self.group_out() as f64 / self.group_out().next_multiple_of(16) as f64;
        let positions = (self.out_size[0] * self.out_size[1]) as f64 / self.run().next_multiple_of(16) as f64;
        !self.is_plain() && channels > 0.65 * positions
    }

    /// Phase and offset inside its plane of a tap.
    fn tap(&self, tap: usize) -> (usize, usize) {
        let at = [tap / self.kernel[1] * self.spec.dilation[0], tap % self.kernel[1] * self.spec.dilation[1]];
        let stride = self.spec.stride;
        let phase = at[0] % stride[0] * stride[1] + at[1] % stride[1];
        (phase, at[0] / stride[0] * self.plane[1] + at[1] / stride[1])
    }

    /// Where each (channel of a group, tap) reads in the buffer of the group.
    fn input_offsets(&self) -> Vec<usize> {
        let mut offsets = Vec::with_capacity(self.group_channels() * self.taps());
        for channel in 0..self.group_channels() {
            for tap in 0..self.taps() {
                let (phase, offset) = self.tap(tap);
                offsets.push(channel * self.channel_len() + phase * self.plane_len() + offset);
            }
        }
        offsets
    }

    /// Zeros in front of a gradient map, so that the farthest tap can look back.
    fn lead(&self) -> usize {
        (0..self.taps()).map(|tap| self.tap(tap).1).max().unwrap_or(0)
    }

    /// Elements of one padded gradient map.
    fn gradient_len(&self) -> usize {
        if self.is_plain() { self.plane_len() } else { self.lead() + self.plane_len() }
    }

    /// Copies an image into its phase planes; the borders of `buffer` are zero already.
    fn spread(&self, image: &[f32], buffer: &mut [f32]) {
        let [height, width] = self.size;
        let [stride_height, stride_width] = self.spec.stride;
        let (top, left) = (self.spec.padding[0], self.spec.padding[2]);
        for (map, planes) in image.chunks_exact(height * width).zip(buffer.chunks_exact_mut(self.channel_len())) {
            for (y, row) in map.chunks_exact(width).enumerate() {
                let (phase, q) = ((y + top) % stride_height, (y + top) / stride_height);
                for column in 0..stride_width {
                    let plane = &mut planes[(phase * stride_width + column) * self.plane_len() + q * self.plane[1]..][..self.plane[1]];
                    if stride_width == 1 {
                        plane[left..left + width].copy_from_slice(row);
                        continue;
                    }
                    let first = (column + stride_width - left % stride_width) % stride_width;
                    let target = (first + left) / stride_width;
                    gather(&row[first.min(width)..], stride_width, &mut plane[target..]);
                }
            }
        }
    }

    /// Copies the output gradient of an image into maps with rows of the planes' width; the rest of `buffer` is zero.
    fn widen(&self, gradient: &[f32], buffer: &mut [f32]) {
        let [height, width] = self.out_size;
        let lead = self.lead();
        for (map, wide) in gradient.chunks_exact(height * width).zip(buffer.chunks_exact_mut(self.gradient_len())) {
            for (row, to) in map.chunks_exact(width).zip(wide[lead..].chunks_mut(self.plane[1])) {
                to[..width].copy_from_slice(row);
            }
        }
    }
}

wide! {
    /// `to[i] = from[i * step]`.
    fn gather(from: &[f32], step: usize, to: &mut [f32]) {
        if step == 2 {
            let (pairs, rest) = from.as_chunks::<2>();
            for (to, pair) in to.iter_mut().zip(pairs) {
                *to = pair[0];
            }
            if let ([last], Some(to)) = (rest, to.get_mut(pairs.len())) {
                *to = *last;
            }
        } else {
            for (to, from) in to.iter_mut().zip(from.iter().step_by(step)) {
                *to = *from;
            }
        }
    }
}

wide! {
    /// `to[i * step] = from[i]`.
    fn scatter(from: &[f32], step: usize, to: &mut [f32]) {
        if step == 2 {
            let (pairs, rest) = to.as_chunks_mut::<2>();
            let whole = pairs.len();
            for (pair, from) in pairs.iter_mut().zip(from) {
                pair[0] = *from;
            }
            if let ([last], Some(from)) = (rest, from.get(whole)) {
                *last = *from;
            }
        } else {
            for (to, from) in to.iter_mut().step_by(step).zip(from) {
                *to = *from;
            }
        }
    }
}

thread_local! {
    /// Buffers that live from call to call; one convolution runs at a time in a thread.
    static BUFFERS: RefCell<[Vec<f32>; 4]> = const { RefCell::new([const { Vec::new() }; 4]) };
}

/// Zeroed buffers of the thread.
fn with_buffers<R>(lengths: [usize; 4], body: impl FnOnce([&mut [f32]; 4]) -> R) -> R {
    BUFFERS.with_borrow_mut(|buffers| {
        for (buffer, length) in buffers.iter_mut().zip(lengths) {
            buffer.clear();
            buffer.resize(length, 0.0);
        }
        let [a, b, c, d] = buffers;
        body([a, b, c, d])
    })
}

/// y of x (n, c, h, w), weight (o, c/groups, kh, kw) and bias (o).
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: Spec) -> Result<Tensor> {
    let g = Geometry::new(x, weight, spec)?;
    let bias = bias.map(|bias| with(bias, <[f32]>::to_vec)).transpose()?;
    let packed = pack(&with(weight, <[f32]>::to_vec)?, &g);
    let offsets = g.input_offsets();
    let mut y = blank(g.batch * g.output_len());
    with(x, |x| {
        super::each_chunk(&mut y, CHUNK.min(g.batch).max(1) * g.output_len(), |chunk, y| {
            let images = x[chunk * CHUNK * g.input_len()..].chunks_exact(g.input_len());
            let lengths = if g.is_plain() { [0; 4] } else { [g.channels * g.channel_len(), g.group_out() * g.run(), 0, 0] };
            with_buffers(lengths, |[input, wide, _, _]| {
                for (image, y) in images.zip(y.chunks_exact_mut(g.output_len())) {
                    if !g.is_plain() {
                        g.spread(image, input);
                    }
                    for (group, packed) in packed.iter().enumerate() {
                        let from = if g.is_plain() { image } else { &*input };
                        let from = &from[group * g.group_channels() * g.channel_len()..];
                        let bias = bias.as_ref().map(|bias| &bias[group * g.group_out()..][..g.group_out()]);
                        let maps = g.out_size[0] * g.out_size[1];
                        let to = &mut y[group * g.group_out() * maps..][..g.group_out() * maps];
                        if g.is_plain() {
                            product(packed, from, &offsets, maps, to, maps, bias);
                        } else {
                            product(packed, from, &offsets, g.run(), wide, g.run(), bias);
                            narrow(wide, g.run(), g.plane[1], to, g.out_size);
                        }
                    }
                }
            });
        });
    })?;
    tensor(y, &[g.batch, g.out, g.out_size[0], g.out_size[1]])
}

/// Rows of `width` elements, `from_row` apart, of maps that start `from_map` apart.
fn narrow(from: &[f32], from_map: usize, from_row: usize, to: &mut [f32], size: [usize; 2]) {
    for (map, to) in to.chunks_exact_mut(size[0] * size[1]).enumerate() {
        for (row, to) in to.chunks_exact_mut(size[1]).enumerate() {
            to.copy_from_slice(&from[map * from_map + row * from_row..][..size[1]]);
        }
    }
}

fn pack(weight: &[f32], g: &Geometry) -> Vec<Packed> {
    let depth = g.group_channels() * g.taps();
    (0..g.spec.groups).map(|group| Packed::new(g.group_out(), depth, |row, k| weight[(group * g.group_out() + row) * depth + k])).collect()
}

/// Gradients of a convolution.
pub(crate) struct Gradients {
    pub(crate) x: Option<Tensor>,
    pub(crate) weight: Option<Tensor>,
    pub(crate) bias: Option<Tensor>,
}

/// Which gradients are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Needs {
    pub(crate) x: bool,
    pub(crate) weight: bool,
    pub(crate) bias: bool,
}

/// What dx needs of one phase: its taps, the rows of its plane that hold input, the transposed weights of each group.
struct Phase {
    index: usize,
    rows: std::ops::Range<usize>,
    offsets: Vec<usize>,
    packed: Vec<Packed>,
}

fn phases(weight: &[f32], g: &Geometry) -> Vec<Phase> {
    let stride_height = g.spec.stride[0];
    let (top, depth, taps) = (g.spec.padding[0], g.group_channels(), g.taps());
    let all = (0..g.phases()).filter_map(|index| {
        let mine: Vec<usize> = (0..taps).filter(|&tap| g.tap(tap).0 == index).collect();
        let row = index / g.spec.stride[1];
        let first = (top.max(row) - row).div_ceil(stride_height);
        let end = if top + g.size[0] > row { (top + g.size[0] - row).div_ceil(stride_height) } else { first };
        if mine.is_empty() || first >= end {
            return None;
        }
        let start = first * g.plane[1];
        let offsets =
            (0..g.group_out()).flat_map(|out| mine.iter().map(move |&tap| out * g.gradient_len() + g.lead() + start - g.tap(tap).1));
        let packed = (0..g.spec.groups).map(|group| {
            Packed::new(depth, g.group_out() * mine.len(), |channel, k| {
                weight[((group * g.group_out() + k / mine.len()) * depth + channel) * taps + mine[k % mine.len()]]
            })
        });
        Some(Phase { index, rows: first..end, offsets: offsets.collect(), packed: packed.collect() })
    });
    all.collect()
}

/// Gradients of x, weight and bias for the gradient of y.
pub(crate) fn backward(x: &Tensor, weight: &Tensor, gradient: &Tensor, spec: Spec, needs: Needs) -> Result<Gradients> {
    let g = Geometry::new(x, weight, spec)?;
    let weights = with(weight, <[f32]>::to_vec)?;
    let phases = if needs.x { phases(&weights, &g) } else { Vec::new() };
    let mut dx = match needs.x {
        true if phases.len() == g.phases() => blank(g.batch * g.input_len()),
        // Pixels of a phase without taps have no influence.
        true => vec![0f32; g.batch * g.input_len()],
        false => Vec::new(),
    };
    let shared = Shared::new(&mut dx);
    let parts = with(x, |x| {
        with(gradient, |gradient| {
            each(g.batch.div_ceil(CHUNK), |chunk| {
                let images = chunk * CHUNK..((chunk + 1) * CHUNK).min(g.batch);
                let dx = if needs.x {
                    // SAFETY: the images of a chunk belong to this call alone, and `dx` outlives it.
                    unsafe { shared.slice(images.start * g.input_len(), images.len() * g.input_len()) }
                } else {
                    &mut []
                };
                let x = &x[images.start * g.input_len()..images.end * g.input_len()];
                let gradient = &gradient[images.start * g.output_len()..images.end * g.output_len()];
                backward_chunk(&g, &phases, needs, x, gradient, dx)
            })
        })
    })??;
    let mut parts = parts.into_iter();
    let (mut dw, mut db) = parts.next().unwrap_or_default();
    for (w, b) in parts {
        dw.iter_mut().zip(w).for_each(|(sum, part)| *sum += part);
        db.iter_mut().zip(b).for_each(|(sum, part)| *sum += part);
    }
    Ok(Gradients {
        x: needs.x.then(|| tensor(dx, x.dims())).transpose()?,
        weight: needs.weight.then(|| tensor(dw, weight.dims())).transpose()?,
        bias: needs.bias.then(|| tensor(db, &[g.out])).transpose()?,
    })
}

/// dw and db of some images; their dx is written in place.
fn backward_chunk(g: &Geometry, phases: &[Phase], needs: Needs, x: &[f32], gradient: &[f32], dx: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
    let offsets = g.input_offsets();
    let group_weights = g.group_out() * offsets.len();
    let mut dw = vec![0f32; if needs.weight { g.spec.groups * group_weights } else { 0 }];
    let mut db = vec![0f32; if needs.bias { g.out } else { 0 }];
    let maps = g.out_size[0] * g.out_size[1];
    if needs.bias {
        for image in gradient.chunks_exact(g.output_len()) {
            for (sum_of, map) in db.iter_mut().zip(image.chunks_exact(maps)) {
                *sum_of += sum(map);
            }
        }
    }
    let (input_len, gradient_len) = (g.channels * g.channel_len(), g.out * g.gradient_len());
    let together = (CACHE / (input_len + gradient_len)).clamp(1, CHUNK);
    let run = g.plane_len();
    let across = needs.weight && g.sums_across();
    let width = g.group_out().next_multiple_of(16);
    let lengths = if g.is_plain() {
        [0; 4]
    } else {
        let transposed = if across { together * maps * width } else { 0 };
        [together * input_len, together * gradient_len, g.group_channels() * run, transposed]
    };
    with_buffers(lengths, |[inputs, gradients, wide, transposed]| {
        let images = x.len() / g.input_len();
        for first in (0..images).step_by(together) {
            let count = together.min(images - first);
            let x = &x[first * g.input_len()..][..count * g.input_len()];
            let gradient = &gradient[first * g.output_len()..][..count * g.output_len()];
            let (b, dy) = if g.is_plain() {
                (x, gradient)
            } else {
                for (image, to) in x.chunks_exact(g.input_len()).zip(inputs.chunks_exact_mut(input_len)) {
                    if needs.weight {
                        g.spread(image, to);
                    }
                }
                for (image, to) in gradient.chunks_exact(g.output_len()).zip(gradients.chunks_exact_mut(gradient_len)) {
                    g.widen(image, to);
                }
                (&*inputs, &*gradients)
            };
            for group in 0..g.spec.groups {
                let from = &dy[group * g.group_out() * g.gradient_len()..];
                let sums = if needs.weight { &mut dw[group * group_weights..][..group_weights] } else { &mut [] };
                let b = &b[group * g.group_channels() * g.channel_len()..];
                if across {
                    for (image, to) in gradient.chunks_exact(g.output_len()).zip(transposed.chunks_exact_mut(maps * width)) {
                        transpose(&image[group * g.group_out() * maps..][..g.group_out() * maps], maps, width, to);
                    }
                    let size = g.out_size;
                    let factors =
                        Outer { g: transposed, width, b, b_image: input_len, b_row: g.plane[1], offsets: &offsets, images: count, size };
                    outer(&factors, sums);
                } else if needs.weight {
                    let correlation = Correlation {
                        g: &from[g.lead()..],
                        g_image: gradient_len,
                        g_row: g.gradient_len(),
                        b,
                        b_image: input_len,
                        offsets: &offsets,
                        images: count,
                        rows: g.group_out(),
                        len: g.run(),
                    };
                    correlate(&correlation, sums);
                }
                if needs.x {
                    for image in 0..count {
                        let to = &mut dx[(first + image) * g.input_len()..][..g.input_len()];
                        input_gradient(g, phases, group, &from[image * gradient_len..], wide, to);
                    }
                }
            }
        }
    });
    (dw, db)
}

/// dx of one image and group.
fn input_gradient(g: &Geometry, phases: &[Phase], group: usize, dy: &[f32], wide: &mut [f32], dx: &mut [f32]) {
    let map = g.size[0] * g.size[1];
    let to = &mut dx[group * g.group_channels() * map..][..g.group_channels() * map];
    for phase in phases {
        if g.is_plain() {
            product(&phase.packed[group], dy, &phase.offsets, map, to, map, None);
            continue;
        }
        let run = phase.rows.len() * g.plane[1];
        product(&phase.packed[group], dy, &phase.offsets, run, wide, run, None);
        let [stride_height, stride_width] = g.spec.stride;
        let (row_phase, column_phase) = (phase.index / stride_width, phase.index % stride_width);
        let (top, left) = (g.spec.padding[0], g.spec.padding[2]);
        for (channel, to) in to.chunks_exact_mut(map).enumerate() {
            for (i, q) in phase.rows.clone().enumerate() {
                let y = q * stride_height + row_phase - top;
                let to = &mut to[y * g.size[1]..][..g.size[1]];
                let from = &wide[channel * run + i * g.plane[1]..][..g.plane[1]];
                if stride_width == 1 {
                    to.copy_from_slice(&from[left..left + g.size[1]]);
                    continue;
                }
                let first = (column_phase + stride_width - left % stride_width) % stride_width;
                let source = (first + left) / stride_width;
                scatter(&from[source..], stride_width, &mut to[first.min(g.size[1])..]);
            }
        }
    }
}
