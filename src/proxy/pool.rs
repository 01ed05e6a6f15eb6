//! The parent side: processes of one thread each, which share a queue of jobs.
//!
//! A worker that crashes, is killed or passes the deadline fails the one job it had; the next job gets a new process.
//! Results do not depend on the number of workers, only the order in which they come does.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::worker::{Job, Reply, Setup};
use super::{Epoch, Failure, Outcome, memory};
use crate::error::{AtPath, Error, Result};
use crate::{child, device};

/// Time past the deadline after which the parent ends a worker that did not end itself.
const GRACE: Duration = Duration::from_secs(10);
/// How often a waiting parent looks at the clock and the abort flag.
const TICK: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct Pool {
    /// The executable whose verb `worker` is started; usually the running one.
    pub program: PathBuf,
    pub setup: Setup,
}

/// What the pool tells while it works.
#[derive(Clone, Debug)]
pub enum Event {
    Epoch { id: u64, epoch: Epoch },
    Done { id: u64, result: Result<Outcome, Failure> },
}

impl Pool {
    /// A pool whose workers are the running program.
    ///
    /// # Errors
    /// The path of the running program is not known.
    pub fn new(setup: Setup) -> Result<Self> {
        Ok(Self { program: child::executable()?, setup })
    }

    /// Trains all jobs; `on_event` runs on the calling thread. With `abort` set the workers are ended and the jobs that
    /// are left get no event.
    ///
    /// # Errors
    /// A worker cannot be started.
    pub fn run(&self, jobs: Vec<Job>, abort: &AtomicBool, mut on_event: impl FnMut(Event)) -> Result<()> {
        if !self.setup.config.device.is_card() {
            return self.round(jobs, self.setup.config.workers, abort, &mut on_event);
        }
        // Workers share the card's memory, so a training may fail for what another one takes. It is tried again by itself, and the results
        // do not depend on the number of workers.
        let together = self.together(&jobs)?;
        let mut full = Vec::new();
        self.round(jobs.clone(), together, abort, |event| match event {
            Event::Done { id, result: Err(Failure::Memory) } if together > 1 => full.push(id),
            event => on_event(event),
        })?;
        let again = jobs.into_iter().filter(|job| full.contains(&job.id)).collect();
        self.round(again, 1, abort, &mut on_event)
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
        let queue = Mutex::new(VecDeque::from(jobs));
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..workers)
                .map(|_| {
                    let (queue, sender) = (&queue, sender.clone());
                    scope.spawn(move || self.work_off(queue, abort, &sender))
                })
                .collect();
            drop(sender);
            receiver.iter().for_each(&mut on_event);
            handles.into_iter().try_for_each(|handle| handle.join().map_err(|_| Error::machine("a thread of the pool panicked"))?)
        })
    }

    fn work_off(&self, queue: &Mutex<VecDeque<Job>>, abort: &AtomicBool, events: &Sender<Event>) -> Result<()> {
        let mut worker: Option<Process> = None;
        while !abort.load(Ordering::Relaxed) {
            let Some(job) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
            let mut process = match worker.take() {
                Some(process) => process,
                None => Process::start(self)?,
            };
            let Some(result) = process.train(&job, self.setup.config.deadline_seconds, abort, events) else { break };
            // After an error of the card the process that had it open may be good for nothing; its memory is free once it is gone.
            let spoilt = self.setup.config.device.is_card() && matches!(result, Err(Failure::Memory | Failure::Crash { .. }));
            if process.alive && !spoilt {
                worker = Some(process);
            }
            // The receiver outlives the threads.
            let _ = events.send(Event::Done { id: job.id, result });
        }
        Ok(())
    }
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
    alive: bool,
}

impl Process {
    fn start(pool: &Pool) -> Result<Self> {
        let mut command = Command::new(&pool.program);
        let mut child = child::begin(&mut command, "worker")?
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .at("start a worker of", &pool.program)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(Error::machine("a worker has no pipes"));
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let complaints = std::thread::spawn(move || last_words(stderr));
        // A worker that is gone already is noticed when it is given its first job.
        let _ = writeln!(stdin, "{}", serde_json::to_string(&pool.setup)?);
        Ok(Self { child, stdin, lines, complaints: Some(complaints), alive: true })
    }

    /// Result of one job; `None` when `abort` was set.
    fn train(&mut self, job: &Job, seconds: f64, abort: &AtomicBool, events: &Sender<Event>) -> Option<Result<Outcome, Failure>> {
        let deadline = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let start = Instant::now();
        let line = match serde_json::to_string(job) {
            Ok(line) => line,
            Err(error) => return Some(Err(Failure::Crash { message: error.to_string() })),
        };
        if writeln!(self.stdin, "{line}").is_err() {
            return Some(Err(self.post_mortem()));
        }
        loop {
            // A network of very short epochs never leaves a tick without a line, so these do not wait for one.
            if abort.load(Ordering::Relaxed) {
                self.end();
                return None;
            }
            if start.elapsed() > deadline.saturating_add(GRACE) {
                self.end();
                return Some(Err(Failure::Deadline { seconds }));
            }
            match self.lines.recv_timeout(TICK) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(Reply::Epoch { id, epoch }) => {
                        let _ = events.send(Event::Epoch { id, epoch });
                    }
                    Ok(Reply::Done { id, outcome }) if id == job.id => return Some(Ok(outcome)),
                    Ok(Reply::Failed { id, failure }) if id == job.id => return Some(Err(failure)),
                    _ => {
                        self.end();
                        return Some(Err(Failure::Crash { message: "a worker wrote something else than a reply".into() }));
                    }
                },
                Err(RecvTimeoutError::Disconnected) => return Some(Err(self.post_mortem())),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn end(&mut self) {
        self.alive = false;
        // It may have ended by itself in between.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Why a worker is gone.
    fn post_mortem(&mut self) -> Failure {
        self.alive = false;
        let status = self.child.wait().ok();
        let words = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        cause(status, &words)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn cause(status: Option<ExitStatus>, words: &str) -> Failure {
    let killed = status.and_then(|s| s.signal()) == Some(libc::SIGKILL);
    if killed || words.contains("memory allocation of") {
        return Failure::Memory;
    }
    let how = status.map_or_else(|| "a worker ended".to_string(), |status| format!("a worker ended: {status}"));
    let last = words.lines().rev().find(|line| !line.trim().is_empty());
    Failure::Crash { message: last.map_or_else(|| how.clone(), |line| format!("{how}: {line}")) }
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
        let signal = |number: i32| Some(ExitStatus::from_raw(number));
        assert_eq!(cause(signal(libc::SIGKILL), ""), Failure::Memory);
        assert_eq!(cause(signal(libc::SIGABRT), "memory allocation of 99 bytes failed\n"), Failure::Memory);
        assert!(matches!(cause(signal(libc::SIGSEGV), "x\nlast\n\n"), Failure::Crash { message } if message.ends_with("last")));
    }

    #[test]
    fn only_the_end_of_long_complaints_is_kept() {
        let long = format!("{}the end", "x".repeat(100_000));
        let words = last_words(long.as_bytes());
        assert!(words.len() < 10_000 && words.ends_with("the end"));
    }
}
