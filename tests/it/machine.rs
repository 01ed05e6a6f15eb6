//! What the machine does to a run changes nothing of it: load, pauses, kills of its children, limits that leave no room.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eliteloop::record::{Store, folder};

use crate::program::{Kept, all_hold, contents, copy_folder, fail, program, small_run, stderr, succeed, wait_for};

/// No LLM, and little to train: the same gates, trainings and selection, in seconds.
const SETTINGS: [&str; 5] = ["policy=random", "elite.held_out=0.3", "candidates=4", "proxy.train_images=64", "proxy.valid_images=40"];

fn start(out: &Path, more: &[&str]) -> Command {
    small_run(out, &[&SETTINGS[..], more].concat())
}

/// The run with nothing beside it, shared by the tests of this file.
fn undisturbed() -> &'static Kept {
    static RUN: OnceLock<Kept> = OnceLock::new();
    RUN.get_or_init(|| Kept::of(|path| start(path, &[])))
}

fn is_undisturbed(run: &Path) {
    assert!(contents(run) == undisturbed().contents, "the rows differ from those of an undisturbed run");
    let checks = succeed(program(&["verify"]).arg(run));
    assert!(checks.lines().count() >= 8 && all_hold(&checks), "{checks}");
}

/// Processes that `parent` started and that still run, with their verbs. As quick as can be: a sandbox lives for some milliseconds.
fn children(parent: u32) -> Vec<(u32, String)> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let of_thread = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let all: String = threads.flatten().map(of_thread).collect();
    let verb = |pid: u32| -> Option<(u32, String)> {
        // Empty of one that has ended and was not waited for.
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
        let verb = command.split(|&byte| byte == 0).nth(1)?;
        Some((pid, String::from_utf8_lossy(verb).into_owned()))
    };
    all.split_whitespace().filter_map(|pid| verb(pid.parse().ok()?)).collect()
}

fn send(signal: &str, pids: &[u32]) {
    let mut command = Command::new("kill");
    // What has ended meanwhile is no concern.
    command.arg(format!("-{signal}")).args(pids.iter().map(u32::to_string)).stderr(Stdio::null()).status().unwrap();
}

/// Waits for children with this verb; None where the run ended before there were any.
fn wait_for_children(run: &mut Child, verb: &str) -> Option<Vec<u32>> {
    let began = Instant::now();
    while run.try_wait().unwrap().is_none() {
        let found: Vec<u32> = children(run.id()).into_iter().filter(|(_, found)| found == verb).map(|(pid, _)| pid).collect();
        if !found.is_empty() {
            return Some(found);
        }
        assert!(began.elapsed() < Duration::from_mins(5), "the run starts no {verb}");
        std::thread::sleep(Duration::from_micros(300));
    }
    None
}

fn begin(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Its settings were tried on a sandbox and a worker already; what comes now is the run.
fn begin_run(run: &Path) -> Child {
    let mut child = begin(start(run, &[]));
    wait_for(run, &mut child, |s| s.starts().is_ok());
    child
}

fn end(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Twelve threads that do nothing but that.
fn under_load<T>(work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_run_beside_twelve_busy_loops_is_the_same() {
    needs!(Minutes);
    undisturbed();
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    under_load(|| succeed(start(&run, &[])));
    is_undisturbed(&run);
}

#[test]
fn a_run_that_is_stopped_for_seven_seconds_three_times_is_the_same() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let mut child = begin_run(&run);
    for (verb, with_parent) in [("worker", true), ("sandbox", true), ("worker", false)] {
        let Some(mut stopped) = wait_for_children(&mut child, verb) else { panic!("no {verb} to stop") };
        if with_parent {
            // First, so that it starts no more.
            send("STOP", &[child.id()]);
            stopped = children(child.id()).into_iter().map(|(pid, _)| pid).chain([child.id()]).collect();
        }
        send("STOP", &stopped);
        std::thread::sleep(Duration::from_secs(7));
        send("CONT", &stopped);
    }
    end(child);
    is_undisturbed(&run);
}

#[test]
fn children_that_are_killed_once_change_nothing() {
    needs!(Minutes);
    for (verb, signal) in [("sandbox", "KILL"), ("worker", "KILL"), ("sandbox", "TERM"), ("worker", "HUP")] {
        // Where the machine is so busy that no child was seen before the run ended, another run is begun.
        let is_killed = (0..5).any(|_| {
            let base = tempfile::tempdir().unwrap();
            let run = base.path().join("run");
            let mut child = begin_run(&run);
            let found = wait_for_children(&mut child, verb);
            if let Some(found) = &found {
                send(signal, &found[..1]);
            }
            end(child);
            is_undisturbed(&run);
            found.is_some()
        });
        assert!(is_killed, "no {verb} to kill");
    }
}

/// Kills every child with this verb until the run ends.
fn kill_all(mut child: Child, verb: &str) -> (i32, String) {
    let mut killed = BTreeSet::new();
    while let Some(found) = wait_for_children(&mut child, verb) {
        send("KILL", &found);
        killed.extend(found);
    }
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert!(killed.len() >= 2, "{verb}: killed {killed:?}: {said}");
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn a_machine_that_kills_the_same_job_twice_ends_the_run_and_resume_goes_on() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let resume = || {
        let mut command = program(&["resume"]);
        command.arg(&run);
        command
    };
    for (place, verb) in ["sandbox", "worker", "sandbox"].into_iter().enumerate() {
        let child = if place == 0 { begin_run(&run) } else { begin(resume()) };
        let (code, said) = kill_all(child, verb);
        assert!(code == 1 && said.contains("twice in a row") && said.contains("eliteloop resume"), "{verb}: {code}: {said}");
        let store = Store::read(&folder::store_path(&run)).unwrap();
        assert!(store.trainings().unwrap().iter().all(|t| t.failure.is_none()), "{verb}: a training failed for the machine's sake");
        let lost = ["lost", "crash", "memory", "cpu_time"].map(String::from);
        assert!(
            store.candidates().unwrap().iter().all(|c| c
                .screened
                .as_ref()
                .and_then(|s| s.reason.as_ref())
                .is_none_or(|reason| !lost.contains(reason))),
            "{verb}"
        );
    }
    succeed(resume());
    is_undisturbed(&run);
}

#[test]
fn workers_end_with_the_run_that_started_them() {
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let mut child = begin(start(&run, &["proxy.epochs=100000", "proxy.max_training_macs=0"]));
    wait_for(&run, &mut child, |s| s.networks().is_ok_and(|n| !n.is_empty()));
    let workers = wait_for_children(&mut child, "worker").expect("a worker");
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    while workers.iter().any(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("worker"))) {
        assert!(began.elapsed() < Duration::from_secs(30), "a worker trains on for a run that is gone");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_source_ends_for_the_same_reason_alone_and_under_load() {
    needs!(Minutes);
    let folder = tempfile::tempdir().unwrap();
    let network = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks/plain.py")).unwrap();
    let file = |name: &str, prelude: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{prelude}\n{network}")).unwrap();
        path
    };
    let endless = file("endless.py", "while True: pass");
    let calls = file("calls.py", "def f(n):\n    return 1 if n == 0 else f(n - 1) + f(n - 1)\nf(60)");
    // Many of the steps that it may take: seconds alone, far more of the clock under load.
    let long = file("long.py", "for _ in range(2_000_000): pass");
    let ends = |path: &Path| {
        let (code, said) = fail(program(&["trace"]).arg(path));
        assert!(code == 2 && said.contains("not done after 5000000 steps"), "{said}");
    };
    let look = || {
        ends(&endless);
        succeed(program(&["trace"]).arg(&long))
    };
    let alone = look();
    ends(&calls);
    assert_eq!(under_load(look), alone);
}

#[test]
fn limits_that_leave_no_room_for_any_network_are_an_error_before_anything_is_written() {
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("run");
    for (setting, key) in [
        ("proxy.memory_mib=1", "proxy.memory_mib"),
        ("proxy.memory_mib=420", "proxy.memory_mib"),
        ("screen.trace_steps=10", "screen.trace_steps"),
    ] {
        let (code, said) = fail(start(&out, &[setting]));
        assert!(code == 2 && said.contains("hint:") && said.contains(&format!("raise {key}")), "{setting}: {code}: {said}");
        assert!(!out.exists(), "{setting} left a folder");
    }
}

#[test]
fn a_network_whose_training_would_take_too_much_is_refused_with_both_numbers() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let (code, said) = fail(start(&base.path().join("run"), &["proxy.max_training_macs=1000"]));
    assert!(code == 2 && said.contains("multiply-accumulates of its training, at most 1000"), "{said}");
    // What the one start network takes: candidates that take more are refused, the others trained.
    let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks/plain.py");
    let passes = 3 * 64 + 40;
    let most = 1_622_336 * passes;
    let run = base.path().join("limited");
    let settings = [format!("proxy.max_training_macs={most}"), format!("parents.start=[{:?}]", plain.display().to_string())];
    succeed(start(&run, &[&settings[0], &settings[1], "cycles=1", "candidates=8"]));
    let limited = Store::read(&folder::store_path(&run)).unwrap();
    let (mut refused, mut trained) = (0, 0);
    for candidate in limited.candidates().unwrap() {
        let Ok(network) = limited.network(&candidate.id()) else { continue };
        if network.macs * passes > most {
            let detail = candidate.screened.and_then(|s| s.detail).unwrap_or_default();
            assert_eq!(detail, format!("{} multiply-accumulates of its training, at most {most}", network.macs * passes));
            refused += 1;
        } else {
            trained += u64::from(limited.qualities().unwrap().contains_key(&candidate.id()));
        }
    }
    assert!(refused > 0 && trained > 0, "{refused} refused, {trained} trained");
}

#[test]
fn a_run_with_limits_by_the_clock_is_read_but_not_gone_on_with() {
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    copy_folder(&undisturbed().path, &run);
    let settings = run.join("run.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("[proxy]\n", "[proxy]\ndeadline_seconds = 120.0\n")).unwrap();
    let (code, said) = fail(program(&["resume"]).arg(&run));
    assert!(code == 2 && said.contains("proxy.deadline_seconds") && said.contains("the version that began it"), "{said}");
    is_undisturbed(&run);
    let evaluated = succeed(program(&["eval", "--candidate", "start/plain", "--epochs", "1", "--json"]).arg(&run));
    assert!(evaluated.contains("start/plain"));
}
