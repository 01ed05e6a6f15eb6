//! Tuning of an adapter on examples: the cross-entropy method's update when the examples are the elites of a cycle,
//! `theta' = argmin (1/|E|) sum_i -log p(d_i|a_i)`, the mean over examples of the SUM over tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::seq::SliceRandom;

use super::adamw::AdamW;
use super::matrices::Lora;
use super::score::log_p;
use super::step::{Batch, Rule};
use crate::base::error::{Error, Result};
use crate::base::seed;
use crate::decoder::model::decoder::Decoder;
use crate::decoder::model::pack::{Example, by_prompt, check};
use crate::decoder::settings::tune::{Objective, TuneConfig};

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

/// Tunes the adapter in place; `optimizer` goes on from its state. `on_step` sees each step (0-based) and how many there will be.
///
/// # Errors
/// Before anything is changed, when an example is longer than a pass or the model's context; later, when a loss is no finite number.
pub fn tune(
    decoder: &Decoder,
    lora: &mut Lora,
    optimizer: &mut AdamW,
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
    let rule = Rule { clip: config.clip, weight_decay: config.weight_decay, of: "tuning", remedy: "tune.lr" };
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
            let dropout_seed = |part| seed::derive(plan.seed, "dropout", &[index as u64, part]);
            let batch = Batch { examples, chosen, weight: &|_| 1.0 / divisor, dropout_seed: &dropout_seed };
            let gradient = rule.gradient(decoder, lora, &[batch], plan.budget, index)?;
            log.tokens += gradient.tokens as u64;
            let step = Step { loss: gradient.nll[0] / divisor, gradient_norm: gradient.norm, lr: learning_rate(plan, index, total) };
            if step.loss < config.stop_below {
                break 'epochs;
            }
            rule.descend(lora, optimizer, &gradient, step.lr, index)?;
            on_step(index, total, &step);
            log.steps.push(step);
        }
    }
    log.seconds = start.elapsed().as_secs_f64();
    log.loss_after = loss(config.objective, examples, &log_p(decoder, Some(lora), examples, plan.budget)?);
    if !log.loss_after.is_finite() {
        return Err(rule.diverged(log.steps.len(), &format!("the loss after it is {}", log.loss_after)));
    }
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
