//! The six claims: closed forms, coverage of the intervals on records with known truth, and records where the claim is false.

use eliteloop::theory::statistics::{difference_of, few_interval, line, mean, mean_interval, spearman, wilson};
use eliteloop::theory::{
    Claim, Estimate, Verdict, ce_update, convergence, diversity, finite as table, gate, improvement, reliability, token_errors,
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, Exp1, StandardNormal};

const SIMULATIONS: u64 = 500;

fn near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{got} is not {want}");
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

fn binomial(n: u64, p: f64, rng: &mut ChaCha8Rng) -> u64 {
    Binomial::new(n, p).unwrap().sample(rng)
}

/// The share of simulated records whose interval holds the truth must be 95%, give or take 3.
fn covers(name: &str, truth: f64, simulate: impl Fn(u64, &mut ChaCha8Rng) -> Option<Estimate>) {
    let mut hits = 0;
    for simulation in 0..SIMULATIONS {
        let mut rng = ChaCha8Rng::seed_from_u64(simulation);
        hits += u64::from(simulate(simulation, &mut rng).unwrap_or_else(|| panic!("{name}: no interval")).contains(truth));
    }
    let share = hits as f64 / SIMULATIONS as f64;
    assert!((0.92..=0.98).contains(&share), "{name}: {share} of the intervals hold the truth");
}

#[test]
fn intervals_of_means_and_shares_cover() {
    for n in [12, 50] {
        covers("mean", 0.5, |seed, rng| mean_interval(&(0..n).map(|_| 0.5 + 0.1 * normal(rng)).collect::<Vec<_>>(), seed));
    }
    covers("mean of a skewed quantity", 1.0, |seed, rng| mean_interval(&(0..50).map(|_| Exp1.sample(rng)).collect::<Vec<f64>>(), seed));
    for n in [2, 3, 5, 10] {
        covers("mean over seeds", 0.5, |seed, rng| few_interval(&(0..n).map(|_| 0.5 + 0.1 * normal(rng)).collect::<Vec<_>>(), seed));
    }
    assert!(few_interval(&[0.5], 0).is_none() && few_interval(&[], 0).is_none());
    covers("difference of means", 0.1, |seed, rng| {
        let mut sample = |mean: f64, spread: f64| (0..25).map(|_| mean + spread * normal(rng)).collect::<Vec<_>>();
        let (a, b) = (sample(0.6, 0.1), sample(0.5, 0.2));
        Some(difference_of(mean_interval(&a, seed)?, mean_interval(&b, seed + 1)?))
    });
    for share in [0.2, 0.5] {
        covers("Wilson", share, |_, rng| Some(wilson(binomial(50, share, rng), 50)));
    }
    covers("slope", 2.0, |_, rng| {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 1.0 + 2.0 * x + normal(rng)).collect();
        line(&x, &y).map(|fit| fit.slope)
    });
    covers("difference of shares", 0.2, |_, rng| Some(diversity::share_difference(binomial(60, 0.7, rng), 60, binomial(60, 0.5, rng), 60)));
}

// Claim 1

fn tuning(cycle: u64) -> ce_update::Tuning {
    let elites: Vec<String> = (0..5).map(|i| format!("{cycle}-{i}")).collect();
    ce_update::Tuning {
        cycle,
        summed: true,
        logged: vec![-30.0, -20.0, -25.0, -35.0],
        loss_before: 27.5 * (1.0 + 1e-5),
        loss_after: 18.0,
        held_out: Some((28.0, 26.0 + 0.1 * cycle as f64)),
        trained: elites[..4].to_vec(),
        elites,
    }
}

type Edit = fn(&mut ce_update::Tuning);

#[test]
fn claim_1_holds_on_what_really_happened_and_fails_on_what_did_not() {
    let good: Vec<_> = (0..4).map(tuning).collect();
    let outcome = ce_update::judge(&good);
    assert_eq!(outcome.verdict, Verdict::Holds);
    assert!(outcome.sentence.contains("1.0e-5") && outcome.sentence.contains("generalises"), "{}", outcome.sentence);
    near(outcome.held_out_change.unwrap().value, -1.85, 1e-12);

    let edits: [(Edit, Verdict); 7] = [
        (|t| t.loss_before *= 1.002, Verdict::Fails),
        (|t| t.loss_before = f64::NAN, Verdict::Fails),
        (|t| t.trained[2] = "not an elite".into(), Verdict::Fails),
        (|t| t.loss_after = t.loss_before, Verdict::Fails),
        (|t| t.loss_after = f64::NAN, Verdict::Fails),
        (|t| t.summed = false, Verdict::AssumptionNotMet),
        (|t| t.logged.clear(), Verdict::AssumptionNotMet),
    ];
    for (place, (edit, verdict)) in edits.into_iter().enumerate() {
        let mut bad = good.clone();
        edit(&mut bad[2]);
        assert_eq!(ce_update::judge(&bad).verdict, verdict, "edit {place}");
    }
    assert_eq!(ce_update::judge(&[]).verdict, Verdict::AssumptionNotMet);
}

/// An audit whose policy had collapsed onto one cell failed: its losses of 1e-5 nats differed by the rounding of f32.
#[test]
fn claim_1_held_out_change_covers() {
    for cycles in [3, 10, 22] {
        covers("held-out change", -1.0, |_, rng| {
            let held_out = |rng: &mut ChaCha8Rng| Some((28.0, 27.0 + 2.0 * normal(rng)));
            let tunings: Vec<_> = (0..cycles).map(|cycle| ce_update::Tuning { held_out: held_out(rng), ..tuning(cycle) }).collect();
            ce_update::judge(&tunings).held_out_change
        });
    }
}

#[test]
fn claim_1_is_not_failed_by_rounding_once_the_elites_are_certain() {
    let certain = |loss_before: f64, loss_after: f64| {
        let collapsed = ce_update::Tuning { logged: vec![-1.485e-5; 4], loss_before, loss_after, ..tuning(4) };
        ce_update::judge(&[tuning(0), collapsed]).verdict
    };
    assert_eq!(certain(1.335e-5, 1.431e-5), Verdict::Holds);
    assert_eq!(certain(2e-4, 1e-5), Verdict::Fails, "more than rounding");
}

/// The same update by gradient ascent on the logits of a softmax table reaches the closed form.
#[test]
fn claim_1_a_softmax_table_reaches_the_elite_frequencies() {
    let choices = [0, 2, 2, 1, 2, 0, 2, 1, 1, 2];
    let goal = table::elite_frequencies(&choices, 3);
    assert_eq!(goal, [0.2, 0.3, 0.5]);
    let softmax = |logits: &[f64]| {
        let total: f64 = logits.iter().map(|l| l.exp()).sum();
        logits.iter().map(|l| l.exp() / total).collect::<Vec<f64>>()
    };
    let mut logits = vec![1.0, -1.0, 0.3];
    let old = softmax(&logits);
    for _ in 0..2000 {
        let p = softmax(&logits);
        for (j, logit) in logits.iter_mut().enumerate() {
            // d/d logit of the mean log-likelihood of the elites.
            *logit += 0.1 * choices.iter().map(|&choice| f64::from(u8::from(choice == j)) - p[j]).sum::<f64>() / choices.len() as f64;
        }
    }
    assert!(table::kl(&goal, &softmax(&logits)) < 1e-4);

    let smoothed = table::smooth(&goal, &old, 0.3);
    for j in 0..3 {
        near(smoothed[j], 0.3 * goal[j] + 0.7 * old[j], 1e-15);
    }
    let seen = table::realised(&goal, &old, &smoothed);
    near(seen.alpha, 0.3, 1e-6);
    near(seen.distance, 0.0, 1e-10);
    near(table::realised(&goal, &old, &goal).share, 1.0, 1e-12);
    near(table::realised(&goal, &old, &old).alpha, 0.0, 1e-6);
    assert!(table::realised(&goal, &old, &[0.8, 0.1, 0.1]).distance > 0.1, "a move elsewhere is far from every mixture");
    near(table::entropy(&[0.5, 0.5]), 2f64.ln(), 1e-12);
}

// Claim 2

fn cycles_with(means: &[f64], n: usize, spread: f64, seed: u64) -> Vec<improvement::CycleQualities> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let cycle = |(cycle, &mean): (usize, &f64)| improvement::CycleQualities {
        cycle: cycle as u64,
        qualities: (0..n).map(|_| mean + spread * normal(&mut rng)).collect(),
    };
    means.iter().enumerate().map(cycle).collect()
}

proptest! {
    #[test]
    fn claim_2_the_exact_update_never_loses(weights in prop::collection::vec(0.01..1.0f64, 2..30), gamma in 0.0..1.0f64, alpha in 0.0..=1.0f64) {
        let total: f64 = weights.iter().sum();
        let p: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let quality: Vec<f64> = (0..p.len()).map(|i| (i as f64 * 0.618_034).fract()).collect();
        let next = table::update(&p, &quality, gamma, alpha);
        prop_assert!((next.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(table::expected(&next, &quality) >= table::expected(&p, &quality) - 1e-12);
        // 1 - C shrinks by 1 - alpha exactly.
        let c = table::tail(&p, &quality, gamma);
        if c > 0.0 {
            prop_assert!((1.0 - table::tail(&next, &quality, gamma) - (1.0 - alpha) * (1.0 - c)).abs() < 1e-9);
        }
    }
}

#[test]
fn claim_2_verdicts() {
    let rising: Vec<f64> = (0..10).map(|t| 0.5 + 0.01 * f64::from(t)).collect();
    let outcome = improvement::judge(true, &cycles_with(&rising, 40, 0.03, 1));
    assert_eq!((outcome.verdict, outcome.transitions.len()), (Verdict::Holds, 9), "{}", outcome.sentence);

    let mut drop = rising.clone();
    drop[6..].iter_mut().for_each(|mean| *mean -= 0.1);
    let outcome = improvement::judge(true, &cycles_with(&drop, 40, 0.03, 1));
    assert_eq!(outcome.verdict, Verdict::Fails);
    assert!(outcome.sentence.contains("into cycle 6"), "{}", outcome.sentence);

    let slide: Vec<f64> = (0..20).map(|t| 0.6 - 0.003 * f64::from(t)).collect();
    let outcome = improvement::judge(true, &cycles_with(&slide, 30, 0.03, 2));
    assert!(outcome.transitions.iter().all(|t| t.adjusted >= 0.05), "no step is significant by itself");
    assert_eq!(outcome.verdict, Verdict::Fails, "but the slide is: {}", outcome.sentence);

    assert_eq!(improvement::judge(false, &cycles_with(&rising, 40, 0.03, 1)).verdict, Verdict::AssumptionNotMet);
    assert_eq!(improvement::judge(true, &cycles_with(&rising, 3, 0.03, 1)).verdict, Verdict::AssumptionNotMet);
    assert_eq!(improvement::judge(true, &[]).verdict, Verdict::AssumptionNotMet);
}

/// Where nothing changes, the corrected test cries wolf in at most 5% of runs, give or take the noise of 200 runs.
#[test]
fn claim_2_false_alarms_are_rare() {
    let alarms = (0..200).filter(|&seed| improvement::judge(true, &cycles_with(&[0.5; 8], 20, 0.1, seed)).verdict == Verdict::Fails);
    let alarms = alarms.count();
    assert!(alarms <= 20, "{alarms} of 200");
}

#[test]
fn claim_2_reweighting_estimates_the_other_policy() {
    // Samples of N(0, 1); under N(0.5, 1) the mean is 0.5.
    covers("reweighted mean", 0.5, |seed, rng| {
        let x: Vec<f64> = (0..100).map(|_| normal(rng)).collect();
        let log_q: Vec<f64> = x.iter().map(|x| -x * x / 2.0).collect();
        let log_p: Vec<f64> = x.iter().map(|x| -(x - 0.5f64).powi(2) / 2.0).collect();
        let result = table::reweighted_mean(&x, &log_p, &log_q, seed)?;
        assert!(result.effective_samples > 20.0 && result.effective_samples < 100.0);
        Some(result.mean)
    });
    let same = table::reweighted_mean(&[1.0, 2.0, 3.0], &[-5.0; 3], &[-5.0; 3], 0).unwrap();
    near(same.mean.value, 2.0, 1e-12);
    near(same.effective_samples, 3.0, 1e-12);
}

#[test]
fn claim_2_the_gate_sees_a_fall_and_knows_when_it_knows_nothing() {
    // Quality is x; samples of N(0, 1), the new policy N(shift, 1) has mean `shift`.
    let forecast = |shift: f64, n: usize, seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let x: Vec<f64> = (0..n).map(|_| normal(&mut rng)).collect();
        let log_q: Vec<f64> = x.iter().map(|x| -x * x / 2.0).collect();
        let log_p: Vec<f64> = x.iter().map(|x| -(x - shift).powi(2) / 2.0).collect();
        gate::forecast(&x, &log_p, &log_q, seed)
    };
    let fall = forecast(-0.7, 50, 1);
    assert_eq!(fall.finding, gate::Finding::Fall, "{fall:?}");
    assert!(fall.change.unwrap().high < 0.0 && fall.after.unwrap().value < fall.before && fall.effective_samples < 50.0);
    assert_eq!(forecast(0.5, 50, 1).finding, gate::Finding::NoFall);
    assert_eq!(forecast(-6.0, 50, 1).finding, gate::Finding::Unknown, "one sample has all the weight");
    assert_eq!(forecast(0.5, 1, 1).finding, gate::Finding::Unknown);
    assert_eq!(gate::forecast(&[], &[], &[], 1).samples, 0);
    // An update that changes nothing is rolled back in 2.5% of the cases at most, give or take the noise of 200.
    let alarms = (0..200).filter(|&seed| forecast(1e-3, 30, seed).finding == gate::Finding::Fall).count();
    assert!(alarms <= 12, "{alarms} of 200");
    covers("change of the gate", 0.4, |seed, rng| {
        let x: Vec<f64> = (0..60).map(|_| normal(rng)).collect();
        let log_q: Vec<f64> = x.iter().map(|x| -x * x / 2.0).collect();
        let log_p: Vec<f64> = x.iter().map(|x| -(x - 0.4f64).powi(2) / 2.0).collect();
        gate::forecast(&x, &log_p, &log_q, seed).change
    });
}

// Claim 3

fn counts(asked: u64, rng: &mut ChaCha8Rng, probability: impl Fn(u64) -> f64) -> Vec<convergence::Count> {
    (0..22).map(|cycle| convergence::Count { cycle, asked, reached: binomial(asked, probability(cycle), rng) }).collect()
}

#[test]
fn claim_3_the_rate_is_found_and_its_interval_covers() {
    covers("rate", 0.1, |_, rng| convergence::fit(&counts(50, rng, |t| 1.0 - 0.8 * 0.9f64.powi(t as i32))).map(|fit| fit.rate()));
    // Large counts give the line back exactly.
    let exact: Vec<convergence::Count> = (0..6)
        .map(|cycle| {
            let asked = 1_000_000_000;
            convergence::Count { cycle, asked, reached: asked - (asked as f64 * 0.7 * 0.85f64.powi(cycle as i32)).round() as u64 }
        })
        .collect();
    let fit = convergence::fit(&exact).unwrap();
    near(fit.rate().value, 0.15, 1e-6);
    near(fit.intercept, 0.7f64.ln(), 1e-6);
    near(fit.r_squared, 1.0, 1e-6);
    near(convergence::bound(0.2, 2), 0.36, 1e-12);
}

#[test]
fn claim_3_verdicts() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let outcome = convergence::judge(&counts(50, &mut rng, |t| 1.0 - 0.8 * 0.88f64.powi(t as i32)));
    assert_eq!((outcome.verdict, outcome.breaks), (Verdict::Holds, None), "{}", outcome.sentence);
    assert!(outcome.sentence.contains("weak evidence"));

    let flat = convergence::judge(&counts(50, &mut rng, |_| 0.3));
    assert_eq!(flat.verdict, Verdict::Fails, "{}", flat.sentence);
    let falling = convergence::judge(&counts(50, &mut rng, |t| 0.6 - 0.02 * t as f64));
    assert_eq!(falling.verdict, Verdict::Fails, "{}", falling.sentence);
    let stuck = convergence::judge(&counts(200, &mut rng, |t| if t < 8 { 1.0 - 0.8 * 0.75f64.powi(t as i32) } else { 0.4 }));
    assert_eq!(stuck.verdict, Verdict::Fails, "{}", stuck.sentence);
    assert!(stuck.breaks.is_some());

    assert_eq!(convergence::judge(&counts(50, &mut rng, |_| 0.5)[..3]).verdict, Verdict::AssumptionNotMet);
    assert_eq!(convergence::judge(&counts(50, &mut rng, |_| 0.0)).verdict, Verdict::AssumptionNotMet);
    assert_eq!(convergence::judge(&[]).verdict, Verdict::AssumptionNotMet);
}

// Claim 4

/// Labels of a chain; `memory` adds a second order: an error two tokens back makes another one likelier.
fn labels(n: usize, length: usize, p: f64, q: f64, memory: f64, rng: &mut ChaCha8Rng) -> Vec<Vec<bool>> {
    let completion = |rng: &mut ChaCha8Rng| {
        let mut valid = vec![true; length];
        for t in 1..length {
            let before = t < 2 || valid[t - 2];
            let error = if valid[t - 1] { p } else { 1.0 - q } + if before { 0.0 } else { memory };
            valid[t] = rng.random::<f64>() >= error;
        }
        valid
    };
    (0..n).map(|_| completion(rng)).collect()
}

fn arm(labels: Vec<Vec<bool>>, kappa: f64, rng: &mut ChaCha8Rng) -> token_errors::Arm {
    let tried = labels.len() as u64;
    let applied = binomial(tried, kappa, rng);
    let clean = labels.iter().filter(|labels| labels.iter().all(|&valid| valid)).count() as f64 / tried as f64;
    let tokens = mean(&labels.iter().map(|labels| labels.len() as f64).collect::<Vec<_>>());
    token_errors::Arm { valid: binomial(applied, clean, rng), labels, tried, applied, prompt_tokens: 200.0, tokens }
}

#[test]
fn claim_4_closed_forms_and_estimates() {
    let v = true;
    let e = false;
    // From V: 3 to V, 2 to E; from E: 1 to V, 1 to E; first tokens 2 of 2 valid.
    let chain = token_errors::chain(&[vec![v, v, v, e, e, v], vec![v, v, e]]).unwrap();
    near(chain.p.value, 0.4, 1e-12);
    near(chain.q.value, 0.5, 1e-12);
    near(chain.strict(4.0), 0.6f64.powi(3), 1e-12);
    near(chain.independent(3.0), (1.0 - 0.4 / 0.9f64).powi(3), 1e-12);
    // Two steps of the chain by hand: 0.6 * 0.6 + 0.4 * 0.5.
    near(chain.recoverable(3.0), 0.56, 1e-12);
    assert!(token_errors::chain(&[vec![v]]).is_none());

    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let independent = token_errors::chain(&labels(300, 100, 0.1, 0.9, 0.0, &mut rng)).unwrap();
    assert!(independent.independent > 0.01 && independent.first_order > 0.01);
    let first = token_errors::chain(&labels(300, 100, 0.05, 0.3, 0.0, &mut rng)).unwrap();
    assert!(first.independent < 1e-6 && first.first_order > 0.01, "{first:?}");
    let second = token_errors::chain(&labels(300, 100, 0.05, 0.5, 0.3, &mut rng)).unwrap();
    assert!(second.first_order < 1e-6, "{second:?}");

    covers("p", 0.02, |_, rng| token_errors::chain(&labels(40, 30, 0.02, 0.5, 0.0, rng)).map(|chain| chain.p));
    covers("q", 0.5, |_, rng| token_errors::chain(&labels(40, 60, 0.1, 0.5, 0.0, rng)).map(|chain| chain.q));
    covers("ratio of shares", 1.5, |_, rng| token_errors::share_ratio(binomial(80, 0.75, rng), 80, binomial(80, 0.5, rng), 80));
}

/// Under independence the likelihood-ratio test rejects at its level, not more often.
#[test]
fn claim_4_the_order_test_keeps_its_level() {
    let rejected = (0..SIMULATIONS).filter(|&seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        token_errors::chain(&labels(40, 60, 0.2, 0.8, 0.0, &mut rng)).unwrap().independent < 0.05
    });
    let share = rejected.count() as f64 / SIMULATIONS as f64;
    assert!((0.02..=0.08).contains(&share), "{share}");
}

#[test]
fn claim_4_predicted_ratio_covers_and_verdicts() {
    let truth = 0.9 * 0.99f64.powi(30) / 0.99f64.powi(120);
    let pair = |n: usize, d: (f64, usize, f64), f: (f64, usize, f64), rng: &mut ChaCha8Rng| {
        let deltas = labels(n, d.1, d.0, 0.4, d.2, rng);
        let full = labels(n, f.1, f.0, 0.4, f.2, rng);
        (arm(deltas, 0.9, rng), arm(full, 1.0, rng))
    };
    covers("predicted ratio", truth, |_, rng| {
        let (deltas, full) = pair(60, (0.01, 30, 0.0), (0.01, 120, 0.0), rng);
        token_errors::judge(Some(&deltas), Some(&full)).predicted
    });
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (deltas, full) = pair(400, (0.01, 30, 0.0), (0.01, 120, 0.0), &mut rng);
    let outcome = token_errors::judge(Some(&deltas), Some(&full));
    assert_eq!(outcome.verdict, Verdict::Holds, "{}", outcome.sentence);
    // kappa (1-p)^30 = (1-p)^L
    near(outcome.crossover.unwrap(), 30.0 + (0.9f64.ln() / 0.99f64.ln()), 6.0);
    near(deltas.cost(), 230.0 * 400.0 / deltas.valid as f64, 1e-9);

    let (deltas, full) = pair(400, (0.02, 60, 0.0), (0.01, 60, 0.0), &mut rng);
    let outcome = token_errors::judge(Some(&deltas), Some(&full));
    assert_eq!(outcome.verdict, Verdict::Fails, "{}", outcome.sentence);

    let (deltas, full) = pair(400, (0.03, 30, 0.5), (0.01, 120, 0.0), &mut rng);
    let outcome = token_errors::judge(Some(&deltas), Some(&full));
    assert_eq!(outcome.verdict, Verdict::AssumptionNotMet, "a second-order chain: {}", outcome.sentence);

    assert_eq!(token_errors::judge(Some(&full), None).verdict, Verdict::AssumptionNotMet);
    assert_eq!(token_errors::judge(None, None).verdict, Verdict::AssumptionNotMet);
}

// Claim 5

fn diversity_arm(unique_share: impl Fn(u64) -> f64, sets: u64) -> diversity::Arm {
    let cycle = |cycle| diversity::CycleCounts {
        cycle,
        asked: 50,
        valid: 40,
        unique: (40.0 * unique_share(cycle)).round() as u64,
        mean_nll: Some(30.0 - cycle as f64),
    };
    let accepted = (0..sets).map(|i| diversity::Accepted { run: 0, shingles: (10 * i..10 * i + 12).collect(), parent: None });
    diversity::Arm { cycles: (0..10).map(cycle).collect(), accepted: accepted.collect() }
}

#[test]
fn claim_5_verdicts() {
    let diverse = diversity_arm(|_| 0.9, 20);
    let collapsing = diversity_arm(|cycle| 0.9 - 0.08 * cycle as f64, 20);
    let judge = |on: &diversity::Arm, off: Option<&diversity::Arm>| diversity::judge(on, off, 0.9, &[], 128);

    let outcome = judge(&diverse, Some(&collapsing));
    assert_eq!((outcome.verdict, outcome.collapsed_off), (Verdict::Holds, Some(6)), "{}", outcome.sentence);
    assert_eq!(judge(&collapsing, Some(&diverse)).verdict, Verdict::Fails);
    assert_eq!(judge(&diverse, Some(&diverse)).verdict, Verdict::AssumptionNotMet, "nothing to prevent");
    assert_eq!(judge(&diverse, None).verdict, Verdict::AssumptionNotMet);
    let mut shorter = collapsing.clone();
    shorter.cycles.pop();
    assert_eq!(judge(&diverse, Some(&shorter)).verdict, Verdict::AssumptionNotMet, "unequal budgets");

    let mut leaky = diverse.clone();
    leaky.accepted.push(diversity::Accepted { parent: Some(3), ..leaky.accepted[3].clone() });
    assert_eq!(judge(&leaky, Some(&collapsing)).verdict, Verdict::Holds, "a child like its parent has a rule of its own");
    leaky.accepted.push(leaky.accepted[5].clone());
    let outcome = judge(&leaky, Some(&collapsing));
    assert_eq!((outcome.verdict, outcome.leaks), (Verdict::Fails, 1));
    let sets = [vec![1, 2, 3], vec![2, 3, 4], vec![9]].map(|shingles| diversity::Accepted { run: 0, shingles, parent: None });
    near(diversity::mean_pairwise(&sets), 0.5 / 3.0, 1e-12);
}

#[test]
fn claim_5_gain_covers() {
    covers("gain", 0.2, |_, rng| {
        let mut arm = |share: f64| {
            let cycle = |cycle, rng: &mut ChaCha8Rng| {
                let valid = binomial(12, 0.8, rng);
                diversity::CycleCounts { cycle, asked: 12, valid, unique: binomial(valid, share, rng), mean_nll: None }
            };
            diversity::Arm { cycles: (0..6).map(|c| cycle(c, rng)).collect(), accepted: vec![] }
        };
        let (on, off) = (arm(0.75), arm(0.5));
        diversity::judge(&on, Some(&off), 0.9, &[], 128).gain
    });
}

#[test]
fn claim_5_minhash_error_is_reported_as_it_is() {
    let comparisons = |bias: f64, rng: &mut ChaCha8Rng| -> Vec<diversity::Comparison> {
        let one = |rng: &mut ChaCha8Rng| {
            let exact = rng.random_range(0.2..0.9);
            diversity::Comparison { exact, estimate: binomial(128, exact, rng) as f64 / 128.0 + bias }
        };
        (0..300).map(|_| one(rng)).collect()
    };
    covers("MinHash bias", 0.0, |_, rng| diversity::minhash_error(&comparisons(0.0, rng)[..60], 128).map(|error| error.bias));
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let right = diversity::minhash_error(&comparisons(0.0, &mut rng), 128).unwrap();
    near(right.observed / right.predicted, 1.0, 0.15);
    let wrong = diversity::minhash_error(&comparisons(0.03, &mut rng), 128).unwrap();
    assert!(wrong.bias.low > 0.0);
}

// Claim 6

#[test]
fn claim_6_closed_forms_have_their_check_values() {
    for (snr, [rho, rank, right]) in [(1.0, [0.707, 0.690, 0.750]), (9.0, [0.949, 0.944, 0.898])] {
        let r = reliability::correlation(snr);
        near(r, rho, 5e-4);
        near(reliability::rank_correlation(r), rank, 5e-4);
        near(reliability::pair_right(r), right, 5e-4);
    }
    for (rho, precision) in [(0.5, 0.436), (0.707, 0.570), (0.9, 0.750)] {
        near(reliability::precision(rho, 0.2), precision, 5e-4);
    }
    near(reliability::precision(0.0, 0.2), 0.2, 1e-6);
    near(reliability::precision(1.0, 0.2), 1.0, 0.0);
    near(reliability::tau(0.5), 1.0 / 3.0, 1e-12);
    near(reliability::reliability_of_mean(0.5, 3.0), 0.75, 1e-12);
    near(reliability::seeds_for(0.5, 0.75), 3.0, 1e-12);
    near(reliability::correlation_of_two(1.0, 1.0, 3.0), 1.0 / 8f64.sqrt(), 1e-12);
    near(reliability::unrestricted(0.5, 1.0), 0.5, 1e-12);
    near(reliability::unrestricted(0.5, 2.0), 1.0 / 1.75f64.sqrt(), 1e-12);
}

fn scores(networks: usize, seeds: usize, spread: f64, noise: f64, rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    let network = |rng: &mut ChaCha8Rng| {
        let truth = 0.5 + spread * normal(rng);
        (0..seeds).map(|_| truth + noise * normal(rng)).collect()
    };
    (0..networks).map(|_| network(rng)).collect()
}

/// The closed forms describe what simulated scores do.
#[test]
fn claim_6_closed_forms_agree_with_simulation() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let n = 20_000;
    let truth: Vec<f64> = (0..n).map(|_| normal(&mut rng)).collect();
    let score: Vec<f64> = truth.iter().map(|truth| truth + 0.7 * normal(&mut rng)).collect();
    let rho = reliability::correlation(1.0 / 0.49);
    near(spearman(&truth, &score), reliability::rank_correlation(rho), 0.01);
    let right = (0..n - 1).filter(|&i| (truth[i] > truth[i + 1]) == (score[i] > score[i + 1])).count();
    near(right as f64 / n as f64, reliability::pair_right(rho), 0.01);
    let cut = |values: &[f64]| eliteloop::theory::statistics::quantile(values, 0.8);
    let (t, s) = (cut(&truth), cut(&score));
    let both = (0..n).filter(|&i| truth[i] >= t && score[i] >= s).count();
    near(both as f64 / (0.2 * n as f64), reliability::precision(rho, 0.2), 0.02);
}

#[test]
fn claim_6_components_are_unbiased_and_their_intervals_cover() {
    covers("SNR", 4.0, |_, rng| reliability::components(&scores(20, 3, 0.04, 0.02, rng)).map(|c| c.snr));
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut groups = scores(3000, 3, 0.04, 0.02, &mut rng);
    groups.iter_mut().step_by(2).for_each(|group| group.truncate(2));
    let c = reliability::components(&groups).unwrap();
    near(c.truth.sqrt(), 0.04, 0.002);
    near(c.noise.sqrt(), 0.02, 0.001);
    near(c.seeds, 2.5, 0.02);
    assert!(reliability::components(&[vec![0.5, 0.5], vec![0.4]]).is_none(), "no noise was seen");
    assert!(reliability::components(&scores(10, 1, 0.04, 0.02, &mut rng)).is_none());
}

#[test]
fn claim_6_observed_rank_correlation_covers() {
    let rho: f64 = 0.7;
    covers("Spearman", reliability::rank_correlation(rho), |_, rng| {
        let proxy: Vec<f64> = (0..40).map(|_| normal(rng)).collect();
        let full = proxy.iter().map(|x| rho * x + (1.0 - rho * rho).sqrt() * normal(rng)).collect();
        reliability::observed_rank_correlation(&reliability::Pairs { proxy, full, restricted: None })
    });
}

#[test]
fn claim_6_verdicts_follow_the_snr() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let none = reliability::Pairs::default();
    let mut judge = |spread: f64| reliability::judge(&scores(60, 3, spread, 0.02, &mut rng), &none, 0.2);
    assert_eq!(judge(0.1).verdict, Verdict::Holds);
    assert_eq!(judge(0.04).verdict, Verdict::AssumptionNotMet);
    let poor = judge(0.008);
    assert_eq!(poor.verdict, Verdict::Fails, "{}", poor.sentence);
    assert_eq!(reliability::judge(&[], &none, 0.2).verdict, Verdict::AssumptionNotMet);
    let clipped = reliability::judge(&[vec![0.4, 0.6], vec![0.6, 0.4], vec![0.5, 0.5]], &none, 0.2);
    assert_eq!(clipped.verdict, Verdict::Fails);
    assert!(clipped.components.unwrap().clipped && clipped.panel().numbers.iter().any(|(name, _)| name.contains("set to 0")));
}

#[test]
fn every_claim_has_a_panel() {
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let deltas = labels(50, 30, 0.01, 0.4, 0.0, &mut rng);
    let deltas = arm(deltas, 0.9, &mut rng);
    let pairs = reliability::Pairs { proxy: vec![0.1, 0.2, 0.3], full: vec![0.2, 0.3, 0.5], restricted: Some(1.5) };
    let panels = [
        ce_update::judge(&[tuning(0)]).panel(),
        improvement::judge(true, &cycles_with(&[0.5, 0.6], 20, 0.05, 1)).panel(),
        convergence::judge(&counts(50, &mut rng, |t| 1.0 - 0.8 * 0.9f64.powi(t as i32))).panel(),
        token_errors::judge(Some(&deltas), None).panel(),
        diversity::judge(&diversity_arm(|_| 0.9, 4), None, 0.9, &[], 128).panel(),
        reliability::judge(&scores(20, 3, 0.04, 0.02, &mut rng), &pairs, 0.2).panel(),
    ];
    for (place, panel) in panels.iter().enumerate() {
        assert_eq!(panel.claim, Claim::ALL[place]);
        assert_eq!(usize::from(panel.claim.number()), place + 1);
        assert!(!panel.title.is_empty() && panel.sentence.contains(' ') && !panel.numbers.is_empty() && panel.plot.is_some());
    }
}
