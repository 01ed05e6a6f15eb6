//! Practice: after the examples of the warm-up, the model writes deltas of its own and learns from which of them are networks.
//!
//! The policy gradient by REINFORCE with a leave-one-out baseline (Kool, van Hoof and Welling 2019): of `k` deltas of one parent
//! with rewards `r_i`, delta `i` weighs `r_i - (R - r_i)/(k-1)`, `R = sum r`. Good is a delta that applies, and whose result is a
//! network within the budget that computes something else than the parent and than every earlier one of the same parent. The
//! reward is `[good] - beta log p(delta)`: the second part makes it the gradient of the share of good deltas plus `beta` times the
//! entropy of what the model writes (Williams and Peng 1991). Without it, and without the others of a parent counting, the model
//! would learn to write the few deltas that are always right. Examples of the corpus in each step keep the rest of the
//! distribution where it was.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::rehearsal::Rehearsal;
use super::warmup::{LONGEST_PROMPT, Recipe, ramp};
use crate::base::error::Result;
use crate::base::seed;
use crate::decoder::lora::step::Rule;
use crate::decoder::model::pack::Example;
use crate::decoder::sample::generate::{Request, generate};
use crate::decoder::sample::sampling::Sampling;
use crate::delta::corpus::{random_network, render};
use crate::gates::{Asked, Gates, Judged, Stage};
use crate::policy::Learner;
use crate::policy::learner::Model;
use crate::policy::prompt;
use crate::tracer::novelty::Filter;

/// How a model practises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Practice {
    /// Optimiser steps.
    pub rounds: usize,
    /// New parents in a round.
    pub parents: usize,
    /// Deltas of each of them, two at least: one is weighed against the others.
    pub samples: usize,
    /// Deltas of the corpus learnt beside them in each round.
    pub corpus: usize,
    /// Reward of the model's entropy, per nat of a whole delta.
    #[serde(default)]
    pub entropy: f64,
    /// Peak learning rate; it rises over `warmup_steps`, then falls to zero in a straight line.
    pub lr: f64,
    /// Rounds over which the learning rate rises.
    pub warmup_steps: usize,
}

/// One optimiser step, as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// From 1.
    pub round: usize,
    /// How many there will be.
    pub of: usize,
    /// Share of the round's deltas that are networks.
    pub valid: f64,
    /// Share of the round's deltas that are good: networks within the budget that are novel.
    pub good: f64,
    /// Mean of -log p of a whole delta, in nats.
    pub entropy: f64,
    /// Mean negative log-likelihood of a token of the corpus, before the step.
    pub(crate) corpus_loss: f64,
    pub(crate) gradient_norm: f64,
    pub(crate) lr: f64,
    /// By the clock, since the practice began.
    pub seconds: f64,
}

/// A delta that the model wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Without the end token.
    pub completion: Vec<u8>,
    /// Whether the end token came.
    pub ended: bool,
}

/// How far the deltas of one parent get, in their order.
pub(crate) type Judge<'a> = dyn Fn(&str, &[Written]) -> Result<Vec<Stage>> + Sync + 'a;

/// What the gates say of the deltas of one parent; none of them may repeat the parent or one before it.
///
/// # Errors
/// The machine's.
pub fn judge_family(gates: &Gates, parent: &str, written: &[Written]) -> Result<Vec<Judged>> {
    let parent_graph = gates.trace(parent)?.ok();
    let asked = written.iter().enumerate().map(|(i, delta)| Asked {
        id: i.to_string(),
        parent,
        parent_graph: parent_graph.as_ref(),
        completion: &delta.completion,
        ended: delta.ended,
    });
    gates.judge(&asked.collect::<Vec<_>>(), &mut Filter::of_equals())
}

/// Lets the learner practise, from fresh moments. `watch` sees each round and the learner after it, and its error ends the practice.
///
/// # Errors
/// Where it diverges, and what `watch` gives.
pub fn practise(
    learner: &mut Learner,
    recipe: &Recipe,
    practice: &Practice,
    judge: &Judge,
    watch: &mut dyn FnMut(&Round, &Learner) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    learner.forget_moments();
    let rule = Rule { clip: recipe.clip, weight_decay: 0.0, of: "the practice", remedy: "--practice-lr" };
    for round in 0..practice.rounds {
        let tried = attempts(learner, recipe, practice, round as u64, judge)?;
        let written: Vec<Example> = tried.iter().map(|attempt| attempt.example.clone()).collect();
        let lr = practice.lr * ramp(practice.warmup_steps, round, practice.rounds);
        // The lessons after those of the warm-up.
        let number = (recipe.examples.div_ceil(recipe.per_parent) + round) as u64;
        let rehearsal = Rehearsal { size: practice.corpus, number, weight: 1.0, dropout: "practice dropout" };
        let done = rehearsal.step(learner, recipe, &rule, (&written, &weights(&tried, practice)), (lr, round))?;
        if round + 1 == practice.rounds {
            learner.check_after(&rule, &written, round)?;
        }
        let share = |what: fn(&Attempt) -> bool| tried.iter().filter(|attempt| what(attempt)).count() as f64 / tried.len() as f64;
        let round = Round {
            round: round + 1,
            of: practice.rounds,
            valid: share(|attempt| attempt.is_network),
            good: share(|attempt| attempt.is_good),
            entropy: -tried.iter().map(|attempt| attempt.log_p).sum::<f64>() / tried.len() as f64,
            corpus_loss: done.corpus_loss,
            gradient_norm: done.gradient_norm,
            lr,
            seconds: start.elapsed().as_secs_f64(),
        };
        watch(&round, learner)?;
    }
    Ok(())
}

/// A delta that was written, as an example to learn from.
struct Attempt {
    example: Example,
    log_p: f64,
    is_network: bool,
    is_good: bool,
}

/// The weight of each attempt's negative log-likelihood; `practice.samples` in a row have one parent.
fn weights(attempts: &[Attempt], practice: &Practice) -> Vec<f64> {
    let reward = |attempt: &Attempt| f64::from(u8::from(attempt.is_good)) - practice.entropy * attempt.log_p;
    let of_parent = |group: &[Attempt]| {
        let total: f64 = group.iter().map(reward).sum();
        let others = (group.len() - 1).max(1) as f64;
        group.iter().map(|attempt| (reward(attempt) - (total - reward(attempt)) / others) / attempts.len() as f64).collect::<Vec<_>>()
    };
    attempts.chunks(practice.samples).flat_map(of_parent).collect()
}

fn attempts(learner: &Learner, recipe: &Recipe, practice: &Practice, round: u64, judge: &Judge) -> Result<Vec<Attempt>> {
    let Model { tokenizer, chat, .. } = &learner.model;
    let mut rng = seed::rng(recipe.seed, "practice", &[round]);
    let (mut parents, mut requests) = (Vec::new(), Vec::new());
    while parents.len() < practice.parents {
        let parent = render(&random_network(&mut rng));
        let prompt = prompt::encode(tokenizer, chat.as_ref(), recipe.format, &parent)?;
        if prompt.len() <= LONGEST_PROMPT {
            let sample = |i| seed::derive(recipe.seed, "practice sample", &[round, parents.len() as u64, i]);
            requests.push(Request { prompt, seeds: (0..practice.samples as u64).map(sample).collect() });
            parents.push(parent);
        }
    }
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: recipe.max_tokens, end: tokenizer.eos() };
    let samples = generate(&learner.adapted()?, &requests, &sampling, &mut |_| Ok(()))?;
    let mut attempts = Vec::new();
    for ((parent, request), samples) in parents.iter().zip(requests).zip(samples) {
        let written = samples.iter().map(|s| Written { completion: tokenizer.completion(&s.tokens), ended: s.ended });
        let stages = judge(parent, &written.collect::<Vec<_>>())?;
        for (sample, stage) in samples.into_iter().zip(stages) {
            let example = Example { id: format!("{round}.{}", attempts.len()), prompt: request.prompt.clone(), completion: sample.tokens };
            let (is_network, is_good) = (stage >= Stage::Traced, stage >= Stage::Novel);
            attempts.push(Attempt { example, log_p: sample.log_p, is_network, is_good });
        }
    }
    Ok(attempts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::settings::llm::LlmConfig;
    use crate::decoder::settings::lora::LoraConfig;
    use crate::delta::apply_completion;
    use crate::delta::settings::Format;

    const PRACTICE: Practice = Practice { rounds: 1, parents: 1, samples: 4, corpus: 0, entropy: 0.0, lr: 1e-3, warmup_steps: 0 };

    fn attempt(is_good: bool, log_p: f64) -> Attempt {
        let example = Example { id: String::new(), prompt: vec![1], completion: vec![2] };
        Attempt { example, log_p, is_network: is_good, is_good }
    }

    #[test]
    fn weights_are_of_leave_one_out_rewards_and_sum_to_zero_in_a_family() {
        let tried = [true, false, false, true, true, true, true, true].map(|good| attempt(good, -3.0));
        let found = weights(&tried, &PRACTICE);
        // Rewards 1 0 0 1: a good one has 1 of 3 good others, a bad one 2 of 3.
        let expected = [2.0 / 3.0, -2.0 / 3.0, -2.0 / 3.0, 2.0 / 3.0].map(|a| a / 8.0);
        assert!(found[..4].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(found[4..], [0.0; 4]);
        // Of equally good ones the rare one weighs more: .1 of 6 nats against the mean of 2, 2 and 2.
        let tried = [-2.0, -2.0, -2.0, -6.0].map(|log_p| attempt(true, log_p));
        let found = weights(&tried, &Practice { entropy: 0.1, ..PRACTICE });
        assert!((found[3] - 0.4 / 4.0).abs() < 1e-12 && found.iter().sum::<f64>().abs() < 1e-12, "{found:?}");
    }

    /// By the real model: one round makes what `judge` likes more likely, and the rest less. What it likes is arbitrary.
    #[test]
    fn a_round_moves_the_model_to_what_is_judged_good() {
        let mut learner = Learner::open(&LlmConfig::default(), &LoraConfig::default(), 0)
            .unwrap_or_else(|e| panic!("the default model has to be there (scripts/fetch): {e}"));
        let recipe = Recipe {
            format: Format::Edit,
            examples: 0,
            per_parent: 1,
            lr: 1e-3,
            warmup_steps: 0,
            clip: 1.0,
            max_tokens: 60,
            seed: 0,
            lora: LoraConfig::default(),
        };
        let practice = Practice { samples: 12, lr: 1e-4, ..PRACTICE };
        let judge = |parent: &str, written: &[Written]| -> Result<Vec<Stage>> {
            let mut seen = std::collections::HashSet::new();
            let mut stage = |delta: &Written| match apply_completion(recipe.format, parent, &delta.completion, delta.ended) {
                Ok(source) if seed::derive(0, &source, &[]) % 2 == 1 => Stage::Applied,
                Ok(source) if seen.insert(source.clone()) => Stage::Novel,
                Ok(_) => Stage::WithinBudget,
                Err(_) => Stage::Asked,
            };
            Ok(written.iter().map(&mut stage).collect())
        };
        let tried = attempts(&learner, &recipe, &practice, 0, &judge).unwrap();
        let good = tried.iter().filter(|attempt| attempt.is_good).count();
        assert!((2..=10).contains(&good), "{good} of 12 are good: the test needs both");
        let examples: Vec<Example> = tried.iter().map(|attempt| attempt.example.clone()).collect();
        let before = learner.log_p(&examples).unwrap();
        assert!(before.iter().zip(&tried).all(|(scored, attempt)| (scored - attempt.log_p).abs() < 1e-3));
        let mut rounds = Vec::new();
        practise(&mut learner, &recipe, &practice, &judge, &mut |round, _| {
            rounds.push(round.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(rounds.len(), 1);
        assert!((rounds[0].good - good as f64 / 12.0).abs() < 1e-12);
        let after = learner.log_p(&examples).unwrap();
        let weights = weights(&tried, &practice);
        let gain: f64 = weights.iter().zip(after.iter().zip(&before)).map(|(weight, (after, before))| weight * (after - before)).sum();
        assert!(gain > 0.0 && rounds[0].gradient_norm > 0.0, "{gain}");
    }
}
