//! The warm-up: a fresh adapter learns a delta format from the random corpus, before any search.
//!
//! One optimiser step is one random parent with several deltas, packed into one pass over the parent. The loss is the mean
//! over the completions' tokens: here there is no elite set whose members must weigh alike.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::seed;
use crate::decoder::files::tokenizer::Tokenizer;
use crate::decoder::lora::step::{Batch, Rule};
use crate::decoder::model::pack::Example;
use crate::decoder::settings::lora::LoraConfig;
use crate::decoder::settings::tune::Objective;
use crate::delta::corpus::random_family;
use crate::delta::settings::Format;
use crate::policy::Learner;
use crate::policy::prompt;

/// Longest prompt of the corpus, in tokens.
pub const LONGEST_PROMPT: usize = 1024;

/// How an adapter is warmed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// How the deltas are written.
    pub format: Format,
    /// Deltas seen, each once.
    pub examples: usize,
    /// Deltas of one parent, one optimiser step.
    pub per_parent: usize,
    /// Peak learning rate; it rises over `warmup_steps`, then falls to zero in a straight line.
    pub lr: f64,
    /// Steps over which the learning rate rises.
    pub warmup_steps: usize,
    /// Largest gradient norm.
    pub clip: f64,
    /// Longest delta in tokens, the end token included.
    pub max_tokens: usize,
    /// What the corpus, a fresh adapter and the dropout are drawn from.
    pub seed: u64,
    /// Of a fresh adapter; one that is there has its own.
    pub lora: LoraConfig,
}

/// One optimiser step, as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub step: usize,
    /// How many there will be.
    pub of: usize,
    /// Mean negative log-likelihood of a token, before the step.
    pub loss: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    /// Of this step.
    pub lr: f64,
    /// Tokens through the model so far.
    pub tokens: usize,
    /// By the clock, since the warm-up began.
    pub seconds: f64,
}

/// Tunes the learner's adapter, from fresh moments; `watch` sees each step and the learner after it, and its error ends the warm-up.
///
/// # Errors
/// Where it diverges, and what `watch` gives.
pub fn warm_up(learner: &mut Learner, recipe: &Recipe, watch: &mut dyn FnMut(&Step, &Learner) -> Result<()>) -> Result<()> {
    let start = Instant::now();
    learner.forget_moments();
    let rule = Rule { clip: recipe.clip, weight_decay: 0.0, of: "the warm-up", remedy: "--lr" };
    let steps = recipe.examples.div_ceil(recipe.per_parent);
    let mut tokens = 0;
    for step in 0..steps {
        let examples = lesson(learner, recipe, recipe.per_parent, step as u64)?;
        let chosen: Vec<usize> = (0..examples.len()).collect();
        let predicted: usize = examples.iter().map(|example| example.completion.len()).sum();
        let dropout_seed = |part| seed::derive(recipe.seed, "warmup dropout", &[step as u64, part]);
        let batch = Batch { examples: &examples, chosen: &chosen, weight: &|_| 1.0 / predicted as f64, dropout_seed: &dropout_seed };
        let lr = recipe.lr * ramp(recipe.warmup_steps, step, steps);
        let gradient = learner.step(&rule, &[batch], lr, step)?;
        if step + 1 == steps {
            learner.check_after(&rule, &examples, step)?;
        }
        tokens += gradient.tokens;
        let (loss, gradient_norm) = (gradient.nll[0] / predicted as f64, gradient.norm);
        watch(&Step { step: step + 1, of: steps, loss, gradient_norm, lr, tokens, seconds: start.elapsed().as_secs_f64() }, learner)?;
    }
    Ok(())
}

/// The objective that the loss of a step is.
pub const OBJECTIVE: Objective = Objective::TokenMean;

/// The share of the peak learning rate at a step: it rises over `rising` steps, then falls to zero in a straight line.
pub(super) fn ramp(rising: usize, step: usize, steps: usize) -> f64 {
    let rise = (step + 1) as f64 / rising.max(1) as f64;
    let fall = (steps - step) as f64 / steps.saturating_sub(rising).max(1) as f64;
    rise.min(fall).min(1.0)
}

/// One parent with `size` deltas of the corpus.
pub(super) fn lesson(learner: &Learner, recipe: &Recipe, size: usize, step: u64) -> Result<Vec<Example>> {
    let mut rng = seed::rng(recipe.seed, "warmup", &[step]);
    let tokens = |delta: &str| completion(&learner.model.tokenizer, delta);
    loop {
        let family = random_family(&mut rng, recipe.format, size, |delta| tokens(delta).len() <= recipe.max_tokens);
        let prompt = prompt::encode(&learner.model.tokenizer, learner.model.chat.as_ref(), recipe.format, &family.parent)?;
        if prompt.len() <= LONGEST_PROMPT {
            let example =
                |(i, delta): (usize, &String)| Example { id: format!("{step}.{i}"), prompt: prompt.clone(), completion: tokens(delta) };
            return Ok(family.deltas.iter().enumerate().map(example).collect());
        }
    }
}

/// A delta as the tokens the model has to give, its end token included.
#[must_use]
pub(crate) fn completion(tokenizer: &Tokenizer, delta: &str) -> Vec<u32> {
    let mut tokens = tokenizer.encode_plain(delta);
    tokens.push(tokenizer.eos());
    tokens
}

#[cfg(test)]
mod tests {
    use super::ramp;

    #[test]
    fn the_learning_rate_rises_and_falls_to_zero() {
        let rates: Vec<f64> = (0..100).map(|step| ramp(10, step, 100)).collect();
        assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[10] - 1.0).abs() < 1e-12);
        assert!(rates[99] > 0.0 && rates[99] < 2e-2);
        assert!(rates[..10].is_sorted() && rates[10..].iter().rev().is_sorted());
    }
}
