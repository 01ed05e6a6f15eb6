//! What the LLM is shown: a function of parent and format alone, as `p(d|a)` needs.
//!
//! All candidates of one parent share the whole prompt, so it is read into the cache once.

use crate::config::Format;

/// The task, for the system role of a chat template.
pub const SYSTEM: &str = "You improve small PyTorch image classifiers.";

fn instruction(format: Format) -> &'static str {
    match format {
        Format::Edit => "Change this network. Answer with numbered edits: 5 or 5-8 and the new lines, 5+ and lines to insert.",
        Format::Diff => "Change this network. Answer with a unified diff.",
        Format::Full => "Change this network. Answer with the whole new source.",
    }
}

/// The user's turn.
#[must_use]
pub fn user(format: Format, parent: &str) -> String {
    format!("{}\n\n{}", instruction(format), super::show(format, parent))
}

/// The prompt of a model without a chat template; the completion follows it directly.
#[must_use]
pub fn plain(format: Format, parent: &str) -> String {
    format!("### Network\n{}### Change\n", ensure_newline(super::show(format, parent)))
}

fn ensure_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
