//! Batch normalisation over dimension 1 of (n, c, ..), with a `ReLU` behind it where the network has one.
//!
//! `y = weight * (x - mean) * inverse + bias`, `inverse = 1 / sqrt(variance + eps)`; in training mean and (biased) variance are
//! the batch's, and `dx = weight * inverse * (dy - mean(dy) - xhat * mean(dy * xhat))`.

use candle_core::{Result, Tensor};

use super::{LANES, Shared, blank, each, tensor, tree, wide, with};
#[cfg(target_arch = "x86_64")]
use crate::base::processor::{self, Level};

/// What the backward needs of a forward in training, and the batch's statistics for the running ones.
pub(crate) struct Saved {
    pub(crate) mean: Vec<f32>,
    /// Biased.
    pub(crate) variance: Vec<f32>,
    inverse: Vec<f32>,
}

/// Weight and bias, where the layer has them.
pub(crate) type Affine = Option<(Tensor, Tensor)>;

struct Extents {
    batch: usize,
    channels: usize,
    inner: usize,
}

impl Extents {
    fn of(x: &Tensor) -> Result<Self> {
        let &[batch, channels, ref inner @ ..] = x.dims() else {
            candle_core::bail!("batch normalisation was given {:?}", x.dims());
        };
        Ok(Self { batch, channels, inner: inner.iter().product() })
    }

    fn count(&self) -> usize {
        self.batch * self.inner
    }

    /// Start of each of a channel's planes.
    fn planes(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let (channels, inner) = (self.channels, self.inner);
        (0..self.batch).map(move |n| (n * channels + channel) * inner)
    }
}

fn affine(affine: &Affine, channels: usize) -> Result<(Vec<f32>, Vec<f32>)> {
    match affine {
        Some((weight, bias)) => Ok((with(weight, <[f32]>::to_vec)?, with(bias, <[f32]>::to_vec)?)),
        None => Ok((vec![1.0; channels], vec![0.0; channels])),
    }
}

/// Normalises by the batch's own statistics.
pub(crate) fn forward(x: &Tensor, weights: &Affine, eps: f64, relu: bool) -> Result<(Tensor, Saved)> {
    let extents = Extents::of(x)?;
    let (weight, bias) = affine(weights, extents.channels)?;
    let mut y = blank(x.elem_count());
    let shared = Shared::new(&mut y);
    let count = extents.count() as f64;
    let statistics = with(x, |x| {
        each(extents.channels, |channel| {
            let planes = || extents.planes(channel).map(|start| (start, &x[start..start + extents.inner]));
            let mean = planes().map(|(_, plane)| f64::from(super::sum(plane))).sum::<f64>() / count;
            let centre = mean as f32;
            let variance = planes().map(|(_, plane)| f64::from(squares(plane, centre))).sum::<f64>() / count;
            let inverse = (1.0 / (variance + eps).sqrt()) as f32;
            let scale = weight[channel] * inverse;
            for (start, plane) in planes() {
                // SAFETY: the planes of a channel belong to this call alone, and `y` outlives it.
                let y = unsafe { shared.slice(start, extents.inner) };
                scale_shift(plane, centre, scale, bias[channel], relu, y);
            }
            (centre, variance as f32, inverse)
        })
    })?;
    let saved = Saved {
        mean: statistics.iter().map(|s| s.0).collect(),
        variance: statistics.iter().map(|s| s.1).collect(),
        inverse: statistics.iter().map(|s| s.2).collect(),
    };
    Ok((tensor(y, x.dims())?, saved))
}

/// Normalises by given statistics (evaluation).
pub(crate) fn forward_with(x: &Tensor, weights: &Affine, mean: &Tensor, variance: &Tensor, eps: f64, relu: bool) -> Result<Tensor> {
    let extents = Extents::of(x)?;
    let (weight, bias) = affine(weights, extents.channels)?;
    let (mean, variance) = (with(mean, <[f32]>::to_vec)?, with(variance, <[f32]>::to_vec)?);
    let mut y = blank(x.elem_count());
    let shared = Shared::new(&mut y);
    with(x, |x| {
        each(extents.channels, |channel| {
            let scale = weight[channel] * (1.0 / (f64::from(variance[channel]) + eps).sqrt()) as f32;
            for start in extents.planes(channel) {
                // SAFETY: the planes of a channel belong to this call alone, and `y` outlives it.
                let y = unsafe { shared.slice(start, extents.inner) };
                scale_shift(&x[start..start + extents.inner], mean[channel], scale, bias[channel], relu, y);
            }
        });
    })?;
    tensor(y, x.dims())
}

/// dx, dweight and dbias in training. `y` is the value behind the `ReLU`, if one is fused.
pub(crate) fn backward(
    x: &Tensor,
    y: Option<&Tensor>,
    weights: &Affine,
    saved: &Saved,
    gradient: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let extents = Extents::of(x)?;
    let (weight, _) = affine(weights, extents.channels)?;
    let mut dx = blank(x.elem_count());
    let shared = Shared::new(&mut dx);
    let count = extents.count() as f64;
    let none: &[f32] = &[];
    let run = |x: &[f32], dy: &[f32], y: Option<&[f32]>| {
        each(extents.channels, |channel| {
            let (mean, inverse) = (saved.mean[channel], saved.inverse[channel]);
            let cut = |start: usize| {
                let range = start..start + extents.inner;
                (&x[range.clone()], &dy[range.clone()], y.map_or(none, |y| &y[range]))
            };
            let (mut total, mut product) = (0f64, 0f64);
            for start in extents.planes(channel) {
                let (x, dy, y) = cut(start);
                let (sum, dot) = gradient_sums(x, dy, y, mean);
                total += f64::from(sum);
                product += f64::from(dot);
            }
            // dx = a dy + b x + c, with xhat = (x - mean) * inverse put in.
            let a = weight[channel] * inverse;
            let b = -f64::from(a) * f64::from(inverse) * f64::from(inverse) * product / count;
            let c = -f64::from(a) * total / count - b * f64::from(mean);
            for start in extents.planes(channel) {
                let (x, dy, y) = cut(start);
                // SAFETY: the planes of a channel belong to this call alone, and `dx` outlives it.
                let dx = unsafe { shared.slice(start, extents.inner) };
                input_gradient(x, dy, y, a, b as f32, c as f32, dx);
            }
            ((product * f64::from(inverse)) as f32, total as f32)
        })
    };
    let sums = with(x, |x| {
        with(gradient, |dy| match y {
            Some(y) => with(y, |y| run(x, dy, Some(y))),
            None => Ok(run(x, dy, None)),
        })
    })???;
    let dweight = sums.iter().map(|s| s.0).collect();
    let dbias = sums.iter().map(|s| s.1).collect();
    Ok((tensor(dx, x.dims())?, tensor(dweight, &[extents.channels])?, tensor(dbias, &[extents.channels])?))
}

wide! {
    /// Sum of (x - centre)^2.
    fn squares(x: &[f32], centre: f32) -> f32 {
        let mut lanes = [0f32; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for chunk in whole {
            for i in 0..LANES {
                let d = chunk[i] - centre;
                lanes[i] += d * d;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += (x - centre) * (x - centre);
        }
        tree(lanes)
    }
}

wide! {
    fn scale_shift(x: &[f32], mean: f32, scale: f32, bias: f32, relu: bool, y: &mut [f32]) {
        if relu {
            for (y, x) in y.iter_mut().zip(x) {
                let value = (x - mean) * scale + bias;
                // NaN stays NaN, so that a network that diverges is seen to.
                *y = if value < 0.0 { 0.0 } else { value };
            }
        } else {
            for (y, x) in y.iter_mut().zip(x) {
                *y = (x - mean) * scale + bias;
            }
        }
    }
}

/// Sums of dy and of dy * (x - mean); where `y` is not empty, dy counts only where y is above 0.
fn gradient_sums(x: &[f32], dy: &[f32], y: &[f32], mean: f32) -> (f32, f32) {
    assert!(x.len() == dy.len() && (y.is_empty() || y.len() == x.len()));
    #[cfg(target_arch = "x86_64")]
    if processor::level() == Level::V4 {
        // SAFETY: the feature was just found and the lengths were checked.
        return unsafe { gradient_sums_avx512(x, dy, y, mean) };
    }
    #[cfg(target_arch = "x86_64")]
    if processor::level() >= Level::V3 {
        // SAFETY: the feature was just found and the lengths were checked.
        return unsafe { gradient_sums_avx2(x, dy, y, mean) };
    }
    gradient_sums_portable(x, dy, y, mean)
}

fn gradient_sums_portable(x: &[f32], dy: &[f32], y: &[f32], mean: f32) -> (f32, f32) {
    let (mut sums, mut dots) = ([0f32; LANES], [0f32; LANES]);
    for (i, (x, dy)) in x.iter().zip(dy).enumerate() {
        let open = if y.get(i).is_none_or(|&y| y > 0.0) { *dy } else { 0.0 };
        sums[i % LANES] += open;
        dots[i % LANES] += open * (x - mean);
    }
    (tree(sums), tree(dots))
}

/// The same bits as with AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn gradient_sums_avx2(x: &[f32], dy: &[f32], y: &[f32], mean: f32) -> (f32, f32) {
    use std::arch::x86_64::{
        _CMP_GT_OQ, _mm256_add_ps, _mm256_and_ps, _mm256_cmp_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_storeu_ps, _mm256_sub_ps,
    };
    let (mut sums, mut dots) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_ps(); 2]);
    let (centre, zero) = (_mm256_set1_ps(mean), _mm256_setzero_ps());
    let whole = x.len() - x.len() % LANES;
    for start in (0..whole).step_by(LANES) {
        for half in 0..2 {
            let at = start + 8 * half;
            // SAFETY: the slices are of one length, and `at + 8` is at most `whole`.
            unsafe {
                let mut open = _mm256_loadu_ps(dy.as_ptr().add(at));
                if !y.is_empty() {
                    open = _mm256_and_ps(open, _mm256_cmp_ps::<_CMP_GT_OQ>(_mm256_loadu_ps(y.as_ptr().add(at)), zero));
                }
                sums[half] = _mm256_add_ps(sums[half], open);
                let distance = _mm256_sub_ps(_mm256_loadu_ps(x.as_ptr().add(at)), centre);
                dots[half] = _mm256_add_ps(dots[half], _mm256_mul_ps(open, distance));
            }
        }
    }
    let mut lanes = [[0f32; LANES]; 2];
    for half in 0..2 {
        // SAFETY: each array has room for 16 values.
        unsafe {
            _mm256_storeu_ps(lanes[0].as_mut_ptr().add(8 * half), sums[half]);
            _mm256_storeu_ps(lanes[1].as_mut_ptr().add(8 * half), dots[half]);
        }
    }
    for at in whole..x.len() {
        let open = if y.get(at).is_none_or(|&y| y > 0.0) { dy[at] } else { 0.0 };
        lanes[0][at - whole] += open;
        lanes[1][at - whole] += open * (x[at] - mean);
    }
    (tree(lanes[0]), tree(lanes[1]))
}

/// By hand, because the compiler makes branches of the selection and scalars of the lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn gradient_sums_avx512(x: &[f32], dy: &[f32], y: &[f32], mean: f32) -> (f32, f32) {
    use std::arch::x86_64::{
        _CMP_GT_OQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_storeu_ps, _mm512_sub_ps,
    };
    let (mut sums, mut dots) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let (centre, zero) = (_mm512_set1_ps(mean), _mm512_setzero_ps());
    for start in (0..x.len()).step_by(LANES) {
        let mask = (0xffff_u32 >> (LANES - LANES.min(x.len() - start))) as u16;
        // SAFETY: the mask stops at the end of the slices, which are of one length.
        unsafe {
            let open = if y.is_empty() {
                mask
            } else {
                _mm512_cmp_ps_mask::<_CMP_GT_OQ>(_mm512_maskz_loadu_ps(mask, y.as_ptr().add(start)), zero)
            };
            let dy = _mm512_maskz_loadu_ps(open, dy.as_ptr().add(start));
            let x = _mm512_maskz_loadu_ps(mask, x.as_ptr().add(start));
            sums = _mm512_add_ps(sums, dy);
            dots = _mm512_add_ps(dots, _mm512_mul_ps(dy, _mm512_sub_ps(x, centre)));
        }
    }
    let mut lanes = [[0f32; LANES]; 2];
    // SAFETY: each array has room for 16 values.
    unsafe {
        _mm512_storeu_ps(lanes[0].as_mut_ptr(), sums);
        _mm512_storeu_ps(lanes[1].as_mut_ptr(), dots);
    }
    (tree(lanes[0]), tree(lanes[1]))
}

wide! {
    fn input_gradient(x: &[f32], dy: &[f32], y: &[f32], a: f32, b: f32, c: f32, dx: &mut [f32]) {
        if y.is_empty() {
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = a * dy + b * x + c;
            }
        } else {
            for (((dx, x), dy), y) in dx.iter_mut().zip(x).zip(dy).zip(y) {
                let open = if *y > 0.0 { *dy } else { 0.0 };
                *dx = a * open + b * x + c;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_a_gradient_are_the_same_by_any_instructions() {
        let numbers = |n: usize, salt: f32| (0..n).map(|i| ((i as f32 + salt) * 0.618_034).fract() - 0.5).collect::<Vec<f32>>();
        for len in [1, 15, 16, 33, 100] {
            let (x, dy, y) = (numbers(len, 0.1), numbers(len, 0.2), numbers(len, 0.3));
            for y in [&y[..], &[]] {
                assert_eq!(gradient_sums(&x, &dy, y, 0.3), gradient_sums_portable(&x, &dy, y, 0.3), "{len}");
            }
        }
    }
}
