//! What a proxy training ends in: an outcome or the reason why there is none.

use serde::{Deserialize, Serialize};

use super::estimate::Estimates;

/// A training that went through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Share of the validation images that the network of the last epoch gets right: the quality.
    pub accuracy: f64,
    pub(crate) valid_loss: f64,
    /// One entry an epoch.
    pub curve: Vec<Epoch>,
    /// Of the fresh parameters.
    pub(crate) estimates: Estimates,
    /// Trained images in a second of the steps, validation left out.
    pub images_per_second: f64,
    /// By the clock: estimates, steps and validation.
    pub seconds: f64,
}

impl Outcome {
    /// The same without what differs from machine to machine.
    #[must_use]
    pub fn without_timings(&self) -> Self {
        Self { images_per_second: 0.0, seconds: 0.0, ..self.clone() }
    }
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean over the epoch's steps, each before its update; with label smoothing.
    pub train_loss: f64,
    /// Share of the images that the steps got right, before their updates.
    pub train_accuracy: f64,
    /// Mean over the validation images after the epoch; without label smoothing.
    pub valid_loss: f64,
    /// Share of them that are right; of a set of uneven classes the mean of the classes' shares.
    pub valid_accuracy: f64,
}

/// Why a training gave no quality. Stored with the candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The loss or the norm of the gradients is no finite number.
    #[error("the loss was no longer a number at step {step}")]
    Diverged {
        /// Steps before it.
        step: usize,
    },
    /// The worker's limit on processor time ended it.
    #[error("not done after {seconds} s of processor time")]
    CpuTime {
        /// That limit: `proxy.cpu_seconds`.
        seconds: u64,
    },
    /// It took more memory than the worker or the card has for it.
    #[error("out of memory")]
    Memory,
    /// A part of the network that no training can take.
    #[error("{op} cannot be trained")]
    Unsupported {
        /// What it is, in words.
        op: String,
    },
    /// An operation failed or panicked, or a signal ended the worker.
    #[error("{message}")]
    Crash {
        /// What was said of it.
        message: String,
    },
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
