//! What is asked of an engine, whichever it is: is it there, take these tasks, which of them have ended, end them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::command::Silence;
use super::order::{End, Needs, Order};
use super::{hyperqueue, slurm};
use crate::base::error::Result;
use crate::proxy::settings::{On, ProxyConfig};

/// An engine that is not this machine's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheduler {
    HyperQueue,
    /// With the user's batch script, where there is one.
    Slurm(Option<PathBuf>),
}

impl Scheduler {
    /// The engine that the settings name; None where trainings are done here.
    pub(super) fn of(config: &ProxyConfig) -> Option<Self> {
        Self::new(config.on, (!config.slurm_script.is_empty()).then(|| config.slurm_script.clone().into()))
    }

    /// None of [`On::Local`]; the script is Slurm's.
    pub(super) fn new(on: On, script: Option<PathBuf>) -> Option<Self> {
        match on {
            On::Local => None,
            On::Hq => Some(Self::HyperQueue),
            On::Slurm => Some(Self::Slurm(script)),
        }
    }

    /// Its word in settings.
    pub(super) const fn on(&self) -> On {
        match self {
            Self::HyperQueue => On::Hq,
            Self::Slurm(_) => On::Slurm,
        }
    }

    /// What people call it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::HyperQueue => "HyperQueue",
            Self::Slurm(_) => "Slurm",
        }
    }

    /// What it says of itself; `asked_by` is what the user has asked for it by.
    ///
    /// # Errors
    /// It is not there, too old, does not answer, or would never begin a task with these needs.
    pub(super) fn check(&self, asked_by: &str, needs: Needs) -> Result<String> {
        match self {
            Self::HyperQueue => hyperqueue::check(asked_by, needs),
            Self::Slurm(script) => slurm::check(asked_by, script.as_deref(), needs),
        }
    }

    /// Hands tasks over; gives the engine's number of them.
    pub(super) fn submit(&self, order: Order<'_>) -> Result<String, Silence> {
        match self {
            Self::HyperQueue => hyperqueue::submit(order),
            Self::Slurm(script) => slurm::submit(script.as_deref(), order),
        }
    }

    /// Which of so many tasks have ended.
    pub(super) fn ended(&self, job: &str, name: &str, tasks: usize) -> Result<BTreeMap<usize, End>, Silence> {
        match self {
            Self::HyperQueue => hyperqueue::ended(job, name, tasks),
            Self::Slurm(_) => slurm::ended(job, name, tasks),
        }
    }

    /// Ends all tasks of a number.
    pub(super) fn cancel(&self, job: &str) -> Result<(), Silence> {
        match self {
            Self::HyperQueue => hyperqueue::cancel(job),
            Self::Slurm(_) => slurm::cancel(job),
        }
    }
}
