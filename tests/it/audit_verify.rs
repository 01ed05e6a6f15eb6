//! `verify` of audits: an honest one is never called wrong, and what was changed is found.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use eliteloop::audit::Audit;
use eliteloop::base::error::Result;
use eliteloop::method::verify::{Asked, Check, Finding};
use eliteloop::record::folder;

use crate::audit::{SMALL, begin, run, settings};
use crate::program::{copy_folder, program, succeed};
use crate::small::{dataset, of_tiny};

/// All checks of an audit.
pub fn verified(audit: &Path) -> Result<Vec<Check>> {
    eliteloop::audit::verify::verify(audit, &Asked::default())
}

fn findings(audit: &Path, wanted: Finding) -> Vec<&'static str> {
    verified(audit).unwrap().into_iter().filter(|check| check.finding == wanted).map(|check| check.name).collect()
}

/// An audit that did nothing but what it says, by the verb.
fn honest(audit: &Path) {
    let told = succeed(program(&["verify"]).arg(audit));
    assert!(!told.contains("WRONG") && !told.contains("not recomputed") && told.contains("elites"), "{told}");
}

#[test]
fn an_honest_audit_is_never_called_wrong() {
    let base = tempfile::tempdir().unwrap();
    let audits: [(&str, &[&str]); 6] = [
        ("table-ce", &["policy=table-ce"]),
        ("held-out", &["policy=table-ce", "elite.held_out=0.3", "elite.source=archive"]),
        ("cells", &["policy=random", "novelty.enabled=true"]),
        ("deltas", &["policy=random", "format=delta", "novelty.enabled=true"]),
        ("evolution", &["policy=evolution", "novelty.enabled=true"]),
        ("budget", &["policy=evolution", "budget=30", "gamma_star=0.7"]),
    ];
    for (name, overrides) in audits {
        let path = base.path().join(name);
        drop(run(&path, &[&["cycles=5", "candidates=12", "seed=4", dataset()], overrides].concat()));
        honest(&path);
    }
    let unfinished = base.path().join("unfinished");
    drop(Audit::create(&unfinished, settings(&["policy=random", dataset()]), Arc::new(AtomicBool::new(false)), |_| ()).unwrap());
    honest(&unfinished);
    let frozen = base.path().join("frozen");
    drop(run(&frozen, &[&SMALL[..], &of_tiny(), &["policy=frozen", "format=delta", "audit_every=2", "mask=false"]].concat()));
    honest(&frozen);
}

/// An audit of the table policy, with one thing in its store changed.
fn changed(base: &Path, name: &str, sql: &str) -> PathBuf {
    let path = base.join(name);
    copy_folder(&base.join("whole"), &path);
    rusqlite::Connection::open(folder::store_path(&path)).unwrap().execute_batch(sql).unwrap();
    path
}

#[test]
fn verify_finds_what_was_changed_in_an_audit() {
    let base = tempfile::tempdir().unwrap();
    let settings = ["policy=table-ce", "cycles=5", "candidates=30", "seed=4", "elite.held_out=0.2", dataset()];
    succeed(begin(&base.path().join("whole"), &settings));
    let tampered = [
        ("qualities", "UPDATE sample SET quality = quality + 0.001 WHERE cycle = 2 AND idx = 7"),
        ("samples", "UPDATE sample SET text = 'none none none' WHERE cycle = 3 AND idx = 0"),
        ("samples", "UPDATE sample SET log_q = log_q - 0.01 WHERE cycle = 1 AND idx = 3"),
        ("samples", "UPDATE sample SET text = (SELECT text FROM sample WHERE cycle = 1 AND idx = 2) WHERE cycle = 1 AND idx = 1"),
        ("parents", "UPDATE sample SET parent = 'none none none' WHERE cycle = 1 AND idx = 3"),
        ("elites", "UPDATE elite SET held_out = 1 - held_out WHERE cycle = 2"),
        ("elites", "UPDATE elite SET quality = quality + 0.001 WHERE cycle = 2"),
        ("elites", "DELETE FROM elite WHERE cycle = 4 AND quality = (SELECT max(quality) FROM elite WHERE cycle = 4)"),
        ("elites", "UPDATE elite SET example_hash = 'other' WHERE cycle = 4"),
        ("elites", "UPDATE cycle SET gamma = gamma - 0.001 WHERE cycle = 3"),
        ("search", "UPDATE search SET incumbent = incumbent + 0.001 WHERE cycle = 5"),
        ("search", "UPDATE search SET best_found_at = 3 WHERE cycle = 5"),
        ("exact numbers", "UPDATE exact SET expected = expected + 1e-5 WHERE cycle = 3 AND moment = 'after'"),
        ("exact numbers", "UPDATE exact_update SET share = share + 1e-5 WHERE cycle = 2"),
        ("exact numbers", "DELETE FROM exact WHERE cycle = 2; DELETE FROM exact_update WHERE cycle = 2"),
        ("gamma*", "UPDATE meta SET value = '0.95' WHERE key = 'gamma_star'"),
        ("table", "UPDATE meta SET value = 'other' WHERE key = 'dataset'"),
        ("table", "UPDATE meta SET value = replace(value, 'three', 'four') WHERE key = 'space'"),
        ("table", "DELETE FROM meta WHERE key = 'space'"),
        ("exact numbers", "UPDATE exact_beyond SET measures = json_remove(measures, '$.kernel[3]') WHERE cycle = 2"),
        ("model", "INSERT INTO meta VALUES ('model_name', 'a model'), ('model', 'its hash')"),
        ("updates", "UPDATE cycle SET adapter_hash = 'other' WHERE cycle = 2"),
        ("updates", "UPDATE cycle SET adapter_hash = 'other' WHERE cycle = 0"),
        (
            "complete",
            "DELETE FROM cycle WHERE cycle = 5; DELETE FROM sample WHERE cycle = 5; DELETE FROM elite WHERE cycle = 5; \
             DELETE FROM search WHERE cycle = 5; DELETE FROM exact WHERE cycle = 5; DELETE FROM exact_update WHERE cycle = 5",
        ),
        ("complete", "DELETE FROM sample WHERE cycle = 2 AND idx = 29"),
    ];
    for (place, (name, sql)) in tampered.into_iter().enumerate() {
        let path = changed(base.path(), &place.to_string(), sql);
        let found = verified(&path);
        let wrong = found.is_err() || findings(&path, Finding::Wrong).contains(&name);
        assert!(wrong, "{sql}: {found:?}");
    }
    let path = changed(base.path(), "by the verb", tampered[0].1);
    let output = program(&["verify"]).arg(&path).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("WRONG"), "{told}");
    let path = changed(base.path(), "settings", "");
    let settings = std::fs::read_to_string(path.join("run.toml")).unwrap();
    std::fs::write(path.join("run.toml"), settings.replace("seed = 4", "seed = 5")).unwrap();
    assert!(findings(&path, Finding::Wrong).contains(&"samples"));
    for sql in
        ["DELETE FROM search WHERE cycle = 2", "DELETE FROM sample WHERE cycle = 2 AND idx = 3", "DELETE FROM exact WHERE moment = 'after'"]
    {
        let path = changed(base.path(), sql, sql);
        assert!(verified(&path).is_err(), "{sql}");
    }
}

#[test]
fn verify_finds_what_was_changed_in_an_audit_of_an_llm() {
    let base = tempfile::tempdir().unwrap();
    succeed(begin(
        &base.path().join("whole"),
        &[&SMALL[..], &of_tiny(), &["format=delta", "novelty.enabled=true", "audit_every=3", "candidates=8", "tune.epochs=1"]].concat(),
    ));
    let tampered: [(&str, &[&str]); 2] = [
        (
            "UPDATE sample SET log_q = log_q - 0.1 WHERE cycle = 1 AND idx = 3; \
             UPDATE exact SET entropy = entropy * 1.01 WHERE cycle = 3 AND moment = 'before'; \
             UPDATE sample SET tokens = (SELECT tokens FROM sample WHERE cycle = 1 AND idx = 0) WHERE cycle = 1 AND idx = 5; \
             UPDATE cycle SET tuning = json_set(tuning, '$.after', json_extract(tuning, '$.after') - 0.1) WHERE cycle = 3",
            &["log-probabilities", "exact numbers", "samples", "updates"],
        ),
        (
            "UPDATE cycle SET adapter_hash = 'other' WHERE cycle = 3; \
             UPDATE cycle SET tuning = json_set(tuning, '$.manifest[0].example_hash', 'other') WHERE cycle = 1; \
             UPDATE cycle SET tuning = json_set(tuning, '$.logged', 1.0) WHERE cycle = 2; \
             UPDATE meta SET value = 'other' WHERE key = 'model'",
            &["adapters", "manifest", "identity at step 0", "model"],
        ),
    ];
    for (place, (sql, names)) in tampered.into_iter().enumerate() {
        let path = changed(base.path(), &place.to_string(), sql);
        let wrong = findings(&path, Finding::Wrong);
        assert!(names.iter().all(|name| wrong.contains(name)), "{names:?} among {wrong:?}: {:?}", verified(&path));
    }
}
