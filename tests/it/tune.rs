//! Tuning and scoring: the loss falls, runs repeat to the last bit, scores equal full passes.

use std::sync::atomic::AtomicBool;

use candle_core::Tensor;
use eliteloop::decoder::files::shape::Family;
use eliteloop::decoder::lora::adamw::AdamW;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::score::{log_p, score};
use eliteloop::decoder::lora::tune::{Plan, Schedule, TuneLog, tune};
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use eliteloop::decoder::model::pack::Example;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::{Objective, TuneConfig};

use crate::models::{smollm, tiny, tiny_config};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn tokens(n: usize, step: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * step + 13) % 97).collect()
}

fn examples() -> Vec<Example> {
    let example = |id: &str, prompt, completion| Example { id: id.into(), prompt, completion };
    vec![
        example("a", tokens(30, 7), tokens(9, 5)),
        example("b", tokens(12, 3), tokens(5, 2)),
        example("c", tokens(30, 7), tokens(7, 11)),
        example("d", tokens(30, 7), tokens(1, 1)),
    ]
}

fn plan(config: &TuneConfig) -> Plan<'_> {
    Plan { config, batch: None, schedule: Schedule::Constant, budget: 512, seed: 5, abort: &GO_ON, weights: &[], reference: None }
}

fn tuned(decoder: &Decoder, plan: &Plan, dropout: f64) -> (Lora, TuneLog) {
    let mut lora = Lora::new(decoder.config(), &LoraConfig { dropout, ..LoraConfig::default() }, 2).unwrap();
    let mut optimiser = AdamW::new(lora.layers().iter().map(|l| l.elem_count()));
    let mut seen = 0;
    let log = tune(decoder, &mut lora, &mut optimiser, &examples(), plan, |index, total, _| {
        assert!(index == seen && index < total);
        seen += 1;
    })
    .unwrap();
    assert_eq!((seen, optimiser.steps()), (log.steps.len(), log.steps.len() as u64));
    (lora, log)
}

#[test]
fn the_loss_on_a_fixed_batch_falls_and_is_the_one_scores_give() {
    needs!(Model);
    let decoder = smollm();
    let config = TuneConfig { lr: 1e-3, epochs: 4, ..TuneConfig::default() };
    let before: f64 = -log_p(decoder, None, &examples(), 512).unwrap().iter().sum::<f64>() / 4.0;
    let (lora, log) = tuned(decoder, &plan(&config), 0.0);
    assert!((log.loss_before / before - 1.0).abs() < 1e-6);
    assert!((log.steps[0].loss / log.loss_before - 1.0).abs() < 1e-6, "{:?}", log.steps[0]);
    assert!(log.steps.windows(2).all(|w| w[1].loss < w[0].loss), "{:?}", log.steps);
    assert!(log.loss_after < 0.8 * log.loss_before, "{} to {}", log.loss_before, log.loss_after);
    let after: f64 = -log_p(decoder, Some(&lora), &examples(), 512).unwrap().iter().sum::<f64>() / 4.0;
    assert_eq!(log.loss_after, after);
    assert_eq!(log.tokens, 4 * (30 + 8 + 6 + 12 + 4));
    assert_eq!(log.steps.iter().map(|s| s.lr).collect::<Vec<_>>(), [5e-4, 1e-3, 1e-3, 1e-3]);
}

#[test]
fn small_passes_give_the_steps_of_one_large_pass() {
    let decoder = tiny(&tiny_config(Family::Qwen2), 1);
    for objective in [Objective::Sum, Objective::TokenMean] {
        let config = TuneConfig { objective, lr: 1e-3, epochs: 5, ..TuneConfig::default() };
        let large = tuned(&decoder, &plan(&config), 0.0).1;
        let small = tuned(&decoder, &Plan { budget: 40, ..plan(&config) }, 0.0).1;
        assert!(small.tokens > large.tokens);
        for (a, b) in large.steps.iter().zip(&small.steps) {
            assert!((a.loss / b.loss - 1.0).abs() < 1e-4 && (a.gradient_norm / b.gradient_norm - 1.0).abs() < 1e-3, "{a:?} {b:?}");
        }
    }
}

#[test]
fn the_token_mean_is_the_sum_over_all_tokens_by_their_number() {
    let decoder = tiny(&tiny_config(Family::Qwen2), 1);
    let before = |objective| tuned(&decoder, &plan(&TuneConfig { objective, epochs: 1, ..TuneConfig::default() }), 0.0).1.loss_before;
    let (sum, mean) = (before(Objective::Sum), before(Objective::TokenMean));
    assert!((sum * 4.0 / 22.0 - mean).abs() < 1e-9);
}

#[test]
fn threads_do_not_change_a_bit_and_seeds_do() {
    let decoder = tiny(&tiny_config(Family::Qwen3), 1);
    let config = TuneConfig { lr: 1e-3, epochs: 3, ..TuneConfig::default() };
    let run = |threads, seed, dropout| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| tuned(&decoder, &Plan { batch: Some(2), seed, ..plan(&config) }, dropout).0.hash().unwrap())
    };
    for dropout in [0.0, 0.2] {
        assert_eq!(run(1, 5, dropout), run(2, 5, dropout));
    }
    assert_ne!(run(1, 5, 0.2), run(1, 6, 0.2));
}

#[test]
fn batches_take_every_example_once_an_epoch() {
    let decoder = tiny(&tiny_config(Family::Llama), 1);
    let config = TuneConfig { lr: 0.0, epochs: 3, ..TuneConfig::default() };
    let plan = Plan { batch: Some(3), schedule: Schedule::Linear, ..plan(&config) };
    let log = tuned(&decoder, &plan, 0.0).1;
    assert_eq!(log.steps.len(), 6);
    for epoch in log.steps.chunks(2) {
        assert!(((epoch[0].loss * 3.0 + epoch[1].loss) / 4.0 - log.loss_before).abs() < 1e-4);
    }
    assert_eq!(log.loss_after, log.loss_before, "a learning rate of zero changes nothing");
}

#[test]
fn the_learning_rate_rises_and_falls() {
    let decoder = tiny(&tiny_config(Family::Llama), 1);
    let config = TuneConfig { lr: 1.0e-3, epochs: 6, warmup_steps: 3, ..TuneConfig::default() };
    let log = tuned(&decoder, &Plan { schedule: Schedule::Linear, ..plan(&config) }, 0.0).1;
    let right = [1.0 / 3.0, 2.0 / 3.0, 1.0, 0.75, 0.5, 0.25];
    for (step, right) in log.steps.iter().zip(right) {
        assert!((step.lr - right * 1e-3).abs() < 1e-9, "{:?}", log.steps);
    }
}

#[test]
fn stopping_keeps_the_steps_done() {
    let decoder = tiny(&tiny_config(Family::Llama), 1);
    let config = TuneConfig { epochs: 9, ..TuneConfig::default() };
    let stop = AtomicBool::new(true);
    let (_, log) = tuned(&decoder, &Plan { abort: &stop, ..plan(&config) }, 0.0);
    assert!(log.aborted && log.steps.is_empty() && log.loss_after == log.loss_before);
}

#[test]
fn examples_that_do_not_fit_are_refused_before_anything_happens() {
    let decoder = tiny(&tiny_config(Family::Llama), 1);
    let config = TuneConfig::default();
    let mut lora = Lora::new(decoder.config(), &LoraConfig::default(), 2).unwrap();
    let (mut optimiser, before) = (AdamW::new(lora.layers().iter().map(|l| l.elem_count())), lora.hash().unwrap());
    let plan = Plan { budget: 38, ..plan(&config) };
    let error = tune(&decoder, &mut lora, &mut optimiser, &examples(), &plan, |_, _, _| ()).unwrap_err();
    assert!(error.to_string().contains("39 tokens"), "{error}");
    assert_eq!((lora.hash().unwrap(), optimiser.steps()), (before, 0));
    assert!(score(&decoder, None, &[(tokens(250, 3), vec![tokens(7, 2)])], 1000).is_err(), "longer than the model's context");
}

#[test]
fn scores_equal_full_passes() {
    needs!(Model);
    let decoder = smollm();
    let items = [
        (tokens(25, 7), vec![tokens(8, 5), tokens(3, 2), tokens(1, 1)]),
        (tokens(10, 3), vec![tokens(12, 11)]),
        (tokens(25, 7), vec![tokens(4, 9)]),
        (tokens(5, 2), vec![]),
    ];
    let whole = score(decoder, None, &items, 1000).unwrap();
    let pieces = score(decoder, None, &items, 37).unwrap();
    for ((prompt, completions), (whole, pieces)) in items.iter().zip(whole.iter().zip(&pieces)) {
        assert_eq!(whole.len(), completions.len());
        for (completion, (whole, pieces)) in completions.iter().zip(whole.iter().zip(pieces)) {
            let right = brute_force(decoder, prompt, completion);
            assert!((whole - right).abs() < 1e-4 * right.abs(), "{whole} against {right}");
            assert!((pieces - right).abs() < 1e-4 * right.abs(), "{pieces} against {right}");
        }
    }
}

fn brute_force(decoder: &Decoder, prompt: &[u32], completion: &[u32]) -> f64 {
    let all = [prompt, completion].concat();
    let hidden = decoder.hidden(&Rows::single(&all), None, Mode::Evaluate).unwrap();
    let logits: Tensor = decoder.logits(&hidden).unwrap();
    let mut sum = 0.0;
    for (i, token) in completion.iter().enumerate() {
        let row: Vec<f32> = logits.get(prompt.len() - 1 + i).unwrap().to_vec1().unwrap();
        let lse = row.iter().map(|z| f64::from(*z).exp()).sum::<f64>().ln();
        sum += f64::from(row[*token as usize]) - lse;
    }
    sum
}
