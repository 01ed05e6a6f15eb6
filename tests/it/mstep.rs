//! How far an update goes: shares, trust regions, steps that are taken back, gradient descent and the natural gradient.

use std::sync::atomic::AtomicBool;

use eliteloop::decoder::files::shape::Family;
use eliteloop::decoder::lora::adamw::AdamW;
use eliteloop::decoder::lora::divergence::Reference;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::natural::Fisher;
use eliteloop::decoder::lora::objective::Target;
use eliteloop::decoder::lora::score::log_p;
use eliteloop::decoder::lora::step::add_gradient;
use eliteloop::decoder::lora::tune::{Ending, Plan, Schedule, TuneLog, tune};
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::decoder::model::pack::{Example, pack};
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::{Objective, Optimizer, TuneConfig, Until};
use eliteloop::theory::change::share;
use eliteloop::theory::finite::{kl, smooth};

use crate::models::{tiny, tiny_config};

static GO_ON: AtomicBool = AtomicBool::new(false);
/// What the tiny decoder says here: the first three of what it reads.
const WORDS: u32 = 3;

/// A decoder whose sequences of two words, nine of them, can all be listed.
fn decoder() -> Decoder {
    tiny(&tiny_config(Family::Llama), 1).restricted(&[40, 7, 23, 90, 11, 12], WORDS as usize).unwrap()
}

fn adapter(decoder: &Decoder) -> Lora {
    Lora::new(decoder.config(), &LoraConfig { rank: 2, ..LoraConfig::default() }, 2).unwrap()
}

fn sequence(at: u32) -> Example {
    Example { id: at.to_string(), prompt: vec![4, 5, 3], completion: vec![at / WORDS, at % WORDS] }
}

fn all() -> Vec<Example> {
    (0..WORDS * WORDS).map(sequence).collect()
}

fn distribution(decoder: &Decoder, lora: &Lora) -> Vec<f64> {
    log_p(decoder, Some(lora), &all(), 512).unwrap().into_iter().map(f64::exp).collect()
}

/// Elites of which one was drawn twice.
fn elites() -> Vec<Example> {
    [1, 5, 5, 6].map(sequence).to_vec()
}

fn config() -> TuneConfig {
    TuneConfig { lr: 1e-2, warmup_steps: 0, clip: 0.0, ..TuneConfig::default() }
}

struct Tuned {
    lora: Lora,
    log: TuneLog,
    share: f64,
    /// KL(after || before), exactly.
    kl: f64,
}

fn plan<'a>(config: &'a TuneConfig, reference: Option<&'a Reference>) -> Plan<'a> {
    Plan { config, batch: None, schedule: Schedule::Constant, budget: 512, seed: 5, abort: &GO_ON, weights: &[], reference }
}

/// Tunes on the elites; what was sampled is every sequence as if from the uniform distribution.
fn tuned(config: &TuneConfig) -> Tuned {
    let decoder = decoder();
    let mut lora = adapter(&decoder);
    let before = distribution(&decoder, &lora);
    let reference = Reference::new(&decoder, &lora, all(), vec![-(9f64.ln()); 9], 512).unwrap();
    let mut optimizer = AdamW::of(&lora);
    let log = tune(&decoder, &mut lora, &mut optimizer, &elites(), &plan(config, Some(&reference)), |_, _, _| ()).unwrap();
    assert!((log.floor - (1.0 / 4.0 * 4f64.ln() * 2.0 + 0.5 * 2f64.ln())).abs() < 1e-12, "{}", log.floor);
    let share = share(log.loss_before, log.loss_after, log.floor).unwrap();
    let after = distribution(&decoder, &lora);
    Tuned { lora, share, kl: kl(&after, &before), log }
}

#[test]
fn an_update_ends_at_the_first_step_that_realises_the_share_asked_for() {
    let until = |share| TuneConfig { until: Until { share: Some(share), ..Until::default() }, lr: 3e-4, ..config() };
    for wanted in [0.3, 0.9, 0.99] {
        let found = tuned(&until(wanted));
        let steps = found.log.steps.len();
        assert!(found.share >= wanted && found.log.ending == Ending::Share && steps > 1, "{}: {:?}", found.share, found.log);
        // As many steps but one do not reach it, and by themselves end otherwise.
        let fewer = tuned(&TuneConfig { epochs: steps - 1, lr: 3e-4, ..config() });
        assert!(fewer.share < wanted && fewer.log.ending == Ending::Steps, "{}", fewer.share);
        assert_eq!(tuned(&TuneConfig { epochs: steps, lr: 3e-4, ..config() }).lora.hash().unwrap(), found.lora.hash().unwrap());
    }
    let few = tuned(&TuneConfig { until: Until { steps: Some(2), share: Some(0.99), kl: None }, ..config() });
    assert_eq!((few.log.steps.len(), few.log.ending), (2, Ending::Steps));
}

#[test]
fn the_divergence_is_that_of_the_whole_distributions() {
    let found = tuned(&TuneConfig { epochs: 6, ..config() });
    assert!(found.kl > 0.05, "{}", found.kl);
    let decoder = decoder();
    let before = adapter(&decoder);
    // Every sequence by the probability that a uniform draw gives it: the estimate has no noise.
    let reference = Reference::new(&decoder, &before, all(), vec![-(9f64.ln()); 9], 7).unwrap();
    let moved = reference.against(&decoder, &found.lora).unwrap();
    assert!((moved.kl / found.kl - 1.0).abs() < 1e-4, "{} for {}", moved.kl, found.kl);
    let right = log_p(&decoder, Some(&found.lora), &all(), 512).unwrap();
    assert!(moved.log_p.iter().zip(&right).all(|(a, b)| (a - b).abs() < 1e-5), "{moved:?}");
    assert!(reference.log_p().iter().zip(distribution(&decoder, &before)).all(|(a, p)| (a - p.ln()).abs() < 1e-5));
    let same = reference.against(&decoder, &before).unwrap();
    assert_eq!((same.kl, &same.log_p[..]), (0.0, reference.log_p()));
    assert!(Reference::new(&decoder, &before, all(), vec![f64::NAN; 9], 7).is_err());
}

#[test]
fn a_trust_region_is_not_left_where_steps_may_be_taken_back() {
    for kl in [0.02, 0.2, 0.6] {
        let until = Until { kl: Some(kl), ..Until::default() };
        let held = tuned(&TuneConfig { until, backtrack: true, lr: 0.05, ..config() });
        assert!(held.kl <= kl * 1.001 && held.kl >= 0.94 * kl && held.log.ending == Ending::Kl, "{}: {:?}", held.kl, held.log);
        let free = tuned(&TuneConfig { until, lr: 0.05, ..config() });
        assert!(free.kl >= 0.94 * kl && free.log.ending == Ending::Kl && free.log.refused == 0, "{}", free.kl);
    }
}

#[test]
fn a_step_that_does_not_lower_the_loss_is_taken_back_and_tried_at_half_the_size() {
    let wild = TuneConfig { lr: 0.125, epochs: 8, optimizer: Optimizer::Sgd, ..config() };
    let (free, held) = (tuned(&wild), tuned(&TuneConfig { backtrack: true, ..wild.clone() }));
    let rises = |log: &TuneLog| log.steps.windows(2).filter(|w| w[1].loss >= w[0].loss).count();
    assert!(rises(&free.log) > 0 && free.log.refused == 0, "{:?}", free.log);
    assert!(rises(&held.log) == 0 && held.log.refused > 0, "{:?}", held.log);
    for step in &held.log.steps {
        let halvings = (0.125 / step.lr).log2();
        assert!(halvings >= 0.0 && halvings.fract() == 0.0, "{step:?}");
    }
    // A step that changes no weight lowers nothing: all as it was, and nothing counted as a step.
    let nothing = tuned(&TuneConfig { lr: 1e-30, backtrack: true, ..config() });
    assert_eq!((nothing.log.ending, nothing.log.steps.len(), nothing.log.refused), (Ending::NoDescent, 0, 11));
    assert_eq!(nothing.lora.hash().unwrap(), adapter(&decoder()).hash().unwrap());
}

#[test]
fn moments_of_other_elites_do_not_keep_an_update_from_its_descent() {
    let decoder = decoder();
    let mut lora = adapter(&decoder);
    let mut optimizer = AdamW::of(&lora);
    // Many steps towards one sequence, then a few towards another.
    let long = TuneConfig { epochs: 30, ..config() };
    tune(&decoder, &mut lora, &mut optimizer, &[sequence(0)], &plan(&long, None), |_, _, _| ()).unwrap();
    let short = TuneConfig { epochs: 3, backtrack: true, ..config() };
    let log = tune(&decoder, &mut lora, &mut optimizer, &[sequence(8)], &plan(&short, None), |_, _, _| ()).unwrap();
    assert!(log.steps.len() == 3 && log.loss_after < log.loss_before, "{log:?}");
}

fn gradient(decoder: &Decoder, lora: &Lora, examples: &[Example], weight: f64) -> Vec<Vec<f32>> {
    let mut gradient: Vec<Vec<f32>> = lora.snapshot().unwrap().iter().map(|l| vec![0.0; l.len()]).collect();
    for pack in pack(examples, &(0..examples.len()).collect::<Vec<_>>(), 512) {
        add_gradient(decoder, lora, &pack, |_| weight, 0, &mut gradient).unwrap();
    }
    gradient
}

#[test]
fn gradient_descent_is_its_formula() {
    let decoder = decoder();
    let lora = adapter(&decoder);
    let (before, g) = (lora.snapshot().unwrap().concat(), gradient(&decoder, &lora, &elites(), 0.25).concat());
    let norm = g.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let sgd = TuneConfig { optimizer: Optimizer::Sgd, epochs: 1, lr: 0.1, weight_decay: 0.2, clip: 0.5 * norm, ..config() };
    let found = tuned(&sgd).lora.snapshot().unwrap().concat();
    for ((found, p), g) in found.iter().zip(before).zip(g) {
        let right = f64::from(p) * (1.0 - 0.1 * 0.2) - 0.1 * 0.5 * f64::from(g);
        assert!((f64::from(*found) - right).abs() < 1e-6, "{found} for {right}");
    }
}

/// Solves A x = b by Gaussian elimination with pivots.
fn dense(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs())).unwrap();
        a.swap(column, pivot);
        b.swap(column, pivot);
        let (top, rest) = a.split_at_mut(column + 1);
        let head = &top[column];
        for (row, below) in rest.iter_mut().enumerate() {
            let factor = below[column] / head[column];
            for (x, h) in below.iter_mut().zip(head).skip(column) {
                *x -= factor * h;
            }
            b[column + 1 + row] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| a[row][k] * b[k]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    b
}

#[test]
fn the_natural_gradient_is_the_dense_solution() {
    let decoder = decoder();
    let config = LoraConfig { rank: 1, targets: vec!["k_proj".into(), "o_proj".into()], dropout: 0.3, ..LoraConfig::default() };
    let mut lora = Lora::new(decoder.config(), &config, 3).unwrap();
    lora.fill(|_, shape| Ok((0..shape[0] * shape[1]).map(|i| 0.3 * (1.7 * i as f32 + shape[0] as f32).sin()).collect())).unwrap();
    let parameters = lora.parameters();
    assert!(parameters < 500, "{parameters}");
    // Samples with weights: q is not p.
    let samples: Vec<Example> = [0, 1, 4, 5, 8].map(sequence).to_vec();
    let own = log_p(&decoder, Some(&lora), &samples, 512).unwrap();
    let log_q: Vec<f64> = own.iter().enumerate().map(|(i, p)| p - 0.2 * i as f64).collect();
    let fisher = Fisher::new(&decoder, &lora, &samples, (&own[..], &log_q[..]), 0.05, 512).unwrap();
    let plain = lora.without_dropout();
    let g = gradient(&decoder, &plain, &elites(), 0.25);
    let found = fisher.solve(&g).concat();
    assert_eq!(found.len(), parameters);

    let u: Vec<f64> = (0..5).map(|i| (0.2 * f64::from(i)).exp()).collect();
    let mean = u.iter().sum::<f64>() / 5.0;
    let mut matrix = vec![vec![0.0; parameters]; parameters];
    let mut trace = 0.0;
    for (sample, u) in samples.iter().zip(&u) {
        let score: Vec<f64> =
            gradient(&decoder, &plain, std::slice::from_ref(sample), 1.0).concat().iter().map(|s| f64::from(*s)).collect();
        for (i, row) in matrix.iter_mut().enumerate() {
            for (f, s) in row.iter_mut().zip(&score) {
                *f += u / mean * score[i] * s / 5.0;
            }
        }
        trace += u / mean * score.iter().map(|s| s * s).sum::<f64>() / 5.0;
    }
    let lambda = 0.05 * trace / 5.0;
    assert!((fisher.lambda() / lambda - 1.0).abs() < 1e-5, "{} for {lambda}", fisher.lambda());
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] += lambda;
    }
    let right = dense(matrix, g.concat().iter().map(|g| f64::from(*g)).collect());
    let largest = right.iter().map(|x| x.abs()).fold(0.0, f64::max);
    for (found, right) in found.iter().zip(&right) {
        assert!((f64::from(*found) - right).abs() < 1e-4 * largest, "{found} for {right}");
    }
}

#[test]
fn a_small_natural_step_of_a_table_is_the_mixture_of_the_cross_entropy_method() {
    let logits = [0.3f32, -0.5, 1.1, 0.0];
    let softmax = |z: &[f64]| -> Vec<f64> {
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        z.iter().map(|z| z.exp() / sum).collect()
    };
    let z: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
    let p = softmax(&z);
    let e = [0.5, 0.5, 0.0, 0.0];
    // The score of choice j is e_j - p; each counts as often as it is drawn.
    let scores = (0..4).map(|j| (0..4).map(|k| ((f64::from(u8::from(j == k)) - p[k]) * (4.0 * p[j]).sqrt()) as f32).collect()).collect();
    let fisher = Fisher::of(scores, 1e-6).unwrap();
    let loss = vec![(0..4).map(|k| (p[k] - e[k]) as f32).collect::<Vec<f32>>()];
    let along = fisher.solve(&loss).concat();
    for alpha in [0.01, 0.001] {
        let moved: Vec<f64> = z.iter().zip(&along).map(|(z, x)| z - alpha * f64::from(*x)).collect();
        let (found, mixture) = (softmax(&moved), smooth(&e, &p, alpha));
        for (found, right) in found.iter().zip(&mixture) {
            assert!((found - right).abs() < 3.0 * alpha * alpha, "{alpha}: {found} for {right}");
        }
    }
    assert!(Fisher::of(vec![vec![0.0; 4]; 2], 0.1).err().unwrap().hint_text().is_some());
}

#[test]
fn every_optimiser_gets_to_the_cross_entropy_update() {
    for (optimizer, lr) in [(Optimizer::AdamW, 1e-2), (Optimizer::Sgd, 0.02), (Optimizer::Natural, 0.3)] {
        let until = Until { share: Some(0.95), ..Until::default() };
        let found = tuned(&TuneConfig { optimizer, lr, backtrack: true, until, ..config() });
        assert!(found.share >= 0.95, "{optimizer:?}: {} after {} steps", found.share, found.log.steps.len());
    }
}

#[test]
fn weighted_examples_are_as_many_examples() {
    let decoder = decoder();
    let (three, twice) = ([1, 5, 6].map(sequence), elites());
    let config = TuneConfig { epochs: 5, ..config() };
    let run = |examples: &[Example], weights: &[f64]| {
        let mut lora = adapter(&decoder);
        let plan = Plan {
            config: &config,
            batch: None,
            schedule: Schedule::Constant,
            budget: 512,
            seed: 5,
            abort: &GO_ON,
            weights,
            reference: None,
        };
        let mut optimizer = AdamW::of(&lora);
        let log = tune(&decoder, &mut lora, &mut optimizer, examples, &plan, |_, _, _| ()).unwrap();
        (log, distribution(&decoder, &lora))
    };
    let (weighted, plain) = (run(&three, &[0.5, 1.0, 0.5]), run(&twice, &[]));
    assert!((weighted.0.floor - plain.0.floor).abs() < 1e-12);
    for (a, b) in weighted.0.steps.iter().zip(&plain.0.steps) {
        assert!((a.loss / b.loss - 1.0).abs() < 1e-4, "{a:?} {b:?}");
    }
    assert!(kl(&weighted.1, &plain.1) < 1e-5);
    let target = Target { objective: Objective::Sum, examples: &three, weights: &[0.5, 1.0, 0.5] };
    assert!((target.loss(&[-1.0, -2.0, -3.0]) - 2.0).abs() < 1e-12);
}
