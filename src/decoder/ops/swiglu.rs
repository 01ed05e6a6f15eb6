//! `y = silu(a) b` for rows `[a | b]`, with `silu(a) = a / (1 + e^-a)`.

use rayon::prelude::*;

use super::vector::{exp, vectorised};

/// Rows a task takes at once.
const ROWS: usize = 16;

vectorised! {
    fn forward_row(y: &mut [f32], a: &[f32], b: &[f32]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = a / (1.0 + exp(-a)) * b;
        }
    }
}

vectorised! {
    fn backward_row(da: &mut [f32], db: &mut [f32], g: &[f32], a: &[f32], b: &[f32]) {
        for ((((da, db), g), a), b) in da.iter_mut().zip(db).zip(g).zip(a).zip(b) {
            let s = 1.0 / (1.0 + exp(-a));
            *da = g * b * s * (1.0 + a * (1.0 - s));
            *db = g * a * s;
        }
    }
}

/// `ab` holds rows of `2 width` elements.
pub(crate) fn forward(ab: &[f32], width: usize) -> Vec<f32> {
    let mut y = vec![0.0; ab.len() / 2];
    y.par_chunks_mut(ROWS * width).zip(ab.par_chunks(ROWS * 2 * width)).for_each(|(y, ab)| {
        for (y, ab) in y.chunks_mut(width).zip(ab.chunks(2 * width)) {
            let (a, b) = ab.split_at(width);
            forward_row(y, a, b);
        }
    });
    y
}

/// The gradient of `ab`.
pub(crate) fn backward(g: &[f32], ab: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; ab.len()];
    out.par_chunks_mut(ROWS * 2 * width).zip(g.par_chunks(ROWS * width)).zip(ab.par_chunks(ROWS * 2 * width)).for_each(|((out, g), ab)| {
        for ((out, g), ab) in out.chunks_mut(2 * width).zip(g.chunks(width)).zip(ab.chunks(2 * width)) {
            let ((da, db), (a, b)) = (out.split_at_mut(width), ab.split_at(width));
            backward_row(da, db, g, a, b);
        }
    });
    out
}
