//! What the LLM is shown: a function of parent and format alone, as `p(d|a)` needs.
//!
//! All candidates of one parent share the whole prompt, so it is read into the cache once.

use crate::base::error::Result;
use crate::decoder::files::chat::{ChatTemplate, Message};
use crate::decoder::files::tokenizer::Tokenizer;
use crate::delta;
use crate::delta::settings::Format;

const SYSTEM: &str = "You improve small PyTorch image classifiers.";

/// The conversation that asks for a delta.
#[must_use]
pub fn messages(format: Format, parent: &str) -> [Message; 2] {
    let request = format!("{}\n\n{}", delta::request(format), delta::show(format, parent));
    [Message::system(SYSTEM), Message::user(request)]
}

/// The prompt of a model without a chat template; the delta follows it directly.
#[must_use]
pub(crate) fn plain(format: Format, parent: &str) -> String {
    let shown = delta::show(format, parent);
    let end = if shown.ends_with('\n') { "" } else { "\n" };
    format!("### Network\n{shown}{end}### Change\n")
}

/// The prompt as tokens. What the parent says never becomes a special token.
///
/// # Errors
/// Where the template refuses the conversation.
pub fn encode(tokenizer: &Tokenizer, template: Option<&ChatTemplate>, format: Format, parent: &str) -> Result<Vec<u32>> {
    match template {
        Some(template) => template.encode(tokenizer, &messages(format, parent), true),
        None => Ok(tokenizer.bos().into_iter().chain(tokenizer.encode_plain(&plain(format, parent))).collect()),
    }
}
