//! The one place of a study that asks whether it is of runs or of audits.

use std::sync::Arc;

use super::experiment::{Experiment, Words};
use super::{of_audit, of_run};
use crate::base::error::Result;
use crate::record::Kind;

/// The settings of a run: `key=value` over a preset and the defaults.
///
/// # Errors
/// Those of the settings.
pub(crate) fn resolve(kind: Kind, preset: Option<&str>, assignments: &[String]) -> Result<Arc<dyn Experiment>> {
    match kind {
        Kind::Run => of_run::resolve(preset, assignments),
        Kind::Audit => of_audit::resolve(preset, assignments),
    }
}

/// The words of a kind.
pub(crate) const fn words(kind: Kind) -> &'static Words {
    match kind {
        Kind::Run => &of_run::WORDS,
        Kind::Audit => &of_audit::WORDS,
    }
}
