//! Chat templates: the Jinja text in a model file that lays out messages as the model was trained to see them.
//!
//! What a message says is not trusted. A `<|im_end|>` written in it must reach the model as ten characters, never as the token
//! that ends a turn, so [`ChatTemplate::encode`] puts a mark inside each such text before rendering and takes the marks
//! out after the special tokens have been cut. All else comes out as if the rendered text had been encoded in one go.

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;

use super::tokenizer::Tokenizer;
use crate::base::error::{Error, Result};
use crate::base::hash::sha256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

impl Message {
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// A compiled template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    text: String,
    bos: String,
    eos: String,
}

const NAME: &str = "chat_template";

/// Characters that Unicode will never assign.
const MARKS: [char; 4] = ['\u{1fffe}', '\u{2fffe}', '\u{3fffe}', '\u{4fffe}'];

impl ChatTemplate {
    /// Compiles a template as Hugging Face's `transformers` does: blocks leave no line of their own, and Python's string methods work.
    /// The tokens that begin and end a text are given as they are written.
    ///
    /// # Errors
    /// Where the text is no Jinja template.
    pub fn new(text: &str, bos: &str, eos: &str) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> std::result::Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_template_owned(NAME, text.to_owned()).map_err(|e| {
            Error::input("the model's chat template cannot be parsed").hint("use another conversion of the model").caused_by(e)
        })?;
        Ok(Self { environment, text: text.to_owned(), bos: bos.to_owned(), eos: eos.to_owned() })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of the template's text, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        sha256(&self.text)
    }

    /// The conversation as text; `add_generation_prompt` opens the assistant's next turn.
    ///
    /// # Errors
    /// Where the template refuses the messages, e.g. for their order.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let template = self.environment.get_template(NAME).expect("it was added in `new`");
        let none = Value::from(());
        let values = context! {
            messages,
            add_generation_prompt,
            bos_token => self.bos,
            eos_token => self.eos,
            tools => none,
            documents => none,
        };
        template.render(values).map_err(|e| Error::input("the model's chat template does not take these messages").caused_by(e))
    }

    /// The conversation as tokens; special tokens come from the template alone, never from what a message says.
    ///
    /// # Errors
    /// See [`ChatTemplate::render`]; and where a message holds a character that the model has no tokens for.
    pub fn encode(&self, tokenizer: &Tokenizer, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>> {
        if let Some(lost) = messages.iter().find_map(|message| tokenizer.lost(&message.content)) {
            let error = Error::input(format!("the model's vocabulary has no tokens for the character U+{:04X}", u32::from(lost)));
            return Err(error.hint("take it out of the source"));
        }
        let free = |mark: &char| !self.text.contains(*mark) && messages.iter().all(|message| !message.content.contains(*mark));
        let mark = MARKS.into_iter().find(free).ok_or_else(|| {
            Error::input("a message holds each of four characters that Unicode never assigns").hint("take them out of the source")
        })?;
        let marked: Vec<Message> =
            messages.iter().map(|m| Message { role: m.role, content: disarm(&m.content, tokenizer, mark) }).collect();
        Ok(tokenizer.encode_marked(&self.render(&marked, add_generation_prompt)?, Some(mark)))
    }
}

/// Puts `mark` after the first character of whatever is a special token, or could become one with the template's text around
/// the message, whether the template trims the message or not.
fn disarm(content: &str, tokenizer: &Tokenizer, mark: char) -> String {
    let specials: Vec<&str> = tokenizer.specials().collect();
    let core = content.trim_start();
    let start = content.len() - core.len();
    let ends_one = |special: &&str| special.char_indices().skip(1).any(|(at, _)| core.starts_with(&special[at..]));
    let begins_one = |special: &&str, rest: &str| {
        rest.starts_with(special) || special.starts_with(rest) || (special.starts_with(rest.trim_end()) && !rest.trim_end().is_empty())
    };
    let mut out = content[..start].to_owned();
    if specials.iter().any(ends_one) {
        out.push(mark);
    }
    for (at, character) in content.char_indices().skip_while(|(at, _)| *at < start) {
        out.push(character);
        if specials.iter().any(|special| begins_one(special, &content[at..])) {
            out.push(mark);
        }
    }
    out
}
