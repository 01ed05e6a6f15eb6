//! Full code: the completion is the whole new source, as it is. A Markdown fence is malformed, not stripped.

use super::{Failure, Rules};

/// The format.
pub(super) struct Full;

impl Rules for Full {
    fn request(&self) -> &'static str {
        "Change this network. Answer with the whole new source."
    }

    fn longest(&self) -> usize {
        768
    }

    fn apply(&self, _parent: &str, delta: &str) -> Result<String, Failure> {
        match delta.lines().position(|line| line.trim_start().starts_with("```")) {
            Some(at) => Err(Failure::Malformed { line: at + 1 }),
            None => Ok(delta.to_owned()),
        }
    }

    fn write(&self, _parent: &str, child: &str) -> Option<String> {
        Some(child.to_owned())
    }

    fn wrote(&self, _parent: &str, child: &str, _delta: &str, line: usize) -> Option<usize> {
        (line < child.lines().count()).then_some(line)
    }
}
