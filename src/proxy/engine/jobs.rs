//! Whole runs as jobs of an engine: what a study hands over where it is not this machine that does its runs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::order::{End, Needs, Order};
use super::patience::{ASK, GRACE, Pace, Patience};
use super::scheduler::Scheduler;
use super::task::digits;
use crate::base::child;
use crate::base::error::{AtPath, Result};
use crate::base::files::copy_whole;
use crate::base::hash::sha256_file;
use crate::proxy::settings::On;

/// What each job asks of its machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Of the processor.
    pub cores: usize,
    /// Graphics cards, for runs whose settings name one.
    pub gpus: usize,
    /// For the LLM and all trainings at the same time.
    pub memory_mib: u64,
}

/// An engine that takes jobs, and the program that it runs.
pub struct Jobs {
    scheduler: Scheduler,
    program: PathBuf,
    needs: Needs,
    patience: Patience,
    asked: Pace,
}

/// A job that was handed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submitted {
    on: On,
    /// The engine's number.
    job: String,
    /// Ours, which the engine shows.
    name: String,
}

/// What became of a job, as far as the engine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits or is done.
    Open,
    /// It ended by itself.
    Over,
    /// Somebody or something else ended it, in the engine's words.
    Lost(String),
}

impl Submitted {
    /// The engine that has it.
    pub fn on(&self) -> On {
        self.on
    }
}

impl Jobs {
    /// How long a file that another machine wrote may take to be seen here.
    pub const GRACE: std::time::Duration = GRACE;

    /// An engine for such jobs, asked whether it takes them; None of [`On::Local`]. The script is Slurm's. Nothing is written yet: see
    /// [`Self::bring`].
    ///
    /// # Errors
    /// The engine is not there, does not answer, or would never begin such a job.
    pub fn open(on: On, script: Option<PathBuf>, machine: Machine) -> Result<Option<Self>> {
        let Some(scheduler) = Scheduler::new(on, script) else { return Ok(None) };
        let needs = Needs { cores: machine.cores, gpus: machine.gpus, memory_mib: machine.memory_mib, memory_by: "--memory-mib" };
        scheduler.check(&format!("--runs-on {}", on.name()), needs)?;
        let patience = Patience::new(scheduler.name());
        Ok(Some(Self { scheduler, program: PathBuf::new(), needs, patience, asked: Pace::new(ASK) }))
    }

    /// Copies the program to `folder`, which the engine's machines see under that path: jobs run what handed them over, whatever is built
    /// meanwhile.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn bring(&mut self, folder: &Path) -> Result<()> {
        let own = child::executable()?;
        // A job has another current folder.
        let folder = std::path::absolute(folder).at("find", folder)?;
        self.program = folder.join(format!("eliteloop-{}", digits(&sha256_file(&own)?)));
        std::fs::create_dir_all(&folder).at("make the folder", &folder)?;
        if !self.program.is_file() {
            copy_whole(&own, &self.program, 0o755)?;
        }
        Ok(())
    }

    /// Removes what [`Self::bring`] brought, once no job is left to run it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn take_away(&self) -> Result<()> {
        std::fs::remove_file(&self.program).at("remove", &self.program)
    }

    /// What people call the engine.
    pub fn name(&self) -> &'static str {
        self.scheduler.name()
    }

    /// Hands over what `0.json` in a folder says; None while the engine does not answer.
    ///
    /// # Errors
    /// The engine has not answered for long.
    pub fn submit(&mut self, name: &str, folder: &Path) -> Result<Option<Submitted>> {
        let order = Order { name, folder, program: &self.program, tasks: 1, needs: self.needs };
        let job = self.patience.heard(self.scheduler.submit(order))?;
        Ok(job.map(|job| Submitted { on: self.scheduler.on(), job, name: name.to_owned() }))
    }

    /// Whether one that was handed over by an earlier process is this engine's.
    pub fn has(&self, job: &Submitted) -> bool {
        job.on == self.scheduler.on()
    }

    /// What became of these jobs; None where it is too soon to ask again, or the engine does not answer.
    ///
    /// # Errors
    /// The engine has not answered for long.
    pub fn fates(&mut self, jobs: &[&Submitted]) -> Result<Option<Vec<Fate>>> {
        if !self.asked.is_due() {
            return Ok(None);
        }
        let (scheduler, patience) = (&self.scheduler, &mut self.patience);
        self.asked.time(|| {
            let mut fates = Vec::new();
            for job in jobs {
                let Some(ends) = patience.heard(scheduler.ended(&job.job, &job.name, 1))? else { return Ok(None) };
                fates.push(match ends.get(&0) {
                    None => Fate::Open,
                    Some(End::Over) => Fate::Over,
                    Some(End::Lost(why)) => Fate::Lost(why.clone()),
                    Some(End::Forgotten) => Fate::Lost("the engine knows nothing of it any more".into()),
                });
            }
            Ok(Some(fates))
        })
    }

    /// Ends a job. The error says why that could not be had.
    ///
    /// # Errors
    /// The engine's words.
    pub fn cancel(&self, job: &Submitted) -> Result<(), String> {
        self.scheduler.cancel(&job.job).map_err(|silence| silence.to_string())
    }
}
