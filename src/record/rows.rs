//! The rows of the store as plain data.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::NetworkId;
use crate::base::error::Result;
use crate::decoder::lora::tune::Ending;
use crate::gates::Stage;
use crate::proxy::Epoch;
use crate::theory::gate::Forecast;

/// A traced network: a start network or a candidate that got that far.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkRow {
    /// What other rows call it.
    pub id: NetworkId,
    /// The Python source that was traced.
    pub source: String,
    /// What the source computes.
    pub graph: crate::tracer::graph::Graph,
    /// SHA-256 of the canonical form: equal networks have the same.
    pub graph_hash: String,
    /// MinHash of its shingles; the length is the number of hash functions.
    pub signature: Vec<u64>,
    /// Trained elements.
    pub parameters: u64,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// Activations of one image kept for the backward pass.
    pub activation_bytes: u64,
}

/// One sample of the policy: what was asked and answered, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// From 1.
    pub cycle: u64,
    /// Among the samples of its cycle, from 0.
    pub index: u64,
    /// What the policy was shown.
    pub parent: NetworkId,
    /// SHA-256 of the prompt's token ids, in hexadecimal; empty where no LLM proposed.
    pub prompt_hash: String,
    /// What the policy wrote, without the end token; of an LLM not always UTF-8.
    pub completion: Vec<u8>,
    /// Of the completion, the end token included where it came; empty where no LLM proposed.
    pub tokens: Vec<u32>,
    /// Log-probability of the completion under the model, in nats; None where no LLM proposed.
    pub log_p: Option<f64>,
    /// The same under the distribution it was drawn from.
    pub log_q: Option<f64>,
    /// Whether the completion ended by itself (end token) and not at the length limit.
    pub ended: bool,
    /// None until it is screened.
    pub screened: Option<Screened>,
}

/// What the screen found of a candidate, and then its training.
#[derive(Clone, Debug, PartialEq)]
pub struct Screened {
    /// The last gate it passed.
    pub stage: Stage,
    /// Why it got no further: a short kind, the same for all candidates that fail alike; `detail` has the particulars.
    pub reason: Option<String>,
    /// The same with its particulars, for people; of one that is trained, that halving dropped it.
    pub detail: Option<String>,
    /// The line of `source` that the tracer names, from 1.
    pub line: Option<u32>,
    /// Where the delta applied.
    pub source: Option<String>,
    /// The most similar network accepted before; None where none was compared.
    pub nearest: Option<NetworkId>,
    /// Its exact similarity, from 0 to 1.
    pub jaccard: Option<f64>,
    /// Exact similarity to the parent.
    pub parent_jaccard: Option<f64>,
}

impl Candidate {
    /// As a policy other than an LLM proposes it, not screened yet.
    pub fn new(cycle: u64, index: u64, parent: NetworkId, completion: impl Into<Vec<u8>>) -> Self {
        Self {
            cycle,
            index,
            parent,
            prompt_hash: String::new(),
            completion: completion.into(),
            tokens: Vec::new(),
            log_p: None,
            log_q: None,
            ended: true,
            screened: None,
        }
    }

    /// What its network is called.
    pub fn id(&self) -> NetworkId {
        NetworkId::Candidate { cycle: self.cycle, index: self.index }
    }

    /// None until it is screened.
    pub fn stage(&self) -> Option<Stage> {
        self.screened.as_ref().map(|s| s.stage)
    }

    /// The completion as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.completion)
    }
}

impl Screened {
    /// Nothing but how far it got.
    #[cfg(test)]
    pub(crate) fn at(stage: Stage) -> Self {
        Self { stage, reason: None, detail: None, line: None, source: None, nearest: None, jaccard: None, parent_jaccard: None }
    }
}

/// Which tokens of a candidate's completion are valid: see [`crate::method::labels`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRow {
    /// The candidate's.
    pub cycle: u64,
    /// The candidate's.
    pub index: u64,
    /// Length of the prompt in tokens.
    pub prompt_tokens: u64,
    /// One a token.
    pub valid: Vec<bool>,
}

/// One training of one network with one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// What was trained.
    pub network: NetworkId,
    /// From 0; a repeat has the number after the last that the quality is of.
    pub seed_index: u64,
    /// What the training draws its random numbers from.
    pub seed: u64,
    /// Trained again to measure the noise of the quality, not part of it.
    pub repeat: bool,
    /// On the validation split; None where it failed.
    pub accuracy: Option<f64>,
    /// JSON, one entry an epoch; halving may have ended it before the last of the recipe.
    pub curve: String,
    /// Why it failed; None where it went through.
    pub failure: Option<String>,
    /// By the clock; 0 where it failed.
    pub seconds: f64,
    /// JSON of [`crate::proxy::estimate::Estimates`]; None where it failed.
    pub estimates: Option<String>,
}

impl Training {
    /// The epochs it went through.
    pub fn epochs(&self) -> Result<Vec<Epoch>> {
        Ok(serde_json::from_str(&self.curve)?)
    }
}

/// An elite of a cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct EliteRow {
    /// That it is an elite of.
    pub cycle: u64,
    /// May be of an earlier cycle where elites are cumulative.
    pub network: NetworkId,
    /// Its measured quality, whatever elites were chosen by.
    pub quality: f64,
    /// Kept out of tuning to see whether the update generalises.
    pub held_out: bool,
    /// SHA-256 over the tokens of prompt and completion: what was trained on.
    pub example_hash: String,
}

/// What the LoRA update of a cycle did. Losses are the CE objective: mean over elites of the summed negative log-likelihood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// `-(1/|E|) sum log p` as logged when the elites were sampled; None where an elite is of an earlier cycle.
    pub logged: Option<f64>,
    /// Of what was tuned on, before the update.
    pub before: f64,
    /// The same after the update and its smoothing.
    pub after: f64,
    /// Of what was held out, before the update; None where nothing was.
    pub held_out_before: Option<f64>,
    /// The same after the update.
    pub held_out_after: Option<f64>,
    /// Those that were not taken back, in order.
    pub steps: Vec<TuningStep>,
    /// How many were tuned on.
    pub examples: usize,
    /// Tokens that went through the decoder in all steps.
    pub tokens: usize,
    /// The manifest: what was trained on, and what was held out. Runs before there were controls of the tuning set have none; theirs
    /// is the elites.
    #[serde(default)]
    pub manifest: Vec<TunedOn>,
    /// What the gate found and did.
    #[serde(default)]
    pub gate: Option<GateRecord>,
    /// How far it went; None where nothing that was sampled could be scored.
    #[serde(default)]
    pub change: Option<Change>,
}

impl Tuning {
    /// Whether the gate took the update back.
    #[must_use]
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.action == GateAction::RolledBack)
    }
}

/// How far an update went, and what it changed of all that the cycle sampled: [`crate::theory::change`] has the formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What ended the steps.
    pub ending: Ending,
    /// Steps that were taken back.
    pub refused: usize,
    /// What no policy's loss on the tuned examples gets below, in the unit of the losses.
    pub floor: f64,
    /// Of the cross-entropy update; None where nothing was left to realise.
    pub share: Option<f64>,
    /// KL(p' || p) in nats, estimated; None where it is infinite.
    pub kl: Option<f64>,
    /// How many samples that estimate is worth.
    pub effective_samples: f64,
    /// The change of the mean quality by Price's equation, from the samples that were tuned on; None of fewer than two that have a quality.
    pub memorised: Option<f64>,
    /// The same from all other samples.
    pub generalised: Option<f64>,
    /// Every sample of the cycle.
    pub samples: Vec<Rescored>,
}

/// `log p` of a sample before and after an update, under the words that the policy may say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rescored {
    /// Which sample.
    pub network: NetworkId,
    /// In nats.
    pub before: f64,
    /// In nats.
    pub after: f64,
}

impl Tuning {
    /// The manifest, for a run without one by the elites of its cycle.
    pub(crate) fn manifest(&self, elites: &[EliteRow], cycle: u64) -> Vec<TunedOn> {
        if !self.manifest.is_empty() {
            return self.manifest.clone();
        }
        let own = elites.iter().filter(|e| e.cycle == cycle);
        let one =
            |e: &EliteRow| TunedOn { network: e.network.clone(), held_out: e.held_out, example_hash: e.example_hash.clone(), weight: 1.0 };
        own.map(one).collect()
    }
}

/// One example of an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedOn {
    /// Whose delta it is.
    pub network: NetworkId,
    /// Not tuned on: it shows whether the update generalises.
    pub held_out: bool,
    /// SHA-256 over the tokens of prompt and completion, taken from the very example that went into the decoder.
    pub example_hash: String,
    /// In the update, of any scale; 1 where all weigh the same.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// What the gate of an update found and did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateRecord {
    /// What the samples say of the policy after the update.
    pub forecast: Forecast,
    pub(crate) action: GateAction,
}

/// What became of an update at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateAction {
    /// No fall of the quality was found.
    Adopted,
    /// Adopted all the same.
    Warned,
    /// Taken back: the next cycle samples from the policy before it.
    RolledBack,
}

impl GateAction {
    pub(crate) const fn past(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Warned => "adopted with a warning",
            Self::RolledBack => "rolled back",
        }
    }
}

/// One optimiser step of an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningStep {
    /// Of the tuned examples, before the step.
    pub loss: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    /// What the step was made with.
    pub lr: f64,
}

/// A cycle that is closed.
#[derive(Clone, Debug, PartialEq)]
pub struct CycleRow {
    /// 0 is the start, before any update.
    pub cycle: u64,
    /// The threshold of its elites, in the score that they are chosen by; None where there is none.
    pub gamma: Option<f64>,
    /// Of the adapter that the next cycle samples from; `none` without an LLM.
    pub adapter_hash: String,
    /// None where nothing was tuned.
    pub tuning: Option<Tuning>,
}
