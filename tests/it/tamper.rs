//! Changes to a finished run: each is noticed by the chain of hashes, or else by what `verify` recomputes, or it is named here as outside of
//! what is claimed. The tests print their tables (`cargo test --release --test it tamper:: -- --nocapture`).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use eliteloop::method::verify::Finding;
use eliteloop::record::{Store, chain, folder};

use crate::program::{SMALL_NETWORK, all_hold, copy_folder, program, small_run, succeed};

/// A run without an LLM, and one with it; each made once.
fn finished(policy: &str) -> &'static PathBuf {
    static RUNS: [OnceLock<(tempfile::TempDir, PathBuf)>; 2] = [OnceLock::new(), OnceLock::new()];
    let (_, run) = RUNS[usize::from(policy == "llm")].get_or_init(|| {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        let settings = [SMALL_NETWORK, "elite.held_out=0.3", "candidates=4", "proxy.train_images=64", "proxy.valid_images=40"];
        succeed(small_run(&path, &[&settings[..], &[&format!("policy={policy}")]].concat()));
        (base, path)
    });
    run
}

/// What is done to a run.
#[derive(Clone, Copy)]
enum Change {
    Sql(&'static str),
    /// A text in place of another, in a file.
    Text(&'static str, &'static str, &'static str),
    Remove(&'static str),
    Add(&'static str),
    /// A file in place of another.
    Instead(&'static str, &'static str),
}

use Change::{Add, Instead, Remove, Sql, Text};

impl Change {
    fn make(self, run: &Path) {
        match self {
            Sql(sql) => rusqlite::Connection::open(folder::store_path(run)).unwrap().execute_batch(sql).unwrap(),
            Text(file, old, new) => {
                let text = std::fs::read_to_string(run.join(file)).unwrap();
                assert!(text.contains(old), "{file} has no '{old}'");
                std::fs::write(run.join(file), text.replacen(old, new, 1)).unwrap();
            }
            Remove(path) if run.join(path).is_dir() => std::fs::remove_dir_all(run.join(path)).unwrap(),
            Remove(path) => std::fs::remove_file(run.join(path)).unwrap(),
            Add(path) => {
                std::fs::create_dir_all(run.join(path).parent().unwrap()).unwrap();
                std::fs::write(run.join(path), "x").unwrap();
            }
            Instead(from, to) => drop(std::fs::copy(run.join(from), run.join(to)).unwrap()),
        }
    }
}

/// A copy of a run with one change.
fn changed(run: &Path, base: &Path, change: Change) -> PathBuf {
    let copy = base.join("run");
    let _ = std::fs::remove_dir_all(&copy);
    copy_folder(run, &copy);
    change.make(&copy);
    copy
}

/// What is wrong with a run: the names of the checks, or the error that ends the verification.
fn wrong(run: &Path, arguments: &[&str]) -> Vec<String> {
    let output = program(&["verify", "--json"]).args(arguments).arg(run).output().unwrap();
    let Ok(checks) = serde_json::from_slice::<Vec<serde_json::Value>>(&output.stdout) else {
        return vec![format!("error: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default())];
    };
    let wrong = checks.iter().filter(|check| check["finding"] == serde_json::to_value(Finding::Wrong).unwrap());
    wrong.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

/// Tries changes; those of `outside` may go unnoticed, the others may not.
#[allow(clippy::print_stdout)]
fn try_all(run: &Path, changes: &[(&str, Change)], outside: &[&str]) {
    let base = tempfile::tempdir().unwrap();
    assert_eq!(wrong(run, &["--quick"]), Vec::<String>::new(), "an honest run");
    let (mut noticed, mut named) = (0, 0);
    for (name, change) in changes {
        let found = wrong(&changed(run, base.path(), *change), &["--quick"]);
        println!("{name:<62} {}", if found.is_empty() { "outside of what is claimed".into() } else { found.join(", ") });
        assert_eq!(found.is_empty(), outside.contains(name), "{name}: {found:?}");
        if found.is_empty() { named += 1 } else { noticed += 1 }
    }
    println!("{noticed} of {} changes noticed by the chain, {named} named as outside of what is claimed", changes.len());
}

#[test]
fn every_change_of_a_finished_run_is_noticed_or_named() {
    needs!(Minutes);
    let all = [
        ("every quality + 0.3", Sql("UPDATE training SET accuracy = accuracy + 0.3")),
        (
            "qualities with their curves, elites and gamma",
            Sql(
                "UPDATE training SET accuracy = accuracy / 2, curve = replace(curve, '0.', '0.0'); UPDATE elite SET quality = quality / 2; \
             UPDATE cycle SET gamma = gamma / 2",
            ),
        ),
        ("a start network's quality", Sql("UPDATE training SET accuracy = 0.9 WHERE network = 'start/small'")),
        ("a loss in a curve", Sql("UPDATE training SET curve = replace(curve, '\"train_loss\":2', '\"train_loss\":1')")),
        ("a training deleted", Sql("DELETE FROM training WHERE rowid = (SELECT max(rowid) FROM training)")),
        ("a repeat deleted", Sql("DELETE FROM training WHERE repeat = 1")),
        ("a repeat's accuracy", Sql("UPDATE training SET accuracy = 0.5 WHERE repeat = 1")),
        ("a repeat that counts", Sql("UPDATE training SET repeat = 0")),
        ("a training added", Sql("INSERT INTO training SELECT '1/3', 7, seed, 0, 0.9, curve, NULL, 1.0, estimates FROM training LIMIT 1")),
        ("a failure invented", Sql("UPDATE training SET failure = 'out of memory', accuracy = NULL WHERE network LIKE '1/%'")),
        ("a training's seed", Sql("UPDATE training SET seed = seed + 1 WHERE network LIKE '1/%'")),
        ("estimates", Sql("UPDATE training SET estimates = '{}' WHERE network LIKE '1/%'")),
        ("a candidate dropped", Sql("DELETE FROM candidate WHERE cycle = 2 AND idx = 3")),
        (
            "a candidate added",
            Sql(
                "INSERT INTO candidate SELECT cycle, 9, parent, prompt_hash, completion, completion_bytes, tokens, log_p, log_q, ended, stage, \
             reason, detail, line, source, nearest, jaccard, parent_jaccard FROM candidate WHERE cycle = 1 AND idx = 0",
            ),
        ),
        ("a candidate's source", Sql("UPDATE candidate SET source = source || '# more' WHERE source IS NOT NULL")),
        ("a completion", Sql("UPDATE candidate SET completion = completion || ' ' WHERE cycle = 1 AND idx = 0")),
        ("a stage", Sql("UPDATE candidate SET stage = 'applied' WHERE cycle = 1 AND stage = 'trained'")),
        ("a reason", Sql("UPDATE candidate SET reason = 'other', detail = 'other' WHERE stage <> 'trained'")),
        ("a nearest network", Sql("UPDATE candidate SET jaccard = 0.0")),
        ("a parent", Sql("UPDATE candidate SET parent = 'start/other' WHERE cycle = 1 AND idx = 1")),
        ("candidates moved to another cycle", Sql("UPDATE candidate SET cycle = 7 WHERE cycle = 2")),
        ("a network's graph", Sql("UPDATE network SET graph = replace(graph, '10', '11')")),
        ("a network's parameters", Sql("UPDATE network SET parameters = 1")),
        ("a network deleted", Sql("DELETE FROM network WHERE id LIKE '1/%'")),
        (
            "a network added",
            Sql(
                "INSERT INTO network SELECT 'start/better', source, graph, graph_hash, signature, parameters, macs, activation_bytes FROM network LIMIT 1",
            ),
        ),
        ("an elite deleted", Sql("DELETE FROM elite WHERE rowid = (SELECT min(rowid) FROM elite)")),
        ("an elite's quality", Sql("UPDATE elite SET quality = 0.99")),
        ("which elites are held out", Sql("UPDATE elite SET held_out = 1 - held_out")),
        ("gamma", Sql("UPDATE cycle SET gamma = 0.01 WHERE cycle = 1")),
        (
            "the last cycle removed from all tables",
            Sql(
                "DELETE FROM candidate WHERE cycle = 2; DELETE FROM network WHERE id LIKE '2/%'; DELETE FROM training WHERE network LIKE '2/%'; \
             DELETE FROM elite WHERE cycle = 2; DELETE FROM cycle WHERE cycle = 2; DELETE FROM chain WHERE cycle = 2; \
             DELETE FROM processor WHERE cycle = 2; DELETE FROM checkpoint WHERE cycle = 2; DELETE FROM phase WHERE cycle = 2",
            ),
        ),
        ("a cycle in between removed", Sql("DELETE FROM cycle WHERE cycle = 1")),
        ("a cycle renumbered far away", Sql("UPDATE cycle SET cycle = 1000000000000 WHERE cycle = 2")),
        ("the kind of processor", Sql("UPDATE processor SET kind = 'another'")),
        ("the data set's hash", Sql("UPDATE meta SET value = '00' WHERE key = 'dataset'")),
        ("the program's version", Sql("UPDATE meta SET value = '9.9.9' WHERE key = 'program'")),
        ("a start network's source", Sql("UPDATE meta SET value = replace(value, 'Linear', 'LazyLinear') WHERE key = 'starts'")),
        ("the settings in the store", Sql("UPDATE meta SET value = replace(value, 'lr = 0.05', 'lr = 0.06') WHERE key = 'settings'")),
        ("a key added to meta", Sql("INSERT INTO meta VALUES ('model', 'another')")),
        ("a table added", Sql("CREATE TABLE claims (text TEXT); INSERT INTO claims VALUES ('better')")),
        ("a link of the chain", Sql("UPDATE chain SET hash = (SELECT hash FROM chain WHERE cycle = 0) WHERE cycle = 2")),
        ("the chain deleted", Sql("DELETE FROM chain")),
        ("cycles = 1 in run.toml", Text("run.toml", "cycles = 2", "cycles = 1")),
        ("cycles = 9 in run.toml", Text("run.toml", "cycles = 2", "cycles = 9")),
        ("proxy.lr in run.toml", Text("run.toml", "lr = 0.05", "lr = 0.5")),
        ("proxy.momentum in run.toml", Text("run.toml", "momentum = 0.9", "momentum = 0.8")),
        ("proxy.max_training_macs in run.toml", Text("run.toml", "max_training_macs = 1", "max_training_macs = 2")),
        ("the seed in run.toml", Text("run.toml", "seed = 3", "seed = 4")),
        ("the best network", Text("best/network.py", "class Net", "# better\nclass Net")),
        ("the best network removed", Remove("best")),
        ("a checkpoint where no LLM is", Add("cycle-0002/more")),
        // Times and memory, what changes no result, and what is not of the record.
        ("when it began and ended", Sql("UPDATE meta SET value = '1999-01-01 00:00 UTC' WHERE key IN ('started', 'finished')")),
        ("seconds of a training", Sql("UPDATE training SET seconds = 0.1")),
        ("seconds and memory of phases", Sql("UPDATE phase SET seconds = 1.0, peak_mib = 1.0")),
        ("proxy.workers in run.toml", Text("run.toml", "workers = 2", "workers = 3")),
        ("a comment in run.toml", Text("run.toml", "# Settings", "# settings")),
        ("a file beside the record", Add("note.txt")),
        ("that it is not marked as finished", Sql("DELETE FROM meta WHERE key = 'finished'")),
    ];
    let outside = [
        "when it began and ended",
        "seconds of a training",
        "seconds and memory of phases",
        "proxy.workers in run.toml",
        "a comment in run.toml",
        "a file beside the record",
        "that it is not marked as finished",
    ];
    assert!(all.len() >= 50);
    try_all(finished("random"), &all, &outside);
}

#[test]
fn every_change_of_a_run_of_an_llm_is_noticed() {
    needs!(Model);
    let all = [
        (
            "the last adapter replaced by the first, its hash too",
            Instead("cycle-0000/adapter_model.safetensors", "cycle-0002/adapter_model.safetensors"),
        ),
        ("an adapter in between", Instead("cycle-0000/adapter_model.safetensors", "cycle-0001/adapter_model.safetensors")),
        ("lora_alpha of the last adapter", Text("cycle-0002/adapter_config.json", "\"lora_alpha\": ", "\"lora_alpha\": 1")),
        ("a file in a checkpoint", Add("cycle-0002/more")),
        ("the last checkpoint removed", Remove("cycle-0002")),
        ("the last hash", Sql("UPDATE cycle SET adapter_hash = (SELECT adapter_hash FROM cycle WHERE cycle = 0) WHERE cycle = 2")),
        ("a file's hash", Sql("UPDATE checkpoint SET sha256 = '00' WHERE cycle = 2")),
        ("log q", Sql("UPDATE candidate SET log_q = log_q - 0.5 WHERE cycle = 1 AND idx = 0")),
        ("log p", Sql("UPDATE candidate SET log_p = log_p - 0.5 WHERE cycle = 1 AND idx = 0")),
        ("the prompt of one that is no elite", Sql("UPDATE candidate SET prompt_hash = '00' WHERE stage <> 'trained'")),
        ("labels deleted", Sql("DELETE FROM label")),
        ("a label", Sql("UPDATE label SET valid = zeroblob(length(valid)) WHERE cycle = 1 AND idx = 0")),
        ("the loss after an update", Sql("UPDATE cycle SET tuning = json_set(tuning, '$.after', 0.5) WHERE cycle = 1")),
        ("the held-out loss after it", Sql("UPDATE cycle SET tuning = json_set(tuning, '$.held_out_after', 0.5) WHERE tuning IS NOT NULL")),
        ("a step of an update", Sql("UPDATE cycle SET tuning = json_set(tuning, '$.steps[0].loss', 0.5) WHERE tuning IS NOT NULL")),
        ("the tokens of an update", Sql("UPDATE cycle SET tuning = json_set(tuning, '$.tokens', 5) WHERE tuning IS NOT NULL")),
        ("the model's hash", Sql("UPDATE meta SET value = '00' WHERE key = 'model'")),
        ("tune.lr in run.toml", Text("run.toml", "lr = 0.0001", "lr = 0.0002")),
    ];
    try_all(finished("llm"), &all, &[]);
}

/// The chain made again over what was changed, as whoever can write the folder can do.
fn forge(run: &Path) {
    let store = Store::open(&folder::store_path(run)).unwrap();
    let cycles = store.cycles().unwrap();
    for row in cycles {
        store.transaction(|s| chain::close(s, row.cycle, &folder::checkpoint(run, row.cycle))).unwrap();
    }
    store.seal().unwrap();
}

#[test]
fn a_change_under_a_forged_chain_is_found_by_what_is_recomputed_and_any_by_the_last_link_that_was_told() {
    needs!(Minutes);
    let run = finished("random");
    let base = tempfile::tempdir().unwrap();
    let head = chain::head(&Store::read(&folder::store_path(run)).unwrap()).unwrap().unwrap();
    let checks = succeed(program(&["verify", "--train", "all", "--head", &head[..16]]).arg(run));
    assert!(all_hold(&checks) && checks.lines().any(|l| l.starts_with("ok") && l.contains("trained again")), "{checks}");
    for (change, check) in [
        // A change of every number that hangs on the qualities, in the same order: only training again tells.
        (
            Sql("UPDATE training SET accuracy = accuracy / 2, curve = json_set(curve, '$[0].valid_accuracy', accuracy / 2); \
                 UPDATE elite SET quality = quality / 2; UPDATE cycle SET gamma = gamma / 2"),
            "trained again",
        ),
        (
            Sql(
                "UPDATE training SET accuracy = NULL, failure = 'the loss was no longer a number at step 0', estimates = NULL WHERE repeat = 1",
            ),
            "trained again",
        ),
        (Sql("UPDATE candidate SET completion = completion || ' ' WHERE cycle = 1 AND idx = 0"), "completions"),
        (Sql("UPDATE candidate SET jaccard = 0.0 WHERE jaccard IS NOT NULL"), "screen"),
    ] {
        let copy = changed(run, base.path(), change);
        forge(&copy);
        assert!(wrong(&copy, &["--quick", "--head", &head]).contains(&"chain".to_owned()));
        if check != "trained again" {
            assert_eq!(wrong(&copy, &["--quick"]), Vec::<String>::new(), "the chain was made again");
        }
        let output = program(&["verify", "--train", "all"]).arg(&copy).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && told.lines().any(|l| l.starts_with("WRONG") && l.contains(check)), "{check}: {told}");
    }
}
