//! A chat template is tried in a process of its own first, under a limit of memory: neither fuel nor the bound on what it writes keeps
//! `x ~ x` from doubling a text until nothing is left.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::chat::{ChatTemplate, Message};
use crate::base::child;
use crate::base::error::{Error, Result};
use crate::base::hash::sha256;

/// The verb that the program is started with.
const VERB: &str = "template";
/// Beside what is mapped already: the parser's stack is a quarter of it.
const MEMORY: u64 = 1 << 30;
/// Of a processor; the fuel of a template is some tenths.
const SECONDS: u64 = 20;

/// Those that this process has tried, by their hashes.
static TRIED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Compiles a template as [`ChatTemplate::new`] does, after a trial. In somebody else's program with this library, which cannot be started
/// for that, there is none.
///
/// # Errors
/// As there; and where the trial took more memory or time than there is for it.
pub(crate) fn compiled(text: &str, bos: &str, eos: &str) -> Result<ChatTemplate> {
    let hash = sha256(format!("{}\0{bos}\0{eos}\0{text}", text.len()));
    let is_new = || !TRIED.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash);
    if child::is_the_program() && is_new() {
        run(text, bos, eos)?;
        TRIED.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
    }
    ChatTemplate::new(text, bos, eos)
}

fn run(text: &str, bos: &str, eos: &str) -> Result<()> {
    let machine = |e| Error::machine("a chat template cannot be tried").caused_by(e);
    let mut command = Command::new(child::executable()?);
    child::begin(&mut command, VERB)?.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = command.spawn().map_err(machine)?;
    let given = serde_json::to_vec(&(text, bos, eos))?;
    // One that ends before it has read all says so by how it ends.
    let _ = running.stdin.take().expect("it was asked for").write_all(&given);
    let status = running.wait().map_err(machine)?;
    if status.success() {
        return Ok(());
    }
    if child::is_taken(status) {
        return Err(Error::machine(format!("the trial of the model's chat template was ended from outside ({status})")));
    }
    let much =
        format!("the model's chat template takes more than {} MiB or {SECONDS} s of a processor for two short messages", MEMORY >> 20);
    Err(Error::input(much).hint("use another conversion of the model"))
}

/// Tries the template that stdin holds. Whether it is a good one is not asked here: what it does to memory and time is.
///
/// # Errors
/// Stdin cannot be read, or no limit be set.
pub fn serve() -> Result<()> {
    let mut given = Vec::new();
    std::io::stdin().lock().read_to_end(&mut given)?;
    let (text, bos, eos): (String, String, String) = serde_json::from_slice(&given)?;
    let memory = MEMORY.saturating_add(child::addresses().unwrap_or(0));
    child::limit(libc::RLIMIT_AS, memory, Some(memory))?;
    child::limit(libc::RLIMIT_CPU, SECONDS, Some(SECONDS + 5))?;
    child::limit(libc::RLIMIT_CORE, 0, Some(0))?;
    if let Ok(template) = ChatTemplate::new(&text, &bos, &eos) {
        let messages = [Message::system("a"), Message::user("b"), Message::assistant("c"), Message::user("d")];
        for count in [2, 3, 4] {
            // A template may refuse them.
            let _ = template.render(&messages[..count], count != 3);
        }
    }
    Ok(())
}
