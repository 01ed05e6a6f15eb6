//! The gates are one thing, whoever judges: the screen of a run, practice and `bench formats` say the same of the same deltas.

use std::path::PathBuf;

use crate::models::smollm_file;
use eliteloop::config::RunConfig;
use eliteloop::delta;
use eliteloop::delta::settings::Format;
use eliteloop::delta::starts::starts;
use eliteloop::gates::{Gate, Gates, Judged, Reason, Stage};
use eliteloop::method::{limits, screen, starts};
use eliteloop::policy::schooling::practice::{Written, judge_family};
use eliteloop::policy::schooling::trial::{self, Trial};
use eliteloop::proxy::dataset;
use eliteloop::record::{Candidate, Kind, NetworkId, Screened, Store};
use eliteloop::tracer::novelty::Filter;

/// The start network `plain`: line 11 of it is its first `nn.ReLU(),`, line 17 its last convolution.
fn parent() -> &'static str {
    starts().iter().find(|(name, _)| *name == "plain").unwrap().1
}

fn here(mut gates: Gates) -> Gates {
    gates.trace.program = PathBuf::from(env!("CARGO_BIN_EXE_eliteloop"));
    gates
}

/// As a run screens what its LLM wrote of a start network.
fn by_a_run(written: &[Written]) -> Vec<Screened> {
    let config = RunConfig::default();
    let images = dataset::Format {
        name: "images".into(),
        shape: [3, 32, 32],
        classes: 10,
        class_names: vec![],
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        flip: true,
        fit: None,
        uneven: false,
    };
    let (gates, mut filter) = (here(limits::gates(&config, &images)), Filter::new(&config.novelty, config.seed));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
    for row in starts::trace(&[("plain".into(), parent().into())], &gates, &mut filter).unwrap() {
        store.put_network(&row).unwrap();
    }
    let candidate = |(index, w): (u64, &Written)| {
        let asked = Candidate::new(1, index, NetworkId::Start("plain".into()), w.completion.clone());
        Candidate { ended: w.ended, ..asked }
    };
    let asked: Vec<Candidate> = (0..).zip(written).map(candidate).collect();
    // As they come out of the store.
    asked.iter().try_for_each(|c| store.put_candidate(c)).unwrap();
    assert_eq!(store.candidates().unwrap(), asked);
    screen::decide(&store, &gates, &mut filter, &store.candidates().unwrap()).unwrap().into_iter().map(|(screened, _)| screened).collect()
}

fn by_practice(written: &[Written]) -> Vec<Judged> {
    judge_family(&here(Gates::of_corpus(Format::Edit)), parent(), written).unwrap()
}

fn by_bench_formats(written: &[Written]) -> Vec<Judged> {
    let trial = |w: &Written| Trial { parent: parent().into(), completion: w.completion.clone(), ended: w.ended, tokens: 1 };
    trial::judge(&here(Gates::of_corpus(Format::Edit)), &written.iter().map(trial).collect::<Vec<_>>()).unwrap()
}

fn ended(completion: impl Into<Vec<u8>>) -> Written {
    Written { completion: completion.into(), ended: true }
}

#[test]
fn a_run_practice_and_bench_formats_end_a_delta_at_the_same_gate_for_the_same_reason() {
    needs!(Minutes);
    let table = [
        (Written { ended: false, ..ended("11\nnn.GELU(),\n") }, Stage::Asked, Some("not-ended"), None),
        (ended(*b"11\nnn.GELU(),  # \xff\n"), Stage::Asked, Some("not-utf8"), None),
        (ended("nn.GELU(),\n"), Stage::Asked, Some("malformed"), None),
        (ended("99\nnn.GELU(),\n"), Stage::Parsed, Some("out-of-range"), None),
        (ended("11\nnn.ReLU(),\n"), Stage::Parsed, Some("no-change"), None),
        (ended("11\nnn.Nonesuch(),\n"), Stage::Applied, Some("unsupported"), Some(11)),
        (ended("17\nnn.LazyConv2d(4000, 3, padding=1),\n"), Stage::Traced, Some("over-budget"), None),
        (ended("11\nnn.ReLU(),\nnn.Identity(),\n"), Stage::WithinBudget, Some("same-as-parent"), None),
        (ended("11\nnn.GELU(),\n"), Stage::Novel, None, None),
        (ended("11\nnn.GELU(),  # again\n"), Stage::WithinBudget, Some("duplicate"), None),
    ];
    let written: Vec<Written> = table.iter().map(|row| row.0.clone()).collect();
    let (run, practice, bench) = (by_a_run(&written), by_practice(&written), by_bench_formats(&written));
    for (i, (delta, stage, reason, line)) in table.iter().enumerate() {
        let shown = delta.completion.escape_ascii();
        let found = &run[i];
        assert_eq!((found.stage, found.reason.as_deref(), found.line), (*stage, *reason, *line), "{shown}: {:?}", found.detail);
        assert_eq!(found.source.is_some(), *stage >= Stage::Applied, "{shown}");
        for judged in [&practice[i], &bench[i]] {
            let why = judged.reason.as_ref();
            assert_eq!((judged.stage(), why.map(Reason::word), why.and_then(Reason::line)), (*stage, *reason, *line), "{shown}: {why:?}");
            assert_eq!(judged.source, found.source, "{shown}");
            // Those that repeat another are told which, by the names it has there.
            if *reason != Some("duplicate") {
                assert_eq!(why.map(ToString::to_string), found.detail, "{shown}");
            }
        }
    }
    for gate in Gate::ALL.into_iter().filter(|gate| *gate != Gate::Training) {
        assert!(table.iter().any(|(_, stage, reason, _)| reason.is_some() && *stage == gate.before()), "nothing ends at {gate}");
    }
}

/// What the LLM gives is bytes. As text, with the bytes that are not UTF-8 replaced, it would be another delta, and one that applies.
#[test]
fn a_completion_that_is_not_utf8_is_refused_for_that_wherever_it_is_judged() {
    needs!(Model);
    let tokenizer = smollm_file().tokenizer().unwrap();
    let broken = (0..tokenizer.vocab_size() as u32).find(|&id| str::from_utf8(&tokenizer.token_bytes(id)).is_err()).unwrap();
    let tokens = [tokenizer.encode_plain("11\nnn.GELU(),  # "), vec![broken], tokenizer.encode_plain("\n"), vec![tokenizer.eos()]].concat();
    let text = tokenizer.decode(&tokens);
    assert!(text.contains('\u{fffd}') && delta::apply(Format::Edit, parent(), &text).is_ok(), "{text:?}");

    let written = [ended(tokenizer.completion(&tokens))];
    let run = by_a_run(&written);
    assert_eq!((run[0].stage, run[0].reason.as_deref()), (Stage::Asked, Some("not-utf8")));
    for judged in [by_practice(&written), by_bench_formats(&written)].concat() {
        assert_eq!((judged.stage(), judged.reason.map(|r| r.word())), (Stage::Asked, Some("not-utf8")));
    }
}

/// A run trains what passed, so what failed may come again; who counts different networks counts none twice.
#[test]
fn what_is_over_the_budget_is_new_again_to_a_run_and_not_to_a_count() {
    let wide = ended("17\nnn.LazyConv2d(4000, 3, padding=1),\n");
    let written = [wide.clone(), wide];
    let run = by_a_run(&written);
    assert!(run.iter().all(|s| s.stage == Stage::Traced && s.jaccard.is_none()), "nothing was accepted that it could resemble: {run:?}");
    let verdicts: Vec<bool> = by_practice(&written).iter().map(|j| j.network.as_ref().unwrap().finding.verdict.is_ok()).collect();
    assert_eq!(verdicts, [true, false]);
}
