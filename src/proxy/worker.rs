//! The child side of a training process: jobs as JSON lines on stdin, epochs and results as JSON lines on stdout.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dataset::Split;
use super::train::Training;
use super::{Epoch, Failure, Outcome, state};
use crate::base::child;
use crate::base::confine::confine;
use crate::base::error::{Error, Result};
use crate::proxy::settings::ProxyConfig;
use crate::tracer::graph::Graph;

/// The first line a worker reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// What [`Split::save`] wrote.
    pub split: PathBuf,
    /// SHA-256 that these images must have; None where they are the parent's own.
    #[serde(default)]
    pub hash: Option<String>,
    /// The recipe, the device and the limits.
    pub config: ProxyConfig,
    /// Folders that jobs name files in; nothing else may be opened once the images are read.
    #[serde(default)]
    pub writes: Vec<PathBuf>,
}

/// Each line after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The caller's own, in every event of this job.
    pub id: u64,
    /// What is trained.
    pub graph: Graph,
    /// What parameters, order, augmentation and dropout are drawn from.
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
pub(crate) enum Reply {
    /// The limit on memory is below what the program takes before its first job.
    NoRoom,
    /// What comes after it is the job's doing.
    Ready,
    Epoch {
        id: u64,
        epoch: Epoch,
    },
    Done {
        id: u64,
        outcome: Outcome,
    },
    Failed {
        id: u64,
        failure: Failure,
    },
}

/// Serves jobs until stdin ends, on the processor under a limit on the address space.
///
/// # Errors
/// Something is wrong with the machine or the setup, so no job is to blame. A job that fails is a reply, not an error.
pub fn serve(input: impl BufRead) -> Result<()> {
    let mut lines = input.lines();
    let first = lines.next().ok_or_else(|| Error::machine("a worker was given no setup"))??;
    let setup: Setup = serde_json::from_str(&first)?;
    let split = Split::load(&setup.split)?;
    if setup.hash.as_ref().is_some_and(|hash| *hash != split.hash()) {
        return Err(Error::machine(format!("{}: not the images that the trainings are of", setup.split.display())));
    }
    let taken = child::address_counter();
    // Before there are threads. A card's driver opens what it needs when it needs it.
    if !setup.config.device.is_card() {
        let writes: Vec<&Path> = setup.writes.iter().map(PathBuf::as_path).collect();
        confine(&writes).map_err(|e| Error::machine("a worker cannot be confined").caused_by(e))?;
    }
    // Not by the first job that computes: that the machine has no thread left would be its failure.
    let threads = rayon::ThreadPoolBuilder::new().build_global();
    threads.map_err(|e| Error::machine("the thread of a worker cannot be started").caused_by(e))?;
    setup.config.device.open()?;
    // A card's driver reserves far more addresses than it uses; what a candidate takes is the card's memory, and that has an end.
    if !setup.config.device.is_card() && !limit_memory(setup.config.memory_mib, taken)? {
        return send(&Reply::NoRoom);
    }
    // The reply carries the message; the default hook would print it a second time.
    std::panic::set_hook(Box::new(|_| {}));
    send(&Reply::Ready)?;
    for line in lines {
        let job: Job = serde_json::from_str(&line?)?;
        limit_processor_time(setup.config.cpu_seconds)?;
        let reply = match catch_unwind(AssertUnwindSafe(|| work(&job, &split, &setup.config))) {
            Ok(done) => match done? {
                Ok(outcome) => Reply::Done { id: job.id, outcome },
                Err(failure) => Reply::Failed { id: job.id, failure },
            },
            Err(panic) => Reply::Failed { id: job.id, failure: Failure::Crash { message: message(panic.as_ref()) } },
        };
        send(&reply)?;
    }
    Ok(())
}

/// What came of the training.
///
/// # Errors
/// Nothing did, for the machine's sake.
fn work(job: &Job, split: &Split, config: &ProxyConfig) -> Result<Result<Outcome, Failure>> {
    let report = |epoch: &Epoch| {
        // A parent that is gone is noticed at the reply.
        let _ = send(&Reply::Epoch { id: job.id, epoch: epoch.clone() });
    };
    let kept = match &job.state {
        // What cannot be read is trained again.
        Some(path) => state::restore(path, &job.graph, split, config, job.seed).unwrap_or_default(),
        None => None,
    };
    let begun = match kept {
        Some(training) => Ok(training),
        None => Training::start(&job.graph, split, config, job.seed),
    };
    let mut training = match begun {
        Ok(training) => training,
        Err(failure) => return Ok(Err(failure)),
    };
    let until = job.until.map_or(config.epochs, |epochs| epochs.min(config.epochs));
    if let Err(failure) = training.until(until, report) {
        return Ok(Err(failure));
    }
    if let Some(path) = job.state.as_ref().filter(|_| until < config.epochs) {
        // Without it the training begins anew when it is to go on, and comes to the same.
        let _ = training.save(job.seed, path);
    }
    if let Some(path) = &job.weights {
        training.network.save(path)?;
    }
    Ok(training.outcome())
}

/// # Errors
/// The parent is gone.
fn send(reply: &Reply) -> Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    Ok(stdout.flush()?)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the training panicked").to_string()
}

/// Whether there is room below the limit. An allocator that has reserved addresses serves small jobs out of them under any limit.
fn limit_memory(mib: u64, taken: impl Fn() -> Option<u64>) -> Result<bool> {
    let bytes = mib.saturating_mul(1 << 20);
    let limited = child::limit(libc::RLIMIT_AS, bytes, Some(bytes));
    limited.map_err(|e| Error::machine(format!("cannot limit a worker to {mib} MiB")).caused_by(e))?;
    Ok(taken().is_none_or(|taken| taken < bytes))
}

/// Gives the next job so many seconds of this process's time on processors; 0 is no limit.
fn limit_processor_time(seconds: u64) -> Result<()> {
    if seconds == 0 {
        return Ok(());
    }
    // The system counts whole seconds since the process began.
    let soft = child::own_processor_time()?.as_secs().saturating_add(1).saturating_add(seconds);
    let limited = child::limit(libc::RLIMIT_CPU, soft, None);
    limited.map_err(|e| Error::machine(format!("cannot limit a training to {seconds} s of processor time")).caused_by(e))
}
