//! RMS norm of each row: `y_j = w_j x_j / sqrt(mean(x^2) + eps)`.
//!
//! Backward, with `s = 1/sqrt(mean(x^2) + eps)`: `dx_j = s (w_j g_j - x_j s^2 mean(w g x))`.

use rayon::prelude::*;

use super::vector::vectorised;

/// Rows a task takes at once.
const ROWS: usize = 16;

vectorised! {
    /// One row.
    pub(crate) fn forward_row(y: &mut [f32], x: &[f32], w: &[f32], eps: f64) {
        let s = inverse(x, eps);
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = x * s * w;
        }
    }
}

vectorised! {
    /// Adds to `dx`; one row.
    pub(crate) fn backward_row(dx: &mut [f32], g: &[f32], x: &[f32], w: &[f32], eps: f64) {
        let s = inverse(x, eps);
        let mut lanes = [0f32; 16];
        for (i, ((g, x), w)) in g.iter().zip(x).zip(w).enumerate() {
            lanes[i % 16] += g * x * w;
        }
        let mean = lanes.iter().sum::<f32>() / x.len() as f32;
        let slope = s * s * s * mean;
        for (((dx, g), x), w) in dx.iter_mut().zip(g).zip(x).zip(w) {
            *dx += s * w * g - slope * x;
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn inverse(x: &[f32], eps: f64) -> f32 {
    let mut lanes = [0f32; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for x in chunks {
        for i in 0..16 {
            lanes[i] += x[i] * x[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x * x;
    }
    let sum: f64 = lanes.iter().map(|v| f64::from(*v)).sum();
    (1.0 / (sum / x.len() as f64 + eps).sqrt()) as f32
}

/// `x` holds rows of `w.len()` elements.
pub(crate) fn forward(x: &[f32], w: &[f32], eps: f64) -> Vec<f32> {
    let width = w.len();
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).for_each(|(y, x)| {
        for (y, x) in y.chunks_mut(width).zip(x.chunks(width)) {
            forward_row(y, x, w, eps);
        }
    });
    y
}

/// Adds the gradient of the input to `dx`.
pub(crate) fn backward(dx: &mut [f32], g: &[f32], x: &[f32], w: &[f32], eps: f64) {
    let width = w.len();
    dx.par_chunks_mut(ROWS * width).zip(g.par_chunks(ROWS * width)).zip(x.par_chunks(ROWS * width)).for_each(|((dx, g), x)| {
        for ((dx, g), x) in dx.chunks_mut(width).zip(g.chunks(width)).zip(x.chunks(width)) {
            backward_row(dx, g, x, w, eps);
        }
    });
}
