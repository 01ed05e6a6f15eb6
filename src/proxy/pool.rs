//! The parent side: processes of one thread each, which share a queue of jobs.
//!
//! A worker that crashes or passes its limits fails the one job it had; the next job gets a new process. One that the machine takes away
//! fails nothing: its job is done again. Results do not depend on the number of workers, only the order in which they come does.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::worker::{Job, Reply, Setup};
use super::{Epoch, Failure, Outcome, memory};
use crate::base::child::{self, Lost, Owned, TICK, Watch};
use crate::base::device;
use crate::base::error::{Error, Result};
use crate::base::files::parent;
use crate::tracer::graph::Graph;

const VERB: &str = "worker";

/// Starts worker processes for as long as there are jobs; none is left running after [`Pool::run`].
#[derive(Clone, Debug)]
pub struct Pool {
    /// The executable whose verb `worker` is started; usually the running one.
    pub program: PathBuf,
    /// What each worker is told first.
    pub setup: Setup,
}

/// What the pool tells while it works.
#[derive(Clone, Debug)]
pub enum Event {
    /// An epoch of a job has ended.
    Epoch {
        /// The job's.
        id: u64,
        /// What it came to.
        epoch: Epoch,
    },
    /// A job has ended.
    Done {
        /// The job's.
        id: u64,
        /// What came of it.
        result: Result<Outcome, Failure>,
        /// The kind of processor that it was done on, where that is not this one's.
        elsewhere: Option<String>,
    },
}

impl Pool {
    /// A pool whose workers are the running program.
    ///
    /// # Errors
    /// The path of the running program is not known.
    pub(crate) fn new(setup: Setup) -> Result<Self> {
        Ok(Self { program: child::executable()?, setup })
    }

    /// Trains all jobs; `on_event` runs on the calling thread. With `abort` set the workers are ended and the jobs that
    /// are left get no event.
    ///
    /// # Errors
    /// The machine has no worker, or takes it away from the same job twice. Jobs that are left get no event.
    pub fn run(&self, jobs: Vec<Job>, abort: &AtomicBool, mut on_event: impl FnMut(Event)) -> Result<()> {
        if !self.setup.config.device.is_card() {
            return self.round(jobs, self.setup.config.workers, abort, &mut on_event);
        }
        // Workers share the card's memory, so a training may fail for what another one takes. It is tried again by itself, and the results
        // do not depend on the number of workers.
        let together = self.together(&jobs)?;
        let mut full = Vec::new();
        self.round(jobs.clone(), together, abort, |event| match event {
            Event::Done { id, result: Err(Failure::Memory), .. } if together > 1 => full.push(id),
            event => on_event(event),
        })?;
        let again = jobs.into_iter().filter(|job| full.contains(&job.id)).collect();
        self.round(again, 1, abort, &mut on_event)
    }

    /// Trains `smallest` for an epoch: what has no room for it has none for any network.
    ///
    /// # Errors
    /// `proxy.memory_mib` is too small, or the machine has no worker.
    pub(crate) fn check_memory(&self, smallest: &Graph, abort: &AtomicBool) -> Result<()> {
        let mut is_full = false;
        let job = Job { until: Some(1), ..Job::new(0, smallest.clone(), 0) };
        self.run(vec![job], abort, |event| is_full |= matches!(event, Event::Done { result: Err(Failure::Memory), .. }))?;
        if !is_full {
            return Ok(());
        }
        let mib = self.setup.config.memory_mib;
        Err(Error::input(format!("setting proxy.memory_mib: {mib} is too little to train any network")).hint("raise proxy.memory_mib"))
    }

    /// How many workers fit the card at a time, were each to train the largest of the jobs.
    fn together(&self, jobs: &[Job]) -> Result<usize> {
        let config = &self.setup.config;
        let largest = jobs.iter().map(|job| memory::on_card(&job.graph, config.batch)).max().unwrap_or(1);
        let room = device::available(&config.device.open()?, config.card_memory_mib)?.unwrap_or(u64::MAX);
        Ok(config.workers.min((room / largest).max(1) as usize))
    }

    fn round(&self, jobs: Vec<Job>, workers: usize, abort: &AtomicBool, mut on_event: impl FnMut(Event)) -> Result<()> {
        let workers = workers.min(jobs.len());
        let files = jobs.iter().flat_map(|job| job.weights.iter().chain(&job.state));
        let writes: BTreeSet<PathBuf> = files.map(|file| parent(file).to_owned()).collect();
        let setup = Setup { writes: writes.into_iter().collect(), ..self.setup.clone() };
        let queue = Mutex::new(VecDeque::from(jobs));
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            let handles: Vec<_> = (0..workers)
                .map(|_| {
                    let (queue, sender, setup) = (&queue, sender.clone(), &setup);
                    scope.spawn(move || {
                        let done = self.work_off(setup, queue, abort, &sender);
                        if done.is_err() {
                            // The others end what they are at, so that nothing is lost, and begin nothing more.
                            lock(queue).clear();
                        }
                        done
                    })
                })
                .collect();
            drop(sender);
            receiver.iter().for_each(&mut on_event);
            handles.into_iter().try_for_each(|handle| handle.join().map_err(|_| Error::machine("a thread of the pool panicked"))?)
        })
    }

    fn work_off(&self, setup: &Setup, queue: &Mutex<VecDeque<Job>>, abort: &AtomicBool, events: &Sender<Event>) -> Result<()> {
        let mut worker = None;
        while !abort.load(Ordering::Relaxed) {
            let Some(job) = lock(queue).pop_front() else { break };
            // Of a job that is done again the first epochs are told already.
            let mut told = 0;
            let on_epoch = |epoch: Epoch| {
                if epoch.epoch > told {
                    told = epoch.epoch;
                    // The receiver outlives the threads.
                    let _ = events.send(Event::Epoch { id: job.id, epoch });
                }
            };
            let Some(result) = self.train(setup, &job, &mut worker, abort, on_epoch)? else { break };
            let _ = events.send(Event::Done { id: job.id, result, elsewhere: None });
        }
        Ok(())
    }

    /// Result of one job; `None` when `abort` was set. `worker` is the one of the job before and is left for the next.
    fn train(
        &self,
        setup: &Setup,
        job: &Job,
        worker: &mut Option<Process>,
        abort: &AtomicBool,
        mut on_epoch: impl FnMut(Epoch),
    ) -> Result<Option<Result<Outcome, Failure>>, Lost> {
        child::persist(|| {
            let mut process = match worker.take() {
                Some(process) => process,
                None => Process::start(&self.program, setup)?,
            };
            let result = process.train(job, abort, &mut on_epoch)?;
            // After an error of the card the process that had it open may be good for nothing; its memory is free once it is gone.
            let spoilt = self.setup.config.device.is_card() && matches!(result, Some(Err(Failure::Memory | Failure::Crash { .. })));
            if process.alive && !spoilt {
                *worker = Some(process);
            }
            Ok(result)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Process {
    child: Owned,
    stdin: ChildStdin,
    lines: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
    limits: Limits,
    watch: Watch,
    alive: bool,
    /// It came as far as its first job.
    ready: bool,
}

/// What a worker may take, for whoever says that it took more.
#[derive(Clone, Copy, Debug)]
struct Limits {
    memory_mib: u64,
    cpu_seconds: u64,
}

impl Limits {
    fn no_room(self) -> Lost {
        Lost::NoRoom { verb: VERB, mib: self.memory_mib, setting: "proxy.memory_mib" }
    }
}

impl Process {
    fn start(program: &Path, setup: &Setup) -> Result<Self, Lost> {
        let taken = |error: &dyn std::fmt::Display| Lost::Taken(format!("no worker could be started: {error}"));
        let line = serde_json::to_string(setup).map_err(|e| taken(&e))?;
        let mut command = Command::new(program);
        let child = child::begin(&mut command, VERB)
            .map_err(|e| taken(&e))?
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| taken(&format_args!("{}: {e}", program.display())))?;
        let mut child = Owned(child);
        let watch = Watch::new(&child.0, VERB);
        let mut stdin = child.0.stdin.take().expect("piped");
        let (stdout, stderr) = (child.0.stdout.take().expect("piped"), child.0.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        thread::Builder::new().spawn(move || forward(stdout, &sender)).map_err(|e| taken(&e))?;
        let complaints = thread::Builder::new().spawn(move || last_words(stderr)).map_err(|e| taken(&e))?;
        // A worker that is gone already is noticed when it is given its first job.
        let _ = writeln!(stdin, "{line}");
        let config = &setup.config;
        let limits = Limits { memory_mib: config.memory_mib, cpu_seconds: config.cpu_seconds };
        Ok(Self { child, stdin, lines, complaints: Some(complaints), limits, watch, alive: true, ready: false })
    }

    fn train(&mut self, job: &Job, abort: &AtomicBool, on_epoch: &mut impl FnMut(Epoch)) -> Result<Option<Result<Outcome, Failure>>, Lost> {
        let line = serde_json::to_string(job).map_err(|e| Lost::Taken(format!("a job cannot be told to a worker: {e}")))?;
        if writeln!(self.stdin, "{line}").is_err() {
            return self.post_mortem().map(|failure| Some(Err(failure)));
        }
        loop {
            // A network of very short epochs never leaves a tick without a line, so these do not wait for one.
            if abort.load(Ordering::Relaxed) {
                self.alive = false;
                return Ok(None);
            }
            match self.lines.recv_timeout(TICK) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(Reply::NoRoom) => return Err(self.limits.no_room()),
                    Ok(Reply::Ready) => self.ready = true,
                    Ok(Reply::Epoch { id, epoch }) if id == job.id => on_epoch(epoch),
                    Ok(Reply::Done { id, outcome }) if id == job.id => return Ok(Some(Ok(outcome))),
                    Ok(Reply::Failed { id, failure }) if id == job.id => return Ok(Some(Err(failure))),
                    _ => return Err(Lost::Taken(format!("a worker wrote something else than a reply: {line:.80}"))),
                },
                Err(RecvTimeoutError::Disconnected) => return self.post_mortem().map(|failure| Some(Err(failure))),
                Err(RecvTimeoutError::Timeout) => self.watch.waited(TICK)?,
            }
        }
    }

    /// Why a worker is gone.
    fn post_mortem(&mut self) -> Result<Failure, Lost> {
        self.alive = false;
        let status = self.child.0.wait().map_err(|e| Lost::Taken(format!("a worker cannot be waited for: {e}")))?;
        let words = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        cause(status, &words, self.ready, self.limits)
    }
}

/// Passes the lines of a worker on, but for one that its end cut short.
fn forward(stdout: impl Read, lines: &Sender<String>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).is_err() || !line.ends_with('\n') || lines.send(line).is_err() {
            break;
        }
    }
}

/// What the end of a worker says of its job. A worker that exits by itself does so for its own sake: what a training does ends in a reply.
fn cause(status: ExitStatus, words: &str, ready: bool, limits: Limits) -> Result<Failure, Lost> {
    let last = words.lines().rev().find(|line| !line.trim().is_empty());
    let how = last.map_or_else(|| format!("a worker ended: {status}"), |line| format!("a worker ended: {status}: {line}"));
    if child::is_taken(status) {
        return Err(Lost::Taken(how));
    }
    match (ready, words.contains("memory allocation of")) {
        (false, true) => Err(limits.no_room()),
        (true, true) => Ok(Failure::Memory),
        (true, false) if status.signal() == Some(libc::SIGXCPU) => Ok(Failure::CpuTime { seconds: limits.cpu_seconds }),
        (true, false) if status.signal().is_some() => Ok(Failure::Crash { message: how }),
        _ => Err(Lost::Taken(how)),
    }
}

/// The end of what a worker writes to stderr.
fn last_words(mut stderr: impl Read) -> String {
    const KEEP: usize = 4096;
    let mut tail = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        tail.extend_from_slice(&buffer[..count]);
        if tail.len() > 2 * KEEP {
            tail.drain(..tail.len() - KEEP);
        }
    }
    String::from_utf8_lossy(&tail).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_an_end_is_told_apart() {
        const FULL: &str = "memory allocation of 99 bytes failed\n";
        let limits = Limits { memory_mib: 7, cpu_seconds: 9 };
        let ended = |signal: i32, words: &str, ready| cause(ExitStatus::from_raw(signal), words, ready, limits);
        let exited = |code: i32, words: &str| cause(ExitStatus::from_raw(code << 8), words, true, limits);
        assert_eq!(ended(libc::SIGABRT, FULL, true), Ok(Failure::Memory));
        assert_eq!(ended(libc::SIGXCPU, "", true), Ok(Failure::CpuTime { seconds: 9 }));
        assert!(matches!(ended(libc::SIGSEGV, "x\nlast\n\n", true), Ok(Failure::Crash { message }) if message.ends_with("last")));
        // What the machine did, whatever was said before.
        assert!(matches!(ended(libc::SIGKILL, FULL, true), Err(Lost::Taken(_))));
        assert!(matches!(ended(libc::SIGTERM, "", true), Err(Lost::Taken(_))));
        assert!(matches!(exited(1, "error: the threads of a worker\n"), Err(Lost::Taken(how)) if how.ends_with("threads of a worker")));
        // Before the first job nothing is a network's doing.
        assert!(matches!(ended(libc::SIGABRT, FULL, false), Err(Lost::NoRoom { mib: 7, .. })));
        assert!(matches!(ended(libc::SIGSEGV, "", false), Err(Lost::Taken(_))));
    }

    #[test]
    fn a_reply_that_was_cut_short_is_none() {
        let (sender, lines) = channel();
        forward(&b"\"ready\"\n{\"done\":{\"id\":3"[..], &sender);
        drop(sender);
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["\"ready\"\n"]);
    }

    #[test]
    fn only_the_end_of_long_complaints_is_kept() {
        let long = format!("{}the end", "x".repeat(100_000));
        let words = last_words(long.as_bytes());
        assert!(words.len() < 10_000 && words.ends_with("the end"));
    }
}
