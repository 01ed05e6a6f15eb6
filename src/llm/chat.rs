//! Chat templates: the Jinja text in a model file that lays out messages as the model was trained to see them.
//!
//! What a message says is not trusted. A `<|im_end|>` written in it must reach the model as ten characters, never as the token
//! that ends a turn, so [`ChatTemplate::encode`] puts a mark inside each such text before rendering and takes the marks
//! out after the special tokens have been cut. All else comes out as if the rendered text had been encoded in one go.

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::model_file::hex;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

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
    ///
    /// # Errors
    /// Where the text is no Jinja template.
    pub fn new(text: &str, tokenizer: &Tokenizer) -> Result<Self> {
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
        let token = |id: Option<u32>| id.and_then(|id| tokenizer.token(id)).unwrap_or_default().to_owned();
        Ok(Self { environment, text: text.to_owned(), bos: token(tokenizer.bos()), eos: token(Some(tokenizer.eos())) })
    }

    /// The SHA-256 of the template's text, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(&self.text))
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
    /// See [`ChatTemplate::render`].
    pub fn encode(&self, tokenizer: &Tokenizer, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>> {
        let free = |mark: &char| !self.text.contains(*mark) && messages.iter().all(|message| !message.content.contains(*mark));
        let mark = MARKS.into_iter().find(free).ok_or_else(|| {
            Error::input("a message holds each of four characters that Unicode never assigns").hint("take them out of the source")
        })?;
        let marked: Vec<Message> =
            messages.iter().map(|m| Message { role: m.role, content: disarm(&m.content, tokenizer, mark) }).collect();
        Ok(tokenizer.encode_marked(&self.render(&marked, add_generation_prompt)?, Some(mark)))
    }
}

/// Puts `mark` after the first character of whatever is, or could become with the text around the message, a special token.
fn disarm(content: &str, tokenizer: &Tokenizer, mark: char) -> String {
    let specials: Vec<&str> = tokenizer.specials().collect();
    let mut out = String::with_capacity(content.len());
    let ends_one = |special: &&str| special.char_indices().skip(1).any(|(at, _)| content.starts_with(&special[at..]));
    if specials.iter().any(ends_one) {
        out.push(mark);
    }
    for (at, character) in content.char_indices() {
        out.push(character);
        let rest = &content[at..];
        if specials.iter().any(|special| rest.starts_with(special) || special.starts_with(rest)) {
            out.push(mark);
        }
    }
    out
}
