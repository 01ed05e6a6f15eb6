//! The low-rank half of an adapted linear: `y_p += s (x A_p^T) B_p^T` for each part `p` of a merged projection.
//!
//! `x (n, in)`, `A_p (rank, in)` one after the other in memory, `B_p (out_p, rank)`; `y` holds the parts side by side.
//! Backward, with `u_p = s g_p B_p`: `dB_p = s g_p^T (x A_p^T)`, `dA_p = u_p^T x`, `dx += u_p A_p`.

use super::matmul::{Into, Threads, View, matmul};

/// Where the parts of one merged projection lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LowRank {
    pub(crate) rank: usize,
    pub(crate) input: usize,
    /// Width of a row of `y`.
    pub(crate) output: usize,
    /// Where the first `A` starts in the layer's parameters.
    pub(crate) a: usize,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// First column in a row of `y`, and how many.
    pub(crate) column: usize,
    pub(crate) width: usize,
    /// Where its `B` starts in the layer's parameters.
    pub(crate) b: usize,
}

/// Inverted dropout of the adapter's input, each part its own, drawn from a counter and so never kept.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability that an element is dropped, below 1.
    pub p: f64,
    /// Of one pass, layer and merged projection; each part draws from a stream of its own.
    pub seed: u64,
}

impl Dropout {
    /// `x` with each element kept with probability `1 - p` and divided by it.
    pub fn apply(self, x: &[f32], part: usize) -> Vec<f32> {
        let limit = (self.p * (1u64 << 32) as f64) as u64;
        let scale = (1.0 / (1.0 - self.p)) as f32;
        let stream = self.seed.wrapping_add((part as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03));
        let kept = |i: usize| mix(stream.wrapping_add(i as u64)) >> 32 >= limit;
        x.iter().enumerate().map(|(i, x)| if kept(i) { x * scale } else { 0.0 }).collect()
    }
}

/// A bijection of 64 bits whose outputs for consecutive inputs look independent (the finaliser of `SplitMix64`).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl LowRank {
    fn columns(&self) -> usize {
        self.parts.len() * self.rank
    }

    pub(crate) fn a_of(&self, part: usize) -> usize {
        self.a + part * self.rank * self.input
    }

    /// Adds to `y` and returns `x A^T (n, parts * rank)`, which backward wants.
    pub(crate) fn forward(&self, parameters: &[f32], scale: f32, x: &[f32], y: &mut [f32], dropout: Option<Dropout>) -> Vec<f32> {
        let (n, rank, columns) = (x.len() / self.input, self.rank, self.columns());
        let mut inner = vec![0.0; n * columns];
        if let Some(dropout) = dropout {
            for i in 0..self.parts.len() {
                let a = View::new(&parameters[self.a_of(i)..], rank, self.input);
                let x = dropout.apply(x, i);
                matmul(&mut inner[i * rank..], columns, Into::Overwrite, 1.0, View::new(&x, n, self.input), a.t(), Threads::All);
            }
        } else {
            let a = View::new(&parameters[self.a..], columns, self.input);
            matmul(&mut inner, columns, Into::Overwrite, 1.0, View::new(x, n, self.input), a.t(), Threads::All);
        }
        for (i, part) in self.parts.iter().enumerate() {
            let b = View::new(&parameters[part.b..], part.width, rank);
            let inner = View::strided(&inner[i * rank..], n, rank, columns);
            matmul(&mut y[part.column..], self.output, Into::Add, scale, inner, b.t(), Threads::All);
        }
        inner
    }

    /// Adds to `dx` (where wanted) and to `dp`, the gradient of the layer's parameters.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn backward(
        &self,
        parameters: &[f32],
        scale: f32,
        x: &[f32],
        inner: &[f32],
        g: &[f32],
        dx: &mut [f32],
        dp: &mut [f32],
        dropout: Option<Dropout>,
    ) {
        let (n, rank, columns) = (x.len() / self.input, self.rank, self.columns());
        let mut u = vec![0.0; n * columns];
        for (i, part) in self.parts.iter().enumerate() {
            let g = View::strided(&g[part.column..], n, part.width, self.output);
            let b = View::new(&parameters[part.b..], part.width, rank);
            matmul(&mut u[i * rank..], columns, Into::Overwrite, scale, g, b, Threads::All);
            let inner = View::strided(&inner[i * rank..], n, rank, columns);
            matmul(&mut dp[part.b..], rank, Into::Add, scale, g.t(), inner, Threads::All);
        }
        let Some(dropout) = dropout else {
            let (a, u) = (View::new(&parameters[self.a..], columns, self.input), View::new(&u, n, columns));
            matmul(&mut dp[self.a..], self.input, Into::Add, 1.0, u.t(), View::new(x, n, self.input), Threads::All);
            matmul(dx, self.input, Into::Add, 1.0, u, a, Threads::All);
            return;
        };
        for i in 0..self.parts.len() {
            let a = View::new(&parameters[self.a_of(i)..], rank, self.input);
            let u = View::strided(&u[i * rank..], n, rank, columns);
            let dropped = dropout.apply(x, i);
            matmul(&mut dp[self.a_of(i)..], self.input, Into::Add, 1.0, u.t(), View::new(&dropped, n, self.input), Threads::All);
            let mut back = vec![0.0; dx.len()];
            matmul(&mut back, self.input, Into::Overwrite, 1.0, u, a, Threads::All);
            for (dx, back) in dx.iter_mut().zip(dropout.apply(&back, i)) {
                *dx += back;
            }
        }
    }
}
