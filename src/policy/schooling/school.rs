//! School: an adapter learns from measured deltas what helps. What it learns from are siblings, deltas of one parent under one recipe,
//! whose gains are compared with each other and with nothing else.
//!
//! With `l_i = log p(d_i|a) - log p_0(d_i|a)`, `p_0` the adapter that school began with, and gains `g_i`:
//!
//! ```text
//! pairs       sum over g_i > g_j of r_ij softplus(-beta (l_i - l_j)) / sum r_ij       (DPO: Rafailov et al. 2023)
//! advantage   (1/n) sum |A_i| softplus(-beta sign(A_i) l_i),  A_i = r (g_i - mean) / sd    (the logistic form of KTO: Ethayarajh et al. 2024)
//! tail        the same with A_i = r (n softmax(2 (g - max) / sd)_i - 1): the best weigh most
//! ```
//!
//! `r_ij = 2 Phi((g_i - g_j) / (sqrt 2 noise)) - 1` is how sure the order of a pair is; `r = 1 - noise^2 / var(g)` (0 where negative) is how
//! much of what siblings differ in is no noise. All are bounded below: what is bad is not pushed away without end. Examples of the corpus in
//! each step keep what the adapter knows of validity, and its diversity.

use std::time::Instant;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use statrs::distribution::ContinuousCDF;

use super::rehearsal::Rehearsal;
use super::warmup::{LONGEST_PROMPT, Recipe, completion, ramp};
use crate::base::error::Result;
use crate::base::seed;
use crate::decoder::lora::step::Rule;
use crate::decoder::model::pack::Example;
use crate::policy::Learner;
use crate::policy::learner::Model;
use crate::policy::prompt;
use crate::theory::statistics::{mean, standard_normal, variance};

/// What a gain is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Worth {
    /// The better of each pair of siblings is preferred
    Pairs,
    /// Each is praised or blamed by its distance from the siblings' mean
    Advantage,
    /// The best siblings are praised most, the rest blamed alike
    Tail,
}

/// How an adapter is schooled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct School {
    /// What is made of the gains.
    pub worth: Worth,
    /// Times that each delta is learnt from.
    pub epochs: usize,
    /// Inverse of how far the adapter may go for a preference.
    pub beta: f64,
    /// Siblings of one step, at most.
    pub siblings: usize,
    /// Deltas of the corpus beside them in each step.
    pub corpus: usize,
    /// What one of these deltas weighs in the sum.
    pub corpus_weight: f64,
    /// Peak learning rate; it rises over `warmup_steps`, then falls to zero in a straight line.
    pub lr: f64,
    /// Steps over which the learning rate rises.
    pub warmup_steps: usize,
    /// Standard deviation of the accuracy of one network over its seeds, where a run did not measure it.
    pub noise: f64,
}

impl Default for School {
    fn default() -> Self {
        Self {
            worth: Worth::Pairs,
            epochs: 4,
            beta: 0.2,
            siblings: 24,
            corpus: 6,
            corpus_weight: 0.1,
            lr: 2e-4,
            warmup_steps: 4,
            noise: 0.015,
        }
    }
}

/// Deltas of one parent under one recipe.
#[derive(Clone, Debug)]
pub struct Siblings {
    /// The start network that their parent descends from.
    pub family: String,
    /// What their accuracies were measured on.
    pub dataset: String,
    /// The parent and each delta, as the learner reads and writes them.
    pub examples: Vec<Example>,
    /// Accuracy less the parent's, one an example.
    pub gain: Vec<f64>,
    /// See [`School::noise`].
    pub noise: Option<f64>,
}

/// One optimiser step, as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Term {
    /// From 1.
    pub step: usize,
    /// How many there will be.
    pub of: usize,
    pub(crate) family: String,
    pub(crate) siblings: usize,
    /// The objective before the step.
    pub loss: f64,
    /// Mean of `log p` less what it was before school, in nats.
    pub(crate) moved: f64,
    /// Mean negative log-likelihood of a token of the corpus, before the step.
    pub corpus_loss: f64,
    pub(crate) gradient_norm: f64,
    pub(crate) lr: f64,
    /// By the clock, since school began.
    pub seconds: f64,
}

/// The parent and the delta as the learner reads and writes them; None where the prompt is too long.
///
/// # Errors
/// Where the template refuses the conversation.
pub fn example(learner: &Learner, recipe: &Recipe, parent: &str, delta: &str, id: String) -> Result<Option<Example>> {
    let Model { tokenizer, chat, .. } = &learner.model;
    let prompt = prompt::encode(tokenizer, chat.as_ref(), recipe.format, parent)?;
    let completion = completion(tokenizer, delta);
    Ok((prompt.len() <= LONGEST_PROMPT && completion.len() <= recipe.max_tokens).then_some(Example { id, prompt, completion }))
}

/// Schools the learner, from fresh moments. `watch` sees each step, and its error ends school.
///
/// # Errors
/// Where it diverges, and what `watch` gives.
pub fn school(
    learner: &mut Learner,
    recipe: &Recipe,
    plan: &School,
    siblings: &[Siblings],
    watch: &mut dyn FnMut(&Term, &Learner) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    learner.forget_moments();
    let rule = Rule { clip: recipe.clip, weight_decay: 0.0, of: "school", remedy: "--lr" };
    let reference = siblings.iter().map(|own| learner.log_p(&own.examples)).collect::<Result<Vec<_>>>()?;
    let steps = timetable(siblings, plan, recipe.seed);
    for (step, (which, chosen)) in steps.iter().enumerate() {
        let own = &siblings[*which];
        let examples: Vec<Example> = chosen.iter().map(|i| own.examples[*i].clone()).collect();
        let gain: Vec<f64> = chosen.iter().map(|i| own.gain[*i]).collect();
        let now = learner.log_p(&examples)?;
        let moved: Vec<f64> = now.iter().zip(chosen).map(|(now, i)| now - reference[*which][*i]).collect();
        let Objective { loss, weights } = objective(plan, &gain, &moved, own.noise.unwrap_or(plan.noise));
        let lr = plan.lr * ramp(plan.warmup_steps, step, steps.len());
        // Lessons that no warm-up has seen.
        let number = (1 << 32) + step as u64;
        let rehearsal = Rehearsal { size: plan.corpus, number, weight: plan.corpus_weight, dropout: "school dropout" };
        let done = rehearsal.step(learner, recipe, &rule, (&examples, &weights), (lr, step))?;
        if step + 1 == steps.len() {
            learner.check_after(&rule, &examples, step)?;
        }
        let term = Term {
            step: step + 1,
            of: steps.len(),
            family: own.family.clone(),
            siblings: chosen.len(),
            loss,
            moved: mean(&moved),
            corpus_loss: done.corpus_loss,
            gradient_norm: done.gradient_norm,
            lr,
            seconds: start.elapsed().as_secs_f64(),
        };
        watch(&term, learner)?;
    }
    Ok(())
}

/// Which siblings each step takes: in each epoch all, shuffled into steps of nearly equal size.
fn timetable(siblings: &[Siblings], plan: &School, run_seed: u64) -> Vec<(usize, Vec<usize>)> {
    let mut steps = Vec::new();
    for epoch in 0..plan.epochs as u64 {
        let mut rng = seed::rng(run_seed, "school", &[epoch]);
        let mut of_epoch = Vec::new();
        for (which, own) in siblings.iter().enumerate() {
            let mut order: Vec<usize> = (0..own.examples.len()).collect();
            order.shuffle(&mut rng);
            // One alone has nobody to be compared with.
            let parts = order.len().div_ceil(plan.siblings).min(order.len() / 2);
            let from = |part: usize| part * order.len() / parts;
            of_epoch.extend((0..parts).map(|part| (which, order[from(part)..from(part + 1)].to_vec())));
        }
        of_epoch.shuffle(&mut rng);
        steps.extend(of_epoch);
    }
    steps
}

/// The loss of siblings, and its derivatives by their negative log-likelihoods.
#[derive(Debug, PartialEq)]
struct Objective {
    loss: f64,
    weights: Vec<f64>,
}

fn objective(plan: &School, gain: &[f64], moved: &[f64], noise: f64) -> Objective {
    match plan.worth {
        Worth::Pairs => pairs(plan.beta, gain, moved, noise),
        Worth::Advantage => {
            let center = mean(gain);
            praise(plan.beta, &gain.iter().map(|g| g - center).collect::<Vec<_>>(), gain, moved, noise)
        }
        Worth::Tail => {
            let (best, spread) = (gain.iter().copied().fold(f64::NEG_INFINITY, f64::max), variance(gain).sqrt());
            let odds: Vec<f64> = gain.iter().map(|g| if spread > 0.0 { (2.0 * (g - best) / spread).exp() } else { 1.0 }).collect();
            let each = gain.len() as f64 / odds.iter().sum::<f64>();
            // In the unit of gains, as `praise` divides by their spread.
            praise(plan.beta, &odds.iter().map(|odds| spread * (each * odds - 1.0)).collect::<Vec<_>>(), gain, moved, noise)
        }
    }
}

fn pairs(beta: f64, gain: &[f64], moved: &[f64], noise: f64) -> Objective {
    let normal = standard_normal();
    let (mut loss, mut weights, mut total) = (0.0, vec![0.0; gain.len()], 0.0);
    for (i, better) in gain.iter().enumerate() {
        for (j, worse) in gain.iter().enumerate().filter(|(_, worse)| better > *worse) {
            let sure = if noise > 0.0 { 2.0 * normal.cdf((better - worse) / (2f64.sqrt() * noise)) - 1.0 } else { 1.0 };
            let margin = beta * (moved[i] - moved[j]);
            loss += sure * softplus(-margin);
            let pull = sure * beta * sigmoid(-margin);
            weights[i] += pull;
            weights[j] -= pull;
            total += sure;
        }
    }
    if total > 0.0 {
        loss /= total;
        for weight in &mut weights {
            *weight /= total;
        }
    }
    Objective { loss, weights }
}

fn praise(beta: f64, advantage: &[f64], gain: &[f64], moved: &[f64], noise: f64) -> Objective {
    let (n, spread) = (gain.len() as f64, variance(gain));
    let reliability = if spread > 0.0 { (1.0 - noise * noise / spread).max(0.0) } else { 0.0 };
    let (mut loss, mut weights) = (0.0, Vec::with_capacity(gain.len()));
    for (advantage, moved) in advantage.iter().zip(moved) {
        let a = if spread > 0.0 { reliability * advantage / spread.sqrt() } else { 0.0 };
        let margin = beta * a.signum() * moved;
        loss += a.abs() * softplus(-margin) / n;
        weights.push(a * beta * sigmoid(-margin) / n);
    }
    Objective { loss, weights }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORTHS: [Worth; 3] = [Worth::Pairs, Worth::Advantage, Worth::Tail];
    const GAIN: [f64; 5] = [0.02, -0.05, 0.01, 0.04, -0.05];
    const MOVED: [f64; 5] = [0.3, -0.8, 1.4, -0.2, 0.5];

    fn plan(worth: Worth) -> School {
        School { worth, ..School::default() }
    }

    #[test]
    fn weights_are_the_derivatives_by_the_negative_log_likelihoods() {
        for worth in WORTHS {
            let found = objective(&plan(worth), &GAIN, &MOVED, 0.015);
            for i in 0..GAIN.len() {
                let at = |by: f64| {
                    let mut moved = MOVED;
                    moved[i] -= by;
                    objective(&plan(worth), &GAIN, &moved, 0.015).loss
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((numeric - found.weights[i]).abs() < 1e-9, "{worth:?} {i}: {numeric} for {}", found.weights[i]);
            }
        }
    }

    #[test]
    fn the_better_is_praised_and_noise_silences() {
        for worth in WORTHS {
            let found = objective(&plan(worth), &GAIN, &[0.0; 5], 0.015).weights;
            assert!(found[3] > 0.0 && found[1] < 0.0 && found[3] > found[2], "{worth:?}: {found:?}");
            assert!((found[1] - found[4]).abs() < 1e-12, "equals weigh the same");
            // What is known to be noise teaches nothing; of pairs the sum is scaled to what is sure.
            let loud = objective(&plan(worth), &GAIN, &[0.0; 5], 10.0).weights;
            assert!(worth == Worth::Pairs || loud.iter().all(|weight| *weight == 0.0), "{worth:?}: {loud:?}");
            let equal = objective(&plan(worth), &[0.1; 4], &[0.0; 4], 0.015);
            assert!(equal.loss == 0.0 && equal.weights.iter().all(|weight| *weight == 0.0), "{worth:?}: {equal:?}");
        }
        // What is far down already is not pushed any further.
        let far = objective(&plan(Worth::Advantage), &GAIN, &[0.0, -100.0, 0.0, 0.0, 0.0], 0.015).weights;
        assert!(far[1].abs() < 1e-9 && far[4] < -0.01);
    }

    #[test]
    fn every_delta_has_its_turn_in_each_epoch_beside_siblings() {
        let of = |n: usize| Siblings {
            family: "a".into(),
            dataset: "d".into(),
            examples: (0..n).map(|i| Example { id: i.to_string(), prompt: vec![1], completion: vec![2] }).collect(),
            gain: vec![0.0; n],
            noise: None,
        };
        let siblings = [of(50), of(1), of(25), of(3)];
        let plan = School { epochs: 2, siblings: 24, ..School::default() };
        let steps = timetable(&siblings, &plan, 7);
        assert_eq!(steps.len(), 2 * (3 + 2 + 1));
        assert!(steps.iter().all(|(_, chosen)| (2..=24).contains(&chosen.len())));
        for (which, times) in [(0, 100), (1, 0), (2, 50), (3, 6)] {
            assert_eq!(steps.iter().filter(|(own, _)| *own == which).map(|(_, chosen)| chosen.len()).sum::<usize>(), times);
        }
        assert_eq!(steps, timetable(&siblings, &plan, 7));
        assert_ne!(steps, timetable(&siblings, &plan, 8));
    }
}
