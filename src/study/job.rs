//! One run of a study: its settings, its folder, how far it is, and the command that does it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::audit;
use crate::audit::codec::Codec;
use crate::audit::settings::AuditConfig;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::llm::catalogue;
use crate::llm::model_file::ModelFile;
use crate::oracle::Table;
use crate::policy::learner::adapter_folder;
use crate::proxy::dataset;
use crate::record::{Store, folder};
use crate::{compare, home};

#[derive(Clone, Debug, PartialEq)]
pub enum Settings {
    Audit(Box<AuditConfig>),
    Run(Box<RunConfig>),
}

impl Settings {
    pub fn has_llm(&self) -> bool {
        match self {
            Self::Audit(config) => config.policy.has_llm(),
            Self::Run(config) => config.policy.has_llm(),
        }
    }

    pub fn cycles(&self) -> u64 {
        match self {
            Self::Audit(config) => config.cycles,
            Self::Run(config) => config.cycles,
        }
    }

    /// But for what changes nothing but the time.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Audit(a), Self::Audit(b)) => AuditConfig { threads: b.threads, ..(**a).clone() } == **b,
            (Self::Run(a), Self::Run(b)) => a.seed == b.seed && compare::runs::identity(a) == compare::runs::identity(b),
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Job {
    pub model: String,
    pub arm: String,
    pub seed: u64,
    pub settings: Settings,
    pub preset: Option<String>,
    /// The settings as `key=value` over preset and defaults.
    pub assignments: Vec<String>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Whether there is something to go on with.
    pub begun: bool,
    pub finished: bool,
    /// Closed cycles, and what they took.
    pub cycles: u64,
    pub seconds: f64,
}

impl Job {
    /// `model/arm/seed-n`, its place in the study's folder.
    pub fn name(&self) -> String {
        format!("{}/{}/seed-{}", self.model, self.arm, self.seed)
    }

    pub fn folder(&self, study: &Path) -> PathBuf {
        study.join(self.name())
    }

    /// What the run said.
    pub fn log(&self, study: &Path) -> PathBuf {
        study.join(format!("{}.log", self.name()))
    }

    /// What is there of it. A folder that cannot be read counts as begun: the run itself says what is wrong with it.
    pub fn state(&self, study: &Path) -> State {
        self.read_state(study).unwrap_or(State { begun: true, ..State::default() })
    }

    fn read_state(&self, study: &Path) -> Result<State> {
        let path = self.folder(study);
        match &self.settings {
            Settings::Audit(config) => {
                if !audit::record::is_audit(&path) {
                    return Ok(State::default());
                }
                let seconds = audit::record::seconds(&path)?.iter().map(|s| s.sample + s.tune + s.audit).sum();
                let cycles = audit::record::cycles(&path)?;
                let finished = audit::is_finished(config, &cycles);
                Ok(State { begun: true, finished, cycles: cycles.len() as u64, seconds })
            }
            Settings::Run(_) => {
                let file = folder::store_path(&path);
                if !file.is_file() {
                    return Ok(State::default());
                }
                let store = Store::read(&file)?;
                let cycles = store.cycles()?.last().map_or(0, |c| c.cycle);
                let seconds = store.phases()?.iter().map(|p| p.seconds).sum();
                Ok(State { begun: store.meta("started")?.is_some(), finished: store.meta("finished")?.is_some(), cycles, seconds })
            }
        }
    }

    /// Holds the settings of a run that has begun against those of the study.
    pub fn check_settings(&self, study: &Path) -> Result<()> {
        let path = self.folder(study);
        let found = match &self.settings {
            Settings::Audit(_) => Settings::Audit(Box::new(audit::record::settings(&path)?)),
            Settings::Run(_) => Settings::Run(Box::new(folder::settings(&path)?)),
        };
        if self.settings.same(&found) {
            return Ok(());
        }
        Err(Error::input(format!("{} was begun with other settings than the study's", path.display()))
            .hint("give --out a new folder, or delete this run"))
    }

    /// Finds what would end the run at once: a missing model, adapter, table or image set.
    pub fn check_inputs(&self) -> Result<()> {
        match &self.settings {
            Settings::Audit(config) => {
                Table::load(&config.dataset, &home::data())?;
                if config.policy.has_llm() {
                    let file = ModelFile::open(&catalogue::find(&config.llm.model)?)?;
                    Codec::new(&file.tokenizer()?, &config.llm.prompt, config.format)?;
                    if config.llm.adapter != "none" && !Path::new(&config.llm.adapter).join("adapter_config.json").is_file() {
                        return Err(Error::input(format!("there is no adapter in {}", config.llm.adapter))
                            .hint("llm.adapter is 'none' or a PEFT folder"));
                    }
                }
                Ok(())
            }
            Settings::Run(config) => {
                if config.policy.has_llm() {
                    catalogue::find(&config.llm.model)?;
                    adapter_folder(&config.llm)?;
                }
                dataset::check_present(&config.proxy.dataset, &home::data())
            }
        }
    }

    /// The command that begins the run or goes on with it.
    pub fn command(&self, program: &Path, study: &Path, begun: bool) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder(study);
        match (&self.settings, begun) {
            (Settings::Audit(_), true) => _ = command.args(["audit", "--resume"]).arg(folder),
            (Settings::Run(_), true) => _ = command.arg("resume").arg(folder),
            (settings, false) => {
                command.arg(if matches!(settings, Settings::Audit(_)) { "audit" } else { "run" });
                if let Some(preset) = &self.preset {
                    command.args(["--preset", preset]);
                }
                command.arg("--out").arg(folder);
                for assignment in &self.assignments {
                    command.args(["--set", assignment]);
                }
            }
        }
        command
    }
}
