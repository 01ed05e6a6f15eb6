//! Controls and updates of other kinds in whole audits: what they do, that they go on where they were stopped, and that `verify` does them
//! again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eliteloop::audit::climb::Climber;
use eliteloop::audit::settings::AuditConfig;
use eliteloop::audit::verify::verify;
use eliteloop::audit::{Audit, record};
use eliteloop::base::{done::Done, home, seed};
use eliteloop::decoder::lora::tune::Ending;
use eliteloop::method::run::More;
use eliteloop::method::summary::of_change;
use eliteloop::method::verify::{Asked, Finding};
use eliteloop::oracle::{self, Cell, Table};
use eliteloop::record::{Store, folder};

use crate::program::rows;
use crate::small::of_tiny;

fn settings(overrides: &[&str]) -> AuditConfig {
    AuditConfig::resolve(None, &overrides.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// Runs an audit, stopping after the first cycle where asked.
fn run(folder: &Path, overrides: &[&str], is_stopped: bool) -> Audit {
    let stop = Arc::new(AtomicBool::new(false));
    let mut audit = Audit::create(folder, settings(overrides), Arc::clone(&stop), |_| ()).unwrap();
    let ending = audit.run(|_| stop.store(is_stopped, Ordering::Relaxed)).unwrap();
    assert_eq!(ending == Done::Stopped, is_stopped);
    if !is_stopped {
        return audit;
    }
    drop(audit);
    let mut audit = Audit::resume(folder, &More::default(), Arc::new(AtomicBool::new(false)), |_| ()).unwrap();
    assert_eq!(audit.run(|_| ()).unwrap(), Done::Finished(()));
    audit
}

fn all_right(audit: &Path) {
    let checks = verify(audit, &Asked::default()).unwrap();
    assert!(checks.iter().all(|check| check.finding != Finding::Wrong), "{checks:?}");
}

#[test]
fn controls_without_an_llm_go_on_to_the_same_and_are_verified() {
    needs!(Nasbench201);
    let base = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str]); 3] = [
        ("climb", &["policy=local-search"]),
        ("climb by novelty", &["policy=local-search", "novelty.enabled=true", "dataset=cifar100"]),
        ("uniform", &["policy=uniform", "format=delta", "novelty.enabled=true", "dataset=imagenet"]),
    ];
    for (name, overrides) in cases {
        let overrides = [&["cycles=4", "candidates=40", "seed=4"][..], overrides].concat();
        let [whole, broken] = ["whole", "broken"].map(|kind| base.path().join(format!("{name} {kind}")));
        let audit = run(&whole, &overrides, false);
        run(&broken, &overrides, true);
        assert!(rows(&whole) == rows(&broken), "{name}");
        all_right(&whole);
        let cells: Vec<Cell> = audit.cycles.iter().flat_map(|c| &c.samples).map(|s| s.cell().unwrap()).collect();
        if name != "uniform" {
            assert_eq!(cells.iter().collect::<HashSet<_>>().len(), 160, "a local search never asks twice");
        }
    }
}

#[test]
fn uniform_parents_are_ranked_by_nothing() {
    needs!(Nasbench201);
    let base = tempfile::tempdir().unwrap();
    let parents = |policy: &str| {
        let setting = format!("policy={policy}");
        let overrides = [setting.as_str(), "format=delta", "cycles=6", "candidates=200", "audit_every=0"];
        let audit = run(&base.path().join(policy), &overrides, false);
        let last = audit.cycles.last().unwrap().samples.clone();
        last.iter().map(|s| s.parent.unwrap()).collect::<HashSet<_>>().len()
    };
    let (uniform, ranked) = (parents("uniform"), parents("random"));
    assert!(uniform > 140 && ranked < 60, "{uniform} and {ranked} parents of 200 deltas");
}

const SMALL: [&str; 10] = [
    "seed=3",
    "cycles=2",
    "candidates=8",
    "elite.rho=0.4",
    "audit_every=0",
    "lora.rank=1",
    "warmup.steps=2",
    "warmup.batch=8",
    "tune.epochs=2",
    "tune.backtrack=true",
];

#[test]
fn updates_of_every_kind_are_verified_and_go_on_to_the_same_bytes() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str]); 3] = [
        ("trust", &["tune.until={ kl = 0.2, steps = 6 }", "tune.lr=0.02", "elite.weights=entropic"]),
        ("natural", &["tune.optimizer=natural", "tune.lr=0.3", "tune.until={ share = 0.5, steps = 4 }", "elite.weights=rank"]),
        ("prior", &["tune.from=prior", "tune.optimizer=sgd", "tune.lr=0.01", "format=delta", "elite.source=archive"]),
    ];
    for (name, overrides) in cases {
        let overrides = [&SMALL[..], &of_tiny(), overrides].concat();
        let [whole, broken] = ["whole", "broken"].map(|kind| base.path().join(format!("{name} {kind}")));
        let audit = run(&whole, &overrides, false);
        run(&broken, &overrides, true);
        assert!(rows(&whole) == rows(&broken), "{name}");
        all_right(&whole);
        for cycle in &audit.cycles {
            let tuning = cycle.tuning.as_ref().unwrap();
            let change = tuning.change.as_ref().unwrap();
            assert!(change.samples.len() == 8 && change.kl.unwrap() > 0.0 && change.generalised.is_some(), "{change:?}");
            for (sample, scored) in cycle.samples.iter().zip(&change.samples) {
                assert!((sample.log_q.unwrap() - scored.before).abs() < 1e-3, "{scored:?}");
            }
            match name {
                "trust" => {
                    assert!(change.kl.unwrap() <= 0.2 + 1e-6 && change.ending == Ending::Kl, "{}", of_change(change));
                    assert!(tuning.manifest.iter().all(|one| one.weight > 0.0) && tuning.manifest.len() == cycle.elites.len());
                    let total: f64 = tuning.manifest.iter().map(|one| one.weight).sum();
                    assert!((total - 1.0).abs() < 1e-9, "{total}");
                }
                "natural" => assert!(tuning.after < tuning.before && change.share.unwrap() > 0.0, "{}", of_change(change)),
                _ => assert!(tuning.logged.is_none_or(|logged| (logged / tuning.before - 1.0).abs() < 1e-3)),
            }
        }
    }
    // From the prior each time: a second update is as if it were the first, with other elites.
    let store = Store::read(&folder::store_path(&base.path().join("prior whole"))).unwrap();
    assert!(record::cycles(&store).unwrap()[1].tuning.as_ref().unwrap().steps.len() == 2);
}

#[test]
fn what_an_update_changed_is_in_the_line_of_its_cycle() {
    let change = eliteloop::record::Change {
        ending: Ending::Kl,
        refused: 2,
        floor: 1.5,
        share: Some(0.25),
        kl: Some(0.19),
        effective_samples: 8.5,
        memorised: Some(0.01),
        generalised: Some(-0.004),
        samples: Vec::new(),
    };
    let told = "share 0.250, KL 0.190, E[S] +0.0060 (memorised +0.0100, generalised -0.0040), edge of the trust region, 2 steps taken back";
    assert_eq!(of_change(&change), told);
    assert_eq!(
        of_change(&eliteloop::record::Change { share: None, kl: None, memorised: None, refused: 0, ..change }),
        "KL infinite, edge of the trust region"
    );
}

/// The distinct cells that a search asked for when it asked for the best one; None within 1,100.
fn found_at(table: &Table, seed: u64) -> Option<usize> {
    let mut climber = Climber::new(table.space(), seed);
    (0..1100).find(|&i| {
        let cell = climber.next(&mut seed::rng(seed, "sample", &[i as u64 / 50 + 1, i as u64 % 50]));
        climber.observe(cell, table.query(cell, seed));
        cell == table.best()
    })
}

#[test]
fn local_search_finds_the_best_cell_as_fast_as_simulations_of_it_do() {
    needs!(Nasbench201);
    let found = ["cifar10", "cifar100", "imagenet"].map(|dataset| {
        let table = oracle::load(dataset, &home::data()).unwrap();
        let mut at: Vec<usize> = (0..200).filter_map(|seed| Some(found_at(&table, seed)? + 1)).collect();
        at.sort_unstable();
        (at[at.len() / 2], at.len())
    });
    // An independent simulation (200 seeds): medians 104 and 80 in all, 579 in 160 of them.
    let right = [(104, 200), (80, 200), (579, 160)];
    for ((median, count), (wanted, of)) in found.into_iter().zip(right) {
        let near = (median as f64 / f64::from(wanted) - 1.0).abs() < 0.25;
        assert!(near && (count as i64 - of).abs() <= 20, "{found:?} for {right:?}");
    }
}
