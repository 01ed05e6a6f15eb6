//! The natural gradient (Amari, "Natural Gradient Works Efficiently in Learning", 1998) under the Fisher matrix of N samples.
//!
//! ```text
//! F = (1/N) sum_i u_i s_i s_i^T,   s_i = grad log p(d_i|a_i) at theta_t,   u_i = p(d_i|a_i) / q(d_i|a_i) over its mean
//! (F + lambda I) x = g,            lambda = damping * mean of the N largest eigenvalues of F
//! x = (g - S^T (N lambda I + S S^T)^-1 S g) / lambda,   the rows of S being sqrt(u_i) s_i      (Woodbury)
//! ```
//!
//! So a matrix of N x N is solved, whatever the number of parameters; what takes memory is S. The samples are the policy's own, so F
//! is an estimate of the Fisher matrix and not of the gradients' second moment over somebody's labels. It is taken once an update, at
//! theta_t: the metric of `KL(p || p_t)` around p_t. A step of size alpha along x moves an unrestricted policy to first order to
//! `(1 - alpha) p + alpha e`.

use rayon::prelude::*;

use super::matrices::Lora;
use super::step::add_gradient;
use crate::base::error::{Error, Result};
use crate::decoder::model::decoder::Decoder;
use crate::decoder::model::pack::{Example, pack};
use crate::theory::finite::weights;

/// The scores of the samples and a factor of their Gram matrix.
pub struct Fisher {
    /// N rows of all parameters: `sqrt(u_i) s_i`.
    scores: Vec<Vec<f32>>,
    lambda: f64,
    /// The lower triangle L of `N lambda I + S S^T = L L^T`, row by row.
    factor: Vec<Vec<f64>>,
}

/// Bytes that the scores of so many samples take.
pub(crate) fn bytes(samples: usize, parameters: usize) -> u64 {
    (samples as u64).saturating_mul(parameters as u64).saturating_mul(4)
}

impl Fisher {
    /// `log_p` is of the samples under the adapter as it is; passes have at most `budget` tokens.
    ///
    /// # Errors
    /// Where a score is no finite number, or all are zero.
    pub fn new(
        decoder: &Decoder,
        lora: &Lora,
        samples: &[Example],
        (log_p, log_q): (&[f64], &[f64]),
        damping: f64,
        budget: usize,
    ) -> Result<Self> {
        let weights = weights(log_p, log_q);
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let lora = &lora.without_dropout();
        let mut scores = Vec::with_capacity(samples.len());
        for (index, weight) in weights.iter().enumerate() {
            let mut gradient: Vec<Vec<f32>> = lora.layers().iter().map(|layer| vec![0.0; layer.elem_count()]).collect();
            // The sign of a score counts in no product of two.
            let size = (weight / mean).sqrt();
            for pack in pack(samples, &[index], budget) {
                add_gradient(decoder, lora, &pack, |_| size, 0, &mut gradient)?;
            }
            scores.push(gradient.concat());
        }
        Self::of(scores, damping)
    }

    /// Of scores that are weighted already.
    ///
    /// # Errors
    /// See [`Fisher::new`].
    pub fn of(scores: Vec<Vec<f32>>, damping: f64) -> Result<Self> {
        let n = scores.len();
        let mut gram = vec![vec![0.0; n]; n];
        gram.par_iter_mut().enumerate().for_each(|(i, row)| {
            for (j, value) in row.iter_mut().enumerate().take(i + 1) {
                *value = dot(&scores[i], &scores[j]);
            }
        });
        let trace: f64 = (0..n).map(|i| gram[i][i]).sum();
        if !(trace.is_finite() && trace > 0.0) {
            return Err(Error::machine(format!("the Fisher matrix of {n} samples has the trace {trace}"))
                .hint("the natural gradient needs samples whose log-probability the adapter changes: use tune.optimizer = adamw"));
        }
        // The eigenvalues of F that are not zero are those of S S^T / N, of which there are N.
        let lambda = damping * trace / (n * n) as f64;
        for (i, row) in gram.iter_mut().enumerate() {
            row[i] += n as f64 * lambda;
        }
        Ok(Self { scores, lambda, factor: cholesky(gram)? })
    }

    /// `(F + lambda I)^-1 g`, `g` by layer.
    pub fn solve(&self, gradient: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let flat = gradient.concat();
        let along: Vec<f64> = self.scores.par_iter().map(|score| dot(score, &flat)).collect();
        let shares = substitute(&self.factor, along);
        let mut solved: Vec<f64> = flat.iter().map(|g| f64::from(*g)).collect();
        for (score, share) in self.scores.iter().zip(shares) {
            for (x, s) in solved.iter_mut().zip(score) {
                *x -= share * f64::from(*s);
            }
        }
        let mut rest = solved.into_iter().map(|x| (x / self.lambda) as f32);
        gradient.iter().map(|layer| rest.by_ref().take(layer.len()).collect()).collect()
    }

    /// What was added to the diagonal of F.
    pub fn lambda(&self) -> f64 {
        self.lambda
    }
}

/// In eight lanes, whose order never changes: millions of terms one after the other would wait for each other.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let (a, rest_a) = a.as_chunks::<8>();
    let (b, rest_b) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f64::from(*a) * f64::from(*b);
        }
    }
    lanes.iter().sum::<f64>() + rest_a.iter().zip(rest_b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
}

/// The lower triangle L of A = L L^T, in place; of `matrix` only the lower triangle is read.
fn cholesky(mut matrix: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
    for i in 0..matrix.len() {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum();
            let left = matrix[i][j] - sum;
            matrix[i][j] = if i == j { left.sqrt() } else { left / matrix[j][j] };
            if i == j && (matrix[i][i].is_nan() || matrix[i][i] <= 0.0) {
                return Err(Error::machine("the Fisher matrix is not positive definite").hint("raise tune.damping"));
            }
        }
    }
    Ok(matrix)
}

/// Solves L L^T x = b.
fn substitute(factor: &[Vec<f64>], mut x: Vec<f64>) -> Vec<f64> {
    for i in 0..x.len() {
        let sum: f64 = (0..i).map(|j| factor[i][j] * x[j]).sum();
        x[i] = (x[i] - sum) / factor[i][i];
    }
    for i in (0..x.len()).rev() {
        let sum: f64 = (i + 1..x.len()).map(|j| factor[j][i] * x[j]).sum();
        x[i] = (x[i] - sum) / factor[i][i];
    }
    x
}
