//! The exact audit: enumeration against brute force, the table policy against its closed form, resuming, reports.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use eliteloop::audit::codec::Proposal;
use eliteloop::audit::compare::{Arm, Search};
use eliteloop::audit::exact::{Distribution, Measures, Update, enumerate};
use eliteloop::audit::product::Product;
use eliteloop::audit::record::{Cycle, Sample};
use eliteloop::audit::settings::{AuditConfig, Format};
use eliteloop::audit::writer::Writer;
use eliteloop::audit::{Audit, record, report};
use eliteloop::home;
use eliteloop::llm::adamw::AdamW;
use eliteloop::llm::config::Family;
use eliteloop::llm::decoder::Decoder;
use eliteloop::llm::score::score;
use eliteloop::oracle::cell::{CELLS, Cell, EDGES, WORDS};
use eliteloop::oracle::nasbench201::Table;
use eliteloop::report as html;
use eliteloop::seed;
use eliteloop::theory::{Verdict, table};
use rand::Rng;

use crate::models::{tiny, tiny_config};
use crate::program::program;

fn settings(overrides: &[&str]) -> AuditConfig {
    AuditConfig::resolve(None, &overrides.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn run(folder: &Path, overrides: &[&str]) -> Audit {
    let mut audit = Audit::create(folder, settings(overrides), Arc::new(AtomicBool::new(false)), |_| ()).unwrap();
    assert!(audit.run(|_| ()).unwrap());
    audit
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
        let found = enumerate(&decoder, &prompt, &words, EDGES).unwrap();
        assert_eq!(found.len(), CELLS);
        let mut rng = seed::rng(5, "test", &[]);
        let cells: Vec<Cell> = (0..200).map(|_| Cell::random(&mut rng)).collect();
        let sequences: Vec<Vec<u32>> = cells.iter().map(|c| c.operations().map(|o| words[o]).to_vec()).collect();
        for (cell, right) in cells.iter().zip(brute_force(&decoder, &prompt, &sequences)) {
            assert!((found[cell.index()] - right).abs() < 1e-4, "{cell}: {} for {right}", found[cell.index()]);
        }
        // A mask is the same with the five words alone, renormalised at each step.
        let inputs: Vec<u32> = words.iter().chain(&prompt).copied().collect();
        let masked = decoder.restricted(&inputs, WORDS.len()).unwrap();
        let masked = enumerate(&masked, &[5, 6, 7], &[0, 1, 2, 3, 4], EDGES).unwrap();
        assert!((masked.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(found.iter().map(|l| l.exp()).sum::<f64>() < 1.0);
        let own = enumerate(&decoder, &prompt, &words, 1).unwrap();
        let sum: f64 = own.iter().map(|l| l.exp()).sum();
        for (whole, masked) in own.iter().zip(masked.chunks(CELLS / 5)) {
            let first: f64 = masked.iter().map(|l| l.exp()).sum();
            assert!((whole.exp() / sum - first).abs() < 1e-5);
        }
    }
}

#[test]
fn the_real_models_first_edges_are_exact_with_and_without_the_mask() {
    needs!(Model);
    for mask in ["mask=true", "mask=false"] {
        let mut writer = Writer::open(&settings(&[mask])).unwrap();
        let config = settings(&["warmup.steps=1", "warmup.batch=4"]);
        writer.warm_up(&config.warmup, Format::Full, 1, &AtomicBool::new(false), |_, _| ()).unwrap();
        let found = writer.enumerate(2).unwrap();
        let sum: f64 = found.iter().map(|l| l.exp()).sum();
        assert!(if mask == "mask=true" { (sum - 1.0).abs() < 1e-9 } else { sum < 1.0 }, "{mask}: {sum}");
        // Scored alone and summed over what may follow the first two operations.
        let below: Vec<Proposal> = (0..625).map(|i| Proposal { parent: None, cell: Cell::at(7 * 625 + i) }).collect();
        let sampled = writer.sample(&vec![(None, 2)], &[4, 5]).unwrap();
        let by_hand: f64 = writer.log_q(&below).unwrap().iter().map(|l| l.exp()).sum();
        if mask == "mask=true" {
            assert!((found[7] - by_hand.ln()).abs() < 1e-4, "{} for {}", found[7], by_hand.ln());
        } else {
            assert!(by_hand.ln() < found[7], "not all that follows is a cell");
        }
        if mask == "mask=true" {
            let proposals: Vec<Proposal> = sampled.iter().map(|s| s.proposal().unwrap()).collect();
            for (sample, right) in sampled.iter().zip(writer.log_q(&proposals).unwrap()) {
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
        let mut writer = Writer::open(&config).unwrap();
        writer.warm_up(&config.warmup, Format::Delta, 1, &AtomicBool::new(false), |_, _| ()).unwrap();
        // Two parents that are one delta apart and so share children, drawn 1 : 3.
        let first: Cell = "pool one skip one skip skip".parse().unwrap();
        let parents = vec![(Some(first), 1), (Some(first.with(2, 4)), 3)];
        let p = writer.distribution(&parents).unwrap();
        let mut right = vec![0.0; CELLS];
        for (parent, share) in &parents {
            let children: Vec<Proposal> = Cell::all()
                .map(|cell| Proposal { parent: *parent, cell })
                .filter(|p| p.cell.operations().iter().zip(parent.unwrap().operations()).filter(|(a, b)| **a != *b).count() == 1)
                .collect();
            assert_eq!(children.len(), 24);
            for (child, log_q) in children.iter().zip(writer.log_q(&children).unwrap()) {
                right[child.cell.index()] += *share as f64 / 4.0 * log_q.exp();
            }
        }
        for (found, right) in p.cells().iter().zip(&right) {
            assert!((found - right).abs() <= 1e-4 * right, "{mask}: {found} for {right}");
        }
        assert!((p.cells().iter().sum::<f64>() + p.outside() - 1.0).abs() < 1e-9 && p.outside() > 0.0);
        let samples = writer.sample(&parents, &[1, 2, 3, 4]).unwrap();
        assert_eq!(samples.iter().filter(|s| s.parent == parents[1].0).count(), 3);
        for (sample, proposal) in samples.iter().filter_map(|s| Some((s, s.proposal()?))) {
            assert!((sample.log_q.unwrap() - writer.log_q(&[proposal]).unwrap()[0]).abs() < 1e-3, "{sample:?}");
        }
    }
}

#[test]
fn a_tuned_softmax_table_reaches_the_closed_form() {
    let mut rng = seed::rng(9, "test", &[]);
    let elites: Vec<Cell> = (0..10).map(|_| Cell::at(rng.random_range(0..CELLS / 8))).collect();
    let mut closed = Product::uniform();
    closed.update(&elites, 1.0);
    // The loss is -(1/|E|) sum log softmax; its gradient in the logits is softmax - share of the elites.
    let mut logits = vec![vec![0f32; EDGES * WORDS.len()]];
    let mut optimiser = AdamW::new([logits[0].len()]);
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        logits.iter().map(|l| f64::from(*l).exp() / sum).collect()
    };
    for step in 0..6_000 {
        let gradient: Vec<f32> = (0..EDGES)
            .flat_map(|edge| {
                let p = softmax(&logits[0][edge * WORDS.len()..][..WORDS.len()]);
                let share = |o: usize| elites.iter().filter(|c| c.operations()[edge] == o).count() as f64 / elites.len() as f64;
                (0..WORDS.len()).map(|o| (p[o] - share(o)) as f32).collect::<Vec<_>>()
            })
            .collect();
        optimiser.step(&mut logits, &[gradient], if step < 5_000 { 0.1 } else { 0.01 }, 0.0);
    }
    let kl: f64 = (0..EDGES).map(|e| table::kl(&closed.edges()[e], &softmax(&logits[0][e * WORDS.len()..][..WORDS.len()]))).sum();
    assert!(kl < 1e-4, "{kl}");
    // Smoothing is exactly the mixture.
    let mut smoothed = Product::uniform();
    smoothed.update(&elites, 0.3);
    for (edge, full) in smoothed.edges().iter().zip(closed.edges()) {
        for (p, v) in edge.iter().zip(full) {
            assert_eq!(*p, 0.3 * v + (1.0 - 0.3) * 0.2);
        }
    }
}

#[test]
fn exact_measures_of_the_uniform_distribution_are_those_of_the_table() {
    needs!(Nasbench201);
    let nas = Table::load("cifar10", &home::data()).unwrap();
    let uniform = Product::uniform().distribution();
    let m = Measures::of(&uniform, &nas, 90.97);
    assert!((m.expected - 83.69).abs() < 0.005 && (m.entropy - (CELLS as f64).ln()).abs() < 1e-9, "{m:?}");
    assert!((m.elite - 0.01).abs() < 5e-4 && m.outside == 0.0 && m.dependence.abs() < 1e-9, "{m:?}");
    // Half of the mass outside halves C and leaves the mean over the cells.
    let half = Measures::of(&Distribution::partial(vec![0.5 / CELLS as f64; CELLS]), &nas, 90.97);
    assert!((half.outside - 0.5).abs() < 1e-9 && (half.elite - m.elite / 2.0).abs() < 1e-9 && (half.expected - m.expected).abs() < 1e-9);
    // An update to the very mixture is found as such.
    let elites = Distribution::empirical(&[nas.best(), Cell::at(3), nas.best()]);
    let mixture = Distribution::complete(table::smooth(elites.cells(), uniform.cells(), 0.4));
    let update = Update::of(&elites, &uniform, &mixture, &uniform);
    assert!((update.alpha - 0.4).abs() < 1e-4 && update.distance.unwrap().abs() < 1e-6, "{update:?}");
    assert!(update.share.unwrap() > 0.8);
}

#[test]
fn the_controls_run_their_cycles_and_say_what_they_found() {
    needs!(Nasbench201);
    let folder = tempfile::tempdir().unwrap();
    for policy in ["table-ce", "random", "evolution"] {
        let path = folder.path().join(policy);
        let audit = run(&path, &[&format!("policy={policy}"), "cycles=6", "samples=30", "seed=2"]);
        let last = audit.cycles.last().unwrap();
        assert_eq!((audit.cycles.len(), last.samples.len()), (6, 30));
        assert!(last.search.distinct <= 180 && last.search.highest >= last.search.incumbent);
        assert_eq!(last.exact.is_some(), policy != "evolution");
        let panels = report::panels(&audit.config, &audit.inputs, &audit.cycles);
        let claim = |n| panels.iter().find(|p| p.claim == n).unwrap();
        if policy == "random" {
            assert_eq!(claim(2).verdict, Verdict::AssumptionNotMet);
        }
        if policy == "table-ce" {
            let before = audit.cycles[0].exact.as_ref().unwrap();
            assert!(before.after.expected > before.before.expected);
            assert!(before.update.unwrap().to_table.unwrap().abs() < 1e-12, "the table is itself");
            assert!(claim(2).sentence.contains("Exactly") && claim(3).sentence.contains("Exactly"));
        }
        let page = html::render(&report::collect(&path).unwrap());
        assert!(page.contains("NAS-Bench-201") && page.contains("id=\"claim-3\""));
        assert_eq!(report::table(&audit.cycles).lines().filter(|l| l.trim_start().starts_with(char::is_numeric)).count(), 6);
    }
}

const SMALL: [&str; 9] = [
    "seed=3",
    "cycles=3",
    "samples=12",
    "elite.rho=0.4",
    "elite.held_out=0.2",
    "audit_every=0",
    "warmup.steps=2",
    "tune.epochs=2",
    "tune.smoothing=0.9",
];

fn command(arguments: &[&str]) -> Command {
    let mut command = program(&["audit"]);
    command.args(arguments).stdout(Stdio::null());
    command
}

/// All that an audit stored but times.
fn contents(audit: &Path) -> Vec<Vec<u8>> {
    ["audit.toml", "inputs.json", "cycles.jsonl", "cycle-0003/adapter_model.safetensors", "cycle-0003/optimizer.safetensors"]
        .map(|name| std::fs::read(audit.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
        .to_vec()
}

/// Kills an audit after its first cycle, lets it go on, and compares it with one that was not disturbed.
fn killed_and_whole(overrides: &[&str]) -> Audit {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let audit = run(&whole, overrides);

    let mut arguments = vec!["--out", broken.to_str().unwrap()];
    arguments.extend(overrides.iter().flat_map(|s| ["--set", s]));
    let mut child = command(&arguments).spawn().unwrap();
    while !record::cycles(&broken).is_ok_and(|c| !c.is_empty()) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let closed = record::cycles(&broken).unwrap().len();
    assert!((1..3).contains(&closed), "killed after {closed} cycles");
    // What a kill between the adapter and the line of a cycle leaves.
    std::fs::create_dir_all(broken.join(format!(".cycle-{:04}", closed + 1))).unwrap();
    std::fs::create_dir_all(broken.join(format!("cycle-{:04}", closed + 1))).unwrap();

    let output = command(&["--resume", broken.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(contents(&whole) == contents(&broken));
    audit
}

#[test]
fn a_killed_audit_goes_on_to_the_same_bytes() {
    needs!(Model, Nasbench201);
    let audit = killed_and_whole(&SMALL);
    let panels = report::panels(&audit.config, &audit.inputs, &audit.cycles);
    assert_eq!(panels[0].verdict, Verdict::Holds, "{}", panels[0].sentence);
    assert!(audit.cycles.iter().all(|c| c.tuning.as_ref().unwrap().held_out_after.is_some()));
}

#[test]
fn deltas_on_cells_queried_before_go_on_to_the_same_bytes() {
    needs!(Model, Nasbench201);
    let mut overrides = SMALL.to_vec();
    overrides.extend(["format=delta", "novelty=true", "audit_every=1", "warmup.steps=8"]);
    let audit = killed_and_whole(&overrides);
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
        let exact = cycle.exact.as_ref().unwrap();
        let update = exact.update.unwrap();
        assert!(update.to_elites_after.unwrap() < update.to_elites_before.unwrap(), "{update:?}");
    }
}

#[test]
fn a_stop_in_the_warm_up_keeps_nothing_and_the_audit_begins_again() {
    needs!(Model, Nasbench201);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let stopped = Audit::create(&path, settings(&SMALL), Arc::new(AtomicBool::new(true)), |_| ()).err().unwrap();
    assert!(stopped.to_string().contains("warm-up") && stopped.hint_text().unwrap().contains("--resume"), "{stopped}");
    let whole = Audit::create(&folder.path().join("whole"), settings(&SMALL), Arc::new(AtomicBool::new(false)), |_| ()).unwrap();
    let again = Audit::resume(&path, Arc::new(AtomicBool::new(false)), |_| ()).unwrap();
    assert_eq!(again.inputs, whole.inputs);
}

#[test]
fn random_deltas_are_the_control_of_deltas() {
    needs!(Nasbench201);
    let mut overrides = SMALL.to_vec();
    overrides.extend(["policy=random", "format=delta", "novelty=true", "audit_every=1"]);
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
    let table = Table::load("cifar10", &home::data()).unwrap();
    let sample = |cell: Cell, quality: Option<f64>| Sample { parent: None, text: cell.to_string(), log_p: None, log_q: None, quality };
    let (good, poor) = (table.best(), Cell::at(0));
    let samples = vec![sample(poor, Some(99.0)), sample(poor, Some(99.0)), sample(Cell::at(1), None), sample(good, Some(91.0))];
    let cycle = Cycle { cycle: 1, samples, ..Cycle::default() };
    let search = Search::of(7, &[cycle], &table);
    assert_eq!((search.distinct, search.best_found_at), (2, Some(2)));
    assert_eq!(search.best, [table.mean(good); 3]);
    assert_eq!(search.incumbent, [table.mean(poor); 3], "the highest accuracy queried was the poor one's");

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("random");
    let seeds = |samples: &str| {
        let arguments = ["--out", out.to_str().unwrap(), "--policy", "random", "--seeds", "2", "--seed", "5", "--budget", "110"];
        command(&[&arguments[..], &["--samples", samples]].concat()).output().unwrap()
    };
    assert!(seeds("40").status.success());
    let stored = |seed: &str| std::fs::read(out.join(seed).join("cycles.jsonl")).unwrap();
    let before = (stored("seed-0005"), stored("seed-0006"));
    assert!(before.0 != before.1);
    assert!(seeds("40").status.success(), "finished ones are left as they are");
    assert!(before == (stored("seed-0005"), stored("seed-0006")));
    let refused = seeds("41");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("other settings"));
    let arm = Arm::read(&out).unwrap();
    assert_eq!(arm.searches.iter().map(|s| s.seed).collect::<Vec<_>>(), [5, 6]);
    // The budget is looked at between cycles of 40.
    assert!(arm.searches.iter().all(|s| (110..=160).contains(&s.distinct)), "{arm:?}");
    assert!(arm.best[0] <= arm.best[2] && arm.incumbent[2] <= arm.best[2]);
    assert!(Arm::read(folder.path()).is_err());
}

#[test]
fn what_cannot_go_on_says_why() {
    needs!(Nasbench201);
    let folder = tempfile::tempdir().unwrap();
    let fail = |arguments: &[&str]| {
        let output = command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let nothing = folder.path().join("nothing");
    assert!(fail(&["--resume", nothing.to_str().unwrap()]).contains("there is no audit"));
    let out = folder.path().join("a");
    let out = out.to_str().unwrap();
    assert!(fail(&["--out", out, "--set", "elite.roh=1"]).contains("did you mean 'rho'"));
    assert!(fail(&["--out", out, "--dataset", "svhn"]).contains("cifar100"));
    run(Path::new(out), &["policy=random", "cycles=1", "samples=2"]);
    assert!(fail(&["--out", out]).contains("--resume"));
    let inputs = Path::new(out).join("inputs.json");
    let text = std::fs::read_to_string(&inputs).unwrap();
    std::fs::write(&inputs, text.replace("\"table_sha256\": \"2f", "\"table_sha256\": \"00")).unwrap();
    assert!(fail(&["--resume", out]).contains("the table is not the one"));
    std::fs::write(Path::new(out).join("cycles.jsonl"), "{\"cycle\":").unwrap();
    std::fs::write(&inputs, text).unwrap();
    assert!(fail(&["--resume", out]).contains("line 1: damaged"));
}
