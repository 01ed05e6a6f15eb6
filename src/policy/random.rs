//! The control without an LLM: random line edits of a parent, written in the run's format.

use rand::Rng;

use crate::delta::settings::Format;
use crate::delta::{self, corpus};

/// A delta of `parent`; empty where the change found cannot be written in the format, or none was found.
pub(crate) fn write(rng: &mut impl Rng, format: Format, parent: &str) -> String {
    let child = corpus::mutate_source(rng, parent);
    child.and_then(|child| delta::write(format, parent, &child)).unwrap_or_default()
}
