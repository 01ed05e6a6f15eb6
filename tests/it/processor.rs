//! The same run on another kind of processor: our kernels are held back to a lower level by `ELITELOOP_PROCESSOR`. What differs is the last
//! bits of sums: how far that carries is bounded here, and whoever resumes or verifies a run elsewhere is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use eliteloop::record::{Candidate, NetworkId, Store, folder};
use rusqlite::Connection;

use crate::needs::skipped;
use crate::program::{Kept, TRAININGS, all_hold, fail, program, run, small_run, stderr, succeed};

const LIMIT: &str = "ELITELOOP_PROCESSOR";
/// Kernels without fused multiply-add.
const LOWEST: &str = "x86-64-v2";

/// Whether this machine has kernels above the lowest; where not, it was told.
fn has_others() -> bool {
    let found: serde_json::Value =
        serde_json::from_str(&succeed(program(&["doctor", "--json", "--set", "proxy.dataset=synthetic"]))).unwrap();
    found["processor"]["kernels"] != LOWEST || skipped("this processor has no kernels but the lowest ones")
}

fn held_back(mut command: Command) -> Command {
    command.env(LIMIT, LOWEST);
    command
}

/// Random mutations, trained here.
fn here() -> &'static Kept {
    static RUN: OnceLock<Kept> = OnceLock::new();
    RUN.get_or_init(|| Kept::of(|path| run(path, &TRAININGS)))
}

fn store(run: &Path) -> Store {
    Store::read(&folder::store_path(run)).unwrap()
}

fn kinds(run: &Path) -> Vec<String> {
    let db = Connection::open(folder::store_path(run)).unwrap();
    let mut rows = db.prepare("SELECT kind FROM processor ORDER BY cycle").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The first cycle of a run: what was proposed and how far it came, what was trained and how well, which were the elites.
struct First {
    candidates: Vec<(NetworkId, NetworkId, Vec<u8>, Option<String>)>,
    qualities: BTreeMap<NetworkId, f64>,
    elites: Vec<NetworkId>,
}

impl First {
    fn of(run: &Path) -> Self {
        let store = store(run);
        let one = |c: Candidate| (c.id(), c.parent.clone(), c.completion.clone(), c.screened.and_then(|s| s.source));
        let candidates = store.candidates_of(1).unwrap().into_iter().map(one).collect::<Vec<_>>();
        let own = |id: &NetworkId| matches!(id, NetworkId::Start(_)) || candidates.iter().any(|c| c.0 == *id);
        let qualities = store.qualities().unwrap().into_iter().filter(|(id, _)| own(id)).collect();
        let elites = store.elites().unwrap().into_iter().filter(|e| e.cycle == 1).map(|e| e.network).collect();
        Self { candidates, qualities, elites }
    }
}

#[test]
fn a_run_elsewhere_tries_the_same_networks_and_finds_about_the_same_of_them() {
    needs!(Minutes);
    if !has_others() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("run");
    succeed(held_back(run(&out, &TRAININGS)));
    let (here_first, there) = (First::of(&here().path), First::of(&out));
    assert!(here_first.candidates == there.candidates, "the first cycle hangs on no sum");
    assert!(here_first.qualities.keys().eq(there.qualities.keys()), "what trains here trains there");
    // Of 100 images.
    let apart = here_first.qualities.iter().map(|(id, here)| (here - there.qualities[id]).abs()).fold(0.0, f64::max);
    assert!(apart < 0.055, "accuracies {apart} apart");
    // Another elite has a quality that others have, within what the two differ.
    for (own, other) in here_first.elites.iter().zip(&there.elites) {
        assert!((here_first.qualities[own] - here_first.qualities[other]).abs() <= 2.0 * apart + 1e-12, "{own} there is {other}");
    }
    let (here_kinds, there_kinds) = (kinds(&here().path), kinds(&out));
    assert!(there_kinds.iter().zip(&here_kinds).all(|(there, here)| *there == format!("{here} as {LOWEST}")), "{there_kinds:?}");
}

#[test]
fn who_verifies_or_resumes_a_run_elsewhere_is_told_what_differs_and_an_honest_run_is_not_called_wrong() {
    needs!(Minutes);
    if !has_others() {
        return;
    }
    let verify = |run: &Path| {
        let mut command = program(&["verify", "--train", "all"]);
        command.arg(run);
        command
    };
    let again = succeed(verify(&here().path));
    assert!(all_hold(&again) && again.contains("to the bit"), "{again}");
    let elsewhere = succeed(held_back(verify(&here().path)));
    let told = elsewhere.lines().find(|line| line.contains("trained again")).unwrap();
    assert!(told.starts_with("not recomputed") && told.contains("points apart") && told.contains(LOWEST), "{told}");
    assert!(all_hold(&elsewhere), "{elsewhere}");

    // A cycle more, elsewhere: of that one alone it is told, and the others have to come out to the bit here.
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("run");
    crate::program::copy_folder(&here().path, &out);
    let mut resumed = held_back(program(&["resume", "--cycles", "3"]));
    let output = resumed.arg(&out).output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("another kind of processor") && said.contains(LOWEST), "{said}");
    let mixed = succeed(verify(&out));
    let told = mixed.lines().find(|line| line.contains("trained again")).unwrap();
    let trained = |run: &Path| store(run).trainings().unwrap().len();
    let (before, all) = (trained(&here().path), trained(&out));
    assert!(all > before && told.contains(&format!("of {all} trainings to the bit")), "{told}");
    let same: usize = told.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(same >= before && same < all && all_hold(&mixed), "{before} of {all}: {mixed}");
}

#[test]
fn the_llm_elsewhere_writes_the_same_and_scores_it_the_same() {
    needs!(Model);
    if !has_others() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let [one, two] = ["here", "there"].map(|name| base.path().join(name));
    let settings = [crate::program::SMALL_NETWORK, "policy=frozen", "cycles=1", "candidates=4", "proxy.repeats=0"];
    succeed(small_run(&one, &settings));
    succeed(held_back(small_run(&two, &settings)));
    let [here, there] = [&one, &two].map(|run| store(run).candidates_of(1).unwrap());
    let same: Vec<_> = here.iter().zip(&there).filter(|(a, b)| a.tokens == b.tokens).collect();
    assert!(2 * same.len() > here.len(), "{} of {} completions are the same", same.len(), here.len());
    for (a, b) in same {
        let (a, b) = (a.log_p.unwrap(), b.log_p.unwrap());
        assert!((a - b).abs() < 1e-3 * a.abs().max(1.0), "{a} here, {b} there");
    }
}

#[test]
fn a_level_that_is_none_is_refused() {
    let mut command = program(&["dirs"]);
    let (code, said) = fail(command.env(LIMIT, "avx2"));
    assert!(code == 2 && said.contains("no level of a processor") && said.contains("x86-64-v3"), "{code}: {said}");
}
