//! Tuning of an adapter on examples: the cross-entropy method's update when the examples are the elites of a cycle,
//! `theta' = argmin (1/|E|) sum_i -log p(d_i|a_i)`, the mean over examples of the SUM over tokens. How far it goes is a setting
//! ([`crate::decoder::settings::tune::Until`]): the argmin itself is the limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::divergence::Reference;
use super::matrices::Lora;
use super::objective::Target;
use super::score::log_p;
use super::step::{Batch, Rule};
use super::walk::{Taken, Walk};
use crate::base::error::{Error, Result};
use crate::base::seed;
use crate::decoder::model::decoder::Decoder;
use crate::decoder::model::pack::{Example, by_prompt, check};
use crate::decoder::settings::tune::{Optimizer, TuneConfig};

/// How the learning rate goes on after it has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Stays where it is.
    Constant,
    /// Falls linearly, to zero after the last step.
    Linear,
}

/// What [`TuneConfig`] leaves open.
pub struct Plan<'a> {
    /// What settings say of an update.
    pub config: &'a TuneConfig,
    /// Examples of one optimiser step, prompts in a new random order each epoch; `None` is all examples, the CE update.
    pub batch: Option<usize>,
    /// After the rise over [`TuneConfig::warmup_steps`].
    pub schedule: Schedule,
    /// Tokens of one forward and backward pass, which bounds the memory; gradients add up over passes.
    pub budget: usize,
    /// What the order of the prompts and the dropout are drawn from.
    pub seed: u64,
    /// Looked at between steps.
    pub abort: &'a AtomicBool,
    /// Of each example: see [`Target`].
    pub weights: &'a [f64],
    /// What the cycle sampled, and the policy before: what a trust region and the natural gradient are about.
    pub reference: Option<&'a Reference>,
}

/// One optimiser step that was not taken back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Of the step's examples, before it.
    pub loss: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    /// What it was made with: the schedule's, or less where backtracking halved it.
    pub lr: f64,
}

/// What ended an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The number of steps.
    #[default]
    Steps,
    /// The loss was below `tune.stop_below`.
    Loss,
    /// The share asked for was realised.
    Share,
    /// The edge of the trust region.
    Kl,
    /// No size of a step lowered the loss.
    NoDescent,
}

impl Ending {
    pub(crate) const fn phrase(self) -> &'static str {
        match self {
            Self::Steps => "all steps done",
            Self::Loss => "loss low enough",
            Self::Share => "share reached",
            Self::Kl => "edge of the trust region",
            Self::NoDescent => "no step lowers the loss",
        }
    }
}

/// What a tuning did.
#[derive(Clone, Debug, PartialEq)]
pub struct TuneLog {
    /// Over all examples, without dropout.
    pub loss_before: f64,
    /// The same after the tuning.
    pub loss_after: f64,
    /// What no policy gets below.
    pub floor: f64,
    /// Those that were not taken back, in order.
    pub steps: Vec<Step>,
    /// What ended it; [`Ending::Steps`] also where it was aborted.
    pub ending: Ending,
    /// Steps that were taken back.
    pub refused: usize,
    /// Of all forward and backward passes, and the time of the steps.
    pub tokens: u64,
    pub(crate) seconds: f64,
    /// Whether `abort` was raised before the last step; the adapter is as it was then.
    pub aborted: bool,
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
    if !plan.weights.is_empty() && plan.weights.len() != examples.len() {
        return Err(Error::machine("each example needs its weight"));
    }
    let target = Target { objective: config.objective, examples, weights: plan.weights };
    let loss_before = target.loss(&log_p(decoder, Some(lora), examples, plan.budget)?);
    let start = Instant::now();
    let batch = plan.batch.unwrap_or(examples.len()).clamp(1, examples.len());
    let of_epoch = examples.len().div_ceil(batch);
    let most = config.until.most(config.epochs * of_epoch);
    let mut groups = by_prompt(examples, 0..examples.len());
    let clip = if config.optimizer == Optimizer::Natural { 0.0 } else { config.clip };
    let rule = Rule { clip, weight_decay: config.weight_decay, of: "tuning", remedy: "tune.lr" };
    let mut walk = Walk::new(decoder, lora, config, target, plan.reference, loss_before, plan.budget)?;
    let (mut steps, mut tokens, mut aborted) = (Vec::new(), 0, false);
    let ending = 'update: {
        for epoch in 0..most.div_ceil(of_epoch) {
            if batch < examples.len() {
                groups.shuffle(&mut seed::rng(plan.seed, "tune order", &[epoch as u64]));
            }
            let order = groups.concat();
            for chosen in order.chunks(batch) {
                let index = steps.len();
                if index == most {
                    break 'update Ending::Steps;
                }
                if plan.abort.load(Ordering::Relaxed) {
                    aborted = true;
                    break 'update Ending::Steps;
                }
                let divisor = target.divisor(chosen.iter().copied());
                let weight = |i| target.weight(i) / divisor;
                let dropout_seed = |part| seed::derive(plan.seed, "dropout", &[index as u64, part]);
                let batch = Batch { examples, chosen, weight: &weight, dropout_seed: &dropout_seed };
                let gradient = rule.gradient(decoder, lora, &[batch], plan.budget, index)?;
                tokens += gradient.tokens as u64;
                if gradient.loss < config.stop_below {
                    break 'update Ending::Loss;
                }
                let lr = learning_rate(plan, index, most);
                let (taken, lr) = walk.step(lora, optimizer, &rule, &gradient, lr, index)?;
                match taken {
                    Taken::Step => {}
                    Taken::NoDescent => break 'update Ending::NoDescent,
                    Taken::Outside => break 'update Ending::Kl,
                }
                let step = Step { loss: gradient.loss, gradient_norm: gradient.norm, lr };
                on_step(index, most, &step);
                steps.push(step);
                if walk.has_share() {
                    break 'update Ending::Share;
                }
                if walk.is_at_edge() {
                    break 'update Ending::Kl;
                }
            }
        }
        Ending::Steps
    };
    let seconds = start.elapsed().as_secs_f64();
    let loss_after = target.loss(&log_p(decoder, Some(lora), examples, plan.budget)?);
    if !loss_after.is_finite() {
        return Err(rule.diverged(steps.len(), &format!("the loss after it is {loss_after}")));
    }
    Ok(TuneLog { loss_before, loss_after, floor: walk.floor(), steps, ending, refused: walk.refused, tokens, seconds, aborted })
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
