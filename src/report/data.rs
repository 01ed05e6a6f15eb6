//! All that a report shows, as plain data. Who fills it reads the store; who draws it reads nothing else.

use serde::{Deserialize, Serialize};

use crate::gates::{Gate, Stage};
use crate::record::Funnel;
use crate::theory::Panel;
use crate::theory::early::Correlation;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Name of the run folder.
    pub name: String,
    pub program_version: String,
    /// When the run began and when its last cycle closed, as text; empty where unknown.
    pub started: String,
    pub finished: String,
    /// `llm`, `frozen` or `random`, as in the settings.
    pub policy: String,
    pub model: String,
    pub dataset: String,
    /// `run.toml`.
    pub settings: String,
    /// Hashes of models, data sets and adapters, the machine, the thread count: (what, value).
    pub provenance: Vec<(String, String)>,
    /// The networks that the run started from.
    pub start: Vec<StartNetwork>,
    /// In order; cycle 0 first. A cycle that is not closed yet is left out.
    pub cycles: Vec<Cycle>,
    /// All candidates of these cycles, valid or not.
    pub candidates: Vec<Candidate>,
    pub best: Option<Best>,
    /// From the start network (first) to the best network (last).
    pub lineage: Vec<Ancestor>,
    /// How scores that are known early rank the networks.
    pub early: Vec<Correlation>,
    pub theory: Vec<Panel>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StartNetwork {
    pub name: String,
    pub quality: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    pub cycle: u64,
    pub funnel: Funnel,
    /// Why candidates ended before they were trained, or failed in training.
    pub reasons: Vec<Reason>,
    /// The elite threshold; None where elites are chosen by something else than quality.
    pub gamma: Option<f64>,
    /// None where the policy is not tuned.
    pub tuning: Option<Tuning>,
    /// (phase, wall seconds), in the order of the cycle.
    pub seconds: Vec<(String, f64)>,
    /// Of the main process.
    pub peak_memory_mib: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The gate that was not passed.
    pub gate: Gate,
    pub reason: String,
    pub count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub cycle: u64,
    pub index: u64,
    pub parent: String,
    /// The last gate it passed.
    pub stage: Stage,
    /// Why it got no further; empty for a trained one.
    pub reason: String,
    /// Proxy accuracy from 0 to 1.
    pub quality: Option<f64>,
    pub elite: bool,
    /// An elite kept out of tuning.
    pub held_out: bool,
    /// Exact similarity to the nearest network accepted before, and to the parent; where it was compared.
    pub nearest_jaccard: Option<f64>,
    pub parent_jaccard: Option<f64>,
    pub parameters: Option<u64>,
    pub macs: Option<u64>,
}

/// Losses are the mean over elites of the summed negative log-likelihood of the completion, in nats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    pub examples: u64,
    pub steps: u64,
    pub loss_before: f64,
    pub loss_after: f64,
    pub held_out_before: Option<f64>,
    pub held_out_after: Option<f64>,
    /// -mean log p of the trained elites as logged when they were sampled; `loss_before` should equal it.
    pub logged_loss: Option<f64>,
}

/// The network of the highest quality.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub cycle: u64,
    pub index: u64,
    pub quality: f64,
    pub quality_per_seed: Vec<f64>,
    pub parameters: u64,
    pub macs: u64,
    pub source: String,
    pub parent: String,
    pub parent_source: String,
    /// The start network it descends from.
    pub start: String,
    pub start_source: String,
    /// Of its proxy training, one entry an epoch (of the first seed).
    pub curve: Vec<Epoch>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u64,
    pub train_loss: f64,
    pub valid_accuracy: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ancestor {
    pub name: String,
    pub quality: Option<f64>,
    pub source: String,
    /// What the policy wrote to make it out of the one before; empty for the start network.
    pub completion: String,
}
