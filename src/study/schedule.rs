//! All runs of a study, some at a time, each a process of its own: what ends one leaves the others.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::job::{Failure, Job, State};
use super::view::View;
use crate::base::child;
use crate::base::error::{AtPath, Error, Result};

/// How often processes are looked at, and how often the folders are read for the view.
const TICK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_secs(2);

/// How the runs of a study ended.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    pub failures: Vec<Failure>,
    pub stopped: bool,
}

struct Running<'a> {
    place: usize,
    job: &'a Job,
    child: Child,
    told_to_stop: bool,
}

/// Runs what is left of `jobs`, `workers` at a time; `states` are kept up to date.
pub fn run(jobs: &[Job], states: &mut [State], study: &Path, workers: usize, stop: &AtomicBool) -> Result<Ending> {
    let program = child::executable()?;
    let mut waiting: VecDeque<usize> = (0..jobs.len()).filter(|&place| !states[place].finished).collect();
    let mut running: Vec<Running> = Vec::new();
    let mut ending = Ending::default();
    let view = View::begin(jobs.len());
    let mut looked: Option<Instant> = None;
    loop {
        while running.len() < workers && !stop.load(Ordering::Relaxed) {
            let Some(place) = waiting.pop_front() else { break };
            let job = &jobs[place];
            let child = start(job, states[place].begun, &program, study)?;
            running.push(Running { place, job, child, told_to_stop: false });
            looked = None;
        }
        if running.is_empty() {
            break;
        }
        if looked.is_none_or(|at| at.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            for r in &running {
                states[r.place] = r.job.state(study);
            }
            view.show(jobs, states, &running.iter().map(|r| r.place).collect::<Vec<_>>(), workers);
        }
        std::thread::sleep(TICK);
        let mut at = 0;
        while at < running.len() {
            let r = &mut running[at];
            if stop.load(Ordering::Relaxed) && !r.told_to_stop {
                r.told_to_stop = true;
                tell_to_stop(&r.child);
            }
            let Some(status) = r.child.try_wait()? else {
                at += 1;
                continue;
            };
            let done = running.swap_remove(at);
            states[done.place] = done.job.state(study);
            if states[done.place].finished && status.success() {
                view.finished(jobs, states, done.place, workers);
            } else if !done.told_to_stop {
                let failure = Failure { job: done.job.name(), message: last_words(&done.job.log(study), status), log: done.job.log(study) };
                view.failed(&failure);
                ending.failures.push(failure);
            }
        }
    }
    ending.stopped = stop.load(Ordering::Relaxed);
    view.end();
    Ok(ending)
}

fn start(job: &Job, begun: bool, program: &Path, study: &Path) -> Result<Child> {
    let log = job.log(study);
    let parent = log.parent().unwrap_or(study);
    std::fs::create_dir_all(parent).at("make the folder", parent)?;
    let log_file = File::options().create(true).append(true).open(&log).at("write", &log)?;
    let mut command = job.command(program, study, begun);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file);
    // Out of the terminal's group: a Ctrl-C comes to the study alone, which passes it on once. A second one would be a kill.
    command.process_group(0).arg0(child::NAME);
    // A run does not outlive its study: it would hold the folder when the study is started again. A kill costs it nothing but the step it
    // is at.
    child::follow(&mut command);
    command.spawn().map_err(|e| Error::machine(format!("{} could not be started", job.name())).caused_by(e))
}

fn tell_to_stop(child: &Child) {
    // SAFETY: a child that was not waited for yet keeps its number.
    unsafe {
        libc::kill(child.id() as libc::pid_t, libc::SIGTERM);
    }
}

/// The error at the end of a log, or else how the process ended.
fn last_words(log: &Path, status: ExitStatus) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let error = text.lines().rev().take(20).find_map(|line| line.split_once("error: ").map(|(_, rest)| rest.to_owned()));
    error.unwrap_or_else(|| status.to_string())
}
