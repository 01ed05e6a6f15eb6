//! The seam for trainings: what a run hands over, and what comes back, whoever does it.
//!
//! By default it is processes of this machine, a [`Pool`]. With `proxy.on = "hq"` or `"slurm"` it is an engine that the user has running:
//! jobs become task files in the run's folder `work/`, which lies on a file system that all machines see; a task is
//! `eliteloop worker --task FILE`, which is that same pool with one worker, and each result is a file beside it. So jobs, results, limits,
//! the sandbox, and the word on what a worker died of are one, and only the way differs: pipes here, where a file for each job would buy
//! nothing and epochs are told as they end, files there, because whoever wrote them may be gone when they are read. No network code is
//! ours: what is asked of an engine is asked of its own commands.

mod away;
mod batch;
mod command;
mod hyperqueue;
pub mod jobs;
mod order;
mod patience;
mod scheduler;
mod slurm;
pub mod task;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use self::away::Away;
use self::order::Needs;
use self::scheduler::Scheduler;
use super::pool::{Event, Pool};
use super::worker::{Job, Setup};
use crate::base::error::{AtPath, Error, Result};
use crate::proxy::settings::ProxyConfig;
use crate::tracer::graph::Graph;

/// What does the trainings of a run.
#[derive(Clone, Debug)]
pub struct Engine {
    pool: Pool,
    away: Option<Away>,
    /// For what is exchanged with an engine away from here.
    work: PathBuf,
}

impl Engine {
    /// The engine of a run whose folder is, or will be, `run`.
    ///
    /// # Errors
    /// It is not there, does not answer, or cannot do these trainings: see [`check`].
    pub(crate) fn open(pool: Pool, images: String, run: &Path) -> Result<Self> {
        let work = std::path::absolute(run).at("find", run)?.join("work");
        let away = match Scheduler::of(&pool.setup.config) {
            None => None,
            Some(scheduler) => {
                check_for(&scheduler, &pool.setup.config)?;
                Some(Away::new(scheduler, work.clone(), images)?)
            }
        };
        Ok(Self { pool, away, work })
    }

    /// The same with another recipe.
    #[must_use]
    pub(crate) fn with(&self, config: ProxyConfig) -> Self {
        let pool = Pool { setup: Setup { config, ..self.pool.setup.clone() }, ..self.pool.clone() };
        Self { pool, ..self.clone() }
    }

    /// Trains all jobs; `on_event` runs on the calling thread. With `abort` set what is under way is ended, and the jobs that are left get
    /// no event.
    ///
    /// # Errors
    /// The machine or the engine loses the same job again and again, or does not answer. Jobs that are left get no event.
    pub(crate) fn run(&self, jobs: Vec<Job>, abort: &AtomicBool, on_event: impl FnMut(Event)) -> Result<()> {
        match &self.away {
            None => self.pool.run(jobs, abort, on_event),
            Some(away) => away.run(&self.pool.setup, jobs, abort, on_event),
        }
    }

    /// Trains `smallest` for an epoch, here and where the trainings will be: before anything of the run is written it is known that there is
    /// room for a network, and that a task of the engine finds its files and its result comes back.
    ///
    /// # Errors
    /// `proxy.memory_mib` is too small, there is no worker, or the engine's machines do not see the folder.
    pub(crate) fn try_out(&self, smallest: &Graph, abort: &AtomicBool) -> Result<()> {
        self.pool.check_memory(smallest, abort)?;
        let Some(away) = &self.away else { return Ok(()) };
        let beside = self.work.ancestors().skip(2).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let folder = tempfile::Builder::new().prefix(".eliteloop-").tempdir_in(beside).at("write in", beside)?;
        let job = Job { until: Some(1), ..Job::new(0, smallest.clone(), 0) };
        let mut came = false;
        let tried = away.once(folder.path().join("work")).run(&self.pool.setup, vec![job], abort, |event| {
            came |= matches!(event, Event::Done { .. });
        });
        match tried {
            Ok(()) if came => Ok(()),
            Ok(()) => Err(Error::stopped("stopped before the engine had done its first task")),
            Err(error) => Err(Error::input(format!("no training can be done on {}: {error}", away.name()))
                .hint(format!("its machines have to see {} under that path, with room to write, and run this program", beside.display()))),
        }
    }

    /// Removes the files of trainings that are stored, an earlier engine's too.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn clear(&self) -> Result<()> {
        if self.work.is_dir() { std::fs::remove_dir_all(&self.work).at("remove", &self.work) } else { Ok(()) }
    }
}

/// Whether the engine that the settings name is there, and what it says of itself; None where trainings are done here.
///
/// # Errors
/// Names what is missing: the engine's command, its server, a version, a partition, memory.
pub fn check(config: &ProxyConfig) -> Result<Option<String>> {
    Scheduler::of(config).map(|scheduler| check_for(&scheduler, config)).transpose()
}

fn check_for(scheduler: &Scheduler, config: &ProxyConfig) -> Result<String> {
    scheduler.check(&format!("proxy.on = \"{}\"", config.on.name()), Needs::of_trainings(config))
}
