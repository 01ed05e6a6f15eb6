//! One step of SGD on a tensor, in two passes over it: `g = scale * g + decay * p; m = momentum * m + g; p -= lr * m`.

use candle_core::{Result, Tensor};

use super::{GRAIN, LANES, each, tensor, tree, wide, with, zip_map};

/// The factors of a step.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    /// Of the gradient (clipping).
    pub(crate) scale: f32,
    pub(crate) decay: f32,
    pub(crate) momentum: f32,
    pub(crate) lr: f32,
}

/// The new momentum and the new weight; without an old momentum the gradient is the new one.
pub(crate) fn step(weight: &Tensor, gradient: &Tensor, old: Option<&Tensor>, factors: Factors) -> Result<(Tensor, Tensor)> {
    let (direction, moved) = with(weight, |w| {
        with(gradient, |g| {
            let direction = match old {
                Some(old) => with(old, |old| zip_map([w, g, old], |[w, g, old], m| follow(w, g, old, factors, m)))?,
                None => zip_map([w, g], |[w, g], m| follow(w, g, &[], factors, m)),
            };
            let moved = zip_map([w, &direction], |[w, m], to| subtract(w, m, factors.lr, to));
            Ok::<_, candle_core::Error>((direction, moved))
        })
    })???;
    Ok((tensor(direction, weight.dims())?, tensor(moved, weight.dims())?))
}

wide! {
    fn follow(w: &[f32], g: &[f32], old: &[f32], factors: Factors, m: &mut [f32]) {
        let Factors { scale, decay, momentum, .. } = factors;
        if old.is_empty() {
            m.iter_mut().zip(w).zip(g).for_each(|((m, w), g)| *m = g * scale + w * decay);
        } else {
            m.iter_mut().zip(w).zip(g).zip(old).for_each(|(((m, w), g), old)| *m = old * momentum + (g * scale + w * decay));
        }
    }
}

wide! {
    fn subtract(w: &[f32], m: &[f32], lr: f32, to: &mut [f32]) {
        to.iter_mut().zip(w).zip(m).for_each(|((to, w), m)| *to = w - m * lr);
    }
}

/// Sum of the squared elements.
pub(crate) fn squares(values: &Tensor) -> Result<f64> {
    with(values, |values| {
        let pieces = each(values.len().div_ceil(GRAIN), |i| f64::from(piece(&values[i * GRAIN..values.len().min((i + 1) * GRAIN)])));
        pieces.iter().sum()
    })
}

wide! {
    fn piece(values: &[f32]) -> f32 {
        let mut lanes = [0f32; LANES];
        let (whole, rest) = values.as_chunks::<LANES>();
        for chunk in whole {
            for i in 0..LANES {
                lanes[i] += chunk[i] * chunk[i];
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += value * value;
        }
        tree(lanes)
    }
}
