//! An optimiser step on deltas that weigh what they are worth, beside a lesson of the corpus that keeps the rest of what the adapter knows.

use super::warmup::{Recipe, lesson};
use crate::base::error::Result;
use crate::base::seed;
use crate::decoder::lora::step::{Batch, Rule};
use crate::decoder::model::pack::Example;
use crate::policy::Learner;

/// The lesson beside the deltas of a step.
pub(super) struct Rehearsal {
    /// Deltas of the corpus; of none there is no lesson.
    pub(crate) size: usize,
    /// Which lesson: the same number is the same lesson.
    pub(crate) number: u64,
    /// What the mean over its tokens weighs in the loss.
    pub(crate) weight: f64,
    /// Names the stream of the dropout's seeds.
    pub(crate) dropout: &'static str,
}

pub(super) struct Done {
    /// Mean negative log-likelihood of a token of the lesson, before the step.
    pub(crate) corpus_loss: f64,
    pub(crate) gradient_norm: f64,
}

impl Rehearsal {
    /// One step with the loss `sum w_i nll(d_i) + weight * mean nll of the lesson's tokens`; `(lr, step)` are its learning rate and its
    /// place among the steps.
    pub(crate) fn step(
        &self,
        learner: &mut Learner,
        recipe: &Recipe,
        rule: &Rule,
        (deltas, weights): (&[Example], &[f64]),
        (lr, step): (f64, usize),
    ) -> Result<Done> {
        let corpus = if self.size == 0 { Vec::new() } else { lesson(learner, recipe, self.size, self.number)? };
        let predicted = corpus.iter().map(|example| example.completion.len()).sum::<usize>().max(1) as f64;
        let dropout = |kind: u64| move |part| seed::derive(recipe.seed, self.dropout, &[step as u64, kind, part]);
        let (of_deltas, of_corpus) = (dropout(0), dropout(1));
        let weighed: Vec<usize> = (0..deltas.len()).filter(|i| weights[*i] != 0.0).collect();
        let all: Vec<usize> = (0..corpus.len()).collect();
        let batches = [
            Batch { examples: deltas, chosen: &weighed, weight: &|i| weights[i], dropout_seed: &of_deltas },
            Batch { examples: &corpus, chosen: &all, weight: &|_| self.weight / predicted, dropout_seed: &of_corpus },
        ];
        let gradient = learner.step(rule, &batches, lr, step)?;
        Ok(Done { corpus_loss: gradient.nll[1] / predicted, gradient_norm: gradient.norm })
    }
}
