//! The exact audit: enumeration against brute force, the table policy against its closed form, resuming, reports.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use eliteloop::audit::cells::CellLearner;
use eliteloop::audit::codec::{Parents, Proposal};
use eliteloop::audit::exact::{Distribution, Measures, Update, enumerate};
use eliteloop::audit::record::{Cycle, Sample};
use eliteloop::audit::settings::{AuditConfig, CellFormat};
use eliteloop::audit::{Audit, record};
use eliteloop::base::{done::Done, home, seed};
use eliteloop::compare::searches::{self, Search};
use eliteloop::decoder::files::shape::Family;
use eliteloop::decoder::lora::{adamw::AdamW, score::score};
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::method::{run::More, verify::Finding};
use eliteloop::oracle::nasbench201::space;
use eliteloop::oracle::{self, Cell};
use eliteloop::policy::table_ce::TableCe;
use eliteloop::record::{Kind, Store, folder};
use eliteloop::report::{self, audit as shown};
use eliteloop::theory::{Assumption, Claim, Verdict, finite as table};
use rand::Rng;

use crate::audit_verify::verified;
use crate::models::{tiny, tiny_config};
use crate::program::{fail, program, rows, succeed};
use crate::small::{dataset, of_tiny};

static GO_ON: AtomicBool = AtomicBool::new(false);

pub fn settings(overrides: &[&str]) -> AuditConfig {
    AuditConfig::resolve(None, &overrides.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
}

pub fn run(folder: &Path, overrides: &[&str]) -> Audit {
    let mut audit = Audit::create(folder, settings(overrides), Arc::new(AtomicBool::new(false)), |_| ()).unwrap();
    assert_eq!(audit.run(|_| ()).unwrap(), Done::Finished(()));
    audit
}

fn samples(cells: &CellLearner, parents: &Parents, seeds: &[u64]) -> Vec<Sample> {
    let Done::Finished(samples) = cells.sample(parents, seeds, &GO_ON).unwrap() else { panic!("nothing stopped it") };
    samples
}

/// log p of sequences of words after the prompt, each scored by itself.
fn brute_force(decoder: &Decoder, prompt: &[u32], sequences: &[Vec<u32>]) -> Vec<f64> {
    score(decoder, None, &[(prompt.to_vec(), sequences.to_vec())], 512).unwrap().remove(0)
}

#[test]
fn every_cell_has_the_probability_that_scoring_it_alone_gives() {
    for family in [Family::Llama, Family::Qwen2] {
        let decoder = tiny(&tiny_config(family), 3);
        let (prompt, words) = ([11, 12, 13], [90, 3, 55, 41, 7]);
        let found = enumerate(&decoder, &prompt, &words, 6).unwrap();
        assert_eq!(found.len(), 15_625);
        let mut rng = seed::rng(5, "test", &[]);
        let cells: Vec<Cell> = (0..200).map(|_| Cell::random(space(), &mut rng)).collect();
        let sequences: Vec<Vec<u32>> = cells.iter().map(|c| c.words().map(|o| words[o]).collect()).collect();
        for (cell, right) in cells.iter().zip(brute_force(&decoder, &prompt, &sequences)) {
            assert!((found[cell.index()] - right).abs() < 1e-4, "{cell}: {} for {right}", found[cell.index()]);
        }
        // A mask is the same with the five words alone, renormalised at each step.
        let inputs: Vec<u32> = words.iter().chain(&prompt).copied().collect();
        let masked = decoder.restricted(&inputs, words.len()).unwrap();
        let masked = enumerate(&masked, &[5, 6, 7], &[0, 1, 2, 3, 4], 6).unwrap();
        assert!((masked.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(found.iter().map(|l| l.exp()).sum::<f64>() < 1.0);
        let own = enumerate(&decoder, &prompt, &words, 1).unwrap();
        let sum: f64 = own.iter().map(|l| l.exp()).sum();
        for (whole, masked) in own.iter().zip(masked.chunks(3_125)) {
            let first: f64 = masked.iter().map(|l| l.exp()).sum();
            assert!((whole.exp() / sum - first).abs() < 1e-5);
        }
    }
}

/// Two words at twelve slots: a subtree whose branches fit the memory begins at the fourth.
#[test]
fn a_deep_tree_has_the_probabilities_that_scoring_gives() {
    let decoder = tiny(&tiny_config(Family::Llama), 3);
    let (prompt, words) = ([11, 12, 13], [90, 3]);
    let found = enumerate(&decoder, &prompt, &words, 12).unwrap();
    assert_eq!(found.len(), 4_096);
    let leaves: Vec<usize> = (0..4_096).step_by(37).collect();
    let sequences: Vec<Vec<u32>> = leaves.iter().map(|leaf| (0..12).rev().map(|bit| words[leaf >> bit & 1]).collect()).collect();
    for (leaf, right) in leaves.iter().zip(brute_force(&decoder, &prompt, &sequences)) {
        assert!((found[*leaf] - right).abs() < 1e-4, "{leaf}: {} for {right}", found[*leaf]);
    }
}

#[test]
fn the_real_models_first_edges_are_exact_with_and_without_the_mask() {
    needs!(Model);
    for mask in ["mask=true", "mask=false"] {
        let mut cells = CellLearner::open(&settings(&[mask]), space()).unwrap();
        let config = settings(&["warmup.steps=1", "warmup.batch=4"]);
        let warm = cells.warm_up(&config.warmup, CellFormat::Full, 1, &GO_ON, |_, _| ()).unwrap();
        assert_eq!(warm, Done::Finished(()));
        let found = cells.enumerate(2).unwrap();
        let sum: f64 = found.iter().map(|l| l.exp()).sum();
        assert!(if mask == "mask=true" { (sum - 1.0).abs() < 1e-9 } else { sum < 1.0 }, "{mask}: {sum}");
        // Scored alone and summed over what may follow the first two operations.
        let below: Vec<Proposal> = (0..625).map(|i| Proposal { parent: None, cell: Cell::at(space(), 7 * 625 + i) }).collect();
        let sampled = samples(&cells, &vec![(None, 2)], &[4, 5]);
        let by_hand: f64 = cells.log_q(&below).unwrap().iter().map(|l| l.exp()).sum();
        if mask == "mask=true" {
            assert!((found[7] - by_hand.ln()).abs() < 1e-4, "{} for {}", found[7], by_hand.ln());
        } else {
            assert!(by_hand.ln() < found[7], "not all that follows is a cell");
        }
        if mask == "mask=true" {
            let proposals: Vec<Proposal> = sampled.iter().map(|s| s.proposal().unwrap()).collect();
            for (sample, right) in sampled.iter().zip(cells.log_q(&proposals).unwrap()) {
                assert!((sample.log_q.unwrap() - right).abs() < 1e-3, "{sample:?}, {right}");
                assert!(sample.log_p.unwrap() < sample.log_q.unwrap(), "the mask only takes away");
            }
        } else {
            assert!(sampled.iter().all(|s| s.log_p == s.log_q));
        }
    }
}

#[test]
fn deltas_have_the_probabilities_that_scoring_them_alone_gives() {
    needs!(Model);
    for mask in ["mask=true", "mask=false"] {
        let config = settings(&[mask, "format=delta", "warmup.steps=4", "warmup.batch=8"]);
        let mut cells = CellLearner::open(&config, space()).unwrap();
        let warm = cells.warm_up(&config.warmup, CellFormat::Delta, 1, &GO_ON, |_, _| ()).unwrap();
        assert_eq!(warm, Done::Finished(()));
        // Two parents that are one delta apart and so share children, drawn 1 : 3.
        let first = Cell::parse(space(), "pool one skip one skip skip").unwrap();
        let parents = vec![(Some(first), 1), (Some(first.with(2, 4)), 3)];
        let p = cells.distribution(&parents).unwrap();
        let mut right = vec![0.0; space().cells()];
        for (parent, share) in &parents {
            let near = Cell::all(space()).filter(|cell| cell.words().zip(parent.unwrap().words()).filter(|(a, b)| a != b).count() == 1);
            let children: Vec<Proposal> = near.map(|cell| Proposal { parent: *parent, cell }).collect();
            assert_eq!(children.len(), 24);
            for (child, log_q) in children.iter().zip(cells.log_q(&children).unwrap()) {
                right[child.cell.index()] += *share as f64 / 4.0 * log_q.exp();
            }
        }
        for (found, right) in p.cells().iter().zip(&right) {
            assert!((found - right).abs() <= 1e-4 * right, "{mask}: {found} for {right}");
        }
        assert!((p.cells().iter().sum::<f64>() + p.outside() - 1.0).abs() < 1e-9 && p.outside() > 0.0);
        let samples = samples(&cells, &parents, &[1, 2, 3, 4]);
        assert_eq!(samples.iter().filter(|s| s.parent == parents[1].0).count(), 3);
        for (sample, proposal) in samples.iter().filter_map(|s| Some((s, s.proposal()?))) {
            assert!((sample.log_q.unwrap() - cells.log_q(&[proposal]).unwrap()[0]).abs() < 1e-3, "{sample:?}");
        }
    }
}

#[test]
fn a_tuned_softmax_table_reaches_the_closed_form() {
    const EDGES: usize = 6;
    const WORDS: usize = 5;
    let mut rng = seed::rng(9, "test", &[]);
    let elites: Vec<Vec<usize>> = (0..10).map(|_| Cell::at(space(), rng.random_range(0..1_953)).words().collect()).collect();
    let mut closed = TableCe::uniform(EDGES, WORDS);
    closed.update(&elites, 1.0);
    // The loss is -(1/|E|) sum log softmax; its gradient in the logits is softmax - share of the elites.
    let mut logits = vec![vec![0f32; EDGES * WORDS]];
    let mut optimiser = AdamW::new([logits[0].len()]);
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        logits.iter().map(|l| f64::from(*l).exp() / sum).collect()
    };
    for step in 0..6_000 {
        let gradient: Vec<f32> = (0..EDGES)
            .flat_map(|edge| {
                let p = softmax(&logits[0][edge * WORDS..][..WORDS]);
                let share = |o: usize| elites.iter().filter(|c| c[edge] == o).count() as f64 / elites.len() as f64;
                (0..WORDS).map(|o| (p[o] - share(o)) as f32).collect::<Vec<_>>()
            })
            .collect();
        optimiser.step(&mut logits, &[gradient], if step < 5_000 { 0.1 } else { 0.01 }, 0.0);
    }
    let kl: f64 = (0..EDGES).map(|e| table::kl(&closed.places()[e], &softmax(&logits[0][e * WORDS..][..WORDS]))).sum();
    assert!(kl < 1e-4, "{kl}");
    // Smoothing is exactly the mixture.
    let mut smoothed = TableCe::uniform(EDGES, WORDS);
    smoothed.update(&elites, 0.3);
    for (edge, full) in smoothed.places().iter().zip(closed.places()) {
        for (p, v) in edge.iter().zip(full) {
            assert_eq!(*p, 0.3 * v + (1.0 - 0.3) * 0.2);
        }
    }
}

#[test]
fn exact_measures_of_the_uniform_distribution_are_those_of_the_table() {
    needs!(Nasbench201);
    let nas = oracle::load("cifar10", &home::data()).unwrap();
    let uniform = Distribution::of_table(space(), &TableCe::uniform(6, 5));
    let m = Measures::of(&uniform, &nas, nas.means(), 0.9097);
    assert!((m.expected - 0.8369).abs() < 5e-5 && (m.entropy - 15_625f64.ln()).abs() < 1e-9, "{m:?}");
    assert!((m.elite - 0.01).abs() < 5e-4 && m.outside == 0.0 && m.dependence.abs() < 1e-9, "{m:?}");
    // Half of the mass outside halves C and leaves the mean over the cells.
    let half = Measures::of(&Distribution::partial(space(), vec![0.5 / 15_625.0; 15_625]), &nas, nas.means(), 0.9097);
    assert!((half.outside - 0.5).abs() < 1e-9 && (half.elite - m.elite / 2.0).abs() < 1e-9 && (half.expected - m.expected).abs() < 1e-9);
    // An update to the very mixture is found as such.
    let elites = Distribution::empirical(space(), &[nas.best(), Cell::at(space(), 3), nas.best()]);
    let mixture = Distribution::complete(space(), table::smooth(elites.cells(), uniform.cells(), 0.4));
    let update = Update::of(&elites, &uniform, &mixture, &uniform, 1.0);
    assert!((update.alpha - 0.4).abs() < 1e-4 && update.distance.unwrap().abs() < 1e-6, "{update:?}");
    assert!(update.share.unwrap() > 0.8);
}

#[test]
fn the_controls_run_their_cycles_and_say_what_they_found() {
    needs!(Nasbench201);
    let folder = tempfile::tempdir().unwrap();
    for policy in ["table-ce", "random", "evolution", "local-search"] {
        let path = folder.path().join(policy);
        let audit = run(&path, &[&format!("policy={policy}"), "cycles=6", "candidates=30", "seed=2"]);
        let last = audit.cycles.last().unwrap();
        assert_eq!((audit.cycles.len(), last.samples.len()), (6, 30));
        assert!(last.search.distinct <= 180 && last.search.highest >= last.search.incumbent);
        assert_eq!(last.exact.is_some(), !["evolution", "local-search"].contains(&policy));
        let panels = shown::panels(&audit.policy.config, &audit.inputs, &audit.cycles);
        let claim = |claim| panels.iter().find(|p| p.claim == claim).unwrap();
        if policy == "random" {
            assert_eq!(claim(Claim::Improvement).finding.broken, Some(Assumption::Updated));
        }
        if policy == "table-ce" {
            let before = audit.cycles[0].exact.as_ref().unwrap();
            assert!(before.after.expected > before.before.expected);
            assert!(before.update.as_ref().unwrap().to_table.unwrap().abs() < 1e-12, "the table is itself");
            assert!(claim(Claim::Improvement).sentence.contains("Exactly") && claim(Claim::Convergence).sentence.contains("C is exact"));
        }
        let page = report::render(&shown::collect(&path).unwrap());
        assert!(page.contains("NAS-Bench-201") && page.contains("id=\"claim-3\""));
        assert_eq!(shown::table(&audit.cycles).lines().filter(|l| l.trim_start().starts_with(char::is_numeric)).count(), 6);
    }
}

pub const SMALL: [&str; 10] = [
    "seed=3",
    "cycles=3",
    "candidates=12",
    "elite.rho=0.4",
    "elite.held_out=0.2",
    "audit_every=0",
    "warmup.steps=2",
    "warmup.batch=8",
    "tune.epochs=2",
    "tune.smoothing=0.9",
];

pub fn begin(out: &Path, overrides: &[&str]) -> Command {
    let mut command = program(&["audit", "--out"]);
    command.arg(out).args(overrides.iter().flat_map(|s| ["--set", s])).stdout(Stdio::null());
    command
}

fn cycles(audit: &Path) -> Vec<Cycle> {
    Store::read(&folder::store_path(audit)).and_then(|store| record::cycles(&store)).unwrap_or_default()
}

/// All that an audit stored but times.
fn contents(audit: &Path, last: u64) -> (String, Vec<Vec<u8>>) {
    let [first, last] = [0, last].map(|cycle| folder::checkpoint(audit, cycle));
    let files = [
        audit.join("run.toml"),
        first.join("adapter_model.safetensors"),
        last.join("adapter_model.safetensors"),
        last.join("optimizer.safetensors"),
    ];
    (rows(audit), files.map(|path| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).to_vec())
}

/// Kills an audit after its first cycle, lets it go on, and compares it with one that was not disturbed.
fn killed_and_whole(overrides: &[&str]) -> Audit {
    let base = tempfile::tempdir().unwrap();
    let (whole, broken) = (base.path().join("whole"), base.path().join("broken"));
    let audit = run(&whole, overrides);
    let last = audit.cycles.len();

    let mut child = begin(&broken, overrides).spawn().unwrap();
    while cycles(&broken).is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let closed = cycles(&broken).len();
    assert!((1..last).contains(&closed), "killed after {closed} cycles of {last}");
    // What a kill between the adapter and the rows of a cycle leaves.
    std::fs::create_dir_all(broken.join(format!(".cycle-{:04}", closed + 1))).unwrap();
    std::fs::create_dir_all(broken.join(format!("cycle-{:04}", closed + 1))).unwrap();

    succeed(program(&["resume"]).arg(&broken));
    let last = last as u64;
    assert!(contents(&whole, last) == contents(&broken, last));
    let kept: Vec<u64> = (0..=last).filter(|&cycle| folder::checkpoint(&broken, cycle).is_dir()).collect();
    assert_eq!(kept, [0, last - 1, last], "the first adapter and the last two");
    let checks = verified(&broken).unwrap();
    assert!(checks.iter().all(|check| check.finding == Finding::Ok), "{checks:?}");
    audit
}

#[test]
fn a_killed_audit_goes_on_to_the_same_bytes() {
    needs!(Model);
    let shorter = [
        dataset(),
        "candidates=6",
        "elite.rho=0.5",
        "elite.held_out=0.34",
        "audit_every=1",
        "warmup.steps=1",
        "warmup.batch=4",
        "tune.epochs=1",
    ];
    let audit = killed_and_whole(&[&SMALL[..], &shorter].concat());
    let panels = shown::panels(&audit.policy.config, &audit.inputs, &audit.cycles);
    assert_eq!(panels[0].finding.verdict, Verdict::Fails, "a small step is not the CE update: {}", panels[0].sentence);
    assert!(audit.cycles.iter().all(|c| c.tuning.as_ref().unwrap().held_out_after.is_some()));
}

#[test]
fn deltas_on_cells_queried_before_go_on_to_the_same_bytes() {
    // A tiny model's cycles are short: of many of them the kill hits one that is not the last.
    let overrides = ["format=delta", "novelty.enabled=true", "audit_every=2", "tune.epochs=1", "tune.lr=0.005", "cycles=8", "candidates=6"];
    let audit = killed_and_whole(&[&SMALL[..], &of_tiny(), &overrides].concat());
    let mut best: Vec<(f64, Cell)> = Vec::new();
    for cycle in &audit.cycles {
        let parents: Vec<Cell> = cycle.samples.iter().filter_map(|s| s.parent).collect();
        assert_eq!(parents.len(), cycle.samples.len());
        if cycle.cycle > 1 {
            let rank = |parent: &Cell| best.iter().position(|(_, cell)| cell == parent).expect("it was queried before");
            assert!(parents.iter().map(rank).is_sorted(), "samples of one parent share its prefill");
        }
        for sample in cycle.samples.iter().filter(|s| s.quality.is_some()) {
            let cell = sample.cell().unwrap();
            assert!(best.iter().all(|(_, known)| *known != cell), "queried twice");
            best.push((sample.quality.unwrap(), cell));
        }
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        if let Some(update) = cycle.exact.as_ref().and_then(|exact| exact.update) {
            assert!(update.to_elites_after.unwrap() < update.to_elites_before.unwrap(), "{update:?}");
        }
    }
    assert!(audit.cycles.iter().any(|cycle| cycle.exact.is_some()));
}

#[test]
fn a_stop_in_the_warm_up_keeps_nothing_and_the_audit_begins_again() {
    let settings = settings(&[&SMALL[..], &of_tiny()].concat());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let stopped = Audit::create(&path, settings.clone(), Arc::new(AtomicBool::new(true)), |_| ()).err().unwrap();
    assert!(stopped.to_string().contains("warm-up") && stopped.hint_text().unwrap().contains("eliteloop resume"), "{stopped}");
    let whole = Audit::create(&folder.path().join("whole"), settings, Arc::new(AtomicBool::new(false)), |_| ()).unwrap();
    let again = Audit::resume(&path, &More::default(), Arc::new(AtomicBool::new(false)), |_| ()).unwrap();
    assert_eq!(again.inputs, whole.inputs);
    assert_eq!(record::start(&again.store).unwrap().unwrap(), record::start(&whole.store).unwrap().unwrap());
}

#[test]
fn a_warm_up_that_diverges_is_an_error_and_leaves_no_adapter() {
    let folder = tempfile::tempdir().unwrap();
    // After the only step there is no gradient more that would tell.
    for steps in [1, 3] {
        let path = folder.path().join(steps.to_string());
        let mut config = settings(&[&of_tiny()[..], &["warmup.batch=2"]].concat());
        (config.warmup.steps, config.warmup.lr) = (steps, 1e30);
        let error = Audit::create(&path, config, Arc::new(AtomicBool::new(false)), |_| ()).err().unwrap();
        assert!(error.to_string().contains("the warm-up diverged at step"), "{error}");
        assert_eq!(error.hint_text(), Some("lower warmup.lr"));
        assert!(!path.exists(), "nothing is left");
    }
}

#[test]
fn random_deltas_are_the_control_of_deltas() {
    needs!(Nasbench201);
    let mut overrides = SMALL.to_vec();
    overrides.extend(["policy=random", "format=delta", "novelty.enabled=true", "audit_every=1"]);
    let folder = tempfile::tempdir().unwrap();
    let audit = run(&folder.path().join("audit"), &overrides);
    for cycle in &audit.cycles {
        for sample in &cycle.samples {
            assert!(sample.parent.unwrap().neighbours().any(|cell| Some(cell) == sample.cell()));
        }
        let exact = cycle.exact.as_ref().unwrap();
        assert!(exact.update.is_none() && exact.before == exact.after, "nothing is tuned");
        // At most 24 children of each parent.
        let parents: HashSet<Cell> = cycle.samples.iter().filter_map(|s| s.parent).collect();
        assert!(exact.before.entropy > 0.0 && exact.before.entropy <= (24.0 * parents.len() as f64).ln() + 1e-9);
    }
}

#[test]
fn an_audit_can_stop_at_the_best_cell() {
    needs!(Nasbench201);
    let folder = tempfile::tempdir().unwrap();
    let overrides = ["policy=evolution", "audit_every=0", "cycles=400", "seed=100"];
    let whole = run(&folder.path().join("whole"), &overrides);
    let stopped = run(&folder.path().join("stopped"), &[&overrides[..], &["stop_at_best=true"]].concat());
    let until = whole.cycles.iter().position(|c| c.search.best_found_at.is_some()).expect("evolution finds it") + 1;
    assert!(until < 400);
    assert_eq!(stopped.cycles, whole.cycles[..until]);
}

#[test]
fn searches_are_compared_by_the_distinct_cells_they_took() {
    needs!(Nasbench201);
    let table = oracle::load("cifar10", &home::data()).unwrap();
    let sample = |cell: Cell, quality| {
        let mut sample = Sample::new(space(), None, cell.to_string());
        sample.quality = quality;
        sample
    };
    let (good, poor) = (table.best(), Cell::at(space(), 0));
    let samples = vec![sample(poor, Some(0.99)), sample(poor, Some(0.99)), sample(Cell::at(space(), 1), None), sample(good, Some(0.91))];
    let cycle = Cycle { cycle: 1, samples, ..Cycle::default() };
    let search = Search::of(7, &[cycle], &table);
    assert_eq!((search.distinct, search.best_found_at), (2, Some(2)));
    assert_eq!(search.best, [table.mean(good); 3]);
    assert_eq!(search.incumbent, [table.mean(poor); 3], "the highest accuracy queried was the poor one's");

    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("random");
    let seeds = |samples: &str| {
        let mut command =
            program(&["audit", "--policy", "random", "--seeds", "2", "--seed", "5", "--budget", "110", "--candidates", samples]);
        command.arg("--out").arg(&out);
        command
    };
    let told = succeed(seeds("40"));
    assert!(told.contains("found in") && told.contains("of 2"), "{told}");
    let stored = |seed: &str| std::fs::read(out.join(seed).join("run.sqlite")).unwrap();
    let before = (stored("seed-0005"), stored("seed-0006"));
    assert!(before.0 != before.1);
    succeed(seeds("40"));
    assert!(before == (stored("seed-0005"), stored("seed-0006")), "finished ones are left as they are");
    assert!(fail(seeds("41")).1.contains("other settings"));
    let [arm] = &searches::compare(&folder::recorded(&out).unwrap()).unwrap()[..] else { panic!("not one arm") };
    assert_eq!(arm.searches.iter().map(|s| s.seed).collect::<Vec<_>>(), [5, 6]);
    // The budget is looked at between cycles of 40.
    assert!(arm.searches.iter().all(|s| (110..=160).contains(&s.distinct)), "{arm:?}");
    assert!(arm.best[0] <= arm.best[2] && arm.incumbent[2] <= arm.best[2] && arm.best[2] <= 1.0);
    assert_eq!(folder::recorded(base.path()).unwrap(), folder::recorded(&out).unwrap(), "further down, too");
    assert!(folder::recorded(tempfile::tempdir().unwrap().path()).is_err());

    // The verb takes folders of audits and single ones.
    let other = base.path().join("other");
    run(&other, &["policy=evolution", "cycles=2", "candidates=60", "seed=5", "audit_every=0"]);
    let (page, data) = (base.path().join("page.html"), base.path().join("data"));
    let told = succeed(program(&["compare"]).args([&out, &other]).arg("--out").arg(&page).arg("--data").arg(&data));
    assert!(told.contains("random") && told.contains("policy=evolution"), "{told}");
    assert!(std::fs::read_to_string(page).unwrap().contains("Audits side by side"));
    assert_eq!(std::fs::read_to_string(data.join("searches.csv")).unwrap().lines().count(), 4, "a head and three audits");
    let json: serde_json::Value = serde_json::from_str(&succeed(program(&["compare", "--json"]).arg(&out))).unwrap();
    assert!(json[0]["searches"][0]["best"][0].as_f64().unwrap() < 1.0, "{json}");
    assert!(fail(program(&["compare"]).args([&out, &out])).1.contains("the same run"));
}

#[test]
fn what_cannot_go_on_says_why() {
    needs!(Nasbench201);
    let base = tempfile::tempdir().unwrap();
    let refused = |command: &mut Command| {
        let (code, said) = fail(command);
        assert_eq!(code, 2, "{said}");
        said
    };
    assert!(refused(program(&["resume"]).arg(base.path().join("nothing"))).contains("there is no run"));
    for gone in ["resume", "compare"] {
        let said = refused(program(&["audit"]).args([&format!("--{gone}"), "somewhere"]));
        assert!(said.contains(&format!("eliteloop {gone} DIR")), "{said}");
    }
    let out = base.path().join("a");
    let audit = |arguments: &[&str]| {
        let mut command = program(&["audit"]);
        command.arg("--out").arg(&out).args(arguments);
        command
    };
    assert!(refused(&mut audit(&["--set", "elite.roh=1"])).contains("did you mean 'rho'"));
    assert!(refused(&mut audit(&["--dataset", "svhn"])).contains("cifar100"));
    assert!(refused(&mut audit(&["--set", "gamma_star=91"])).contains("0.91"));
    drop(run(&out, &["policy=random", "cycles=1", "candidates=2"]));
    assert!(refused(&mut audit(&[])).contains("eliteloop resume"));
    assert_eq!(folder::kind(&out).unwrap(), Kind::Audit);
    assert!(refused(program(&["export", "--out", "never"]).arg(&out)).contains("an audit, not of a run"));
    let change = |sql: &str| rusqlite::Connection::open(folder::store_path(&out)).unwrap().execute_batch(sql).unwrap();
    change("UPDATE meta SET value = replace(value, '2f6f', '0000') WHERE key = 'dataset'");
    assert!(refused(program(&["resume"]).arg(&out)).contains("the table is not the one"));
    change("UPDATE meta SET value = replace(value, '0000', '2f6f') WHERE key = 'dataset'; DELETE FROM search");
    assert!(fail(program(&["resume"]).arg(&out)).1.contains("cycle 1 does not say where the search stands"));
    let former = base.path().join("former");
    std::fs::create_dir_all(&former).unwrap();
    std::fs::write(former.join("audit.toml"), "# Settings of this audit as resolved by eliteloop 0.1.0.\n").unwrap();
    for verb in ["resume", "report", "compare", "verify"] {
        assert!(refused(program(&[verb]).arg(&former)).contains("use the version of eliteloop that made it"), "{verb}");
    }
}
