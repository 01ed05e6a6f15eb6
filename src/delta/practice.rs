//! Practice: after the examples of the warm-up, the model writes deltas of its own and learns from which of them are networks.
//!
//! The policy gradient of the expected share of good deltas, by REINFORCE with a leave-one-out baseline (Kool, van Hoof and
//! Welling 2019): of `k` deltas of one parent with rewards `r_i`, delta `i` weighs `r_i - (R - r_i)/(k-1)`, `R = sum r`. Good is a
//! delta that applies, whose result is a network, and that no earlier one of the same parent equals; without the last the model
//! would learn to write the one delta that is always right. Examples of the corpus in each step keep the rest of the
//! distribution where it was.

use std::collections::HashSet;
use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::corpus::{random_network, render};
use super::warmup::{LONGEST_PROMPT, Model, PASS, Recipe, lesson, ramp};
use super::{apply_completion, prompt};
use crate::error::{Error, Result};
use crate::llm::adamw::{AdamW, clip};
use crate::llm::generate::{Request, Sample, generate};
use crate::llm::lora::Lora;
use crate::llm::pack::{Example, pack};
use crate::llm::sampling::Sampling;
use crate::llm::tune::add_gradient;
use crate::seed;

/// How a model practises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Practice {
    /// Optimiser steps.
    pub rounds: usize,
    /// New parents in a round, and deltas of each.
    pub parents: usize,
    pub samples: usize,
    /// Deltas of the corpus learnt beside them in each round.
    pub corpus: usize,
    /// Peak learning rate; it rises over `warmup_steps`, then falls to zero in a straight line.
    pub lr: f64,
    pub warmup_steps: usize,
}

/// One optimiser step, as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    pub round: usize,
    pub of: usize,
    /// Share of the round's deltas that are networks, and that are and were not written before.
    pub valid: f64,
    pub good: f64,
    /// Mean negative log-likelihood of a token of the corpus, before the step.
    pub corpus_loss: f64,
    pub gradient_norm: f64,
    pub lr: f64,
    pub seconds: f64,
}

/// Lets the model practise; `judge` says whether a source is a network. `watch` sees each round, and its error ends the practice.
///
/// # Errors
/// Where the gradient is no number any more, and what `watch` gives.
pub fn practise(
    model: &Model,
    lora: &mut Lora,
    recipe: &Recipe,
    practice: &Practice,
    judge: &(dyn Fn(&str) -> bool + Sync),
    watch: &mut dyn FnMut(&Round) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    let mut parameters = lora.snapshot()?;
    let mut optimiser = AdamW::new(parameters.iter().map(Vec::len));
    for round in 0..practice.rounds {
        let tried = attempts(model, lora, recipe, practice, round as u64, judge)?;
        // The lessons after those of the warm-up.
        let lesson = match practice.corpus {
            0 => Vec::new(),
            size => lesson(model, recipe, size, (recipe.examples.div_ceil(recipe.per_parent) + round) as u64)?,
        };
        let predicted = lesson.iter().map(|example| example.completion.len()).sum::<usize>().max(1);
        let mut gradients: Vec<Vec<f32>> = parameters.iter().map(|layer| vec![0.0; layer.len()]).collect();
        let mut add = |lora: &Lora, examples: &[Example], kind: u64, weight: &dyn Fn(usize) -> f64| -> Result<f64> {
            let chosen: Vec<usize> = (0..examples.len()).filter(|i| weight(*i) != 0.0).collect();
            let mut nll = 0.0;
            for (part, pack) in pack(examples, &chosen, PASS).iter().enumerate() {
                let dropout = seed::derive(recipe.seed, "practice dropout", &[round as u64, kind, part as u64]);
                nll += add_gradient(model.decoder, lora, pack, weight, dropout, &mut gradients)?;
            }
            Ok(nll)
        };
        let weights = weights(&tried, practice.samples);
        add(lora, &tried.iter().map(|attempt| attempt.example.clone()).collect::<Vec<_>>(), 0, &|i| weights[i])?;
        let nll = add(lora, &lesson, 1, &|_| 1.0 / predicted as f64)?;
        let gradient_norm = clip(&mut gradients, recipe.clip);
        if !gradient_norm.is_finite() {
            return Err(Error::machine(format!("the practice diverged in round {round}")).hint("use a smaller --practice-lr"));
        }
        let lr = practice.lr * ramp(practice.warmup_steps, round, practice.rounds);
        optimiser.step(&mut parameters, &gradients, lr, 0.0);
        lora.restore(&parameters)?;
        let share = |what: fn(&Attempt) -> bool| tried.iter().filter(|attempt| what(attempt)).count() as f64 / tried.len() as f64;
        watch(&Round {
            round: round + 1,
            of: practice.rounds,
            valid: share(|attempt| attempt.is_network),
            good: share(|attempt| attempt.is_network && attempt.is_new),
            corpus_loss: nll / predicted as f64,
            gradient_norm,
            lr,
            seconds: start.elapsed().as_secs_f64(),
        })?;
    }
    Ok(())
}

/// A delta that the model wrote.
struct Attempt {
    example: Example,
    is_network: bool,
    /// Whether no earlier one of the same parent has the same result.
    is_new: bool,
}

/// The weight of each attempt's negative log-likelihood; `samples` in a row have one parent.
fn weights(attempts: &[Attempt], samples: usize) -> Vec<f64> {
    let reward = |attempt: &Attempt| f64::from(u8::from(attempt.is_network && attempt.is_new));
    let of_parent = |group: &[Attempt]| {
        let total: f64 = group.iter().map(reward).sum();
        let others = (group.len() - 1).max(1) as f64;
        group.iter().map(|attempt| (reward(attempt) - (total - reward(attempt)) / others) / attempts.len() as f64).collect::<Vec<_>>()
    };
    attempts.chunks(samples).flat_map(of_parent).collect()
}

fn attempts(
    model: &Model,
    lora: &Lora,
    recipe: &Recipe,
    practice: &Practice,
    round: u64,
    judge: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Vec<Attempt>> {
    let mut rng = seed::rng(recipe.seed, "practice", &[round]);
    let (mut parents, mut requests) = (Vec::new(), Vec::new());
    while parents.len() < practice.parents {
        let parent = render(&random_network(&mut rng));
        let prompt = prompt::encode(model.tokenizer, model.template, recipe.format, &parent)?;
        if prompt.len() <= LONGEST_PROMPT {
            let sample = |i| seed::derive(recipe.seed, "practice sample", &[round, parents.len() as u64, i]);
            requests.push(Request { prompt, seeds: (0..practice.samples as u64).map(sample).collect() });
            parents.push(parent);
        }
    }
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: recipe.max_tokens, end: model.tokenizer.eos() };
    let samples = generate(&model.decoder.with_adapter(lora)?, &requests, &sampling, &mut |_| Ok(()))?;
    let mut attempts = Vec::new();
    for ((parent, request), samples) in parents.iter().zip(requests).zip(samples) {
        let candidate = |sample: &Sample| {
            let bytes: Vec<u8> = sample.tokens.iter().flat_map(|&token| model.tokenizer.token_bytes(token)).collect();
            apply_completion(recipe.format, parent, &bytes, sample.ended).ok()
        };
        let candidates: Vec<Option<String>> = samples.iter().map(candidate).collect();
        let networks: Vec<bool> = candidates.par_iter().map(|source| source.as_deref().is_some_and(judge)).collect();
        let mut seen = HashSet::new();
        for ((sample, candidate), is_network) in samples.into_iter().zip(candidates).zip(networks) {
            let example = Example { id: format!("{round}.{}", attempts.len()), prompt: request.prompt.clone(), completion: sample.tokens };
            attempts.push(Attempt { example, is_network, is_new: candidate.is_some_and(|source| seen.insert(source)) });
        }
    }
    Ok(attempts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_of_leave_one_out_rewards_and_sum_to_zero_in_a_family() {
        let attempt = |is_network, is_new| Attempt {
            example: Example { id: String::new(), prompt: vec![1], completion: vec![2] },
            is_network,
            is_new,
        };
        let tried = [
            attempt(true, true),
            attempt(true, false),
            attempt(false, true),
            attempt(true, true),
            attempt(true, true),
            attempt(true, true),
            attempt(true, true),
            attempt(true, true),
        ];
        let weights = weights(&tried, 4);
        // Rewards 1 0 0 1: a good one has 1 of 3 good others, a bad one 2 of 3.
        let expected = [2.0 / 3.0, -2.0 / 3.0, -2.0 / 3.0, 2.0 / 3.0].map(|a| a / 8.0);
        assert!(weights[..4].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{weights:?}");
        assert_eq!(weights[4..], [0.0; 4]);
    }
}
