//! All runs of a study, some at a time, each a process of its own, here or on an engine's machines: what ends one leaves the others.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::away::{self, Away};
use super::job::{Failure, Job, State};
use super::view::View;
use crate::base::error::{AtPath, Error, Result};
use crate::base::{child, printer};
use crate::proxy::engine::jobs::Jobs;

/// How often processes are looked at, and how often the folders are read for the view.
const TICK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_secs(2);

/// How the runs of a study ended.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// Runs that ended with an error.
    pub failures: Vec<Failure>,
    /// Whether the study was told to stop.
    pub stopped: bool,
}

/// A run that goes on.
struct Running<'a> {
    place: usize,
    job: &'a Job,
    process: Process,
}

enum Process {
    Here { child: Child, told_to_stop: bool },
    Away(Away),
}

impl Running<'_> {
    /// Removes the files of a job, which is settled.
    fn clear(&self) -> Result<()> {
        match &self.process {
            Process::Away(away) => away.clear(),
            Process::Here { .. } => Ok(()),
        }
    }
}

/// How a run's process came to its end.
enum Ended {
    Well,
    /// With these last words, where its log has none.
    Badly(String),
    /// It was told to.
    Stopped,
    /// It was told to and did not hear it: it goes on, and the next call finds it.
    LeftBehind,
    /// Its machine was lost to it.
    Lost(String),
}

/// A run whose machine is lost so often, without a cycle closed in between, is not begun again.
const TRIES: u32 = 3;

/// Runs what is left of `jobs`, `workers` at a time, here or as jobs of an engine; `states` are kept up to date.
pub(crate) fn run(
    jobs: &[Job],
    states: &mut [State],
    study: &Path,
    workers: usize,
    mut engine: Option<&mut Jobs>,
    stop: &AtomicBool,
) -> Result<Ending> {
    let program = child::executable()?;
    away::check_none_elsewhere(jobs.iter(), study, engine.as_deref())?;
    let mut waiting: VecDeque<usize> = (0..jobs.len()).filter(|&place| !states[place].finished).collect();
    let mut lost: BTreeMap<usize, (u64, u32)> = BTreeMap::new();
    let mut running: Vec<Running> = Vec::new();
    let mut ending = Ending::default();
    let view = View::begin(jobs.len());
    let mut looked: Option<Instant> = None;
    loop {
        while running.len() < workers && !stop.load(Ordering::Relaxed) {
            let Some(&place) = waiting.front() else { break };
            let job = &jobs[place];
            let process = match &mut engine {
                None => Some(Process::Here { child: start(job, states[place].begun, &program, study)?, told_to_stop: false }),
                Some(engine) => Away::begin(engine, job, study)?.map(Process::Away),
            };
            // An engine that does not answer is asked again.
            let Some(process) = process else { break };
            waiting.pop_front();
            running.push(Running { place, job, process });
            looked = None;
        }
        if running.is_empty() && (waiting.is_empty() || stop.load(Ordering::Relaxed)) {
            break;
        }
        if looked.is_none_or(|at| at.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            // The store of a run that goes on elsewhere cannot be read here: SQLite's log is of one machine.
            for r in running.iter().filter(|r| matches!(r.process, Process::Here { .. })) {
                states[r.place] = r.job.state(study);
            }
            view.show(jobs, states, &running.iter().map(|r| r.place).collect::<Vec<_>>(), workers);
        }
        std::thread::sleep(TICK);
        for (at, ended) in ends(&mut running, engine.as_deref_mut(), stop.load(Ordering::Relaxed))? {
            let done = running.remove(at);
            let said = match &done.process {
                Process::Away(away) => (away.last_words(), Some(away.log())),
                Process::Here { .. } => (None, None),
            };
            states[done.place] = done.job.state(study);
            let state = states[done.place];
            let badly = match ended {
                Ended::LeftBehind => continue,
                Ended::Stopped => {
                    done.clear()?;
                    continue;
                }
                Ended::Well if state.finished => {
                    done.clear()?;
                    view.finished(jobs, states, done.place, workers);
                    continue;
                }
                Ended::Well => "it ended, and is not finished".into(),
                Ended::Badly(words) => words,
                Ended::Lost(why) => {
                    let why = said.0.map_or(why.clone(), |words| format!("{why}; it said: {words}"));
                    let (cycles, tries) = lost.entry(done.place).or_default();
                    *tries = if state.cycles > *cycles { 1 } else { *tries + 1 };
                    *cycles = state.cycles;
                    if *tries < TRIES {
                        done.clear()?;
                        view.lost(done.job, &why);
                        waiting.push_back(done.place);
                        continue;
                    }
                    format!("{tries} times: {why}")
                }
            };
            // Those of a job that never began say why; it is out no more.
            if done.job.log(study).is_file() {
                done.clear()?;
            } else if let Process::Away(away) = &done.process {
                away.call_back()?;
            }
            let own = done.job.log(study);
            // What the run said; where it never came to say anything, what the engine kept.
            let log = said.1.filter(|_| !own.is_file()).unwrap_or(own);
            let failure = Failure { job: done.job.name(), message: last_words(&log).unwrap_or(badly), log };
            view.failed(&failure);
            ending.failures.push(failure);
        }
    }
    ending.stopped = stop.load(Ordering::Relaxed);
    view.end();
    Ok(ending)
}

/// Which of the processes have ended, the last of them first.
fn ends(running: &mut [Running], engine: Option<&mut Jobs>, stop: bool) -> Result<Vec<(usize, Ended)>> {
    let mut all = Vec::new();
    for (at, r) in running.iter_mut().enumerate() {
        let Process::Here { child, told_to_stop } = &mut r.process else { continue };
        if stop && !*told_to_stop {
            *told_to_stop = true;
            tell_to_stop(child);
        }
        match child.try_wait()? {
            None => {}
            Some(_) if *told_to_stop => all.push((at, Ended::Stopped)),
            Some(status) if status.success() => all.push((at, Ended::Well)),
            Some(status) => all.push((at, Ended::Badly(status.to_string()))),
        }
    }
    if let Some(engine) = engine {
        all.extend(ends_away(running, engine, stop)?);
    }
    all.reverse();
    Ok(all)
}

fn ends_away(running: &mut [Running], engine: &mut Jobs, stop: bool) -> Result<Vec<(usize, Ended)>> {
    let aways = || running.iter().filter_map(|r| if let Process::Away(away) = &r.process { Some(away) } else { None });
    let mut all = Vec::new();
    if stop {
        for (at, away) in aways().enumerate() {
            if let Err(words) = engine.cancel(away.submitted()) {
                printer::note(format_args!(
                    "a job of {} could not be cancelled ({words}): it goes on, and the same command finds it",
                    engine.name()
                ));
                all.push((at, Ended::LeftBehind));
            } else {
                all.push((at, Ended::Stopped));
            }
        }
        return Ok(all);
    }
    let submitted: Vec<_> = aways().map(Away::submitted).collect();
    let Some(fates) = engine.fates(&submitted)? else { return Ok(all) };
    for ((at, r), fate) in running.iter_mut().enumerate().zip(fates) {
        let Process::Away(away) = &mut r.process else { continue };
        match away.settle(fate) {
            None => {}
            Some(away::Ended::Lost(why)) => all.push((at, Ended::Lost(why))),
            Some(away::Ended::ByItself { well: true }) => all.push((at, Ended::Well)),
            Some(away::Ended::ByItself { well: false }) => all.push((at, Ended::Badly("it ended with an error".into()))),
        }
    }
    Ok(all)
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

/// The error at the end of a log.
fn last_words(log: &Path) -> Option<String> {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    text.lines().rev().take(20).find_map(|line| line.split_once("error: ").map(|(_, rest)| rest.to_owned()))
}
