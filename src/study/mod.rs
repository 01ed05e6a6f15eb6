//! A study: models, arms and seeds out of one file, each run in a folder of its own, and one report of all.

pub mod away;
pub mod calibration;
mod charts;
pub mod estimate;
pub mod experiment;
pub mod file;
pub mod job;
mod kinds;
mod of_audit;
mod of_run;
pub mod outcome;
pub mod page;
pub mod plan;
pub mod published;
pub mod report;
pub mod retrain;
pub mod schedule;
pub mod tables;
mod view;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;
use crate::proxy::engine::jobs::Jobs;
use crate::record::absent::STUDY;
use crate::record::folder::lock;
use crate::theory::values as table;
use file::Study;
use job::{Job, State};
use report::Report;
use schedule::Ending;

const FILE: &str = STUDY;

/// A study that is open: nobody else writes into its folder.
pub struct Open {
    pub(crate) study: Study,
    pub(crate) jobs: Vec<Job>,
    pub(crate) states: Vec<State>,
    folder: PathBuf,
    _lock: File,
}

/// Whether a study lies in this folder.
pub fn is_study(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

impl Open {
    /// Makes the folder of a new study, or goes on with the one that is there. Whatever can be wrong with the file, the models and
    /// the data is found before anything is written.
    pub fn new(study: Study, folder: &Path) -> Result<Self> {
        let jobs = study.jobs()?;
        if is_study(folder) {
            let changes = study.changes(&read(folder)?);
            if !changes.is_empty() {
                return Err(Error::input(format!("{} was begun with another study: {}", folder.display(), changes.join("; ")))
                    .hint("give --out a new folder, or put the file back as it was"));
            }
        } else if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::input(format!("{} is no study and not empty", folder.display())).hint("give --out a new folder"));
        }
        let states = jobs.iter().map(|job| job.state(folder)).collect::<Vec<State>>();
        let mut checked: Vec<&Job> = Vec::new();
        for (job, state) in jobs.iter().zip(&states) {
            if state.begun {
                job.check_settings(folder)?;
            }
            // The seeds of an arm need the same.
            if !state.finished && !checked.iter().any(|other| other.model == job.model && other.arm == job.arm) {
                job.settings.check_inputs().map_err(|e| {
                    let error = Error::input(format!("{}: {e}", job.name()));
                    let hint = e.hint_text().map(str::to_owned);
                    hint.map_or_else(|| Error::input(format!("{}: {e}", job.name())), |hint| error.hint(hint))
                })?;
                checked.push(job);
            }
        }
        std::fs::create_dir_all(folder).at("make the folder", folder)?;
        let lock = lock(folder)?;
        write_whole(&folder.join(FILE), study.to_toml().as_bytes())?;
        Ok(Self { study, jobs, states, folder: folder.into(), _lock: lock })
    }

    /// Runs what is left, here or as jobs of an engine, and trains the best network of each finished run again where the study asks for it.
    ///
    /// `workers` at a time; without it as many as the study says, and on an engine, which has a queue of its own, all.
    ///
    /// # Errors
    /// A run cannot be started, or the engine has not answered for long. Runs that fail are in the ending.
    pub fn run(&mut self, workers: Option<u16>, engine: Option<&mut Jobs>, stop: &AtomicBool) -> Result<Ending> {
        let usual = if engine.is_some() { self.jobs.len().max(1) } else { self.study.workers };
        let workers = workers.map_or(usual, usize::from);
        let mut ending = schedule::run(&self.jobs, &mut self.states, &self.folder, workers, engine, stop)?;
        for (job, _) in self.jobs.iter().zip(&self.states).filter(|(_, state)| state.finished && self.study.retrain > 0) {
            if ending.stopped {
                break;
            }
            match job.settings.retrain(&job.folder(&self.folder), self.study.retrain, stop) {
                Ok(()) => {}
                Err(error) if error.is_stop() => ending.stopped = true,
                Err(error) => {
                    let (message, log) = (format!("its best network, trained again: {error}"), job.log(&self.folder));
                    ending.failures.push(job::Failure { job: job.name(), message, log });
                }
            }
        }
        Ok(ending)
    }
}

/// The study in a folder.
pub(crate) fn read(folder: &Path) -> Result<Study> {
    Study::read(&folder.join(FILE))
}

/// The runs that the study in a folder has, begun or not: the place of each in it, and its cycles.
///
/// # Errors
/// When there is no study, or its file is not one of this version.
pub fn planned(folder: &Path) -> Result<Vec<(String, u64)>> {
    Ok(read(folder)?.jobs()?.iter().map(|job| (job.name(), job.settings.cycles())).collect())
}

/// Reads what is there of a study.
///
/// # Errors
/// When there is none, or one of its runs cannot be read.
pub fn collect(folder: &Path, failures: &[job::Failure]) -> Result<Report> {
    let study = read(folder)?;
    let jobs = study.jobs()?;
    let states = jobs.iter().map(|job| job.state(folder)).collect::<Vec<State>>();
    Report::collect(&study, &jobs, &states, folder, failures)
}

/// Reads what is there of a study and writes its report in all its forms; gives the report.
pub fn write_report(folder: &Path, failures: &[job::Failure]) -> Result<Report> {
    let report = collect(folder, failures)?;
    write_whole(&folder.join("study.json"), (serde_json::to_string_pretty(&report)? + "\n").as_bytes())?;
    write_whole(&folder.join("study.md"), tables::markdown(&report).as_bytes())?;
    write_whole(&folder.join("study.html"), page::page(&report).as_bytes())?;
    table::write(&tables::data(&report), &folder.join("tables"))?;
    Ok(report)
}
