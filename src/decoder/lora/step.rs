//! One optimiser step of an adapter: `g = sum_i w_i grad nll_i` over the passes of its examples, clipped, then [`AdamW`] or a step
//! along a direction.

use candle_core::Tensor;

use super::adamw::{AdamW, clip};
use super::matrices::Lora;
use crate::base::error::{Error, Result};
use crate::decoder::model::decoder::{Decoder, Mode};
use crate::decoder::model::pack::{Example, Pack, pack};
use crate::decoder::ops::{floats, vector};

/// Examples that a step adds up.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// What `chosen` chooses from.
    pub examples: &'a [Example],
    /// Those that take part, by index; passes are filled in this order.
    pub chosen: &'a [usize],
    /// The weight of an example's summed negative log-likelihood, by its index.
    pub weight: &'a dyn Fn(usize) -> f64,
    /// The seed of the dropout in each of the batch's passes, by its number.
    pub dropout_seed: &'a dyn Fn(u64) -> u64,
}

/// What a step does, whatever it learns from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Largest gradient norm; 0 is no clipping.
    pub clip: f64,
    /// Decoupled: a step first scales each parameter by `1 - lr wd`.
    pub weight_decay: f64,
    /// What is learning: for the error.
    pub of: &'static str,
    /// What to lower where it diverges, as the user sets it: for the error's hint.
    pub remedy: &'static str,
}

/// What a step found before it changed anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// By layer, clipped.
    pub(crate) values: Vec<Vec<f32>>,
    /// Before clipping.
    pub(crate) norm: f64,
    /// Of each batch, the sum of the negative log-likelihoods of its examples, in nats, unweighted.
    pub(crate) nll: Vec<f64>,
    /// `sum_i w_i nll_i` over all batches: what this is the gradient of.
    pub(crate) loss: f64,
    /// Tokens that went through the model.
    pub(crate) tokens: usize,
}

impl Rule {
    /// The gradient of all batches together, in passes of at most `budget` tokens; `number` (from 0) is the step's, for the error.
    ///
    /// # Errors
    /// Where the loss or the gradient is no finite number.
    pub(crate) fn gradient(&self, decoder: &Decoder, lora: &Lora, batches: &[Batch], budget: usize, number: usize) -> Result<Gradient> {
        let mut values: Vec<Vec<f32>> = lora.layers().iter().map(|layer| vec![0.0; layer.elem_count()]).collect();
        let (mut nll, mut loss, mut tokens) = (Vec::with_capacity(batches.len()), 0.0, 0);
        for batch in batches {
            let mut sum = 0.0;
            for (part, pack) in pack(batch.examples, batch.chosen, budget).iter().enumerate() {
                let (own, weighted) = accumulate(decoder, lora, pack, batch.weight, (batch.dropout_seed)(part as u64), &mut values)?;
                (sum, loss) = (sum + own, loss + weighted);
                tokens += pack.rows.len();
            }
            nll.push(sum);
        }
        let norm = clip(&mut values, self.clip);
        if !norm.is_finite() || nll.iter().any(|sum| !sum.is_finite()) {
            let sum: f64 = nll.iter().sum();
            return Err(self.diverged(number, &format!("negative log-likelihood {sum}, gradient norm {norm}")));
        }
        Ok(Gradient { values, norm, nll, loss, tokens })
    }

    /// Changes the adapter by a gradient.
    ///
    /// # Errors
    /// Where a parameter would be no finite number; the adapter is then as it was.
    pub(crate) fn descend(&self, lora: &mut Lora, optimizer: &mut AdamW, gradient: &Gradient, lr: f64, number: usize) -> Result<()> {
        let mut parameters = lora.snapshot()?;
        optimizer.step(&mut parameters, &gradient.values, lr, self.weight_decay);
        self.adopt(lora, &parameters, number)
    }

    /// Goes along a direction d: `p <- p (1 - lr wd) - lr d`, which is gradient descent where d is the gradient.
    ///
    /// # Errors
    /// See [`Rule::descend`].
    pub(crate) fn descend_along(&self, lora: &mut Lora, direction: &[Vec<f32>], lr: f64, number: usize) -> Result<()> {
        let mut parameters = lora.snapshot()?;
        let keep = 1.0 - lr * self.weight_decay;
        for (p, d) in parameters.iter_mut().flatten().zip(direction.iter().flatten()) {
            *p = (f64::from(*p) * keep - lr * f64::from(*d)) as f32;
        }
        self.adopt(lora, &parameters, number)
    }

    fn adopt(&self, lora: &mut Lora, parameters: &[Vec<f32>], number: usize) -> Result<()> {
        if parameters.iter().flatten().any(|value| !value.is_finite()) {
            return Err(self.diverged(number, "a parameter is no finite number"));
        }
        lora.restore(parameters)
    }

    /// The error of a step, by what was found.
    pub(crate) fn diverged(&self, number: usize, found: &str) -> Error {
        Error::machine(format!("{} diverged at step {number}: {found}", self.of)).hint(format!("lower {}", self.remedy))
    }
}

/// The gradient of `sum_i weight(i) nll_i` over the examples (by index) of one pass in the adapter's parameters, added to `into`;
/// gives `sum_i nll_i`.
pub fn add_gradient(
    decoder: &Decoder,
    lora: &Lora,
    pack: &Pack,
    weight: impl Fn(usize) -> f64,
    dropout_seed: u64,
    into: &mut [Vec<f32>],
) -> Result<f64> {
    Ok(accumulate(decoder, lora, pack, weight, dropout_seed, into)?.0)
}

/// [`add_gradient`] with the weighted sum beside the plain one.
fn accumulate(
    decoder: &Decoder,
    lora: &Lora,
    pack: &Pack,
    weight: impl Fn(usize) -> f64,
    dropout_seed: u64,
    into: &mut [Vec<f32>],
) -> Result<(f64, f64)> {
    let weights: Vec<f64> = pack.of.iter().map(|example| weight(*example)).collect();
    let narrow: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
    let sums = |nll: &[f32]| {
        let nll = nll.iter().map(|v| f64::from(*v));
        (nll.clone().sum(), nll.zip(&weights).map(|(nll, weight)| weight * nll).sum())
    };
    if decoder.uses_stock_ops() && decoder.recompute {
        let gradients = decoder.stock_gradients(pack, lora, &narrow, dropout_seed)?;
        for (layer, into) in gradients.layers.iter().zip(into) {
            vector::axpy(into, 1.0, &floats(layer)?);
        }
        return Ok(sums(&gradients.nll));
    }
    let hidden = decoder.hidden(&pack.rows, Some(lora), Mode::Train { dropout_seed })?;
    let nll = decoder.nll(&hidden, &pack.at, &pack.targets)?;
    let sums = sums(&nll.to_vec1::<f32>()?);
    let narrow = Tensor::new(narrow, nll.device())?;
    let gradients = (nll * narrow)?.sum_all()?.backward()?;
    for (layer, into) in lora.layers().iter().zip(into) {
        let Some(gradient) = gradients.get(layer) else { return Err(Error::machine("a layer of the adapter got no gradient")) };
        vector::axpy(into, 1.0, &floats(gradient)?);
    }
    Ok(sums)
}
