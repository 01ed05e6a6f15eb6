//! What a proxy training ends in: an outcome or the reason why there is none.

use serde::{Deserialize, Serialize};

use super::estimate::Estimates;

/// A training that went through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Share of the validation images that the network of the last epoch gets right: the quality.
    pub accuracy: f64,
    pub valid_loss: f64,
    pub curve: Vec<Epoch>,
    /// Of the fresh parameters.
    pub estimates: Estimates,
    pub images_per_second: f64,
    pub seconds: f64,
}

impl Outcome {
    /// The same without what differs from machine to machine.
    #[must_use]
    pub fn without_timings(&self) -> Self {
        Self { images_per_second: 0.0, seconds: 0.0, ..self.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub valid_loss: f64,
    pub valid_accuracy: f64,
}

/// Why a training gave no quality. Stored with the candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    #[error("the loss was no longer a number at step {step}")]
    Diverged { step: usize },
    #[error("not done after {seconds} s of processor time")]
    CpuTime { seconds: u64 },
    #[error("out of memory")]
    Memory,
    #[error("{op} cannot be trained")]
    Unsupported { op: String },
    #[error("{message}")]
    Crash { message: String },
}

impl From<candle_core::Error> for Failure {
    fn from(error: candle_core::Error) -> Self {
        // The first line: what follows may be a backtrace.
        let text = error.to_string();
        if crate::base::card_errors::is_out_of_memory(&text) {
            return Self::Memory;
        }
        Self::Crash { message: text.lines().next().unwrap_or("tensor computation failed").to_string() }
    }
}
