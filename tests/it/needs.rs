//! What a test needs that a machine may not have. Whether it goes on is decided here and nowhere else, and what was not done is said here:
//! a line in the file that `ELITELOOP_SKIPPED` names, which `scripts/test` counts and shows at its end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ends a test where it cannot be run, or is not of this lane.
macro_rules! needs {
    ($($need:ident),+) => {
        $(if !$crate::needs::Need::$need.met() {
            return;
        })+
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The default model's file.
    Model,
    Cifar10,
    Nasbench201,
    /// More than some seconds.
    Minutes,
    /// [`browser`].
    Browser,
    /// [`crate::engines::hyperqueue`].
    HyperQueue,
    /// [`crate::engines::slurm`].
    Slurm,
}

impl Need {
    /// Whether a test that needs this goes on. Where not, it was told.
    ///
    /// # Panics
    /// What has to be there is not: what `scripts/fetch` brings, or in CI a tool.
    pub fn met(self) -> bool {
        let (here, fetch) = match self {
            Self::Model => (eliteloop::base::home::models().join("SmolLM2-135M-Instruct.Q4_1.gguf").is_file(), "model"),
            Self::Cifar10 => (eliteloop::base::home::data().join("cifar10/data_batch_1.png").is_file(), "cifar10"),
            Self::Nasbench201 => (eliteloop::base::home::data().join("nasbench201/cifar10.pkl").is_file(), "nasbench201"),
            Self::Minutes => return !is_fast() || skipped("the fast lane has no minutes"),
            Self::HyperQueue => {
                return match crate::engines::hyperqueue() {
                    Ok(_) => true,
                    Err(why) if is_fast() => skipped(why),
                    Err(why) => without_tool(&format!("no HyperQueue: {why}")),
                };
            }
            Self::Slurm => return crate::engines::slurm().is_some() || without_tool("no slurmctld, slurmd and munged that root may start"),
            Self::Browser => return browser().is_some() || without_tool("no Chromium in PATH, so no page was opened in a browser"),
        };
        if is_fast() {
            return skipped(&format!("the fast lane has no {fetch}"));
        }
        assert!(here, "{fetch} is not here: run scripts/fetch {fetch}, or scripts/test fast, which does without");
        true
    }
}

fn is_fast() -> bool {
    set("ELITELOOP_LANE").is_some_and(|lane| lane == "fast")
}

/// The browser to look at pages with.
pub fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let named = |name| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(named)
}

/// A Python that has these packages, with their module among them: a virtual environment of that name in `target`, made where it is missing.
pub fn venv(name: &str, module: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_BIN_EXE_eliteloop")).parent().unwrap().parent().unwrap();
    let (made, python) = (target.join(name), target.join(name).join("bin/python"));
    let mut look = Command::new(&python);
    if !look.args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        if is_fast() {
            return Err(format!("the fast lane has no {module}"));
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&made))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said.lines().last().unwrap_or_default())) }
}

/// As [`skipped`], for want of a tool, which in CI is a failure.
pub fn without_tool(why: &str) -> bool {
    assert!(set("CI").or_else(|| set("ELITELOOP_CI")).is_none_or(|value| value == "false"), "{why}: CI has to install it");
    skipped(why)
}

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Tells that this test did not do its work; false.
#[allow(clippy::print_stderr)]
pub fn skipped(why: &str) -> bool {
    // The harness calls a test's thread by its name.
    let line = format!("{}\t{why}\n", std::thread::current().name().unwrap_or("a test"));
    eprint!("SKIPPED {line}");
    if let Some(list) = set("ELITELOOP_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        // In one piece: tests write at the same time.
        list.write_all(line.as_bytes()).unwrap();
    }
    false
}
