//! Full code: the completion is the whole new source, as it is. A Markdown fence is malformed, not stripped.

use super::Failure;

pub(super) fn apply(delta: &str) -> Result<String, Failure> {
    match delta.lines().position(|line| line.trim_start().starts_with("```")) {
        Some(at) => Err(Failure::Malformed { line: at + 1 }),
        None => Ok(delta.to_owned()),
    }
}
