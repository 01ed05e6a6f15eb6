//! Whole runs of the real program: the real LLM, real trainings (on the synthetic images, so they are short).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use eliteloop::gates::Stage;
use eliteloop::record::{NetworkId, Store, folder};

use crate::needs::without_tool;
use crate::program::{SMALL_NETWORK, contents, copy_folder, fail, program, small_run, succeed, wait_for};

fn start(out: &Path, more: &[&str]) -> Command {
    small_run(out, &[&["elite.held_out=0.3", SMALL_NETWORK], more].concat())
}

struct Finished {
    _base: tempfile::TempDir,
    run: PathBuf,
    contents: String,
}

/// One unbroken run, shared by the tests of this file.
fn unbroken() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join("run");
        succeed(start(&run, &[]));
        let contents = contents(&run);
        Finished { _base: base, run, contents }
    })
}

type Point = (&'static str, fn(&Store) -> bool);

#[test]
fn a_run_killed_anywhere_and_resumed_equals_an_unbroken_one() {
    needs!(Model);
    let whole = unbroken();
    let points: [Point; 5] = [
        ("while start networks train", |s| s.networks().is_ok_and(|n| !n.is_empty())),
        ("after the first proposals", |s| s.candidates().is_ok_and(|c| !c.is_empty())),
        ("in the first cycle's trainings", |s| {
            s.trainings().is_ok_and(|t| t.iter().any(|t| matches!(t.network, NetworkId::Candidate { cycle: 1, .. })))
        }),
        ("when the first cycle's trainings are done: while tuning", |s| {
            s.candidates_of(1).is_ok_and(|c| c.iter().any(|c| c.stage() == Some(Stage::Trained)))
        }),
        ("in the second cycle", |s| s.cycles().is_ok_and(|c| c.len() == 2)),
    ];
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    // One run that is killed at every point in turn: each resume has to find its way from what the last kill left.
    let mut command = start(&run, &[]);
    for (name, reached) in points {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&run, &mut child, reached);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(folder::store_path(&run).is_file(), "{name}");
        command = program(&["resume"]);
        command.arg(&run);
    }
    succeed(command);
    assert!(contents(&run) == whole.contents, "the resumed run differs from the unbroken one");
}

/// As when it is built again meanwhile: sandboxes and workers of later cycles are still this program.
#[test]
fn a_program_whose_file_goes_away_ends_its_run_as_if_it_had_not() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let (copy, run) = (base.path().join("eliteloop"), base.path().join("run"));
    std::fs::copy(env!("CARGO_BIN_EXE_eliteloop"), &copy).unwrap();
    let mut child = Command::new(&copy).args(start(&run, &[]).get_args()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&run, &mut child, |s| s.networks().is_ok_and(|n| !n.is_empty()));
    std::fs::remove_file(&copy).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(contents(&run) == unbroken().contents);
}

#[test]
fn a_kill_between_the_last_training_and_what_follows_from_it_changes_nothing() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let copy = base.path().join("run");
    copy_folder(&unbroken().run, &copy);
    let db = rusqlite::Connection::open(folder::store_path(&copy)).unwrap();
    db.execute_batch(
        "UPDATE candidate SET stage = 'novel' WHERE cycle = 2 AND stage = 'trained'; DELETE FROM cycle WHERE cycle = 2; DELETE FROM elite WHERE cycle = 2;",
    )
    .unwrap();
    drop(db);
    succeed(program(&["resume"]).arg(&copy));
    assert!(contents(&copy) == unbroken().contents);
}

#[test]
fn workers_and_threads_do_not_change_a_run() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    succeed(start(&run, &["threads=1", "proxy.workers=1"]));
    assert!(contents(&run) == unbroken().contents, "one worker and one thread give another run than two and two");
}

#[test]
fn a_finished_run_verifies_and_reports_and_resuming_it_changes_nothing() {
    needs!(Model);
    let run = &unbroken().run;
    let checks = succeed(program(&["verify"]).arg(run));
    assert!(checks.lines().count() >= 10 && checks.lines().all(|l| l.starts_with("ok")), "{checks}");
    let path = succeed(program(&["report"]).arg(run));
    let html = std::fs::read_to_string(path.trim()).unwrap();
    assert!(html.contains("<svg") && html.contains("class Net"));
    succeed(program(&["resume"]).arg(run));
    assert!(contents(run) == unbroken().contents);
}

#[test]
fn verify_finds_what_was_changed_afterwards() {
    needs!(Model);
    let tamperings = [
        (
            "UPDATE training SET accuracy = 0.99 WHERE network = '1/0' OR network = (SELECT network FROM training WHERE network LIKE '1/%' LIMIT 1)",
            "elites",
        ),
        ("UPDATE candidate SET completion = completion || 'x' WHERE cycle = 1 AND idx = 1", "completions"),
        ("UPDATE candidate SET log_p = log_p - 1 WHERE cycle = 2 AND idx = 0", "log-probabilities"),
        ("UPDATE elite SET example_hash = 'none' WHERE cycle = 1", "manifest"),
        ("UPDATE cycle SET adapter_hash = 'none' WHERE cycle = 1", "adapters"),
        ("UPDATE candidate SET parent = 'start/small' WHERE cycle = 2", "parents"),
        ("UPDATE candidate SET line = coalesce(line, 0) + 1 WHERE cycle = 1", "screen"),
        ("UPDATE training SET seed = seed + 1", "training seeds"),
        ("UPDATE cycle SET tuning = json_set(tuning, '$.before', 1.0) WHERE tuning IS NOT NULL", "identity"),
    ];
    for (sql, check) in tamperings {
        let base = tempfile::tempdir().unwrap();
        let copy = base.path().join("run");
        copy_folder(&unbroken().run, &copy);
        rusqlite::Connection::open(folder::store_path(&copy)).unwrap().execute_batch(sql).unwrap();
        let output = program(&["verify"]).arg(&copy).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success(), "{sql} is not noticed:\n{stdout}");
        assert!(stdout.lines().any(|l| l.starts_with("WRONG") && l.contains(check)), "{sql}: no complaint about {check}:\n{stdout}");
    }
}

#[test]
fn the_controls_run_without_tuning() {
    needs!(Model);
    for policy in ["policy=random", "policy=frozen"] {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join("run");
        succeed(start(&run, &[policy, "cycles=1"]));
        let store = Store::read(&folder::store_path(&run)).unwrap();
        assert!(store.cycles().unwrap().iter().all(|c| c.tuning.is_none()), "{policy}");
        assert!(store.candidates().unwrap().iter().any(|c| c.stage() == Some(Stage::Trained)), "{policy} trained nothing");
        succeed(program(&["verify"]).arg(&run));
    }
}

#[test]
fn ctrl_c_saves_and_says_how_to_go_on() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let mut child = start(&run, &[]).spawn().unwrap();
    wait_for(&run, &mut child, |s| s.trainings().is_ok_and(|t| !t.is_empty()));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("eliteloop resume"), "{stderr}");
    succeed(program(&["resume"]).arg(&run));
    assert!(contents(&run) == unbroken().contents);
}

#[test]
fn bad_input_is_refused_with_a_hint_before_anything_is_written() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("run");
    let empty = base.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let latin1 = base.path().join("latin1.py");
    std::fs::write(&latin1, b"# caf\xe9\nclass Net: pass\n").unwrap();
    let endless = base.path().join("endless.py");
    std::fs::write(&endless, "while True: pass\n").unwrap();
    let start_with = |path: &Path| format!("parents.start=[{:?}]", path.display().to_string());
    let cases: [(&[&str], &str); 6] = [
        (&["elite.roh=0.2"], "rho"),
        (&["elite.rho=2"], "rho"),
        (&["llm.model=no-such-model"], "models list"),
        (&["llm.adapter=/no/such/adapter"], "adapter"),
        (&["proxy.dataset=cifar11"], "cifar10"),
        (&[&start_with(&latin1)], "UTF-8"),
    ];
    for (settings, word) in cases {
        let (code, stderr) = fail(start(&out, settings));
        assert_eq!(code, 2, "{settings:?}: {stderr}");
        assert!(stderr.contains(word), "{settings:?}: {stderr}");
        assert!(!out.exists(), "{settings:?} left a folder");
    }
    let (code, stderr) = fail(start(&out, &[&start_with(&endless)]));
    assert!(code == 2 && stderr.contains("endless"), "{stderr}");

    let mut missing = start(&base.path().join("other"), &[]);
    missing.env("ELITELOOP_MODELS", &empty);
    let (code, stderr) = fail(missing);
    assert!(code == 2 && stderr.contains("scripts/fetch model"), "{stderr}");

    let mut missing = start(&base.path().join("other"), &["proxy.dataset=cifar10"]);
    missing.env("ELITELOOP_DATA", &empty);
    let (code, stderr) = fail(missing);
    assert!(code == 2 && stderr.contains("scripts/fetch cifar10"), "{stderr}");

    let occupied = base.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("note.txt"), "mine").unwrap();
    let (code, stderr) = fail(start(&occupied, &[]));
    assert!(code == 2 && stderr.contains("resume"), "{stderr}");
    assert_eq!(std::fs::read_to_string(occupied.join("note.txt")).unwrap(), "mine");

    for verb in ["resume", "report", "verify"] {
        let (code, stderr) = fail(program(&[verb]).arg(&empty));
        assert!(code == 2 && stderr.contains("hint"), "{verb}: {stderr}");
    }
}

/// A small file system of its own, gone with the test.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(place.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|s| s.success()).then_some(Self(place))
    }

    fn grow(&self, size: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(self.0.path()).status().unwrap().success());
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_a_run_with_a_hint_and_resuming_it_loses_nothing() {
    needs!(Model);
    // Room for the first checkpoint (20 MB) and not for the second.
    let Some(disk) = SmallDisk::mount("30m") else {
        without_tool("mounting a small file system needs root");
        return;
    };
    let run = disk.0.path().join("run");
    let (code, stderr) = fail(start(&run, &[]));
    assert!(code == 1 && stderr.contains("disk is full"), "{code}: {stderr}");
    disk.grow("200m");
    succeed(program(&["resume"]).arg(&run));
    assert!(contents(&run) == unbroken().contents);
}

#[test]
fn a_run_of_another_store_version_is_refused() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let copy = base.path().join("run");
    copy_folder(&unbroken().run, &copy);
    rusqlite::Connection::open(folder::store_path(&copy))
        .unwrap()
        .execute_batch("UPDATE meta SET value = '0' WHERE key = 'format'")
        .unwrap();
    for verb in ["resume", "report", "verify"] {
        let (code, stderr) = fail(program(&[verb]).arg(&copy));
        assert!(code == 2 && stderr.contains("format 0"), "{verb}: {stderr}");
    }
}
