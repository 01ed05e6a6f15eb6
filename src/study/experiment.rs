//! The seam of a study: what it does differently with runs and with audits stands behind one trait.

use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::outcome::Outcome;
use crate::base::error::Result;
use crate::compare::searches;
use crate::record::Kind;

/// One run of a study, by its settings.
pub(crate) trait Experiment: fmt::Debug + Send + Sync {
    fn kind(&self) -> Kind;
    fn has_llm(&self) -> bool;
    fn cycles(&self) -> u64;
    /// How many it computes with.
    fn threads(&self) -> usize;
    /// Whether this is the LLM tuned on its elites: what the controls are controls of.
    fn is_method(&self) -> bool;
    /// Whether what is recorded in a folder has these settings, but for what changes nothing but the time.
    ///
    /// # Errors
    /// When nothing of this kind is recorded there.
    fn began(&self, folder: &Path) -> Result<bool>;
    /// Finds what would end the run at once: a missing model, adapter, table or image set.
    ///
    /// # Errors
    /// Names what is missing.
    fn check_inputs(&self) -> Result<()>;
    /// Reads what came out of it.
    ///
    /// # Errors
    /// When it cannot be read.
    fn outcome(&self, folder: &Path) -> Result<Outcome>;
    /// Trains the best network of a finished run `seeds` times again: see [`super::retrain`].
    ///
    /// # Errors
    /// A training failed or was stopped.
    fn retrain(&self, folder: &Path, seeds: u64, stop: &AtomicBool) -> Result<()>;
    /// How the runs of an arm searched a space whose best is known; None where it is not.
    fn search(&self, name: String, runs: &[Outcome]) -> Option<searches::Arm>;
}

/// How the report of a study says what it shows.
pub(crate) struct Words {
    /// What a trial of the budget is.
    pub(crate) trials: &'static str,
    /// By what the best is the best.
    pub(crate) best_by: &'static str,
    pub(crate) best_so_far: &'static str,
    pub(crate) mean_so_far: &'static str,
    /// What the mean so far is drawn against.
    pub(crate) candidates: &'static str,
    /// What the stages of the funnel mean.
    pub(crate) funnel: &'static str,
}
