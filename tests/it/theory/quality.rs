//! Claims 1 to 3: the update, expected quality, convergence.

use eliteloop::theory::ce_update::Tuning;
use eliteloop::theory::change::conditional_entropy;
use eliteloop::theory::growth::Count;
use eliteloop::theory::improvement::{CycleSamples, Role, Sample};
use eliteloop::theory::statistics::Uncertain;
use eliteloop::theory::{Assumption, Verdict, ce_update, convergence, finite as table, gate, improvement};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use super::{binomial, covers, near, normal};

// Claim 1

pub fn tuning(cycle: u64) -> Tuning {
    let elites: Vec<String> = (0..5).map(|i| format!("{cycle}-{i}")).collect();
    Tuning {
        cycle,
        summed: true,
        logged: Some(27.5),
        loss_before: 27.5 * (1.0 + 1e-5),
        loss_after: 2.0 + 0.1 * cycle as f64,
        target: 1.0,
        held_out: Some((28.0, 26.0 + 0.1 * cycle as f64)),
        trained: elites[..4].to_vec(),
        elites,
    }
}

type Edit = fn(&mut Tuning);

#[test]
fn claim_1_is_graded_by_the_share_realised() {
    let good: Vec<_> = (0..4).map(tuning).collect();
    let outcome = ce_update::judge(&good, true);
    assert_eq!(outcome.finding.verdict, Verdict::Holds, "{}", outcome.sentence);
    assert!(outcome.sentence.contains("0.957") && outcome.sentence.contains("generalises"), "{}", outcome.sentence);
    near(outcome.shares[0].1, 25.500_275 / 26.500_275, 1e-9);
    near(outcome.held_out_change.unwrap().value, -1.85, 1e-12);

    // Any fall of the loss was "holds" once: here each update is a tenth of the CE update.
    let small: Vec<_> = (0..6).map(|cycle| Tuning { loss_after: 25.0 - 0.1 * cycle as f64, ..tuning(cycle) }).collect();
    let outcome = ce_update::judge(&small, true);
    assert_eq!(outcome.finding.verdict, Verdict::Fails, "{}", outcome.sentence);
    let effect = outcome.finding.effect.unwrap();
    assert!(effect.estimate.high < 0.2 && effect.detectable.unwrap() < 0.1, "{effect:?}");
    let restricted = ce_update::judge(&small, false).finding;
    assert_eq!(restricted.broken, Some(Assumption::Family), "a table of independent places cannot be anything");
    assert_eq!(ce_update::judge(&good[..1], true).finding.verdict, Verdict::Undecided, "one update is no sample");

    let edits: [(Edit, Verdict); 7] = [
        (|t| t.loss_before *= 1.002, Verdict::Fails),
        (|t| t.loss_before = f64::NAN, Verdict::Fails),
        (|t| t.trained[2] = "not an elite".into(), Verdict::Fails),
        // One cycle that lowered nothing decided the run once.
        (|t| t.loss_after = t.loss_before, Verdict::Undecided),
        (|t| t.loss_after = f64::NAN, Verdict::Fails),
        (|t| t.summed = false, Verdict::AssumptionNotMet),
        (|t| t.trained.clear(), Verdict::AssumptionNotMet),
    ];
    for (place, (edit, verdict)) in edits.into_iter().enumerate() {
        let mut bad = good.clone();
        edit(&mut bad[2]);
        assert_eq!(ce_update::judge(&bad, true).finding.verdict, verdict, "edit {place}");
    }
    // Elites of earlier cycles were logged under other policies: there is then no loss to compare with.
    let cumulative: Vec<_> = good.iter().map(|t| Tuning { logged: t.logged.filter(|_| t.cycle == 0), ..t.clone() }).collect();
    assert_eq!(ce_update::judge(&cumulative, true).finding.verdict, Verdict::Holds);
    assert_eq!(ce_update::judge(&[], true).finding.broken, Some(Assumption::Updated));
}

#[test]
fn claim_1_the_target_is_the_entropy_of_the_elites_given_their_parents() {
    let by_hand = (2.0 * 1.5f64.ln() + 3f64.ln()) / 4.0;
    near(conditional_entropy(&[("a", 1, 1.0), ("a", 1, 1.0), ("a", 2, 1.0), ("b", 3, 1.0)]), by_hand, 1e-12);
    near(conditional_entropy(&[("a", 1, 1.0), ("b", 1, 1.0), ("c", 2, 1.0)]), 0.0, 1e-12);
    // The share by losses is that of the divergence, exactly.
    let (e, p, q) = ([0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4], [0.4, 0.2, 0.2, 0.2]);
    let loss = |p: &[f64]| -e.iter().zip(p).map(|(e, p): (&f64, &f64)| e * p.ln()).sum::<f64>();
    let target = conditional_entropy(&[("", 0, 2.0), ("", 1, 1.0), ("", 2, 1.0)]);
    let t = Tuning { loss_before: loss(&p), loss_after: loss(&q), target, ..Tuning::default() };
    near(t.share().unwrap(), table::realised(&e, &p, &q).share, 1e-12);
}

#[test]
fn claim_1_held_out_change_covers() {
    for cycles in [3, 10, 22] {
        covers("held-out change", -1.0, |_, rng| {
            let held_out = |rng: &mut ChaCha8Rng| Some((28.0, 27.0 + 2.0 * normal(rng)));
            let tunings: Vec<_> = (0..cycles).map(|cycle| Tuning { held_out: held_out(rng), ..tuning(cycle) }).collect();
            ce_update::judge(&tunings, true).held_out_change.map(Uncertain::interval)
        });
    }
}

/// An audit whose policy had collapsed onto one cell failed: its losses of 1e-5 nats differed by the rounding of f32.
#[test]
fn claim_1_is_not_failed_by_rounding_once_the_elites_are_certain() {
    let certain = |loss_before: f64, loss_after: f64| {
        let collapsed = Tuning { logged: Some(1.485e-5), loss_before, loss_after, target: 0.0, ..tuning(4) };
        ce_update::judge(&[tuning(0), tuning(1), tuning(2), collapsed], true).finding.verdict
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

/// Cycles of `n` samples shared out among `parents` of a pool of five, whose levels differ by `between`; `shift` is what the policy adds
/// in a cycle.
pub fn cycles_of(
    cycles: u64,
    n: usize,
    parents: usize,
    between: f64,
    spread: f64,
    seed: u64,
    shift: impl Fn(u64) -> f64,
) -> Vec<CycleSamples> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let levels: Vec<f64> = (0..5).map(|_| between * normal(&mut rng)).collect();
    (0..cycles)
        .map(|cycle| {
            let mut pool: Vec<usize> = (0..5).collect();
            let drawn: Vec<usize> = (0..parents).map(|_| pool.remove(rng.random_range(0..pool.len()))).collect();
            let sample = |i: usize, rng: &mut ChaCha8Rng| {
                let parent = drawn[i % parents];
                let quality = Some(0.5 + levels[parent] + shift(cycle) + spread * normal(rng));
                Sample { parent: parent.to_string(), quality, ..Sample::default() }
            };
            CycleSamples { cycle, samples: (0..n).map(|i| sample(i, &mut rng)).collect(), updated: true, selected: true, exact: None }
        })
        .collect()
}

pub fn improved(cycles: &[CycleSamples]) -> improvement::Outcome {
    improvement::judge(&[], cycles)
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
fn claim_2_verdicts_on_the_same_parents() {
    let dropped = improved(&cycles_of(8, 40, 3, 0.05, 0.03, 1, |cycle| if cycle < 5 { 0.01 * cycle as f64 } else { -0.1 }));
    assert_eq!(dropped.finding.verdict, Verdict::Fails, "{}", dropped.sentence);
    assert!(dropped.sentence.contains("in cycle 4"), "{}", dropped.sentence);
    let slide = improved(&cycles_of(20, 30, 3, 0.0, 0.03, 2, |cycle| -0.006 * cycle as f64));
    assert_eq!(slide.finding.verdict, Verdict::Fails, "no single step, but all together: {}", slide.sentence);
    let rising = improved(&cycles_of(6, 2000, 3, 0.05, 0.03, 3, |cycle| 0.02 * cycle as f64));
    assert_eq!(rising.finding.verdict, Verdict::Holds, "{}", rising.sentence);
    near(rising.pooled.unwrap().value, 0.02, 0.002);
    let few = improved(&cycles_of(4, 9, 3, 0.05, 0.05, 4, |_| 0.0));
    assert_eq!(few.finding.verdict, Verdict::Undecided, "{}", few.sentence);
    assert!(few.finding.effect.unwrap().detectable.unwrap() > 0.01);

    let broken = |assumption| improvement::judge(&[assumption], &cycles_of(8, 40, 3, 0.0, 0.03, 1, |_| 0.0)).finding.broken;
    for assumption in [Assumption::FixedObjective, Assumption::OwnSamples, Assumption::Selection, Assumption::Updated] {
        assert_eq!(broken(assumption), Some(assumption));
    }
    assert_eq!(broken(Assumption::FixedThreshold), None, "a threshold of elites is nothing to this claim");
    let mut strangers = cycles_of(4, 12, 3, 0.0, 0.03, 1, |_| 0.0);
    for c in &mut strangers {
        for s in &mut c.samples {
            s.parent = format!("{}/{}", c.cycle, s.parent);
        }
    }
    assert_eq!(improved(&strangers).finding.broken, Some(Assumption::Overlap));
    assert_eq!(improved(&[]).finding.broken, Some(Assumption::Updated));
}

#[test]
fn claim_2_is_exact_where_the_change_is() {
    let with = |changes: &[f64]| {
        let cycle = |(cycle, change): (usize, &f64)| CycleSamples {
            cycle: cycle as u64,
            updated: true,
            selected: true,
            exact: Some(*change),
            samples: vec![],
        };
        improved(&changes.iter().enumerate().map(cycle).collect::<Vec<_>>())
    };
    assert_eq!(with(&[0.004; 22]).finding.verdict, Verdict::Holds);
    let mut once = [0.004; 22];
    once[7] = -0.003;
    assert_eq!(with(&once).finding.verdict, Verdict::Holds, "within the margin, and one of 22");
    once[9] = -0.02;
    let fell = with(&once);
    assert_eq!(fell.finding.verdict, Verdict::Fails);
    assert!(fell.sentence.contains("fell in 2"), "{}", fell.sentence);
    assert_eq!(with(&[0.004; 5]).finding.verdict, Verdict::Undecided, "five updates without a fall may be luck");
    let cycle = |cycle| CycleSamples { cycle, updated: true, selected: true, exact: Some(-0.02), samples: vec![] };
    assert_eq!(improvement::judge(&[Assumption::Family], &[cycle(1), cycle(2)]).finding.broken, Some(Assumption::Family));
}

#[test]
fn claim_2_leaves_out_updates_that_selected_nothing() {
    let cycle = |(cycle, change): (usize, &f64)| CycleSamples {
        cycle: cycle as u64,
        updated: true,
        selected: *change > 0.0,
        exact: Some(*change),
        samples: vec![],
    };
    let changes = [[0.004; 16].as_slice(), &[-0.02; 6]].concat();
    let outcome = improved(&changes.iter().enumerate().map(cycle).collect::<Vec<_>>());
    assert_eq!((outcome.finding.verdict, outcome.changes.len()), (Verdict::Holds, 16), "{}", outcome.sentence);
    assert!(outcome.sentence.contains("6 more took all"), "{}", outcome.sentence);
}

/// Where nothing changes, `fails` comes out in at most 5% of runs (give or take the noise of 400), at the sizes in use and with parents
/// that explain half of the variance. It came out in 18 to 88% once.
#[test]
fn claim_2_false_alarms_are_rare() {
    for (cycles, n) in [(5, 6), (5, 12), (22, 50)] {
        let alarms =
            (0..400).filter(|&seed| improved(&cycles_of(cycles, n, 3, 0.05, 0.05, seed, |_| 0.0)).finding.verdict == Verdict::Fails);
        let alarms = alarms.count();
        assert!(alarms <= 32, "{alarms} of 400 at {cycles} x {n}");
    }
}

/// Parents get better from cycle to cycle while the policy does not: the means rise, and the estimate does not.
#[test]
fn claim_2_better_parents_are_no_improvement() {
    let mut cycles = cycles_of(6, 60, 3, 0.0, 0.02, 5, |_| 0.0);
    for c in &mut cycles {
        // Three parents of which one is replaced by a better one in every cycle.
        for (i, s) in c.samples.iter_mut().enumerate() {
            let parent = c.cycle + i as u64 % 3;
            (s.parent, s.quality) = (parent.to_string(), s.quality.map(|q| q + 0.05 * parent as f64));
        }
    }
    let outcome = improved(&cycles);
    assert!(outcome.means.last().unwrap().1.low > outcome.means[0].1.high + 0.1, "the means rise");
    assert!(outcome.pooled.unwrap().interval().contains(0.0), "{}", outcome.sentence);
}

#[test]
fn claim_2_reweighted_change_covers_and_leaves_out_what_was_tuned_on() {
    // Quality is x; samples of N(0, 1), the policy after the update N(0.4, 1).
    let scored = |n: usize, rng: &mut ChaCha8Rng| -> Vec<Sample> {
        let one = |i: usize, rng: &mut ChaCha8Rng| {
            let x = normal(rng);
            Sample {
                parent: (i % 4).to_string(),
                quality: Some(x),
                log_q: Some(-x * x / 2.0),
                log_p_after: Some(-(x - 0.4f64).powi(2) / 2.0),
                role: Role::Other,
            }
        };
        (0..n).map(|i| one(i, rng)).collect()
    };
    covers("reweighted change", 0.4, |_, rng| improvement::reweighted(&scored(100, rng)).map(|c| c.change.interval()));
    // The best fifth is tuned on; a half of it is held out and stands for all of it.
    covers("cross-fitted change", 0.4, |_, rng| {
        let mut all = scored(200, rng);
        all.sort_by(|a, b| b.quality.unwrap().total_cmp(&a.quality.unwrap()));
        all[..40].iter_mut().for_each(|s| s.role = if rng.random() { Role::Trained } else { Role::HeldOut });
        improvement::reweighted(&all).map(|c| c.change.interval())
    });
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut memorised = scored(50, &mut rng);
    memorised[0].role = Role::Trained;
    assert_eq!(improvement::reweighted(&memorised), None, "nothing held out stands for what was tuned on");
    let mut far = scored(50, &mut rng);
    for s in &mut far {
        s.log_p_after = s.quality.map(|x| -(x - 6.0).powi(2) / 2.0);
    }
    assert_eq!(improvement::reweighted(&far), None, "one sample has all the weight");
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

pub fn counts(cycles: u64, asked: u64, rng: &mut ChaCha8Rng, probability: impl Fn(f64) -> f64) -> Vec<Count> {
    (0..cycles).map(|cycle| Count::new(cycle, asked, binomial(asked, probability(cycle as f64), rng))).collect()
}

pub fn converged(counts: &[Count]) -> convergence::Outcome {
    convergence::judge(&[], counts)
}

#[test]
fn claim_3_the_rate_is_found_and_its_interval_covers() {
    covers("rate", 0.1, |_, rng| convergence::fit(&counts(22, 50, rng, |t| 1.0 - 0.8 * 0.9f64.powf(t))).map(|fit| fit.rate()));
    // Large counts give the line back exactly.
    let exact: Vec<Count> =
        (0..6).map(|cycle| Count { cycle, asked: 1e9, reached: 1e9 * (1.0 - 0.7 * 0.85f64.powi(cycle as i32)), groups: vec![] }).collect();
    let fit = convergence::fit(&exact).unwrap();
    near(fit.rate().value, 0.15, 1e-6);
    near(fit.intercept, 0.7f64.ln(), 1e-6);
    near(convergence::bound(0.2, 2), 0.36, 1e-12);
}

#[test]
fn claim_3_verdicts() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let outcome = converged(&counts(22, 200, &mut rng, |t| 1.0 - 0.8 * 0.88f64.powf(t)));
    assert_eq!(outcome.finding.verdict, Verdict::Holds, "{}", outcome.sentence);
    assert!(outcome.sentence.contains("independent draws") && outcome.sentence.contains("geometric in 1-C"));
    let falling = converged(&counts(22, 50, &mut rng, |t| 0.6 - 0.02 * t));
    assert_eq!(falling.finding.verdict, Verdict::Fails, "{}", falling.sentence);
    let logistic = converged(&counts(22, 200, &mut rng, |t| 1.0 / (1.0 + (4.0 - 0.4 * t).exp())));
    assert_eq!(logistic.finding.verdict, Verdict::Fails, "{}", logistic.sentence);
    assert!(logistic.sentence.contains("Best law of growth: logistic"), "{}", logistic.sentence);

    let good = counts(22, 50, &mut rng, |t| 1.0 - 0.8 * 0.88f64.powf(t));
    for assumption in [Assumption::FixedThreshold, Assumption::KnownThreshold, Assumption::FixedObjective] {
        assert_eq!(convergence::judge(&[assumption], &good).finding.broken, Some(assumption));
    }
    assert_eq!(converged(&good[..3]).finding.broken, Some(Assumption::Cycles));
    let none = converged(&counts(22, 50, &mut rng, |_| 0.0));
    assert_eq!(none.finding.broken, Some(Assumption::SomeReach));
    assert!(!none.sentence.contains("bound"), "a bound of 0 is met by anything: {}", none.sentence);
    assert_eq!(converged(&[]).finding.verdict, Verdict::AssumptionNotMet);
}

/// How often each verdict comes out of 300 simulated records: (holds, fails).
fn frequencies(simulate: impl Fn(&mut ChaCha8Rng) -> Vec<Count>) -> (f64, f64) {
    let verdicts: Vec<Verdict> = (0..300).map(|seed| converged(&simulate(&mut ChaCha8Rng::seed_from_u64(seed))).finding.verdict).collect();
    let share = |wanted: Verdict| verdicts.iter().filter(|v| **v == wanted).count() as f64 / 300.0;
    (share(Verdict::Holds), share(Verdict::Fails))
}

/// True records do not fail, false ones do not hold, whatever the size; half of the true ones are found at 22 x 50, and nearly all with
/// counts as of 200 samples. Once 79% of true small records failed, 65% of those with parents that differ, and 95% of straight lines held.
#[test]
fn claim_3_verdicts_come_out_as_often_as_they_should() {
    let geometric = |t: f64| 1.0 - 0.8 * 0.9f64.powf(t);
    let (holds, fails) = frequencies(|rng| counts(22, 50, rng, geometric));
    assert!(holds >= 0.45 && fails <= 0.05, "geometric: holds {holds}, fails {fails}");
    let (holds, fails) = frequencies(|rng| counts(22, 200, rng, geometric));
    assert!(holds >= 0.9 && fails <= 0.05, "geometric, many samples: holds {holds}, fails {fails}");
    let (_, fails) = frequencies(|rng| counts(5, 12, rng, |t| 1.0 - 0.97 * 0.9f64.powf(t)));
    assert!(fails <= 0.05, "geometric, small: fails {fails}");
    // Parents whose own probabilities differ: a beta spread that multiplies the variance by about four.
    let (_, fails) = frequencies(|rng| {
        let cycle = |cycle: u64, rng: &mut ChaCha8Rng| {
            let mean = geometric(cycle as f64).min(0.98);
            let group =
                |rng: &mut ChaCha8Rng| (10.0, binomial(10, Beta::new(2.0 * mean, 2.0 * (1.0 - mean)).unwrap().sample(rng), rng) as f64);
            let groups: Vec<(f64, f64)> = (0..5).map(|_| group(rng)).collect();
            Count { cycle, asked: 50.0, reached: groups.iter().map(|g| g.1).sum(), groups }
        };
        (0..22).map(|c| cycle(c, rng)).collect()
    });
    assert!(fails <= 0.05, "overdispersed: fails {fails}");
    for (name, falsehood) in [
        ("a straight line", (|t| 0.02 + 0.48 * t / 21.0) as fn(f64) -> f64),
        ("a rise that stops", |t| if t < 8.0 { 1.0 - 0.9 * 0.95f64.powf(t) } else { 0.4 }),
        ("logistic", |t| 1.0 / (1.0 + (3.0 - 0.35 * t).exp())),
        ("exponential", |t| (0.02 * 1.19f64.powf(t)).min(0.999)),
    ] {
        let (holds, _) = frequencies(|rng| counts(22, 50, rng, falsehood));
        assert!(holds <= 0.05, "{name}: holds {holds}");
    }
    let (holds, fails) = frequencies(|rng| counts(22, 50, rng, |_| 0.3));
    assert!(holds <= 0.05 && fails <= 0.05, "nothing changes: holds {holds}, fails {fails}");
}
