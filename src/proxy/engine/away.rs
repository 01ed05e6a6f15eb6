//! Trainings on an engine: what is wanted, what is out, what has come back.
//!
//! What has come back is the result files and nothing else. What the engine says is asked only for who will not come back any more: a task
//! that ended without all of its results is handed over again. Nothing is lost by a kill of the run, of a task or of the engine, and nothing
//! is trained twice into the store, since a result is taken once, by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::batch::{self, Batch, MOST_TASKS};
use super::order::{End, Needs, Order};
use super::patience::{ASK, GRACE, Pace, Patience};
use super::scheduler::Scheduler;
use super::task::{digits, images, name, read_result, results};
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::copy_whole;
use crate::base::hash::sha256_file;
use crate::base::{child, printer, processor};
use crate::proxy::pool::Event;
use crate::proxy::settings::ProxyConfig;
use crate::proxy::worker::{Job, Setup};

/// Between two looks at the results; a look that takes long is taken less often.
const LOOK: Duration = Duration::from_millis(100);
/// A training that was lost so often is not handed over again.
const TRIES: u32 = 3;

/// An engine, and where its files lie.
#[derive(Clone, Debug)]
pub(super) struct Away {
    scheduler: Scheduler,
    /// The folder for all that is exchanged.
    work: PathBuf,
    /// SHA-256 of the images.
    images: String,
    /// SHA-256 of this program, so that another build takes no result of this one.
    program: String,
    tries: u32,
}

impl Away {
    pub(super) fn new(scheduler: Scheduler, work: PathBuf, images: String) -> Result<Self> {
        Ok(Self { scheduler, work, images, program: sha256_file(&child::executable()?)?, tries: TRIES })
    }

    /// The same in another folder, without a second try.
    pub(super) fn once(&self, work: PathBuf) -> Self {
        Self { work, tries: 1, ..self.clone() }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.scheduler.name()
    }

    /// As [`super::Engine::run`].
    pub(super) fn run(&self, setup: &Setup, jobs: Vec<Job>, abort: &AtomicBool, mut on_event: impl FnMut(Event)) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut round = Round::begin(self, setup, jobs)?;
        let ended = round.go(abort, &mut on_event);
        round.end(ended.is_ok())?;
        ended
    }

    /// The program beside the tasks: what they run is what handed them over, whatever is built meanwhile.
    fn executable(&self) -> PathBuf {
        self.work.join(format!("eliteloop-{}", digits(&self.program)))
    }
}

/// A training that is wanted, and by whom: two networks may be the same.
struct Wanted {
    job: Job,
    ids: Vec<u64>,
}

/// Until all trainings of a call are there.
struct Round<'a> {
    away: &'a Away,
    config: &'a ProxyConfig,
    results: PathBuf,
    /// By the name of the result.
    wanted: BTreeMap<String, Wanted>,
    out: Vec<Batch>,
    /// How often a training was what a task was at when it ended.
    lost: BTreeMap<String, u32>,
    patience: Patience,
    /// Tasks that ended by themselves and whose results are not seen yet, by batch and number.
    over: BTreeMap<(String, usize), Instant>,
    told_of_processor: bool,
}

impl<'a> Round<'a> {
    fn begin(away: &'a Away, setup: &'a Setup, jobs: Vec<Job>) -> Result<Self> {
        let (work, results) = (&away.work, results(&away.work));
        std::fs::create_dir_all(&results).at("make the folder", &results)?;
        for (from, to, mode) in [(&setup.split, images(work, &away.images), 0o644), (&child::executable()?, away.executable(), 0o755)] {
            if !to.is_file() {
                copy_whole(from, &to, mode)?;
            }
        }
        let mut wanted = BTreeMap::<String, Wanted>::new();
        for job in jobs {
            // A task has another current folder.
            let there = |path: &PathBuf| std::path::absolute(path).at("find", path);
            let (weights, state) = (job.weights.as_ref().map(there).transpose()?, job.state.as_ref().map(there).transpose()?);
            let job = Job { weights, state, ..job };
            let name = name(&away.program, &away.images, &setup.config, &job)?;
            wanted.entry(name).or_insert_with(|| Wanted { job: job.clone(), ids: Vec::new() }).ids.push(job.id);
        }
        let out = batch::left(work, &away.scheduler)?;
        Ok(Self {
            away,
            config: &setup.config,
            results,
            wanted,
            out,
            lost: BTreeMap::new(),
            patience: Patience::new(away.name()),
            over: BTreeMap::new(),
            told_of_processor: false,
        })
    }

    fn go(&mut self, abort: &AtomicBool, on_event: &mut impl FnMut(Event)) -> Result<()> {
        let (mut looked, mut asked) = (Pace::new(LOOK), Pace::new(ASK));
        loop {
            if looked.is_due() {
                looked.time(|| self.collect(on_event))?;
            }
            if self.wanted.is_empty() || abort.load(Ordering::Relaxed) {
                return Ok(());
            }
            let is_due = asked.is_due();
            if is_due {
                asked.time(|| self.ask(on_event))?;
            }
            // An engine that does not answer is not asked more often for that.
            if is_due || !self.patience.is_tried() {
                self.hand_over()?;
            }
            std::thread::sleep(LOOK / 4);
        }
    }

    /// Takes the results that have come.
    fn collect(&mut self, on_event: &mut impl FnMut(Event)) -> Result<()> {
        for entry in self.results.read_dir().at("read the folder", &self.results)? {
            let path = entry.at("read the folder", &self.results)?.path();
            let Some(name) = path.file_stem().and_then(OsStr::to_str).filter(|name| self.wanted.contains_key(*name)) else { continue };
            // One that is no result yet may be one at the next look, or its task is handed over again.
            let Some(done) = read_result(&self.results, name) else { continue };
            let here = processor::kind();
            let elsewhere = (done.processor != here).then_some(done.processor);
            if let (Some(there), false) = (&elsewhere, self.told_of_processor) {
                self.told_of_processor = true;
                printer::note(format_args!(
                    "{} trains on another kind of processor ({there}; here it is {here}), which the record says: last bits may differ",
                    self.away.name()
                ));
            }
            let Some(wanted) = self.wanted.remove(name) else { continue };
            for id in wanted.ids {
                on_event(Event::Done { id, result: done.result.clone(), elsewhere: elsewhere.clone() });
            }
        }
        Ok(())
    }

    /// Hands over what is wanted and neither here nor out.
    fn hand_over(&mut self) -> Result<()> {
        let out: BTreeSet<&String> = self.out.iter().flat_map(Batch::open).collect();
        let missing: Vec<batch::Named> =
            self.wanted.iter().filter(|(name, _)| !out.contains(name)).map(|(name, wanted)| (name.clone(), wanted.job.clone())).collect();
        let mut tasks = batch::group(missing, self.config);
        while !tasks.is_empty() {
            let rest = tasks.split_off(tasks.len().min(MOST_TASKS));
            let (folder, names) = batch::write(&self.away.work, &self.away.images, self.config, tasks)?;
            tasks = rest;
            let name = folder.file_name().map_or_else(String::new, |name| format!("eliteloop-{}", name.to_string_lossy()));
            let program = self.away.executable();
            let order =
                Order { name: &name, folder: &folder, program: &program, tasks: names.len(), needs: Needs::of_trainings(self.config) };
            let submitted = self.away.scheduler.submit(order);
            let Some(job) = self.patience.heard(submitted)? else {
                // Nobody has it; it is written anew when the engine answers.
                return std::fs::remove_dir_all(&folder).at("remove", &folder);
            };
            let batch = Batch { on: self.away.scheduler.on(), job, name, tasks: names, folder, ended: BTreeSet::new() };
            batch.note()?;
            self.out.push(batch);
        }
        Ok(())
    }

    /// Asks which tasks have ended, and sees to those of which something is missing.
    fn ask(&mut self, on_event: &mut impl FnMut(Event)) -> Result<()> {
        let mut ended = Vec::new();
        for place in 0..self.out.len() {
            let batch = &self.out[place];
            let answer = self.away.scheduler.ended(&batch.job, &batch.name, batch.tasks.len());
            let Some(ends) = self.patience.heard(answer)? else { return Ok(()) };
            let batch = &self.out[place];
            for (&task, end) in ends.iter().filter(|(task, _)| !batch.ended.contains(task)) {
                // Its own process found it taken; whoever took it may still be at it, and it ends as they do.
                let end = match batch.taken_by(task) {
                    None => end,
                    Some(by) => match ends.get(&by) {
                        Some(end) => end,
                        None if batch.ended.contains(&by) => end,
                        None => continue,
                    },
                };
                ended.push((place, task, end.clone()));
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        // A task writes first and ends then.
        self.collect(on_event)?;
        for (place, task, end) in ended {
            self.settle(place, task, &end)?;
        }
        self.out.retain(|batch| !batch.is_over() || batch.remove().is_err());
        Ok(())
    }

    /// A task has ended: what is missing of it is wanted again.
    fn settle(&mut self, place: usize, task: usize, end: &End) -> Result<()> {
        let batch = &mut self.out[place];
        let Some(names) = batch.tasks.get(task) else { return Ok(()) };
        if let Some(first) = names.iter().find(|name| self.wanted.contains_key(*name)) {
            let why = match end {
                End::Over => {
                    let since = *self.over.entry((batch.name.clone(), task)).or_insert_with(Instant::now);
                    if since.elapsed() < GRACE {
                        return Ok(());
                    }
                    "it ended, and its result is not to be seen"
                }
                End::Lost(why) => why,
                End::Forgotten => "it knows nothing of the task any more",
            };
            // What came after the first was not what it was at.
            let lost = self.lost.entry(first.clone()).or_default();
            *lost += 1;
            if *lost >= self.away.tries {
                let words = batch.last_words(task).map_or(String::new(), |words| format!("; it said: {words}"));
                let times = if *lost == 1 { String::new() } else { format!(", {lost} times") };
                return Err(Error::machine(format!("{} lost a training{times}: {why}{words}", self.away.name())).hint(format!(
                    "no network is to blame, and none was noted as failed: see {}; `eliteloop resume` goes on with a run",
                    batch.log(task).display()
                )));
            }
        }
        batch.ended.insert(task);
        Ok(())
    }

    /// Calls back what is out, of which nobody wants anything any more, and takes its files away. After an error the logs stay, to be read.
    fn end(&mut self, is_well: bool) -> Result<()> {
        for batch in &self.out {
            // Of one whose results are all there only the process may still be about to end.
            let is_open = batch.open().any(|name| self.wanted.contains_key(name) || read_result(&self.results, name).is_none());
            // One that another process took may still wait for its own, which would find nothing.
            let waits = (0..batch.tasks.len()).any(|task| !batch.ended.contains(&task) && batch.taken_by(task).is_some());
            if (is_open || waits)
                && let Err(silence) = self.away.scheduler.cancel(&batch.job)
            {
                let (engine, job) = (self.away.name(), &batch.job);
                printer::note(format_args!(
                    "job {job} of {engine} could not be cancelled ({silence}); it ends by itself after the training it is at"
                ));
            }
            if is_well {
                batch.remove()?;
            }
        }
        Ok(())
    }
}
