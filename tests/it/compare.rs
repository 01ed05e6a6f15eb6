//! Runs side by side: made-up runs whose truth is known, and real ones with the controls.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use eliteloop::base::done::Done;
use eliteloop::base::seed;
use eliteloop::compare::{Comparison, compare, page, text};
use eliteloop::config::TuneData;
use eliteloop::config::{Policy, RunConfig};
use eliteloop::decoder::model::pack::Example;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::delta::settings::Format;
use eliteloop::gates::Stage;
use eliteloop::policy::Learner;
use eliteloop::policy::lesson::Lesson;
use eliteloop::record::{GateAction, Store, folder};
use eliteloop::report;
use eliteloop::theory::{Claim, Panel, Verdict};
use rand::Rng;

use crate::program::{SMALL_NETWORK, all_hold, program, small_run, succeed};
use crate::synthetic::{self, Networks};

fn networks() -> &'static Networks {
    static NETWORKS: OnceLock<Networks> = OnceLock::new();
    NETWORKS.get_or_init(|| Networks::trace(24))
}

fn config(seed: u64, change: impl Fn(&mut RunConfig)) -> RunConfig {
    let mut config = RunConfig { seed, cycles: 3, candidates: 7, ..RunConfig::default() };
    config.elite.rho = 0.5;
    change(&mut config);
    config
}

/// Noise in [-spread, spread] around `center`; every fifth candidate is none.
fn noisy(seed: u64, center: f64, spread: f64) -> impl Fn(u64, u64) -> Option<f64> {
    move |cycle, index| {
        let mut rng = seed::rng(seed, "quality", &[cycle, index]);
        (index % 5 != 4).then(|| center + rng.random_range(-spread..spread))
    }
}

type Change = fn(&mut RunConfig);
/// What sets an arm apart, and its quality.
type Made = (Change, f64);

fn made(base: &Path, seeds: u64, arms: &[Made]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (place, (change, center)) in arms.iter().enumerate() {
        for seed in 0..seeds {
            let path = base.join(format!("arm{place}-seed{seed}"));
            // A level of the seed's own, which pairing takes out.
            let level = center + 0.05 * (seed as f64 * 0.618).fract();
            synthetic::run(&path, &config(seed, change), networks(), noisy(seed * 100 + place as u64, level, 0.02));
            folders.push(path);
        }
    }
    folders
}

const LLM: Change = |_| {};
const SUBSET: Change = |c| c.tune.data = TuneData::RandomSubset;
const RANDOM: Change = |c| c.policy = Policy::Random;
const UNFILTERED: Change = |c| c.novelty.enabled = false;
/// Another recipe on other images: no difference of qualities is one of arms.
const OTHER: Change = |c| (c.proxy.epochs, c.proxy.train_images) = (9, 77);
const FULL: Change = |c| (c.delta.format, c.delta.max_tokens) = (Format::Full, 600);

fn compared(seeds: u64, arms: &[Made]) -> Comparison {
    let base = tempfile::tempdir().unwrap();
    compare(&made(base.path(), seeds, arms)).unwrap()
}

#[test]
fn the_first_line_says_who_beats_whom() {
    let better = compared(4, &[(LLM, 0.6), (SUBSET, 0.5), (RANDOM, 0.5)]);
    assert!(better.verdict.contains("Tuning on elites beats tuning on a random subset"), "{}", better.verdict);
    assert!(better.verdict.contains("The LLM beats random mutation"), "{}", better.verdict);
    assert!(text::text(&better).starts_with(&better.verdict) && !better.verdict.contains('\n'));

    let same = compared(4, &[(LLM, 0.5), (SUBSET, 0.5), (RANDOM, 0.6)]);
    assert!(same.verdict.contains("Tuning on elites is not told apart from"), "{}", same.verdict);
    assert!(same.verdict.contains("would have been seen") && same.verdict.contains("The LLM is beaten by"), "{}", same.verdict);
    let random = same.contests.iter().find(|c| c.against == "policy=random").unwrap();
    assert!(!random.wins() && random.seeds == [0, 1, 2, 3]);
    let mean = random.mean.unwrap();
    assert!((mean.value + 0.1).abs() < 0.02 && mean.interval.unwrap().1 < -0.05, "pairing takes the seeds' levels out: {mean:?}");

    let alone = compared(1, &[(LLM, 0.6), (RANDOM, 0.5)]);
    assert!(alone.verdict.contains("with one seed, not to be told apart") && alone.verdict.contains("1 paired seed)"), "{}", alone.verdict);
    let other = compared(2, &[(LLM, 0.6), (OTHER, 0.1)]);
    assert!(other.verdict.contains("Not comparable") && other.verdict.contains("proxy.epochs ("), "{}", other.verdict);
    assert!(other.verdict.contains("proxy.train_images") && other.contests[0].mean.is_none(), "{}", text::text(&other));
    let without = compared(2, &[(LLM, 0.6), (UNFILTERED, 0.5)]);
    assert!(without.verdict.contains("without the controls"), "{}", without.verdict);
}

#[test]
fn arms_are_named_by_what_sets_them_apart() {
    needs!(Minutes);
    let c = compared(2, &[(RANDOM, 0.5), (LLM, 0.5), (SUBSET, 0.5), (UNFILTERED, 0.5)]);
    let names: Vec<&str> = c.arms.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["policy=random", "llm", "tune.data=random-subset", "novelty.enabled=false"]);
    assert!(c.arms.iter().all(|a| a.seeds() == [0, 1]));
    // Three cycles of seven, every fifth invalid.
    assert_eq!(c.budget, 18);
    assert!((c.levels[0].valid.unwrap().value - 18.0 / 21.0).abs() < 1e-12);
}

#[test]
fn the_same_run_twice_is_refused_and_so_is_a_folder_without_a_run() {
    let base = tempfile::tempdir().unwrap();
    let folders = made(base.path(), 1, &[(LLM, 0.5)]);
    let error = compare(&[folders[0].clone(), folders[0].clone()]).unwrap_err();
    assert!(error.to_string().contains("same run") && error.hint_text().is_some(), "{error}");
    assert!(compare(&[base.path().join("none")]).is_err());
}

fn panel(panels: &[Panel], claim: Claim) -> &Panel {
    panels.iter().find(|p| p.claim == claim).unwrap()
}

#[test]
fn claims_that_take_two_arms_come_out_of_the_comparison() {
    let c = compared(2, &[(LLM, 0.5), (UNFILTERED, 0.5), (FULL, 0.5)]);
    let formats = panel(&c.panels, Claim::Validity);
    assert!(formats.sentence.contains("the model predicts") && formats.sentence.contains("times as often"), "{}", formats.sentence);
    let filter = panel(&c.panels, Claim::Diversity);
    assert!(filter.numbers.iter().any(|(name, _)| name.starts_with("filter off")), "{:?}", filter.numbers);
    let html = page(&c);
    for id in ["arms", "search", "means", "claim-4", "claim-5", "funnel", "cost", "runs"] {
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("comparison.html"), html).unwrap();
}

/// Real runs of one thread each, side by side, by name and settings.
fn real<const N: usize>(base: &Path, runs: [(&str, &[&str]); N]) -> [PathBuf; N] {
    let small = ["threads=1", "proxy.workers=1", "parents.per_cycle=1", SMALL_NETWORK];
    side_by_side(runs, |(name, more)| {
        let out = base.join(name);
        succeed(small_run(&out, &[&small, more].concat()));
        out
    })
}

fn side_by_side<T: Send, R: Send, const N: usize>(all: [T; N], work: impl Fn(T) -> R + Sync) -> [R; N] {
    let work = &work;
    std::thread::scope(|scope| all.map(|one| scope.spawn(move || work(one))).map(|done| done.join().unwrap()))
}

fn verified(run: &Path) -> String {
    succeed(program(&["verify"]).arg(run))
}

#[test]
fn evolution_and_the_filter_are_arms_of_real_runs() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let out = |name: &str| base.path().join(name);
    let runs = real(
        base.path(),
        [
            ("random 1", &["policy=random", "seed=1"]),
            ("off 1", &["policy=random", "seed=1", "novelty.enabled=false"]),
            ("random 2", &["policy=random", "seed=2"]),
            ("off 2", &["policy=random", "seed=2", "novelty.enabled=false"]),
            ("evolution", &["policy=evolution", "seed=1", "parents.population=8", "parents.tournament=3"]),
        ],
    );
    let evolution = Store::read(&folder::store_path(&runs[4])).unwrap();
    let parents: Vec<String> = evolution.candidates_of(2).unwrap().iter().map(|c| c.parent.to_string()).collect();
    assert!(parents.iter().any(|p| p.starts_with("1/")), "the second cycle has parents of the first: {parents:?}");
    assert!(all_hold(&verified(&runs[4])));

    let printed = succeed(program(&["compare"]).args(&runs).arg("--out").arg(out("page.html")));
    assert!(printed.lines().next().unwrap().starts_with("5 runs of 3 arms"), "{printed}");
    assert!(printed.contains("policy=evolution") && printed.contains("Claim 5"), "{printed}");
    assert!(std::fs::read_to_string(out("page.html")).unwrap().contains("id=\"claim-5\""));
    let json: serde_json::Value = serde_json::from_str(&succeed(program(&["compare", "--json"]).args(&runs))).unwrap();
    assert_eq!(json["arms"].as_array().unwrap().len(), 3);
    assert_eq!(json["contests"][0]["seeds"], serde_json::json!([1, 2]));
}

#[test]
fn an_update_on_a_random_subset_is_on_record_as_one_and_gated() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let runs = real(
        base.path(),
        [
            ("elites", &["tune.epochs=1", "tune.gate=rollback"]),
            ("subset", &["tune.epochs=1", "tune.gate=rollback", "tune.data=random-subset"]),
            ("all", &["tune.epochs=1", "tune.data=all-valid", "cycles=1", "elite.rho=0.1"]),
        ],
    );
    let [elites, subset, all] = &runs;
    let checked = side_by_side([elites, subset, all], |run| verified(run));
    let says = ["chosen again: elites", "a random subset, not the elites", "all valid candidates"];
    for ((run, checks), says) in runs.iter().zip(&checked).zip(says) {
        assert!(checks.contains(says) && checks.contains("labels"), "{checks}");
        assert_eq!(checks.contains("decisions made again"), run != all, "{checks}");
    }
    let of = |run: &Path| Store::read(&folder::store_path(run)).unwrap();
    for run in [elites, subset] {
        let store = of(run);
        for row in store.cycles().unwrap().iter().filter(|c| c.tuning.is_some()) {
            let gate = row.tuning.as_ref().unwrap().gate.clone().unwrap();
            let trained = store.candidates_of(row.cycle).unwrap().iter().filter(|c| c.stage() == Some(Stage::Trained)).count();
            assert_eq!(gate.forecast.samples, trained);
            assert!(gate.forecast.effective_samples > 0.0 && gate.forecast.effective_samples <= trained as f64 + 1e-9);
        }
        let labels = store.labels().unwrap();
        assert_eq!(labels.len(), 12);
        for (c, l) in store.candidates().unwrap().iter().zip(&labels) {
            assert_eq!(l.valid.len(), c.tokens.len());
            // Of what ended and applied, the networks are those without an error.
            if c.stage() >= Some(Stage::Applied) {
                assert_eq!(l.valid.iter().all(|v| *v), c.stage() > Some(Stage::Applied), "{}: {:?} {:?}", c.id(), c.text(), l.valid);
            } else {
                assert!(!l.valid.iter().all(|v| *v) || !c.ended, "{}: {:?}", c.id(), c.text());
            }
        }
    }
    // The control took as many examples as there were elites, all of them of the cycle and valid.
    let count = |run: &Path| of(run).cycles().unwrap()[1].tuning.as_ref().map(|t| t.manifest.len());
    assert_eq!(count(elites), count(subset));
    let claim = |run: &Path| report::collect::collect(run).unwrap().theory[0].clone();
    assert_eq!(claim(elites).claim, Claim::Update);
    let said = claim(all);
    assert!(said.finding.verdict == Verdict::Fails && said.sentence.contains("no elites"), "{}", said.sentence);

    let first = succeed(program(&["compare"]).args([elites, subset])).lines().next().unwrap().to_owned();
    assert!(first.starts_with("Tuning on elites") && first.contains("tuning on a random subset"), "{first}");
}

/// What the gate rolls back leaves no trace, in the adapter and in what the next update starts from.
#[test]
fn a_rolled_back_update_leaves_the_adapter_as_it_was() {
    needs!(Model);
    let config = RunConfig::default();
    let mut learner = Learner::open(&config.llm, &LoraConfig::default(), 1).unwrap();
    let prompt = learner.model.tokenizer.encode("a network");
    let completion = learner.model.tokenizer.encode("nn.ReLU()");
    let examples = [Example { id: "1/0".into(), prompt, completion }];
    let hash = learner.adapter_hash().unwrap();
    let log_p = learner.log_p(&examples).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let Done::Finished(update) =
        learner.update(&Lesson { trained: &examples, ..Lesson::default() }, &config.tune.tuning, 1, &stop, &mut |_, _| ()).unwrap()
    else {
        panic!("stopped")
    };
    assert_ne!(learner.adapter_hash().unwrap(), hash);
    learner.restore(update.before).unwrap();
    assert_eq!(learner.adapter_hash().unwrap(), hash);
    assert_eq!(learner.log_p(&examples).unwrap(), log_p);
    assert_eq!(
        eliteloop::method::update::action(eliteloop::config::Gate::Rollback, eliteloop::theory::gate::Finding::Fall),
        GateAction::RolledBack
    );
}
