//! The report of a made-up run: complete, well formed, safe to open, small enough.

use eliteloop::config::Policy;
use eliteloop::gates::{Gate, Stage};
use eliteloop::record::Funnel;
use eliteloop::report::data::{Ancestor, Best, Candidate, Cycle, Epoch, Reason, StartNetwork, Tuning};
use eliteloop::report::tables::tables;
use eliteloop::report::{ReportData, render};
use eliteloop::theory::early::Correlation;
use eliteloop::theory::growth::Count;
use eliteloop::theory::values as table;
use eliteloop::theory::{Estimate, Finding, Panel, Verdict, ce_update, convergence, diversity, improvement, reliability, token_errors};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::page::{Scheme, assert_readable, keep, well_formed};

const HOSTILE: &str = "class Net(nn.Module):\n    x = '</code></pre><script>alert(1)</script>' # & \u{202e}\u{0}\n";

fn source(width: usize, extra: bool) -> String {
    let line = if extra { "            nn.LazyConv2d(64, 3, padding=1),\n            nn.ReLU(),\n" } else { "" };
    format!(
        "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self, num_classes=10):\n        super().__init__()\n        self.body = nn.Sequential(\n            nn.LazyConv2d({width}, 3, padding=1),\n            nn.LazyBatchNorm2d(),\n            nn.ReLU(),\n            nn.MaxPool2d(2),\n{line}            nn.AdaptiveAvgPool2d(1),\n            nn.Flatten(),\n            nn.LazyLinear(num_classes),\n        )\n\n    def forward(self, x):\n        return self.body(x)\n"
    )
}

/// A run with a bit of everything: failures at every gate, held-out elites, a control-like gap.
fn run(cycles: u64, asked: u64) -> ReportData {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut candidates = Vec::new();
    let mut closed = Vec::new();
    for cycle in 0..cycles {
        let mut f = Funnel { asked, ..Funnel::default() };
        let center = 0.45 + 0.12 * (1.0 - (-(cycle as f64) / 6.0).exp());
        let mut qualities = Vec::new();
        for index in 0..asked {
            let end = Gate::ALL
                .into_iter()
                .zip([0.06, 0.05, 0.08, 0.04, 0.12, 0.02])
                .scan(rng.random::<f64>(), |left, (gate, share)| {
                    *left -= share;
                    Some((*left < 0.0).then_some(gate))
                })
                .flatten()
                .next();
            let stage = end.map_or(Stage::Trained, Gate::before);
            let passed = stage as usize;
            let counts = [&mut f.parsed, &mut f.applied, &mut f.traced, &mut f.within_budget, &mut f.novel, &mut f.trained];
            counts.into_iter().take(passed).for_each(|count| *count += 1);
            let quality = end.is_none().then(|| Normal::new(center, 0.05).unwrap().sample(&mut rng).clamp(0.1, 0.9));
            qualities.extend(quality);
            candidates.push(Candidate {
                cycle,
                index,
                parent: if cycle == 0 { "start-1".into() } else { format!("c{}-{}", cycle - 1, index % 5) },
                stage,
                reason: end.map_or_else(String::new, |gate| format!("{gate}: line 7 is not <known> & \"fine\"")),
                quality,
                nearest_jaccard: (passed >= 4).then(|| if end == Some(Gate::Novelty) { 1.0 } else { rng.random_range(0.3..0.97) }),
                parent_jaccard: (passed >= 4).then(|| rng.random_range(0.3..0.9)),
                parameters: (passed >= 3).then(|| rng.random_range(20_000..900_000)),
                macs: (passed >= 3).then(|| rng.random_range(1_000_000..40_000_000)),
                ..Candidate::default()
            });
        }
        qualities.sort_by(f64::total_cmp);
        let elites = (asked / 5).min(qualities.len() as u64);
        f.elite = elites;
        let gamma = qualities[qualities.len() - elites as usize];
        let chosen = candidates.iter_mut().filter(|c| c.cycle == cycle && c.quality.is_some_and(|q| q >= gamma));
        for (place, c) in chosen.enumerate() {
            c.elite = true;
            c.held_out = place % 5 == 4;
        }
        closed.push(Cycle {
            cycle,
            funnel: f,
            reasons: vec![
                Reason { gate: Gate::Parse, reason: "nothing to apply".into(), count: f.asked - f.parsed },
                Reason { gate: Gate::Novelty, reason: "duplicate".into(), count: f.within_budget - f.novel },
            ],
            gamma: Some(gamma),
            tuning: Some(Tuning {
                examples: elites,
                steps: 4 * elites,
                loss_before: 34.0 - 0.5 * cycle as f64,
                loss_after: 21.0 - 0.4 * cycle as f64,
                held_out_before: Some(35.5 - 0.5 * cycle as f64),
                held_out_after: Some(31.0 - 0.6 * cycle as f64),
                logged_loss: Some(34.0 - 0.5 * cycle as f64 + 1e-4),
            }),
            seconds: vec![("propose".into(), 41.5), ("screen".into(), 3.25), ("train".into(), 96.0), ("tune".into(), 18.0)],
            peak_memory_mib: Some(2048.0 + cycle as f64),
        });
    }
    let best = candidates.iter().max_by(|a, b| a.quality.unwrap_or(0.0).total_cmp(&b.quality.unwrap_or(0.0))).unwrap().clone();
    let theory = panels(&candidates, &closed);
    ReportData {
        name: "quick <1>".into(),
        program_version: "0.1.0".into(),
        started: "2026-07-29 09:00".into(),
        finished: "2026-07-29 09:08".into(),
        policy: Policy::Llm,
        model: "smollm2-135m-instruct".into(),
        dataset: "cifar10".into(),
        settings: "seed = 0\ncycles = 22\n# </pre><script>alert(2)</script>\n".into(),
        provenance: vec![("model sha256".into(), "7a3f".repeat(16)), ("threads".into(), "2".into())],
        start: vec![StartNetwork { name: "start-1".into(), quality: Some(0.47) }, StartNetwork { name: "start-2".into(), quality: None }],
        cycles: closed,
        candidates,
        best: Some(Best {
            cycle: best.cycle,
            index: best.index,
            quality: best.quality.unwrap(),
            quality_per_seed: vec![0.61, 0.63],
            parameters: 412_345,
            macs: 21_234_567,
            source: source(48, true) + HOSTILE,
            parent: best.parent,
            parent_source: source(48, false),
            start: "start-1".into(),
            start_source: source(32, false),
            curve: (1..=3).map(|e| Epoch { epoch: e, train_loss: 2.0 / e as f64, valid_accuracy: 0.3 + 0.1 * e as f64 }).collect(),
        }),
        lineage: vec![
            Ancestor { name: "start-1".into(), quality: Some(0.47), source: source(32, false), completion: String::new() },
            Ancestor {
                name: "c0-3".into(),
                quality: Some(0.52),
                source: source(48, false),
                completion: "8\nnn.LazyConv2d(48, 3, padding=1),".into(),
            },
            Ancestor { name: "c2-1".into(), quality: Some(0.5), source: source(48, true) + HOSTILE, completion: format!("11+\n{HOSTILE}") },
        ],
        early: vec![
            Correlation { name: "synflow".into(), networks: 31, rank: Some(Estimate { value: -0.25, low: -0.5, high: 0.125 }) },
            Correlation { name: "accuracy after epoch 1".into(), networks: 1, rank: None },
        ],
        theory,
    }
}

#[test]
fn cheap_scores_stand_with_their_intervals() {
    let html = render(&run(2, 20));
    for cell in ["synflow", "\u{2212}0.25", "\u{2212}0.50", ">0.12<", ">31<", "accuracy after epoch 1"] {
        assert!(html.contains(cell), "no {cell}");
    }
}

/// What the estimators say of these records, and one panel with hostile text.
fn panels(candidates: &[Candidate], cycles: &[Cycle]) -> Vec<Panel> {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let of = |cycle: u64| candidates.iter().filter(move |c| c.cycle == cycle);
    let tunings: Vec<_> = cycles
        .iter()
        .map(|c| {
            let t = c.tuning.as_ref().unwrap();
            ce_update::Tuning {
                cycle: c.cycle,
                summed: true,
                logged: t.logged_loss,
                loss_before: t.loss_before,
                loss_after: t.loss_after,
                target: 0.0,
                held_out: t.held_out_before.zip(t.held_out_after),
                trained: vec!["aa".into()],
                elites: vec!["aa".into(), "bb".into()],
            }
        })
        .collect();
    let sample = |c: &Candidate| improvement::Sample { parent: c.parent.clone(), quality: c.quality, ..improvement::Sample::default() };
    let sampled = |c: &Cycle| improvement::CycleSamples {
        cycle: c.cycle,
        samples: of(c.cycle).map(sample).collect(),
        updated: true,
        selected: true,
        exact: None,
    };
    let reached = |c: &Cycle| {
        let reached = of(c.cycle).filter(|c| c.quality.is_some_and(|quality| quality >= 0.5)).count();
        Count::new(c.cycle, c.funnel.asked, reached as u64)
    };
    let completion = |i: usize| token_errors::Completion {
        parent: (i % 5).to_string(),
        labels: (0..40).map(|_| rng.random::<f64>() > 0.01).collect(),
        applied: !i.is_multiple_of(8),
        valid: !i.is_multiple_of(3),
        prompt_tokens: 300,
    };
    let arm = token_errors::Arm { completions: (0..80).map(completion).collect() };
    let counts = |c: &Cycle| diversity::CycleCounts {
        cycle: c.cycle,
        asked: c.funnel.asked,
        valid: c.funnel.within_budget,
        unique: c.funnel.novel,
        mean_nll: Some(30.0),
    };
    let on = diversity::Arm { runs: vec![cycles.iter().map(counts).collect()], accepted: vec![] };
    let proxy: Vec<f64> = (0..24).map(|_| rng.random_range(0.4..0.6)).collect();
    let full = proxy.iter().map(|quality| 0.2 + quality + rng.random_range(-0.04..0.04)).collect();
    let network = |quality: &f64| reliability::Repeated {
        parent: "a".into(),
        scores: (0..3).map(|_| quality + rng.random_range(-0.04..0.04)).collect(),
    };
    let scores: Vec<_> = proxy.iter().map(network).collect();
    let mut panels = vec![
        ce_update::judge(&tunings, true).panel(),
        improvement::judge(&[], &cycles.iter().map(sampled).collect::<Vec<_>>()).panel(),
        convergence::judge(&[], &cycles.iter().map(reached).collect::<Vec<_>>()).panel(),
        token_errors::judge(Some(&arm), None, true).panel(),
        diversity::judge(&on, None, 0.98, &[], 128).panel(),
        reliability::judge(&scores, &reliability::Pairs { proxy, full, restricted: None }, 0.2).panel(),
    ];
    let hostile = &mut panels[1];
    (hostile.title, hostile.finding) = ("<i>no claim</i>".into(), Finding::of(Verdict::Fails, None));
    hostile.sentence = "The mean fell in 3 of 21 transitions & \"so on\".".into();
    hostile.numbers.push(("hostile".into(), "<b>".into()));
    panels
}

#[test]
fn a_run_fills_every_section() {
    let html = render(&run(3, 12));
    keep("report-small.html", &html);
    for id in
        ["funnel", "quality", "tuning", "best", "lineage", "novelty", "theory", "cost", "candidates", "settings", "provenance", "claim-6"]
    {
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(html.contains("smollm2-135m-instruct, tuned on its own elites, found a network of"));
    assert!(html.contains("<span class=\"verdict fails\">\u{2717} fails</span> The mean fell in 3 of 21 transitions"));
    assert!(html.contains("<span class=\"added\">+            nn.LazyConv2d(48, 3, padding=1),</span>"));
    assert_eq!(html.matches("<svg viewBox=\"0 0 640").count(), 12, "funnel, quality, tuning, two curves, novelty, six panels");
}

#[test]
fn every_trained_candidate_is_drawn_once_and_none_is_smoothed_away() {
    let data = run(4, 20);
    let html = render(&data);
    for c in data.candidates.iter().filter(|c| c.quality.is_some()) {
        let title = format!("<title>cycle {}, candidate {}", c.cycle, c.index);
        assert_eq!(html.matches(&format!("{title}:")).count() + html.matches(&format!("{title},")).count(), 1, "{title}");
    }
}

#[test]
fn sources_completions_and_reasons_cannot_break_out() {
    let html = render(&run(3, 12));
    assert!(html.contains("&lt;script&gt;alert(1)"), "shown as text");
    for bad in ["<script", "</script", "\u{0}", "\u{202e}", "javascript:", "http:", "https:"] {
        assert!(!html.contains(bad), "{bad:?}");
    }
    assert!(well_formed(&html).unwrap() > 300);
}

#[test]
fn the_reader_of_tags_finds_what_is_broken() {
    let page = |body: &str| format!("<!DOCTYPE html><p>{body}</p>");
    assert_eq!(well_formed(&page("a &amp; <b class=\"c\">d</b><br/>")), Ok(3));
    for bad in ["<b>", "</b>", "<b></p>", "a & b", "<b class=c></b>", "<a onclick=\"x\"></a>", "<img src=\"x\"/>", "a > b"] {
        assert!(well_formed(&page(bad)).is_err(), "{bad}");
    }
}

#[test]
fn eleven_hundred_candidates_stay_under_three_megabytes() {
    let html = render(&run(22, 50));
    keep("report-large.html", &html);
    well_formed(&html).unwrap();
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
}

#[test]
fn a_browser_shows_every_panel_at_two_widths_in_light_and_dark() {
    needs!(Minutes, Browser);
    for (candidates, width, scheme) in [(50, 1280, Scheme::Light), (12, 400, Scheme::Dark)] {
        let ids = ["funnel", "quality", "theory", "claim-1", "claim-2", "claim-3", "claim-4", "claim-5", "claim-6"];
        assert_readable(&render(&run(22, candidates)), width, scheme, &ids);
    }
}

#[test]
fn every_table_is_given_as_data() {
    let data = run(3, 12);
    let folder = tempfile::tempdir().unwrap();
    let all = tables(&data);
    table::write(&all, folder.path()).unwrap();
    for one in &all {
        assert!(!one.rows.is_empty() && one.rows.iter().all(|row| row.len() == one.head.len()), "{}", one.id);
        assert!(folder.path().join(format!("{}.csv", one.id)).is_file(), "{}", one.id);
    }
    let read = |id: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(folder.path().join(format!("{id}.json"))).unwrap()).unwrap()
    };
    let candidates = read("candidates");
    assert_eq!(candidates.as_array().unwrap().len(), 36);
    for (row, candidate) in candidates.as_array().unwrap().iter().zip(&data.candidates) {
        assert_eq!(row["quality"].as_f64(), candidate.quality, "to the last digit");
    }
    assert_eq!(read("cycles")[1]["trained"].as_u64(), Some(data.cycles[1].funnel.trained));
    assert_eq!(read("claims").as_array().unwrap().len(), data.theory.len());
}

#[test]
fn controls_and_unfinished_runs_have_a_report_too() {
    let mut control = run(3, 12);
    control.policy = Policy::Random;
    control.cycles.iter_mut().for_each(|cycle| cycle.tuning = None);
    control.theory.clear();
    let html = render(&control);
    well_formed(&html).unwrap();
    assert!(!html.contains("id=\"tuning\"") && html.contains("Random mutation, without an LLM, found a network"));

    let mut barren = run(1, 12);
    barren.best = None;
    barren.lineage.clear();
    barren.candidates.iter_mut().for_each(|c| c.quality = None);
    barren.start.clear();
    let html = render(&barren);
    well_formed(&html).unwrap();
    assert!(html.contains("found no network that could be trained"));

    well_formed(&render(&ReportData::default())).unwrap();
}
