//! One run of a study: its settings, its folder, how far it is, and the command that does it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::experiment::Experiment;
use crate::base::error::{Error, Result};
use crate::proxy::settings::On;
use crate::record::absent::former;
use crate::record::{Store, folder};

/// A run that ended before its end.
#[derive(Clone, Debug)]
pub struct Failure {
    /// `model/arm/seed-n`.
    pub job: String,
    /// What it said last.
    pub message: String,
    /// The file with all that it said.
    pub log: PathBuf,
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) model: String,
    pub(crate) arm: String,
    pub seed: u64,
    pub(crate) settings: Arc<dyn Experiment>,
    pub(crate) preset: Option<String>,
    /// The settings as `key=value` over preset and defaults.
    pub(crate) assignments: Vec<String>,
    /// What does the trainings of a run that was begun, in place of what it was begun with.
    pub(crate) on: Option<On>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// Whether there is something to go on with.
    pub(crate) begun: bool,
    pub(crate) finished: bool,
    /// Closed cycles, and what they took.
    pub(crate) cycles: u64,
    pub(crate) seconds: f64,
}

impl Job {
    /// `model/arm/seed-n`, its place in the study's folder.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}/seed-{}", self.model, self.arm, self.seed)
    }

    pub(crate) fn folder(&self, study: &Path) -> PathBuf {
        study.join(self.name())
    }

    /// What the run said.
    pub(crate) fn log(&self, study: &Path) -> PathBuf {
        study.join(format!("{}.log", self.name()))
    }

    /// What is there of it. A folder that cannot be read counts as begun: the run itself says what is wrong with it.
    pub(crate) fn state(&self, study: &Path) -> State {
        self.read_state(study).unwrap_or(State { begun: true, ..State::default() })
    }

    fn read_state(&self, study: &Path) -> Result<State> {
        let path = self.folder(study);
        let file = folder::store_path(&path);
        if !file.is_file() {
            return former(&path).map_or_else(|| Ok(State::default()), Err);
        }
        let store = Store::read(&file)?;
        let cycles = store.cycles()?.last().map_or(0, |c| c.cycle);
        let seconds = store.phases()?.iter().map(|p| p.seconds).sum();
        Ok(State { begun: store.meta("started")?.is_some(), finished: store.meta("finished")?.is_some(), cycles, seconds })
    }

    /// Holds the settings of a run that has begun against those of the study.
    pub(crate) fn check_settings(&self, study: &Path) -> Result<()> {
        let path = self.folder(study);
        // Where they cannot be read the run itself says why.
        if self.settings.began(&path).unwrap_or(true) {
            return Ok(());
        }
        Err(Error::input(format!("{} was begun with other settings than the study's", path.display()))
            .hint("give --out a new folder, or delete this run"))
    }

    /// The command that begins the run or goes on with it.
    pub(crate) fn command(&self, program: &Path, study: &Path, begun: bool) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder(study);
        if begun {
            command.arg("resume").arg(folder).args(self.on.iter().flat_map(|on| ["--on", on.name()]));
            return command;
        }
        command.arg(self.settings.kind().name());
        if let Some(preset) = &self.preset {
            command.args(["--preset", preset]);
        }
        command.arg("--out").arg(folder);
        for assignment in &self.assignments {
            command.args(["--set", assignment]);
        }
        command
    }
}
