//! `watch`, and the page that follows a run.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use eliteloop::record::{Store, folder};

use crate::program::{SMALL_NETWORK, fail, program, small_run, succeed, wait_for};

const SETTINGS: [&str; 6] = ["policy=random", "cycles=3", "candidates=4", "proxy.train_images=64", "proxy.valid_images=40", SMALL_NETWORK];

fn screen(folder: &Path, more: &[&str]) -> String {
    let mut command = program(&["watch", "--once"]);
    command.arg(folder).args(more);
    succeed(command)
}

#[test]
fn a_run_is_seen_while_it_goes_on_and_when_it_is_through() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let (run, page) = (base.path().join("run"), base.path().join("run/report.html"));
    let mut child = small_run(&run, &SETTINGS).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&run, &mut child, |store| store.cycles().is_ok_and(|cycles| cycles.len() >= 2) && page.is_file());
    let seen = screen(&run, &[]);
    let is_on = |seen: &str| seen.contains("   about ") && (1..=3).any(|cycle| seen.contains(&format!("cycle {cycle}: ")));
    assert!(is_on(&seen) || seen.contains("finished"), "{seen}");
    // Killed, it stays as it is.
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Store::read(&folder::store_path(&run)).unwrap();
    let closed = store.cycles().unwrap().last().unwrap().cycle;
    // On a machine so busy that it was through before it was killed, its page is as it stays.
    let is_through = store.meta("finished").unwrap().is_some();
    let seen = screen(&run, &[]);
    assert!(seen.contains(&format!("{closed} of 3 cycles")), "{seen}");
    // Nobody is at it, so it does nothing and has no time left; its folder, made by the test, is long.
    assert!(is_through || seen.contains("stopped; go on with: eliteloop resume ") && !seen.contains("   about "), "{seen}");
    let reloads = "http-equiv=\"refresh\"";
    let follows = std::fs::read_to_string(&page).unwrap().contains(reloads);
    assert!(follows || is_through, "the page of a run that goes on does not follow it");

    let mut resume = program(&["resume"]);
    resume.arg(&run);
    succeed(resume);
    let seen = screen(&run, &["--size", "100x36"]);
    assert!(seen.contains("3 of 3 cycles") && seen.contains("finished") && !seen.contains("   about "), "{seen}");
    assert_eq!(seen.trim_end().lines().count(), 36);
    assert!(seen.lines().all(|line| line.chars().count() <= 100));
    assert!(!std::fs::read_to_string(&page).unwrap().contains(reloads));
    // What is on record is what is seen: the best network, its quality, and how many were asked for.
    let store = Store::read(&folder::store_path(&run)).unwrap();
    let best = store.qualities().unwrap().into_values().max_by(f64::total_cmp).unwrap();
    assert!(seen.contains(&format!("{:.1}%", 100.0 * best)), "{seen}");
    let asked = seen.lines().find(|line| line.contains("asked")).unwrap();
    assert!(asked.contains("   4"), "{asked}");
    // One of its changes.
    assert!(seen.contains("\u{2502}+ ") || seen.contains("\u{2502}- "), "{seen}");
}

#[test]
fn several_runs_are_lines_and_what_is_no_run_is_an_error() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    // The second one as a study has it.
    for (name, cycles) in [("one", "cycles=1"), ("no-llm/random/seed-2", "cycles=2")] {
        std::fs::create_dir_all(base.path().join(name).parent().unwrap()).unwrap();
        succeed(small_run(&base.path().join(name), &[&SETTINGS[..], &[cycles]].concat()));
    }
    let seen = screen(base.path(), &[]);
    assert!(
        seen.contains("2 of 2 finished") && seen.contains("1/1") && seen.contains("2/2") && seen.contains("no-llm/random/seed-2"),
        "{seen}"
    );
    assert_eq!(seen.trim_end().lines().count(), 2 + 4, "a screen as high as its runs: {seen}");
    let empty = base.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut command = program(&["watch"]);
    command.arg(&empty);
    let (code, said) = fail(command);
    assert!(code == 2 && said.contains("there is no run and no audit in"), "{said}");
}

/// A study of two runs of which one is begun and was stopped.
#[test]
fn a_study_shows_the_runs_that_wait_and_those_that_were_stopped() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let (file, out) = (base.path().join("two.toml"), base.path().join("two"));
    let settings: String =
        SETTINGS[1..].iter().map(|setting| setting.split_once('=').unwrap()).fold(String::new(), |text, (key, value)| {
            if key == "cycles" || key == "candidates" { text } else { format!("{text}settings.{key} = {value}\n") }
        });
    let head = "kind = \"run\"\ncycles = 3\ncandidates = 4\nseeds = [1, 2]\nworkers = 1\nsettings.proxy.dataset = \"synthetic\"\n";
    std::fs::write(&file, [head, &settings, "[arms.random]\npolicy = \"random\"\n"].concat()).unwrap();
    let mut study = program(&["study"]);
    study.arg(&file).arg("--out").arg(&out);
    let mut child = study.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let first = out.join("no-llm/random/seed-1");
    wait_for(&first, &mut child, |store| store.cycles().is_ok_and(|cycles| !cycles.is_empty()));
    child.kill().unwrap();
    child.wait().unwrap();
    // Its run ends with it, in a moment.
    std::thread::sleep(Duration::from_secs(1));
    let seen = screen(&out, &[]);
    assert!(seen.contains("0 of 2 finished") && seen.contains("stopped") && seen.contains("waits") && seen.contains("0/3"), "{seen}");
}

/// The diff of a source that would clear the screen has the letters of the sequence, not the sequence.
#[test]
fn what_a_terminal_would_obey_is_not_on_the_screen() {
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    // Of one cycle, so that the parent is a start network, whose source is as it was.
    succeed(small_run(&run, &[&SETTINGS[..], &["cycles=1"]].concat()));
    let db = rusqlite::Connection::open(folder::store_path(&run)).unwrap();
    let changed =
        db.execute("UPDATE candidate SET source = 'x = \"' || char(27) || '[2J\"' || char(10) || source WHERE source IS NOT NULL", []);
    assert!(changed.unwrap() > 0);
    drop(db);
    let seen = screen(&run, &[]);
    assert!(seen.contains("\\u001b[2J") && !seen.contains('\u{1b}'), "{seen}");
}
