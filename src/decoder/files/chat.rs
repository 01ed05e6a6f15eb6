//! Chat templates: the Jinja text in a model file that lays out messages as the model was trained to see them.
//!
//! What a message says is not trusted. A `<|im_end|>` written in it must reach the model as ten characters, never as the token
//! that ends a turn, so [`ChatTemplate::encode`] puts a mark inside each such text before rendering and takes the marks
//! out after the special tokens have been cut. All else comes out as if the rendered text had been encoded in one go.

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;

use super::tokenizer::Tokenizer;
use crate::base::error::{Error, Result};
use crate::base::hash::sha256;

/// Who speaks, as templates name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What holds for the whole conversation; some templates know no such turn (see [`ChatTemplate::folds_system`]).
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said, not trusted: see the module.
    pub content: String,
}

impl Message {
    /// A system turn.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// A user's turn.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// An answer of the model.
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
    folds_system: bool,
}

/// The day that a template is told it is, whenever a run takes place: what Llama 3's own template falls back on.
pub const TODAY: &str = "26 Jul 2024";

const NAME: &str = "chat_template";

/// Messages to try a template with.
const PROBES: [&str; 2] = ["How are sources answered?", "A network is to be changed."];
/// Bytes of a template: the longest that a model brought has 17,000.
const MOST_TEXT: usize = 64 << 10;
/// For a template of that length that is one nesting.
const STACK: usize = 256 << 20;
/// Steps that a template may take, which end a loop in a loop: some thousand times what a conversation takes.
const FUEL: u64 = 2_000_000;
/// Bytes that a template may write: more than any model reads.
const MOST_WRITTEN: usize = 64 << 20;

/// What is written, up to a bound.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_WRITTEN {
            return Err(std::io::Error::other("it writes without an end"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Characters that Unicode will never assign.
const MARKS: [char; 4] = ['\u{1fffe}', '\u{2fffe}', '\u{3fffe}', '\u{4fffe}'];

impl ChatTemplate {
    /// Compiles a template as Hugging Face's `transformers` does: blocks leave no line of their own, and Python's string methods work.
    /// The tokens that begin and end a text are given as they are written.
    ///
    /// # Errors
    /// Where the text is no Jinja template, or longer than any.
    pub fn new(text: &str, bos: &str, eos: &str) -> Result<Self> {
        if text.len() > MOST_TEXT {
            let long = format!("the model's chat template has {} bytes, at most {MOST_TEXT} are read", text.len());
            return Err(Error::input(long).hint("use another conversion of the model"));
        }
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> std::result::Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_function("strftime_now", |format: String| strftime(&format));
        environment.add_filter("tojson", to_json);
        environment.set_fuel(Some(FUEL));
        // The parser calls itself for each `not` and each dot.
        let parsed = std::thread::scope(|scope| {
            let parse = || environment.add_template_owned(NAME, without_tracking(text));
            Ok::<_, std::io::Error>(std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, parse)?.join())
        })?;
        parsed.unwrap_or_else(|_| Err(minijinja::Error::new(ErrorKind::SyntaxError, "it cannot be parsed"))).map_err(|e| {
            Error::input("the model's chat template cannot be parsed").hint("use another conversion of the model").caused_by(e)
        })?;
        let template = Self { environment, text: text.to_owned(), bos: bos.to_owned(), eos: eos.to_owned(), folds_system: false };
        Ok(Self { folds_system: template.loses_system(), ..template })
    }

    /// Whether it refuses a system turn, or leaves it out; its text then goes in front of the user's.
    #[must_use]
    pub fn folds_system(&self) -> bool {
        self.folds_system
    }

    /// Whether it asks for the date.
    #[must_use]
    pub(crate) fn tells_the_date(&self) -> bool {
        self.text.contains("strftime_now")
    }

    fn loses_system(&self) -> bool {
        let whole = [Message::system(PROBES[0]), Message::user(PROBES[1])];
        !self.render(&whole, true).is_ok_and(|text| text.contains(PROBES[0]))
    }

    /// Checks that it takes what a run asks with: a system turn (or its text in the user's) and a user's turn.
    ///
    /// # Errors
    /// Where it refuses them, or leaves out what they say.
    pub fn check(&self) -> Result<()> {
        let text = self.render(&[Message::system(PROBES[0]), Message::user(PROBES[1])], true)?;
        if PROBES.iter().all(|probe| text.contains(probe)) {
            return Ok(());
        }
        Err(Error::input("the model's chat template leaves out what a user says").hint("use another conversion of the model"))
    }

    /// The special token that closes an answer: the first one after its text.
    pub(super) fn end_of_answer(&self, tokenizer: &Tokenizer) -> Option<u32> {
        let text = self.render(&[Message::user(PROBES[0]), Message::assistant(PROBES[1])], false).ok()?;
        let (_, after) = text.rsplit_once(PROBES[1])?;
        let ids = tokenizer.encode(after.trim_start());
        ids.first().copied().filter(|id| tokenizer.is_special(*id))
    }

    /// The Jinja text, as it was given.
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
        let folded = match messages {
            [Message { role: Role::System, content }, Message { role: Role::User, content: request }, rest @ ..] if self.folds_system => {
                let first = Message::user(format!("{content}\n\n{request}"));
                Some(std::iter::once(first).chain(rest.iter().cloned()).collect::<Vec<_>>())
            }
            _ => None,
        };
        let messages = folded.as_deref().unwrap_or(messages);
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
        let mut written = Bounded(Vec::new());
        template
            .render_captured_to(values, &mut written)
            .map_err(|e| Error::input("the model's chat template does not take these messages").caused_by(e))?;
        String::from_utf8(written.0).map_err(|e| Error::input("the model's chat template writes no text").caused_by(e))
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

/// Without the tags `generation` and `endgeneration`, by which transformers tracks what the assistant said: a scope of its own, and no text.
fn without_tracking(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        rest = tag;
        let Some(end) = tag.find("%}") else { break };
        let inside = &tag[..end];
        let sign = |c: char| matches!(c, '-' | '+');
        let name = match inside.trim_matches(sign).trim() {
            "generation" => "with",
            "endgeneration" => "endwith",
            _ => continue,
        };
        let (open, close) = (inside.starts_with(sign).then(|| &inside[..1]), inside.ends_with(sign).then(|| &inside[inside.len() - 1..]));
        out.extend([open.unwrap_or_default(), " ", name, " ", close.unwrap_or_default()]);
        rest = &tag[end..];
    }
    out + rest
}

/// Python's `strftime` of [`TODAY`], a Friday, at midnight: a prompt that changed with the day would change what a run does.
fn strftime(format: &str) -> std::result::Result<String, minijinja::Error> {
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        // `%-d` and the like: without leading zeros.
        let mut code = characters.next();
        let bare = code == Some('-');
        if bare {
            code = characters.next();
        }
        let text = match code {
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('c') => "Fri Jul 26 00:00:00 2024",
            Some('d' | 'e') => "26",
            Some('D' | 'x') => "07/26/24",
            Some('F') => "2024-07-26",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('j') => "208",
            Some('m') => "07",
            Some('p') => "AM",
            Some('R') => "00:00",
            Some('T' | 'X') => "00:00:00",
            Some('u' | 'w') => "5",
            Some('y') => "24",
            Some('Y' | 'G') => "2024",
            Some('z' | 'Z') => "",
            Some('%') => "%",
            other => {
                let why = format!("strftime_now: the code %{} is not supported", other.map(String::from).unwrap_or_default());
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, why));
            }
        };
        let plain = text.trim_start_matches('0');
        out.push_str(if !bare {
            text
        } else if plain.is_empty() && !text.is_empty() {
            "0"
        } else {
            plain
        });
    }
    Ok(out)
}

/// As `transformers` gives it: Python's `json.dumps` with `ensure_ascii=False`, where Jinja would escape `<`, `>`, `&` and `'`.
#[allow(clippy::needless_pass_by_value)] // As minijinja gives them.
fn to_json(value: &Value, indent: Option<usize>, named: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    /// Python's: a space after each colon and comma of one line.
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { writer.write_all(b", ") }
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { writer.write_all(b", ") }
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
            writer.write_all(b": ")
        }
    }
    let indent = match indent {
        None => named.get::<Option<usize>>("indent")?,
        given => given,
    };
    if named.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "tojson: ensure_ascii is not supported"));
    }
    named.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)),
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        }
    };
    written.map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, "tojson").with_source(e))?;
    Ok(Value::from_safe_string(String::from_utf8_lossy(&bytes).into_owned()))
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
