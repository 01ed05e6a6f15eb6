//! Whole runs with successive halving: who goes on, what is stored of the others, and that nothing but the settings decides it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use eliteloop::gates::Stage;
use eliteloop::proxy::Epoch;
use eliteloop::record::{NetworkId, Store, Training, folder};

use crate::program::{self, TRAININGS, all_hold, copy_folder, program, succeed};

const SETTINGS: [&str; 4] = ["proxy.epochs=4", "proxy.repeats=2", "elite.rho=0.5", "novelty.threshold=0.999"];
const HALVING: &str = "proxy.halving={ epochs = 1, eta = 2 }";

fn run(out: &Path, more: &[&str]) {
    succeed(program::run(out, &[&TRAININGS[..], &SETTINGS, more].concat()));
}

fn store(run: &Path) -> Store {
    Store::read(&folder::store_path(run)).unwrap()
}

fn contents(run: &Path) -> String {
    let store = store(run);
    let trainings: Vec<Training> = store.trainings().unwrap().into_iter().map(|t| Training { seconds: 0.0, ..t }).collect();
    format!("{:#?}\n{trainings:#?}\n{:#?}", store.candidates().unwrap(), store.elites().unwrap())
}

/// One run with halving, shared by the tests of this file.
fn halved() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUN.get_or_init(|| {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        run(&path, &[HALVING]);
        (base, path)
    });
    path
}

fn is_of_cycle(network: &NetworkId, wanted: u64) -> bool {
    matches!(network, NetworkId::Candidate { cycle, .. } if *cycle == wanted)
}

#[test]
fn the_better_half_goes_on_as_if_it_had_never_stopped() {
    let base = tempfile::tempdir().unwrap();
    let whole = base.path().join("whole");
    run(&whole, &["cycles=1"]);
    let (whole, halved) = (store(&whole).trainings().unwrap(), store(halved()));
    let curve = |training: &Training| training.epochs().unwrap();
    let mut lengths = Vec::new();
    let mut first: Vec<(f64, usize)> = Vec::new();
    for training in halved.trainings().unwrap() {
        let epochs = curve(&training);
        if training.network == NetworkId::Start("small".into()) {
            assert_eq!(epochs.len(), 4, "start networks are trained whole");
        }
        assert_eq!(training.accuracy, Some(epochs.last().unwrap().valid_accuracy), "the quality is that of the last epoch");
        // The first cycle of both runs asks for the same candidates.
        if let Some(other) = whole.iter().find(|t| (&t.network, t.seed_index) == (&training.network, training.seed_index)) {
            let other: Vec<Epoch> = curve(other);
            assert_eq!(epochs[..], other[..epochs.len()], "{}", training.network);
        }
        if is_of_cycle(&training.network, 1) && !training.repeat {
            lengths.push(epochs.len());
            first.push((epochs[0].valid_accuracy, epochs.len()));
        }
    }
    let n = lengths.len();
    let at_least = |epochs: usize| lengths.iter().filter(|&&length| length >= epochs).count();
    assert!(n >= 4, "{n} candidates are too few to see anything");
    assert_eq!((at_least(2), at_least(4)), (n.div_ceil(2), n.div_ceil(2).div_ceil(2)), "{lengths:?}");
    let worst_on = first.iter().filter(|f| f.1 > 1).map(|f| f.0).fold(1.0, f64::min);
    assert!(first.iter().filter(|f| f.1 == 1).all(|f| f.0 <= worst_on), "{first:?}");
    let trained = halved.candidates().unwrap().into_iter().filter_map(|c| c.screened.filter(|s| s.stage == Stage::Trained));
    let dropped: Vec<String> = trained.filter_map(|s| s.detail).collect();
    assert!(!dropped.is_empty() && dropped.iter().all(|detail| detail.contains("dropped by halving after")), "{dropped:?}");
    for repeat in halved.trainings().unwrap().into_iter().filter(|t| t.repeat) {
        let own = halved.trainings().unwrap().into_iter().find(|t| t.network == repeat.network && !t.repeat).unwrap();
        assert_eq!(curve(&repeat).len(), curve(&own).len(), "the noise is measured at the same length");
    }
    assert!(!self::halved().join("halving").exists(), "the states are gone");
}

#[test]
fn workers_do_not_change_it_and_it_verifies_and_exports_a_dropped_network() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let one = base.path().join("one");
    run(&one, &[HALVING, "proxy.workers=1", "threads=1"]);
    assert!(contents(&one) == contents(halved()), "one worker gives another run than two");
    let path = halved().to_str().unwrap();
    let checks = succeed(program(&["verify", path]));
    assert!(checks.contains("dropped by halving") && all_hold(&checks), "{checks}");
    let dropped = store(halved())
        .candidates()
        .unwrap()
        .into_iter()
        .find(|c| c.screened.as_ref().is_some_and(|s| s.detail.is_some() && s.reason.is_none()))
        .unwrap();
    let out = base.path().join("out");
    succeed(program(&["export", path, "--candidate", &dropped.id().to_string(), "--out", out.to_str().unwrap()]));
    let card = std::fs::read_to_string(out.join("card.md")).unwrap();
    assert!(card.contains("Dropped by successive halving after"), "{card}");
}

#[test]
fn a_run_that_was_killed_between_rungs_goes_on_to_the_same() {
    needs!(Minutes);
    // As a kill leaves it: the second cycle open, some of it trained to the first rung, one not at all, and no states on disk.
    for keep in ["1 = 1", "idx % 3 <> 0"] {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        copy_folder(halved(), &path);
        let db = rusqlite::Connection::open(folder::store_path(&path)).unwrap();
        db.execute_batch(&format!(
            "UPDATE candidate SET stage = 'novel', detail = NULL WHERE cycle = 2 AND stage = 'trained';
             DELETE FROM cycle WHERE cycle = 2; DELETE FROM elite WHERE cycle = 2;
             DELETE FROM training WHERE network LIKE '2/%' AND repeat;
             DELETE FROM training WHERE network LIKE '2/%' AND NOT (SELECT {keep} FROM candidate WHERE cycle || '/' || idx = network);
             UPDATE training SET curve = json_array(json_extract(curve, '$[0]')), accuracy = json_extract(curve, '$[0].valid_accuracy')
             WHERE network LIKE '2/%';"
        ))
        .unwrap();
        drop(db);
        assert!(contents(&path) != contents(halved()));
        succeed(program(&["resume", path.to_str().unwrap()]));
        assert!(contents(&path) == contents(halved()), "{keep}");
    }
}

#[test]
fn verify_finds_a_training_of_another_length() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("run");
    copy_folder(halved(), &path);
    rusqlite::Connection::open(folder::store_path(&path))
        .unwrap()
        .execute_batch(
            "UPDATE training SET curve = json_array(json_extract(curve, '$[0]')), accuracy = json_extract(curve, '$[0].valid_accuracy')
             WHERE network LIKE '1/%' AND json_array_length(curve) = 4",
        )
        .unwrap();
    let output = program(&["verify", path.to_str().unwrap()]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.lines().any(|line| line.starts_with("WRONG") && line.contains("training lengths")), "{stdout}");
}

#[test]
fn scores_and_learning_curves_are_columns_and_the_report_tells_how_they_rank() {
    let db = rusqlite::Connection::open(folder::store_path(halved())).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT count(*) FROM score WHERE parameters > 0 AND synflow IS NOT NULL AND epochs BETWEEN 1 AND 4") > 4);
    assert_eq!(count("SELECT count(*) FROM learning_curve"), count("SELECT sum(epochs) FROM score"));
    let last =
        "SELECT count(*) FROM score JOIN learning_curve USING (network, seed_index) WHERE epoch = epochs AND valid_accuracy = accuracy";
    assert_eq!(count(last), count("SELECT count(*) FROM score"));
    let path = succeed(program(&["report", halved().to_str().unwrap()]));
    let html = std::fs::read_to_string(path.trim()).unwrap();
    let section = html.split("id=\"scores\"").nth(1).and_then(|rest| rest.split("</section>").next()).expect("a section of scores");
    for score in ["parameters", "synflow", "nwot", "accuracy after epoch 1", "accuracy after epoch 3"] {
        assert!(section.contains(score), "no {score} in {section}");
    }
    assert!(!section.contains("accuracy after epoch 4"), "the last epoch is the quality itself");
}
