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
    pub id: NetworkId,
    pub source: String,
    pub graph: crate::tracer::graph::Graph,
    pub graph_hash: String,
    pub signature: Vec<u64>,
    pub parameters: u64,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// Activations of one image kept for the backward pass.
    pub activation_bytes: u64,
}

/// One sample of the policy: what was asked and answered, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub cycle: u64,
    pub index: u64,
    pub parent: NetworkId,
    pub prompt_hash: String,
    /// What the policy wrote, without the end token; of an LLM not always UTF-8.
    pub completion: Vec<u8>,
    pub tokens: Vec<u32>,
    /// None where no LLM proposed.
    pub log_p: Option<f64>,
    pub log_q: Option<f64>,
    /// Whether the completion ended by itself (end token) and not at the length limit.
    pub ended: bool,
    /// None until it is screened.
    pub screened: Option<Screened>,
}

/// What the screen found of a candidate, and then its training.
#[derive(Clone, Debug, PartialEq)]
pub struct Screened {
    pub stage: Stage,
    /// Why it got no further: a short kind, the same for all candidates that fail alike; `detail` has the particulars.
    pub reason: Option<String>,
    pub detail: Option<String>,
    /// The line of `source` that the tracer names, from 1.
    pub line: Option<u32>,
    /// Where the delta applied.
    pub source: Option<String>,
    /// The most similar network accepted before, and its exact similarity.
    pub nearest: Option<NetworkId>,
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
    pub fn at(stage: Stage) -> Self {
        Self { stage, reason: None, detail: None, line: None, source: None, nearest: None, jaccard: None, parent_jaccard: None }
    }
}

/// Which tokens of a candidate's completion are valid: see [`crate::method::labels`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRow {
    pub cycle: u64,
    pub index: u64,
    pub prompt_tokens: u64,
    /// One a token.
    pub valid: Vec<bool>,
}

/// One training of one network with one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    pub network: NetworkId,
    pub seed_index: u64,
    pub seed: u64,
    /// Trained again to measure the noise of the quality, not part of it.
    pub repeat: bool,
    /// On the validation split; None where it failed.
    pub accuracy: Option<f64>,
    /// JSON, one entry an epoch; halving may have ended it before the last of the recipe.
    pub curve: String,
    pub failure: Option<String>,
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

#[derive(Clone, Debug, PartialEq)]
pub struct EliteRow {
    pub cycle: u64,
    pub network: NetworkId,
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
    pub before: f64,
    pub after: f64,
    pub held_out_before: Option<f64>,
    pub held_out_after: Option<f64>,
    pub steps: Vec<TuningStep>,
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
    pub fn is_rolled_back(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.action == GateAction::RolledBack)
    }
}

/// How far an update went, and what it changed of all that the cycle sampled: [`crate::theory::change`] has the formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub ending: Ending,
    /// Steps that were taken back.
    pub refused: usize,
    /// What no policy's loss on the tuned examples gets below, in the unit of the losses.
    pub floor: f64,
    /// Of the cross-entropy update; None where nothing was left to realise.
    pub share: Option<f64>,
    /// KL(p' || p) in nats, and the samples that the estimate is worth; None where it is infinite.
    pub kl: Option<f64>,
    pub effective_samples: f64,
    /// The change of the mean quality by Price's equation, from the samples that were tuned on and from all others; None of fewer than
    /// two that have a quality.
    pub memorised: Option<f64>,
    pub generalised: Option<f64>,
    /// Every sample of the cycle.
    pub samples: Vec<Rescored>,
}

/// `log p` of a sample before and after an update, under the words that the policy may say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rescored {
    pub network: NetworkId,
    pub before: f64,
    pub after: f64,
}

impl Tuning {
    /// The manifest, for a run without one by the elites of its cycle.
    pub fn manifest(&self, elites: &[EliteRow], cycle: u64) -> Vec<TunedOn> {
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
    pub network: NetworkId,
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateRecord {
    pub forecast: Forecast,
    pub action: GateAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateAction {
    Adopted,
    /// Adopted all the same.
    Warned,
    RolledBack,
}

impl GateAction {
    pub const fn past(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Warned => "adopted with a warning",
            Self::RolledBack => "rolled back",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningStep {
    pub loss: f64,
    pub gradient_norm: f64,
    pub lr: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CycleRow {
    pub cycle: u64,
    pub gamma: Option<f64>,
    pub adapter_hash: String,
    pub tuning: Option<Tuning>,
}
