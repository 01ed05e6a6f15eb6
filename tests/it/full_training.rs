//! Whole runs with full trainings beside the short ones: whom they are of, that no result hangs on them, and what claim 6 makes of them.

use std::path::Path;

use eliteloop::record::{FullTraining, NetworkId, Store, folder};
use eliteloop::report::collect;

use crate::program::{self, TRAININGS, all_hold, fail, program, succeed};

const SETTINGS: [&str; 3] = ["proxy.epochs=1", "proxy.repeats=0", "novelty.threshold=0.999"];

fn run(out: &Path, more: &[&str]) -> Store {
    succeed(program::run(out, &[&TRAININGS[..], &SETTINGS, more].concat()));
    Store::read(&folder::store_path(out)).unwrap()
}

fn full(store: &Store) -> Vec<FullTraining> {
    store.full_trainings().unwrap().into_iter().map(|t| FullTraining { seconds: 0.0, ..t }).collect()
}

#[test]
fn some_of_each_cycle_are_trained_in_full_and_nothing_else_changes() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let (with, without) = (base.path().join("with"), base.path().join("without"));
    let (store, other) = (run(&with, &["proxy.full={ networks = 3, epochs = 2 }"]), run(&without, &["proxy.workers=1"]));
    let trainings = full(&store);
    for cycle in 1..=2 {
        let own = trainings.iter().filter(|t| matches!(t.network, NetworkId::Candidate { cycle: of, .. } if of == cycle));
        assert_eq!(own.count(), 3, "{trainings:?}");
    }
    assert!(trainings.iter().all(|t| t.epochs == 2 && t.accuracy.is_some_and(|a| (0.0..=1.0).contains(&a))), "{trainings:?}");
    assert!(full(&other).is_empty());
    assert_eq!(store.qualities().unwrap(), other.qualities().unwrap());
    assert_eq!(store.elites().unwrap(), other.elites().unwrap());
    // Another seed than any that gave a quality.
    let seeds: Vec<u64> = store.trainings().unwrap().iter().map(|t| t.seed).collect();
    assert!(trainings.iter().all(|t| !seeds.contains(&t.seed)));

    let panels = collect::collect(&with).unwrap().theory;
    let numbers = &panels.iter().find(|p| p.claim.number() == 6).unwrap().numbers;
    assert!(numbers.iter().any(|(name, _)| name == "rank correlation of proxy and full training, observed"), "{numbers:?}");
    let checks = succeed(program(&["verify", with.to_str().unwrap()]));
    assert!(all_hold(&checks), "{checks}");
    // One that is gone is missed; the chain is another check.
    let path = folder::store_path(&with);
    drop(store);
    rusqlite::Connection::open(&path).unwrap().execute("DELETE FROM full_training WHERE network LIKE '2/%'", []).unwrap();
    let (_, said) = fail(program(&["verify", with.to_str().unwrap()]));
    assert!(!said.is_empty());
    let output = program(&["verify", with.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("the full training of 2/"), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let base = tempfile::tempdir().unwrap();
    for (setting, why) in [("proxy.full.epochs=0", "proxy.full.epochs"), ("proxy.full={ nets = 3 }", "nets")] {
        let (_, said) = fail(program::run(&base.path().join("x"), &[&TRAININGS[..], &SETTINGS, &[setting]].concat()));
        assert!(said.contains(why), "{said}");
    }
}
