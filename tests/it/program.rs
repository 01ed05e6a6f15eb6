//! The program as its users start it, and the settings of a run that is over in seconds.

use std::borrow::BorrowMut;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use eliteloop::record::{Store, Training, folder};

/// To start from a network that is soon trained, and short, so that prompts are.
pub const SMALL_NETWORK: &str = concat!("parents.start=[\"", env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/small.py\"]");

/// A run that does everything: two cycles of the real LLM and its tuning, trainings on the synthetic images.
pub const SMALL: [&str; 12] = [
    "seed=3",
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

/// A run of many small trainings and no LLM.
pub const TRAININGS: [&str; 10] = [
    SMALL_NETWORK,
    "policy=random",
    "seed=4",
    "cycles=2",
    "candidates=8",
    "parents.per_cycle=2",
    "proxy.dataset=synthetic",
    "proxy.train_images=64",
    "proxy.valid_images=100",
    "proxy.batch=32",
];

/// A run that tests of one file share: its folder, and what it stored.
pub struct Kept {
    pub path: PathBuf,
    pub contents: String,
    _base: tempfile::TempDir,
}

impl Kept {
    pub fn of(start: impl FnOnce(&Path) -> Command) -> Self {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        succeed(start(&path));
        let contents = contents(&path);
        Self { path, contents, _base: base }
    }
}

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

/// Whether `verify` found everything as it was, whatever it says that it did not do without being asked.
pub fn all_hold(checks: &str) -> bool {
    let not_asked = |line: &str| line.starts_with("not recomputed") && (line.contains("trained again") || line.contains("draws and steps"));
    !checks.is_empty() && checks.lines().all(|line| line.starts_with("ok") || not_asked(line))
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

/// Everything a run stored but times: two runs are the same if and only if this is.
pub fn contents(run: &Path) -> String {
    let store = Store::read(&folder::store_path(run)).unwrap();
    let trainings: Vec<Training> = store.trainings().unwrap().into_iter().map(|t| Training { seconds: 0.0, ..t }).collect();
    let mut text = format!(
        "{:#?}\n{:#?}\n{trainings:#?}\n{:#?}\n{:#?}\n",
        store.candidates().unwrap(),
        store.networks().unwrap(),
        store.elites().unwrap(),
        store.cycles().unwrap(),
    );
    for row in store.cycles().unwrap() {
        let folder = folder::checkpoint(run, row.cycle);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).map(|d| d.map(|e| e.unwrap().path()).collect()).unwrap_or_default();
        files.sort();
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            writeln!(text, "{} {:?}", file.file_name().unwrap().display(), crc(&bytes)).unwrap();
        }
    }
    text
}

fn crc(bytes: &[u8]) -> (usize, u32) {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    (bytes.len(), crc.sum())
}

/// Waits until the store of a run shows `wanted`, or the run is over.
pub fn wait_for(run: &Path, child: &mut Child, wanted: impl Fn(&Store) -> bool) {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if Store::read(&folder::store_path(run)).is_ok_and(|s| wanted(&s)) {
            return;
        }
        assert!(began.elapsed() < Duration::from_mins(5), "the run does not get there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every row that a run or an audit stored, but times: two are the same if and only if this is.
pub fn rows(run: &Path) -> String {
    let db = rusqlite::Connection::open_with_flags(run.join("run.sqlite"), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'phase' ORDER BY name").unwrap();
    let names: Vec<String> = tables.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    let mut text = String::new();
    for name in names {
        let condition = if name == "meta" { "WHERE key NOT IN ('started', 'finished')" } else { "" };
        let mut statement = db.prepare(&format!("SELECT * FROM {name} {condition} ORDER BY rowid")).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let value = |(at, column): (usize, &String)| format!("{column}={:?}", row.get::<_, rusqlite::types::Value>(at).unwrap());
            let timeless = columns.iter().enumerate().filter(|(_, column)| !column.starts_with("seconds"));
            writeln!(text, "{name}: {}", timeless.map(value).collect::<Vec<_>>().join(", ")).unwrap();
        }
    }
    text
}
