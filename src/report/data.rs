//! All that a report shows, as plain data. Who fills it reads the store; who draws it reads nothing else.

use serde::{Deserialize, Serialize};

use crate::config::Policy;
use crate::gates::{Gate, Stage};
use crate::record::Funnel;
use crate::theory::Panel;
use crate::theory::early::Correlation;

/// A run or an audit as its report shows it; of an audit, what only a run has is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Name of the run folder.
    pub name: String,
    /// Of the program that began it.
    pub program_version: String,
    /// When it began, as text; empty where unknown.
    pub started: String,
    /// When it finished, as text; empty where it has not.
    pub finished: String,
    /// What proposed.
    pub policy: Policy,
    /// The name of the LLM; `none` without one.
    pub model: String,
    /// The images that networks are trained on; of an audit its table.
    pub dataset: String,
    /// `run.toml`.
    pub settings: String,
    /// Hashes of models, data sets and adapters, the machine, the thread count: (what, value).
    pub provenance: Vec<(String, String)>,
    /// The networks that the run started from.
    pub start: Vec<StartNetwork>,
    /// In order, from 1. A cycle that is not closed yet is left out.
    pub cycles: Vec<Cycle>,
    /// All candidates of these cycles, valid or not.
    pub candidates: Vec<Candidate>,
    /// The candidate of the highest quality; None where none has one.
    pub best: Option<Best>,
    /// From the start network (first) to the best network (last).
    pub lineage: Vec<Ancestor>,
    /// How scores that are known early rank the networks.
    pub early: Vec<Correlation>,
    /// One panel a claim that the records speak to, by number.
    pub theory: Vec<Panel>,
}

/// A network that a run starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StartNetwork {
    /// Without the `start/` of its full name.
    pub name: String,
    /// Proxy accuracy from 0 to 1; None where it is not known.
    pub quality: Option<f64>,
}

/// A closed cycle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// From 1.
    pub cycle: u64,
    /// How many of its candidates got how far.
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

/// A reason for which candidates of a cycle ended, and how often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The gate that was not passed.
    pub gate: Gate,
    /// What the gate had against them.
    pub reason: String,
    /// Candidates of the cycle that ended so.
    pub count: u64,
}

/// One candidate and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// From 1.
    pub cycle: u64,
    /// Its place in the cycle, from 0.
    pub index: u64,
    /// `start/NAME` or `cycle/index`; of an audit the parent cell, empty of a whole cell.
    pub parent: String,
    /// The last gate it passed.
    pub stage: Stage,
    /// Why it got no further; empty where it got to the end. One that halving dropped is trained and has a reason.
    pub reason: String,
    /// Proxy accuracy from 0 to 1.
    pub quality: Option<f64>,
    /// Whether it is an elite of its cycle.
    pub elite: bool,
    /// An elite kept out of tuning.
    pub held_out: bool,
    /// Exact similarity to the nearest network accepted before, from 0 to 1; None where it was not compared.
    pub nearest_jaccard: Option<f64>,
    /// Exact similarity to the parent, from 0 to 1; None where it was not compared.
    pub parent_jaccard: Option<f64>,
    /// Trained elements of its state dict; None of what is no network, and of an audit.
    pub parameters: Option<u64>,
    /// Multiply-accumulates of one image's forward pass; None as for `parameters`.
    pub macs: Option<u64>,
}

/// Losses are the mean over elites of the summed negative log-likelihood of the completion, in nats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Examples that were trained on, without those held out.
    pub examples: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Of the examples trained on, before the first step.
    pub loss_before: f64,
    /// The same after the last step.
    pub loss_after: f64,
    /// Of the held-out elites, before the first step; None where none were held out.
    pub held_out_before: Option<f64>,
    /// The same after the last step.
    pub held_out_after: Option<f64>,
    /// -mean log p of the trained elites as logged when they were sampled; `loss_before` should equal it.
    pub logged_loss: Option<f64>,
}

/// The network of the highest quality.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The cycle that proposed it, from 1.
    pub cycle: u64,
    /// Its place in the cycle, from 0.
    pub index: u64,
    /// Mean proxy accuracy over the seeds, from 0 to 1; of an audit as it was queried.
    pub quality: f64,
    /// Proxy accuracy of each training seed, from 0 to 1; of an audit the one queried.
    pub quality_per_seed: Vec<f64>,
    /// Trained elements of its state dict; 0 of an audit.
    pub parameters: u64,
    /// Multiply-accumulates of one image's forward pass; 0 of an audit.
    pub macs: u64,
    /// Its source; of an audit the text of the cell.
    pub source: String,
    /// `start/NAME` or `cycle/index`; empty of an audit.
    pub parent: String,
    /// The parent's source; empty of an audit.
    pub parent_source: String,
    /// The start network it descends from.
    pub start: String,
    /// The source of that start network; empty of an audit.
    pub start_source: String,
    /// Of its proxy training, one entry an epoch (of the first seed).
    pub curve: Vec<Epoch>,
}

/// One epoch of a proxy training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u64,
    /// Mean of the losses of its steps, in nats.
    pub train_loss: f64,
    /// After the epoch, from 0 to 1.
    pub valid_accuracy: f64,
}

/// A network on the way from a start network to the best one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ancestor {
    /// `start/NAME` or `cycle/index`.
    pub name: String,
    /// Proxy accuracy from 0 to 1; None where it is not known.
    pub quality: Option<f64>,
    /// Its whole source.
    pub source: String,
    /// What the policy wrote to make it out of the one before; empty for the start network.
    pub completion: String,
}
