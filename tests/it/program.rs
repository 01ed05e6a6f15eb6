//! The program as its users start it, and the settings of a run that is over in seconds.

use std::borrow::BorrowMut;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// To start from a network that is soon trained, and short, so that prompts are.
pub const SMALL_NETWORK: &str = concat!("parents.start=[\"", env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/small.py\"]");

/// A run that does everything: two cycles of the real LLM and its tuning, trainings on the synthetic images.
pub const SMALL: [&str; 13] = [
    "seed=3",
    SMALL_NETWORK,
    "cycles=2",
    "candidates=6",
    "parents.per_cycle=2",
    "proxy.dataset=synthetic",
    "proxy.train_images=128",
    "proxy.valid_images=100",
    "proxy.epochs=1",
    "proxy.repeats=1",
    "elite.rho=0.5",
    "tune.epochs=2",
    "delta.max_tokens=80",
];

/// The program, its output for the test to read.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eliteloop"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same with the data sets of another folder.
pub fn with_data(data: &Path, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("ELITELOOP_DATA", data);
    command
}

/// A new run with these settings.
pub fn run(out: &Path, settings: &[&str]) -> Command {
    let mut command = program(&["run", "--out"]);
    command.arg(out).args(settings.iter().flat_map(|setting| ["--set", setting]));
    command
}

/// A new run with the settings above and those given, which go over them.
pub fn small_run(out: &Path, more: &[&str]) -> Command {
    run(out, &[&SMALL[..], more].concat())
}

/// Runs a command to its end; gives stdout.
pub fn succeed(mut command: impl BorrowMut<Command>) -> String {
    let command: &mut Command = command.borrow_mut();
    let output = command.output().unwrap();
    let said = stderr(&output);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}\n{stdout}\n{said}");
    stdout
}

/// Exit code and stderr of a command that is expected to fail.
pub fn fail(mut command: impl BorrowMut<Command>) -> (i32, String) {
    let command: &mut Command = command.borrow_mut();
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} succeeded");
    (output.status.code().unwrap_or(-1), stderr(&output))
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
