//! Claim 5: the `MinHash`-Jaccard filter prevents mode collapse.
//!
//! Two arms at the same budget, filter on and off. What the policy writes is judged, not what the filter lets pass: of the
//! candidates asked, how many are valid networks that the run had not seen before. An arm has collapsed in the first
//! cycle in which fewer than half of its valid networks are new. With e edits isolated in n operations and shingles of w,
//! J = (n-we)/(n+we), and a `MinHash` estimate of k functions has standard error sqrt(J(1-J)/k).

use super::statistics::{bootstrap, difference_of, mean, wilson};
use super::{Claim, Estimate, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// |A and B| / |A or B| of two sorted sets; 0 of two empty ones.
///
/// ```
/// assert_eq!(eliteloop::theory::diversity::jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
/// ```
pub fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        common += usize::from(left == right);
        i += usize::from(left <= right);
        j += usize::from(right <= left);
    }
    let union = a.len() + b.len() - common;
    if union == 0 { 0.0 } else { common as f64 / union as f64 }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CycleCounts {
    pub cycle: u64,
    pub asked: u64,
    /// Candidates that are networks.
    pub valid: u64,
    /// Of these, networks that the run had not seen before, copies within the cycle counted once.
    pub unique: u64,
    /// Mean -log p of the completions, a sampled entropy of the policy; where known.
    pub mean_nll: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arm {
    pub cycles: Vec<CycleCounts>,
    /// Every network that was trained, in order.
    pub accepted: Vec<Accepted>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Networks of different runs are not compared.
    pub run: usize,
    /// Sorted.
    pub shingles: Vec<u64>,
    /// Place of its parent in the list, if it is there.
    pub parent: Option<usize>,
}

impl Arm {
    /// This arm with another run of it; `run` tells the networks of the runs apart.
    #[must_use]
    pub fn with(mut self, other: Self, run: usize) -> Self {
        for theirs in other.cycles {
            match self.cycles.iter_mut().find(|c| c.cycle == theirs.cycle) {
                Some(own) => {
                    let (a, b) = (own.asked as f64, theirs.asked as f64);
                    own.mean_nll = own.mean_nll.zip(theirs.mean_nll).map(|(x, y)| (a * x + b * y) / (a + b));
                    own.asked += theirs.asked;
                    own.valid += theirs.valid;
                    own.unique += theirs.unique;
                }
                None => self.cycles.push(theirs),
            }
        }
        let before = self.accepted.len();
        self.accepted.extend(other.accepted.into_iter().map(|a| Accepted { run, parent: a.parent.map(|p| p + before), ..a }));
        self
    }
}

/// One comparison of the filter: estimated and exact similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    pub estimate: f64,
    pub exact: f64,
}

/// What `MinHash` got wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinHashError {
    /// Mean of estimate - exact.
    pub bias: Estimate,
    /// Root mean square of the error, and of the standard errors sqrt(J(1-J)/k).
    pub observed: f64,
    pub predicted: f64,
}

/// None for fewer than two comparisons.
pub fn minhash_error(comparisons: &[Comparison], hashes: usize) -> Option<MinHashError> {
    let errors: Vec<f64> = comparisons.iter().map(|c| c.estimate - c.exact).collect();
    let bias = bootstrap(errors.len(), 5, |units| units.iter().map(|&unit| errors[unit]).sum::<f64>() / units.len() as f64)?;
    let squares: Vec<f64> = errors.iter().map(|error| error * error).collect();
    let theory: Vec<f64> = comparisons.iter().map(|c| c.exact * (1.0 - c.exact) / hashes as f64).collect();
    Some(MinHashError { bias, observed: mean(&squares).sqrt(), predicted: mean(&theory).sqrt() })
}

/// Mean over all pairs; NaN for fewer than two networks.
pub fn mean_pairwise(networks: &[Accepted]) -> f64 {
    mean(&pairs(networks).map(|(a, b)| jaccard(&networks[a].shingles, &networks[b].shingles)).collect::<Vec<f64>>())
}

fn pairs(networks: &[Accepted]) -> impl Iterator<Item = (usize, usize)> {
    (0..networks.len()).flat_map(|a| (0..a).map(move |b| (a, b))).filter(|&(a, b)| networks[a].run == networks[b].run)
}

/// Pairs at or above the threshold that are not parent and child, which the filter compares by a rule of its own.
pub fn leaks(networks: &[Accepted], threshold: f64) -> usize {
    let related = |a: usize, b: usize| networks[a].parent == Some(b) || networks[b].parent == Some(a);
    pairs(networks).filter(|&(a, b)| !related(a, b) && jaccard(&networks[a].shingles, &networks[b].shingles) >= threshold).count()
}

/// The first cycle in which fewer than half of the valid networks are new.
pub fn collapse(cycles: &[CycleCounts]) -> Option<u64> {
    cycles.iter().find(|c| c.valid > 0 && 2 * c.unique < c.valid).map(|c| c.cycle)
}

/// Difference of two shares with Newcombe's interval (from the two Wilson intervals).
pub fn share_difference(successes: u64, trials: u64, other_successes: u64, other_trials: u64) -> Estimate {
    difference_of(wilson(successes, trials), wilson(other_successes, other_trials))
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub sentence: String,
    /// Pairs of accepted networks at or above the threshold: what the filter should have stopped.
    pub leaks: usize,
    /// Unique-valid rate with the filter minus without.
    pub gain: Option<Estimate>,
    pub collapsed_on: Option<u64>,
    pub collapsed_off: Option<u64>,
    pub error: Option<MinHashError>,
    numbers: Vec<(String, Cell)>,
    plot: Option<Plot>,
}

fn totals(arm: &Arm) -> (u64, u64, u64) {
    arm.cycles.iter().fold((0, 0, 0), |(asked, valid, unique), c| (asked + c.asked, valid + c.valid, unique + c.unique))
}

/// `on` and `off` are the arms with and without the filter, `threshold` and `hashes` its settings.
pub fn judge(on: &Arm, off: Option<&Arm>, threshold: f64, comparisons: &[Comparison], hashes: usize) -> Outcome {
    let leaks = leaks(&on.accepted, threshold);
    let error = minhash_error(comparisons, hashes);
    let (asked, valid, unique) = totals(on);
    let collapsed_on = collapse(&on.cycles);
    let collapsed_off = off.and_then(|off| collapse(&off.cycles));
    let gain = off.map(|off| {
        let (other_asked, _, other_unique) = totals(off);
        share_difference(unique, asked, other_unique, other_asked)
    });
    let dated = |cycle: Option<u64>| cycle.map_or("never".to_owned(), |cycle| format!("in cycle {cycle}"));
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let (verdict, sentence) = if asked == 0 || valid == 0 {
        (Verdict::AssumptionNotMet, "There was no valid network to compare.".to_owned())
    } else if leaks > 0 {
        (Verdict::Fails, format!("The filter let {leaks} pairs of accepted networks through at or above J = {threshold}."))
    } else if let (Some(off), Some(gain)) = (off, gain) {
        let (other_asked, _, other_unique) = totals(off);
        let rates = format!(
            "{:.0}% of the candidates are new valid networks with the filter, {:.0}% without (difference {:+.3} [{:+.3}, {:+.3}]); collapse {} with it, {} without",
            share(unique, asked),
            share(other_unique, other_asked),
            gain.value,
            gain.low,
            gain.high,
            dated(collapsed_on),
            dated(collapsed_off)
        );
        if asked != other_asked {
            (Verdict::AssumptionNotMet, format!("The arms have different budgets ({asked} and {other_asked} candidates): {rates}."))
        } else if collapsed_on.is_some() {
            (Verdict::Fails, format!("The run collapsed although the filter was on: {rates}."))
        } else if collapsed_off.is_some() || gain.low > 0.0 {
            (Verdict::Holds, format!("The filter kept the run diverse: {rates}."))
        } else {
            (Verdict::AssumptionNotMet, format!("Without the filter nothing collapsed, so there was nothing to prevent: {rates}."))
        }
    } else {
        let valid_share = share(unique, valid);
        (
            Verdict::AssumptionNotMet,
            format!(
                "The claim needs an arm without the filter. With it {unique} of {valid} valid networks ({valid_share:.0}%) were new; collapse {}; no copy was accepted.",
                dated(collapsed_on)
            ),
        )
    };

    let mut numbers = Vec::new();
    let mut series = Vec::new();
    for (name, arm) in [("filter on", Some(on)), ("filter off", off)] {
        let Some(arm) = arm else { continue };
        let (asked, valid, unique) = totals(arm);
        numbers.push((format!("{name}: new valid networks of asked"), wilson(unique, asked).into()));
        numbers.push((format!("{name}: new of valid"), wilson(unique, valid).into()));
        let pairwise = mean_pairwise(&arm.accepted);
        if pairwise.is_finite() {
            numbers.push((format!("{name}: mean pairwise J of the trained"), Cell::number(pairwise, Show::Fixed(4))));
        }
        numbers.push((format!("{name}: collapse"), dated(collapse(&arm.cycles)).into()));
        let nll: Vec<f64> = arm.cycles.iter().filter_map(|c| c.mean_nll).collect();
        if let [first, .., last] = nll.as_slice() {
            numbers.push((format!("{name}: mean NLL of a completion, first cycle"), Cell::number(*first, Show::Fixed(2))));
            numbers.push((format!("{name}: mean NLL of a completion, last cycle"), Cell::number(*last, Show::Fixed(2))));
        }
        let point = |c: &CycleCounts| {
            let share = wilson(c.unique, c.valid);
            Point { x: c.cycle as f64, y: share.value, interval: Some((share.low, share.high)) }
        };
        series.push(Series {
            name: name.into(),
            mark: Mark::Points,
            points: arm.cycles.iter().filter(|c| c.valid > 0).map(point).collect(),
        });
    }
    if let Some(error) = error {
        numbers.push(("MinHash: mean error".into(), error.bias.into()));
        numbers.push(("MinHash: r.m.s. error, observed".into(), Cell::number(error.observed, Show::Fixed(4))));
        numbers.push(("MinHash: r.m.s. error, predicted".into(), Cell::number(error.predicted, Show::Fixed(4))));
    }
    let half = series.iter().flat_map(|s| &s.points).map(|p| Point { y: 0.5, interval: None, ..*p }).collect();
    series.push(Series { name: "collapse below this".into(), mark: Mark::Line, points: half });
    let plot = (asked > 0).then(|| Plot { x_label: "cycle".into(), y_label: "new of valid networks".into(), series });
    Outcome { verdict, sentence, leaks, gain, collapsed_on, collapsed_off, error, numbers, plot }
}

impl Outcome {
    pub fn panel(&self) -> Panel {
        Panel {
            claim: Claim::Diversity,
            title: Claim::Diversity.title().into(),
            verdict: self.verdict,
            sentence: self.sentence.clone(),
            numbers: self.numbers.clone(),
            plot: self.plot.clone(),
        }
    }
}
