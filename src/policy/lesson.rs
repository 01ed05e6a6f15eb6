//! What an update is made of, and what it did.

use std::collections::HashSet;

use crate::base::error::Result;
use crate::decoder::lora::adamw::AdamW;
use crate::decoder::lora::divergence::Moved;
use crate::decoder::lora::tune::{Ending, Step};
use crate::decoder::model::pack::Example;
use crate::record::{Change, NetworkId, Rescored};
use crate::theory::change::{Weighed, price, share};

/// What an update changes.
pub struct Snapshot {
    pub(super) lora: Vec<Vec<f32>>,
    pub(super) optimizer: AdamW,
}

/// What an update is made of.
#[derive(Clone, Copy, Default)]
pub struct Lesson<'a> {
    /// What the loss is over.
    pub trained: &'a [Example],
    /// Of each trained example, of any scale; none is all the same.
    pub weights: &'a [f64],
    /// They only show whether the update generalises.
    pub held_out: &'a [Example],
    /// All that the cycle sampled, by the names of the candidates: scored before and after.
    pub sampled: &'a [Example],
    /// Of each sample, the log-probability that it was drawn with, in nats.
    pub log_q: &'a [f64],
}

/// What an update did.
pub struct Update {
    /// To take it back: see [`crate::policy::Learner::restore`].
    pub before: Snapshot,
    /// Of held-out examples the mean of the summed negative log-likelihood, in nats; None where there are none.
    pub held_out_before: Option<f64>,
    /// The same after the update.
    pub held_out_after: Option<f64>,
    /// Those that were not taken back.
    pub steps: Vec<Step>,
    /// That went through the decoder in all steps.
    pub(crate) tokens: u64,
    /// How far it went.
    pub measured: Measured,
}

/// How far an update went.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The objective over the examples, in nats, without dropout: that of the policy that sampled.
    pub loss_before: f64,
    /// The same after the update and its smoothing.
    pub loss_after: f64,
    /// What no policy's loss gets below.
    pub(crate) floor: f64,
    pub(crate) ending: Ending,
    /// Steps that were taken back.
    pub(crate) refused: usize,
    /// `log p` of each sample before, and the policy beside what it was; None of no samples.
    pub(crate) moved: Option<(Vec<f64>, Moved)>,
}

impl Measured {
    /// For the record; `quality` is that of a sample.
    ///
    /// # Errors
    /// Where a sample's name is no candidate's.
    pub fn change(&self, lesson: &Lesson, quality: impl Fn(&NetworkId) -> Option<f64>) -> Result<Option<Change>> {
        let Some((before, moved)) = &self.moved else { return Ok(None) };
        let counts = |(i, _): &(usize, &Example)| lesson.weights.get(*i).is_none_or(|weight| *weight > 0.0);
        let tuned: HashSet<(&[u32], &[u32])> =
            lesson.trained.iter().enumerate().filter(counts).map(|(_, e)| (&e.prompt[..], &e.completion[..])).collect();
        let (mut samples, mut weighed) = (Vec::new(), Vec::new());
        for (i, example) in lesson.sampled.iter().enumerate() {
            let network: NetworkId = example.id.parse()?;
            let (log_q, before, after) = (lesson.log_q[i], before[i], moved.log_p[i]);
            let tuned = tuned.contains(&(&example.prompt[..], &example.completion[..]));
            weighed.extend(quality(&network).map(|quality| Weighed { quality, log_q, before, after, tuned }));
            samples.push(Rescored { network, before, after });
        }
        let price = price(&weighed);
        Ok(Some(Change {
            ending: self.ending,
            refused: self.refused,
            floor: self.floor,
            share: share(self.loss_before, self.loss_after, self.floor),
            kl: moved.kl.is_finite().then_some(moved.kl),
            effective_samples: moved.effective_samples,
            memorised: price.map(|price| price.memorised),
            generalised: price.map(|price| price.generalised),
            samples,
        }))
    }
}
