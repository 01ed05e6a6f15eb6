//! Rotary positions, rotate-half form: elements `i` and `i + d/2` of a head of size `d` turn by `position * turns[i]`
//! radians, `turns[i] = base^(-2i/d)` where nothing is scaled.

use rayon::prelude::*;

use super::vector::vectorised;

/// Cosines and sines of a list of positions, `d/2` a position.
pub(crate) struct Rope {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Backward is the turn by the opposite angle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Forward,
    Back,
}

vectorised! {
    fn turn_head(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        let (first, second) = head.split_at_mut(cos.len());
        for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let s = sign * s;
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

impl Rope {
    pub(crate) fn new(positions: &[u32], turns: &[f64]) -> Self {
        let angles = || positions.iter().flat_map(|p| turns.iter().map(move |t| f64::from(*p) * t));
        Self { half: turns.len(), cos: angles().map(|a| a.cos() as f32).collect(), sin: angles().map(|a| a.sin() as f32).collect() }
    }

    pub(crate) fn cos(&self) -> &[f32] {
        &self.cos
    }

    pub(crate) fn sin(&self) -> &[f32] {
        &self.sin
    }

    /// Turns the first `heads` heads of each row of `stride` elements; row `i` stands at the `i`-th position.
    pub(crate) fn apply(&self, rows: &mut [f32], stride: usize, heads: usize, turn: Turn) {
        let sign = if turn == Turn::Forward { 1.0 } else { -1.0 };
        rows.par_chunks_mut(stride).zip(self.cos.par_chunks(self.half)).zip(self.sin.par_chunks(self.half)).with_min_len(16).for_each(
            |((row, cos), sin)| {
                for head in row.chunks_mut(2 * self.half).take(heads) {
                    turn_head(head, cos, sin, sign);
                }
            },
        );
    }
}
