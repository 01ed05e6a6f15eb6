//! The commands of an engine.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::base::error::Error;

/// A command that says nothing for so long waits for somebody who is not there.
const PATIENCE: Duration = Duration::from_mins(2);
const TICK: Duration = Duration::from_millis(5);
/// Of what a command complains of.
const LONGEST: usize = 400;

/// Why a command gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is not in PATH.
    Missing,
    /// What it said instead, on one line.
    Said(String),
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("its command is not in PATH"),
            Self::Said(words) => f.write_str(words),
        }
    }
}

#[derive(Deserialize)]
struct Complaint {
    error: String,
}

/// Runs a command to its end; gives its stdout.
pub(super) fn ask(mut command: Command) -> Result<String, Silence> {
    let said = |error: &dyn std::fmt::Display| Silence::Said(error.to_string());
    let [mut out, mut complaints] = [tempfile::tempfile(), tempfile::tempfile()].map(|file| file.map_err(|e| said(&e)));
    let handle = |file: &mut Result<File, Silence>| -> Result<File, Silence> {
        file.as_mut().map_err(|e| e.clone())?.try_clone().map_err(|e| said(&e))
    };
    command.stdin(Stdio::null()).stdout(handle(&mut out)?).stderr(handle(&mut complaints)?);
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Silence::Missing,
        _ => said(&e),
    })?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| said(&e))? {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Silence::Said(format!("no answer in {} s", PATIENCE.as_secs())));
            }
            None => std::thread::sleep(TICK),
        }
    };
    let text = |file: Result<File, Silence>| -> Result<String, Silence> {
        let (mut file, mut bytes) = (file?, Vec::new());
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(|e| said(&e))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (out, complaints) = (text(out)?, text(complaints)?);
    if status.success() {
        return Ok(out);
    }
    let words = if complaints.trim().is_empty() { out } else { complaints };
    // HyperQueue complains in JSON where it was asked for it, and tells the way through its code.
    let words = serde_json::from_str::<Complaint>(&words).map_or(words, |complaint| complaint.error);
    let words = words.split("Stack backtrace").next().unwrap_or_default();
    let line: String = words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect();
    Err(Silence::Said(if line.is_empty() { status.to_string() } else { line }))
}

/// The command of an engine, by what it says of its own version.
pub(super) struct Versioned {
    pub(super) command: &'static str,
    pub(super) engine: &'static str,
    /// The first one that will do.
    pub(super) oldest: (u32, u32),
    /// What to do where there is no such command.
    pub(super) where_missing: &'static str,
    /// What to see to where it fails.
    pub(super) where_failing: &'static str,
}

impl Versioned {
    /// What it says of its version; `asked_by` is what the user has asked for the engine by.
    ///
    /// # Errors
    /// It is not in PATH, fails, or is too old.
    pub(super) fn check(&self, asked_by: &str) -> Result<String, Error> {
        let Self { command, engine, oldest: (major, minor), .. } = self;
        let error = |what: String| Error::input(format!("{asked_by}: {what}"));
        let mut asked = Command::new(command);
        asked.arg("--version");
        let said = ask(asked).map_err(|silence| match silence {
            Silence::Missing => error(format!("there is no {command} in PATH")).hint(self.where_missing),
            Silence::Said(words) => error(format!("`{command} --version` fails: {words}")).hint(self.where_failing),
        })?;
        if version(&said).is_none_or(|found| found < self.oldest) {
            return Err(error(format!("{engine} {major}.{minor:02} or later is wanted, {command} is {}", said.trim()))
                .hint(format!("install a newer {engine}, the same on all machines")));
        }
        Ok(said)
    }
}

/// The first `major.minor` in what a command says of its version.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| c.is_whitespace() || c == 'v' || c == '-').find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_a_complaint_and_a_command_that_is_missing_are_told_apart() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            ask(command)
        };
        assert_eq!(shell("echo yes; echo no >&2"), Ok("yes\n".into()));
        assert_eq!(shell("echo yes; echo 'no\n  server' >&2; exit 3"), Err(Silence::Said("no server".into())));
        let in_json = shell(r#"printf '%s' '{"error": "no\nserver\n\nStack backtrace:\n 0: x"}'; exit 1"#);
        assert_eq!(in_json, Err(Silence::Said("no server".into())));
        assert!(matches!(shell("kill -9 $$"), Err(Silence::Said(words)) if words.contains("signal")));
        assert_eq!(ask(Command::new("eliteloop-has-no-such-command")), Err(Silence::Missing));
    }

    #[test]
    fn versions_are_found_in_what_commands_say() {
        assert_eq!(version("hyperqueue v0.27.0\n"), Some((0, 27)));
        assert_eq!(version("hq 0.26.2-dev"), Some((0, 26)));
        assert_eq!(version("slurm 22.05.8"), Some((22, 5)));
        assert_eq!(version("slurm-wlm 22.05.8"), Some((22, 5)));
        assert_eq!(version("none"), None);
    }
}
