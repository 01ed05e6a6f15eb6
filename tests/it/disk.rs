//! What the disk and other programs do to a run: kills while its folder is made, no room, locks, edited settings; and how it ends.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use eliteloop::record::{Store, chain, folder};
use rusqlite::Connection;

use crate::needs::without_tool;
use crate::program::{Kept, SMALL_NETWORK, all_hold, contents, copy_folder, fail, program, small_run, stderr, succeed, wait_for};

/// A small file system of its own, gone with the test.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn mount(size: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(place.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|s| s.success()).then_some(Self(place))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it anew with other options: `size=1m`, `ro`.
    pub fn remount(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// No LLM, and little to train.
const SETTINGS: [&str; 5] = ["policy=random", "candidates=3", "proxy.train_images=64", "proxy.valid_images=40", SMALL_NETWORK];

fn start(out: &Path, more: &[&str]) -> Command {
    small_run(out, &[&SETTINGS[..], more].concat())
}

fn resume(run: &Path, more: &[&str]) -> Command {
    let mut command = program(&["resume"]);
    command.arg(run).args(more);
    command
}

/// The run with nothing in its way.
fn undisturbed() -> &'static Kept {
    static RUN: OnceLock<Kept> = OnceLock::new();
    RUN.get_or_init(|| Kept::of(|path| start(path, &[])))
}

/// The last link of the chain, without `prefix` and what follows.
fn head(run: &Path) -> String {
    chain::head(&Store::read(&folder::store_path(run)).unwrap()).unwrap().unwrap()
}

/// Goes on by `resume` where there is a run, else by the same command.
fn go_on(run: &Path) {
    let command = if folder::is_begun(run) { resume(run, &[]) } else { start(run, &[]) };
    succeed(command);
    assert!(contents(run) == undisturbed().contents, "the rows differ from those of an undisturbed run");
    assert_eq!(head(run), head(&undisturbed().path));
}

#[test]
fn a_run_killed_while_its_folder_is_made_resumes_or_begins_again_by_the_same_command() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    for (place, seen) in ["", ".lock", "run.toml", ".begin.sqlite", ".begin.sqlite-wal", "run.sqlite"].into_iter().enumerate() {
        let run = base.path().join(place.to_string());
        let mut child = start(&run, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !run.join(seen).exists() && !folder::is_begun(&run) && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if !folder::is_begun(&run) {
            let (code, said) = fail(resume(&run, &[]));
            assert!(code == 2 && said.contains("eliteloop run --out"), "{seen}: {said}");
        }
        go_on(&run);
    }
}

#[test]
fn a_disk_that_is_full_while_a_run_begins_loses_nothing() {
    needs!(Minutes);
    let Some(disk) = SmallDisk::mount("4m") else {
        without_tool("mounting a small file system needs root");
        return;
    };
    let run = disk.path().join("run");
    for room in ["8k", "40k", "80k", "240k"] {
        disk.remount(&format!("size={room}"));
        let (code, said) = fail(start(&run, &[]));
        assert!(code == 1 && said.contains("disk is full") && said.contains("hint:"), "{room}: {code}: {said}");
        disk.remount("size=8m");
        go_on(&run);
        std::fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_told() {
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let mut command = Command::new("sh");
    // Blocks of 512 or 1024 bytes.
    command.args(["-c", "ulimit -f 40; exec \"$@\"", "sh"]).arg(env!("CARGO_BIN_EXE_eliteloop")).args(start(&run, &[]).get_args());
    let (code, said) = fail(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    assert!(code == 1 && said.contains("ulimit -f"), "{code}: {said}");
    go_on(&run);
}

#[test]
fn a_start_network_that_fails_leaves_no_folder_and_the_corrected_command_begins() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let (run, network) = (base.path().join("run"), base.path().join("small.py"));
    let small = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small.py")).unwrap();
    let with = format!("parents.start=[{:?}]", network.display().to_string());
    for broken in ["class Net: pass\n".to_owned(), small.replace("nn.", "nm."), "while True: pass\n".to_owned()] {
        std::fs::write(&network, broken).unwrap();
        let (code, said) = fail(start(&run, &[&with]));
        assert!(code == 2 && said.contains("start network 'small'") && !run.exists(), "{code}: {said}");
    }
    std::fs::write(&network, small).unwrap();
    succeed(start(&run, &[&with]));
    assert!(contents(&run) == undisturbed().contents);
}

/// Holds a lock on the store of a run for some seconds, once it can be had.
fn hold(run: &Path, begin: &str, seconds: u64) -> std::thread::JoinHandle<()> {
    let (path, begin) = (folder::store_path(run), begin.to_owned());
    std::thread::spawn(move || {
        let began = Instant::now();
        loop {
            let held = Connection::open(&path).and_then(|db| {
                db.execute_batch(&begin)?;
                db.query_row("SELECT count(*) FROM candidate", [], |r| r.get::<_, u64>(0))?;
                Ok(db)
            });
            if let Ok(db) = held {
                std::thread::sleep(Duration::from_secs(seconds));
                drop(db);
                return;
            }
            assert!(began.elapsed() < Duration::from_mins(2), "no lock was to be had");
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

#[test]
fn who_looks_at_a_run_does_not_end_it_and_a_lock_is_waited_for_with_a_line() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    for (name, begin, is_told) in [("reader", "BEGIN", false), ("writer", "BEGIN IMMEDIATE", true), ("owner", "BEGIN EXCLUSIVE", true)] {
        let run = base.path().join(name);
        let mut child = start(&run, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&run, &mut child, |s| s.networks().is_ok_and(|n| !n.is_empty()));
        // A reader to the end; writers long enough to be noticed.
        let holder = hold(&run, begin, if is_told { 5 } else { 12 });
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let told = stderr(&output).contains("holds a lock on the run's store");
        assert_eq!(told, is_told, "{name}: {}", stderr(&output));
        holder.join().unwrap();
        assert!(contents(&run) == undisturbed().contents, "{name}");
        assert!(all_hold(&succeed(program(&["verify", "--quick"]).arg(&run))), "{name}");
    }
}

#[test]
fn locked_read_only_and_damaged_are_not_called_by_each_others_name() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    copy_folder(&undisturbed().path, &run);
    let store = folder::store_path(&run);
    let said_of = |verb: &str, run: &Path| {
        let (code, said) = fail(program(&[verb]).arg(run));
        (code, said.to_lowercase())
    };
    let owner = Connection::open(&store).unwrap();
    owner.execute_batch("PRAGMA journal_mode = WAL; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT").unwrap();
    let (code, said) = said_of("report", &run);
    assert!(code == 1 && said.contains("locked") && said.contains("close what holds") && !said.contains("damaged"), "{code}: {said}");
    drop(owner);
    let bytes = std::fs::read(&store).unwrap();
    let mut damaged = bytes.clone();
    damaged[4096..].fill(0xa5);
    std::fs::write(&store, damaged).unwrap();
    let (code, said) = said_of("report", &run);
    assert!(code == 1 && said.contains("damaged") && !said.contains("locked"), "{code}: {said}");
    std::fs::write(&store, b"not a database, but long enough to be read as one").unwrap();
    let (code, said) = said_of("resume", &run);
    assert!(code == 2 && said.contains("not a run of eliteloop"), "{code}: {said}");
    std::fs::write(&store, bytes).unwrap();
    let Some(disk) = SmallDisk::mount("8m") else {
        without_tool("mounting a small file system needs root");
        return;
    };
    let run = disk.path().join("run");
    copy_folder(&undisturbed().path, &run);
    disk.remount("ro");
    let (code, said) = said_of("resume", &run);
    assert!(code == 2 && said.contains("read-only") && !said.contains("damaged"), "{code}: {said}");
    succeed(program(&["verify", "--quick"]).arg(&run));
}

#[test]
fn settings_that_were_edited_are_refused_by_their_keys_and_more_cycles_are_asked_for() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    succeed(start(&run, &["cycles=1"]));
    let file = run.join("run.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    // ../shared/cases/reports/resume-edited-settings
    let edited = settings.replace("lr = 0.05", "lr = 0.5").replace("epochs = 1\n", "epochs = 2\n").replace("cycles = 1", "cycles = 2");
    std::fs::write(&file, edited).unwrap();
    let (code, said) = fail(resume(&run, &[]));
    assert!(code == 2 && said.contains("proxy.lr") && said.contains("proxy.epochs") && said.contains("--cycles N"), "{said}");
    std::fs::write(&file, &settings).unwrap();
    assert!(fail(resume(&run, &["--cycles", "0"])).1.contains("1 are closed"));
    let output = resume(&run, &["--cycles", "2", "--hours", "0"]).output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("the time that was given is over, after 1 cycle;"), "{said}");
    assert!(said.contains("eliteloop resume"), "{said}");
    // Time and place may be edited; that more cycles were asked for is written down.
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("cycles = 2"), "{text}");
    std::fs::write(&file, text.replace("workers = 2", "workers = 1")).unwrap();
    succeed(resume(&run, &[]));
    assert!(contents(&run) == undisturbed().contents);
    assert!(all_hold(&succeed(program(&["verify"]).arg(&run))));
}

#[test]
fn a_run_ends_well_at_the_quality_that_was_asked_for_and_can_go_on() {
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("a run");
    let output = start(&run, &[]).args(["--until-quality", "0.0"]).output().unwrap();
    let said = stderr(&output);
    // Any network has so much: the start networks are trained, and no cycle begins.
    assert!(
        output.status.success() && said.contains("as was asked for") && said.contains("a run'"),
        "a path with a blank is quoted: {said}"
    );
    assert!(run.join("best/network.py").is_file());
    assert_eq!(Store::read(&folder::store_path(&run)).unwrap().cycles().unwrap().len(), 1);
    succeed(resume(&run, &["--until-quality", "1"]));
    assert!(contents(&run) == undisturbed().contents);
    let (code, said) = fail(start(&base.path().join("other"), &[]).args(["--until-quality", "80"]));
    assert!(code == 2 && said.contains("from 0 to 1"), "{code}: {said}");
}

#[test]
fn a_run_whose_folder_is_deleted_says_so_at_the_next_cycle() {
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let mut child = start(&run, &["cycles=50"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&run, &mut child, |s| s.cycles().is_ok_and(|c| c.len() == 2));
    // What the run writes between two removals makes the folder one that is not empty.
    while std::fs::remove_dir_all(&run).is_err_and(|error| error.kind() == ErrorKind::DirectoryNotEmpty) {}
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code() == Some(1) && stderr(&output).contains("deleted or replaced"), "{}", stderr(&output));
}

fn signalled(run: &Path, signal: &str) -> (Option<i32>, String) {
    let mut child: Child = start(run, &["cycles=50"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(run, &mut child, |s| s.cycles().is_ok_and(|c| !c.is_empty()));
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn a_stop_ends_with_the_code_of_its_signal_and_output_that_cannot_be_written_with_an_error() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    for (signal, expected) in [("-TERM", 143), ("-INT", 130)] {
        let (code, said) = signalled(&base.path().join(signal), signal);
        assert!(code == Some(expected) && said.contains("stopped, nothing is lost") && !said.contains("error:"), "{code:?}: {said}");
    }
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small.py");
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for arguments in [&["trace"][..], &["trace", "--json"]] {
        let output = program(arguments).arg(&network).stdout(full()).output().unwrap();
        assert!(output.status.code() == Some(1) && stderr(&output).contains("the output could not be written"), "{}", stderr(&output));
    }
    // Nobody reads: as usual, nothing is said of it.
    let mut child = program(&["trace"]).arg(&network).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
}

#[test]
fn what_a_terminal_would_obey_does_not_reach_it() {
    let base = tempfile::tempdir().unwrap();
    let network = base.path().join("\u{1b}[31mred.py");
    std::fs::write(&network, "raise ValueError('\\x1b]0;pwned\\x07\\x1b[2J\\n\\u202eabc')\n").unwrap();
    let (code, said) = fail(program(&["trace"]).arg(&network));
    assert!(code == 2 && said.contains("pwned") && said.contains("\\u001b") && said.contains("\\u202e"), "{said:?}");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}') && !said.contains('\u{7}'), "{said:?}");
}

#[test]
fn a_kill_leaves_nothing_in_the_folder_for_temporary_files_and_the_next_start_what_was_half_written() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let (run, temporary) = (base.path().join("run"), base.path().join("tmp"));
    std::fs::create_dir(&temporary).unwrap();
    let left = || std::fs::read_dir(&temporary).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    let mut child = start(&run, &[]).env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&run, &mut child, |s| s.trainings().is_ok_and(|t| !t.is_empty()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(left().is_empty(), "{:?}", left());
    std::fs::write(run.join(".tmpAb3d"), "half").unwrap();
    succeed(resume(&run, &[]).env("TMPDIR", &temporary));
    assert!(left().is_empty() && !run.join(".tmpAb3d").exists());
    assert!(contents(&run) == undisturbed().contents);
    let (code, said) = fail(start(&base.path().join("other"), &[]).env("TMPDIR", base.path().join("nowhere")));
    assert!(code == 1 && said.contains("TMPDIR"), "{code}: {said}");
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_and_not_waited_for() {
    let base = tempfile::tempdir().unwrap();
    let pipe = base.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let path = pipe.to_str().unwrap();
    let started = format!("parents.start=[{path:?}]");
    for arguments in [
        vec!["trace", path],
        vec!["eval", path, "--dataset", "synthetic"],
        vec!["models", "import", path],
        vec!["doctor", "--quick", "--config", path],
        vec!["study", path, "--out", "/nowhere"],
        vec!["run", "--set", "policy=random", "--set", "proxy.dataset=synthetic", "--set", &started, "--out", "/nowhere"],
        vec!["run", "--config", path, "--out", "/nowhere"],
    ] {
        let (code, said) = fail(program(&arguments));
        assert!(code == 2 && said.contains("not an ordinary file"), "{arguments:?}: {code}: {said}");
    }
}
