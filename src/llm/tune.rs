//! Tuning of an adapter on examples: the cross-entropy method's update when the examples are the elites of a cycle,
//! `theta' = argmin (1/|E|) sum_i -log p(d_i|a_i)`, the mean over examples of the SUM over tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Tensor;
use rand::seq::SliceRandom;

use super::adamw::{AdamW, clip};
use super::decoder::{Decoder, Mode};
use super::lora::Lora;
use super::ops::{floats, vector};
use super::pack::{Example, Pack, by_prompt, check, pack};
use super::score::log_p;
use crate::config::{Objective, TuneConfig};
use crate::error::{Error, Result};
use crate::seed;

/// How the learning rate goes on after it has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Constant,
    /// Falls linearly, to zero after the last step.
    Linear,
}

/// What [`TuneConfig`] leaves open.
pub struct Plan<'a> {
    pub config: &'a TuneConfig,
    /// Examples of one optimiser step, prompts in a new random order each epoch; `None` is all examples, the CE update.
    pub batch: Option<usize>,
    pub schedule: Schedule,
    /// Tokens of one forward and backward pass, which bounds the memory; gradients add up over passes.
    pub budget: usize,
    pub seed: u64,
    /// Looked at between steps.
    pub abort: &'a AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Of the step's examples, before it.
    pub loss: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    pub lr: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TuneLog {
    /// Over all examples, without dropout.
    pub loss_before: f64,
    pub loss_after: f64,
    pub steps: Vec<Step>,
    /// Of all forward and backward passes, and the time of the steps.
    pub tokens: u64,
    pub seconds: f64,
    /// Whether `abort` was raised before the last step; the adapter is as it was then.
    pub aborted: bool,
}

/// The loss from each example's `log p`.
pub fn loss(objective: Objective, examples: &[Example], log_p: &[f64]) -> f64 {
    -log_p.iter().sum::<f64>() / weight(objective, examples.iter())
}

/// What the summed NLL is divided by.
fn weight<'a>(objective: Objective, examples: impl Iterator<Item = &'a Example>) -> f64 {
    match objective {
        Objective::Sum => examples.count() as f64,
        Objective::TokenMean => examples.map(|e| e.completion.len()).sum::<usize>() as f64,
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
    if decoder.uses_stock_ops() && decoder.recompute {
        let weights: Vec<f32> = pack.of.iter().map(|example| weight(*example) as f32).collect();
        let gradients = decoder.stock_gradients(pack, lora, &weights, dropout_seed)?;
        for (layer, into) in gradients.layers.iter().zip(into) {
            vector::axpy(into, 1.0, &floats(layer)?);
        }
        return Ok(gradients.nll.iter().map(|v| f64::from(*v)).sum());
    }
    let hidden = decoder.hidden(&pack.rows, Some(lora), Mode::Train { dropout_seed })?;
    let nll = decoder.nll(&hidden, &pack.at, &pack.targets)?;
    let sum: f64 = nll.to_vec1::<f32>()?.iter().map(|v| f64::from(*v)).sum();
    let weights: Vec<f32> = pack.of.iter().map(|example| weight(*example) as f32).collect();
    let weights = Tensor::new(weights, nll.device())?;
    let gradients = (nll * weights)?.sum_all()?.backward()?;
    for (layer, into) in lora.layers().iter().zip(into) {
        let Some(gradient) = gradients.get(layer) else { return Err(Error::machine("a layer of the adapter got no gradient")) };
        vector::axpy(into, 1.0, &floats(gradient)?);
    }
    Ok(sum)
}

/// Tunes the adapter in place; `optimiser` goes on from its state. `on_step` sees each step (0-based) and how many there will be.
///
/// # Errors
/// Before anything is changed, when an example is longer than a pass or the model's context; later, when the loss is no number.
pub fn tune(
    decoder: &Decoder,
    lora: &mut Lora,
    optimiser: &mut AdamW,
    examples: &[Example],
    plan: &Plan,
    mut on_step: impl FnMut(usize, usize, &Step),
) -> Result<TuneLog> {
    let config = plan.config;
    if examples.is_empty() {
        return Err(Error::machine("nothing to tune on"));
    }
    check(examples, plan.budget.min(decoder.config().context))?;
    let loss_before = loss(config.objective, examples, &log_p(decoder, Some(lora), examples, plan.budget)?);
    let start = Instant::now();
    let batch = plan.batch.unwrap_or(examples.len()).clamp(1, examples.len());
    let total = config.epochs * examples.len().div_ceil(batch);
    let mut groups = by_prompt(examples, 0..examples.len());
    let mut parameters = lora.snapshot()?;
    let mut log =
        TuneLog { loss_before, loss_after: loss_before, steps: Vec::with_capacity(total), tokens: 0, seconds: 0.0, aborted: false };
    'epochs: for epoch in 0..config.epochs {
        if batch < examples.len() {
            groups.shuffle(&mut seed::rng(plan.seed, "tune order", &[epoch as u64]));
        }
        let order = groups.concat();
        for chosen in order.chunks(batch) {
            if plan.abort.load(Ordering::Relaxed) {
                log.aborted = true;
                break 'epochs;
            }
            let index = log.steps.len();
            let divisor = weight(config.objective, chosen.iter().map(|i| &examples[*i]));
            let mut gradients: Vec<Vec<f32>> = parameters.iter().map(|p| vec![0.0; p.len()]).collect();
            let mut sum = 0.0;
            for (part, pack) in pack(examples, chosen, plan.budget).iter().enumerate() {
                let dropout_seed = seed::derive(plan.seed, "dropout", &[index as u64, part as u64]);
                sum += add_gradient(decoder, lora, pack, |_| 1.0 / divisor, dropout_seed, &mut gradients)?;
                log.tokens += pack.rows.len() as u64;
            }
            let gradient_norm = clip(&mut gradients, config.clip);
            let step = Step { loss: sum / divisor, gradient_norm, lr: learning_rate(plan, index, total) };
            if !step.loss.is_finite() || !gradient_norm.is_finite() {
                return Err(Error::machine(format!("tuning diverged at step {index}: loss {}, gradient norm {gradient_norm}", step.loss))
                    .hint("lower tune.lr"));
            }
            if step.loss < config.stop_below {
                break 'epochs;
            }
            optimiser.step(&mut parameters, &gradients, step.lr, config.weight_decay);
            lora.restore(&parameters)?;
            on_step(index, total, &step);
            log.steps.push(step);
        }
    }
    log.seconds = start.elapsed().as_secs_f64();
    log.loss_after = loss(config.objective, examples, &log_p(decoder, Some(lora), examples, plan.budget)?);
    Ok(log)
}

fn learning_rate(plan: &Plan, step: usize, total: usize) -> f64 {
    let (config, done) = (plan.config, step as f64);
    let rise = config.warmup_steps as f64;
    if done + 1.0 < rise {
        return config.lr * (done + 1.0) / rise;
    }
    match plan.schedule {
        Schedule::Constant => config.lr,
        Schedule::Linear => config.lr * (total as f64 - done) / (total as f64 - (rise - 1.0).max(0.0)).max(1.0),
    }
}
