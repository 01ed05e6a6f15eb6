//! Runs of a study as jobs of an engine. A job is a folder beside its run's: what to do (`0.json`), what the engine was told
//! (`submitted.json`), how the run ended (`end.json`). Whoever is killed, study, job or engine, the run goes on where it was: a job that
//! finds its run begun resumes it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::job::Job;
use crate::base::child;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::{parent, read_file, write_whole};
use crate::base::home::{self, Home};
use crate::base::show::in_shell;
use crate::proxy::engine::jobs::{Fate, Jobs, Submitted};
use crate::record::folder;

/// Bytes of the files of a job.
const LONGEST: u64 = 1 << 20;
const END: &str = "end.json";
const SUBMITTED: &str = "submitted.json";

/// What a job is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// The run's.
    run: PathBuf,
    log: PathBuf,
    /// Arguments that begin the run, and that go on with it.
    begin: Vec<String>,
    resume: Vec<String>,
    /// Where the study was called, and its variables: relative paths and folders mean the same there.
    here: PathBuf,
    variables: Vec<(String, String)>,
}

/// How a run ended: its exit code, or none where a signal ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Exit {
    code: Option<i32>,
}

impl Errand {
    fn of(job: &Job, study: &Path) -> Result<Self> {
        let whole = |path: PathBuf| std::path::absolute(&path).at("find", &path);
        let study = whole(study.into())?;
        let arguments = |begun: bool| {
            let command = job.command(Path::new("eliteloop"), &study, begun);
            let text = |argument: &std::ffi::OsStr| argument.to_str().map(str::to_owned);
            let all: Option<Vec<String>> = command.get_args().map(text).collect();
            all.ok_or_else(|| Error::input(format!("{} is not UTF-8, and a job's arguments have to be", study.display())))
        };
        let variables = [(Home::Models, home::models()), (Home::Data, home::data())];
        Ok(Self {
            run: job.folder(&study),
            log: job.log(&study),
            begin: arguments(false)?,
            resume: arguments(true)?,
            here: whole(PathBuf::from("."))?,
            variables: variables
                .into_iter()
                .map(|(home, path)| Ok((home.variable().to_owned(), whole(path)?.display().to_string())))
                .collect::<Result<_>>()?,
        })
    }

    /// What a task file says, where it is a run's.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        Ok(serde_json::from_slice(&read_file(path, "read the task", u64::from(u32::MAX))?).ok())
    }

    /// Does it: the run in a process of its own, whose end is noted beside the task file. A second job of the same run, which a study
    /// hands over that was killed before it could note the first, waits for the first and finds that end.
    ///
    /// # Errors
    /// The process cannot be started, or a file not be written.
    pub fn perform(&self, path: &Path) -> Result<()> {
        let end = parent(path).join(END);
        let log = File::options().create(true).append(true).open(&self.log).at("write", &self.log)?;
        // The run inherits it, and so holds it for the moment that it outlives a killed job.
        log.lock().at("lock", &self.log)?;
        if end.is_file() {
            return Ok(());
        }
        let mut command = Command::new(child::executable()?);
        command.args(if folder::is_begun(&self.run) { &self.resume } else { &self.begin });
        command.current_dir(&self.here).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // A job that is ended is not to leave its run behind, which would hold the folder.
        child::follow(&mut command);
        let status = command.status().map_err(|e| Error::machine("the run could not be started").caused_by(e))?;
        write_whole(&end, &serde_json::to_vec(&Exit { code: status.code() })?)
    }
}

/// A run that an engine was told to do.
pub(crate) struct Away {
    folder: PathBuf,
    submitted: Submitted,
    /// Since when the engine says that it is over, and nothing of that is to be seen here.
    over: Option<Instant>,
}

/// How a job ended.
pub(crate) enum Ended {
    /// The run did, in whichever way.
    ByItself { well: bool },
    /// Nothing of the run is known; it is to be handed over again.
    Lost(String),
}

/// The folder of a run's job.
fn folder_of(job: &Job, study: &Path) -> PathBuf {
    study.join(format!("{}.job", job.name()))
}

/// What was handed over from this folder, if anything was.
fn submitted(folder: &Path) -> Option<Submitted> {
    serde_json::from_slice(&read_file(&folder.join(SUBMITTED), "read", LONGEST).ok()?).ok()
}

/// Sees that none of the runs is out as a job of another engine than `jobs`, which would be a second writer. Files of jobs that have ended are
/// removed.
///
/// # Errors
/// One is out.
pub(crate) fn check_none_elsewhere<'a>(runs: impl Iterator<Item = &'a Job>, study: &Path, jobs: Option<&Jobs>) -> Result<()> {
    for job in runs {
        let folder = folder_of(job, study);
        let Some(submitted) = submitted(&folder).filter(|submitted| jobs.is_none_or(|jobs| !jobs.has(submitted))) else { continue };
        if !folder.join(END).is_file() {
            let on = submitted.on().name();
            return Err(Error::input(format!("{} is out as a job: it was handed to {on}", job.name()))
                .hint(format!("go on with --runs-on {on}; if {on} has lost it for good, remove {}", in_shell(&folder))));
        }
        std::fs::remove_dir_all(&folder).at("remove", &folder)?;
    }
    Ok(())
}

impl Away {
    /// Hands a run over, or finds that an earlier process of the study has; None while the engine does not answer.
    ///
    /// # Errors
    /// The engine has not answered for long, or a file cannot be written.
    pub(crate) fn begin(jobs: &mut Jobs, job: &Job, study: &Path) -> Result<Option<Self>> {
        let folder = folder_of(job, study);
        let folder = std::path::absolute(&folder).at("find", &folder)?;
        if let Some(submitted) = submitted(&folder).filter(|submitted| jobs.has(submitted)) {
            return Ok(Some(Self { folder, submitted, over: None }));
        }
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder).at("remove", &folder)?;
        }
        std::fs::create_dir_all(&folder).at("make the folder", &folder)?;
        write_whole(&folder.join("0.json"), &serde_json::to_vec(&Errand::of(job, study)?)?)?;
        let name = format!("eliteloop-{}", job.name().replace('/', "-"));
        let Some(submitted) = jobs.submit(&name, &folder)? else { return Ok(None) };
        write_whole(&folder.join(SUBMITTED), &serde_json::to_vec(&submitted)?)?;
        Ok(Some(Self { folder, submitted, over: None }))
    }

    pub(crate) fn submitted(&self) -> &Submitted {
        &self.submitted
    }

    /// Whether the run has noted its end; None while it has not.
    pub(crate) fn end(&self) -> Option<Ended> {
        let bytes = read_file(&self.folder.join(END), "read", LONGEST).ok()?;
        let exit: Exit = serde_json::from_slice(&bytes).ok()?;
        // A signal came from outside: nobody can say that it was the run's fault.
        Some(exit.code.map_or_else(|| Ended::Lost("a signal ended it".into()), |code| Ended::ByItself { well: code == 0 }))
    }

    /// The same with what the engine says.
    pub(crate) fn settle(&mut self, fate: Fate) -> Option<Ended> {
        match fate {
            Fate::Open => None,
            Fate::Lost(why) => Some(self.end().unwrap_or(Ended::Lost(why))),
            Fate::Over => {
                let since = *self.over.get_or_insert_with(Instant::now);
                let end = self.end();
                if end.is_none() && since.elapsed() < Jobs::GRACE {
                    return None;
                }
                Some(end.unwrap_or_else(|| Ended::Lost("it ended, and how is not to be seen".into())))
            }
        }
    }

    /// What the engine kept of what the job said.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("0.log")
    }

    /// The last line of it.
    pub(crate) fn last_words(&self) -> Option<String> {
        let text = std::fs::read(self.log()).ok()?;
        String::from_utf8_lossy(&text).lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
    }

    /// It is not with the engine any more; its log stays, to be read.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn call_back(&self) -> Result<()> {
        let note = self.folder.join(SUBMITTED);
        std::fs::remove_file(&note).at("remove", &note)
    }

    /// The files of a job that is settled are of no use any more.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn clear(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).at("remove", &self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_trainings_is_no_errand_and_an_errand_is_read_as_it_was_written() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("0.json");
        std::fs::write(&file, r#"{"images": "x", "config": {}, "jobs": []}"#).unwrap();
        assert_eq!(Errand::read(&file).unwrap(), None);
        let errand = Errand {
            run: "/a/run".into(),
            log: "/a/run.log".into(),
            begin: vec!["run".into()],
            resume: vec!["resume".into()],
            here: "/".into(),
            variables: vec![("A".into(), "b".into())],
        };
        std::fs::write(&file, serde_json::to_vec(&errand).unwrap()).unwrap();
        assert_eq!(Errand::read(&file).unwrap(), Some(errand));
        assert!(Errand::read(&base.path().join("1.json")).is_err());
    }
}
