//! The child side of a training process: jobs as JSON lines on stdin, epochs and results as JSON lines on stdout.

use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dataset::Split;
use super::train::Training;
use super::{Epoch, Failure, Outcome, state};
use crate::config::ProxyConfig;
use crate::error::{Error, Result};
use crate::network::graph::Graph;
use crate::printer;

/// The first line a worker reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// What [`Split::save`] wrote.
    pub split: PathBuf,
    pub config: ProxyConfig,
}

/// Each line after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    pub graph: Graph,
    pub seed: u64,
    /// Where the trained state dict goes (safetensors).
    pub weights: Option<PathBuf>,
    /// Epochs to stop after; None is all of the recipe.
    pub until: Option<usize>,
    /// Where a training that stops before the end of the recipe leaves its state, and where one that left it goes on from.
    pub state: Option<PathBuf>,
}

impl Job {
    /// A whole training, of which nothing is kept but the outcome.
    pub fn new(id: u64, graph: Graph, seed: u64) -> Self {
        Self { id, graph, seed, weights: None, until: None, state: None }
    }
}

/// A line that a worker writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Epoch { id: u64, epoch: Epoch },
    Done { id: u64, outcome: Outcome },
    Failed { id: u64, failure: Failure },
}

/// Serves jobs until stdin ends, on the processor under a limit on the address space.
///
/// # Errors
/// The setup is not readable. A job that fails is a reply, not an error.
pub fn serve(input: impl BufRead) -> Result<()> {
    let mut lines = input.lines();
    let first = lines.next().ok_or_else(|| Error::machine("a worker was given no setup"))??;
    let setup: Setup = serde_json::from_str(&first)?;
    // A card's driver reserves far more addresses than it uses; what a candidate takes is the card's memory, and that has an end.
    if !setup.config.device.is_card() {
        limit_memory(setup.config.memory_mib)?;
    }
    let split = Split::load(&setup.split)?;
    // The reply carries the message; the default hook would print it a second time.
    std::panic::set_hook(Box::new(|_| {}));
    for line in lines {
        let job: Job = serde_json::from_str(&line?)?;
        let reply = match catch_unwind(AssertUnwindSafe(|| work(&job, &split, &setup.config))) {
            Ok(Ok(outcome)) => Reply::Done { id: job.id, outcome },
            Ok(Err(failure)) => Reply::Failed { id: job.id, failure },
            Err(panic) => Reply::Failed { id: job.id, failure: Failure::Crash { message: message(panic.as_ref()) } },
        };
        send(&reply)?;
    }
    Ok(())
}

fn work(job: &Job, split: &Split, config: &ProxyConfig) -> Result<Outcome, Failure> {
    let deadline = Duration::try_from_secs_f64(config.deadline_seconds).unwrap_or(Duration::MAX);
    let report = |epoch: &Epoch| {
        // A parent that is gone is noticed at the reply.
        let _ = send(&Reply::Epoch { id: job.id, epoch: epoch.clone() });
    };
    let kept = match &job.state {
        // What cannot be read is trained again.
        Some(path) => state::restore(path, &job.graph, split, config, job.seed).unwrap_or_default(),
        None => None,
    };
    let mut training = match kept {
        Some(training) => training,
        None => Training::start(&job.graph, split, config, job.seed)?,
    };
    let until = job.until.map_or(config.epochs, |epochs| epochs.min(config.epochs));
    training.until(until, deadline, report)?;
    if let Some(path) = job.state.as_ref().filter(|_| until < config.epochs) {
        // Without it the training begins anew when it is to go on, and comes to the same.
        let _ = training.save(job.seed, path);
    }
    if let Some(path) = &job.weights {
        training.network.save(path).map_err(|error| Failure::Crash { message: error.to_string() })?;
    }
    training.outcome()
}

fn send(reply: &Reply) -> Result<()> {
    printer::data(serde_json::to_string(reply)?);
    Ok(())
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the training panicked").to_string()
}

fn limit_memory(mib: u64) -> Result<()> {
    let bytes = mib.saturating_mul(1 << 20);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: `limit` is a valid structure for the whole call.
    if unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) } == 0 {
        return Ok(());
    }
    Err(Error::machine(format!("cannot limit a worker to {mib} MiB")).caused_by(std::io::Error::last_os_error()))
}
