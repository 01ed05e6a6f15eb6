//! Claim 5: the `MinHash`-Jaccard filter prevents mode collapse.
//!
//! Arms at the same budget, filter on and off. What the policy writes is judged, not what the filter lets pass, and collapse is a trend:
//! the slope over the cycles of the sampled entropy of p, E\[-log p\] over the policy's own samples (of the share of its valid networks
//! that are new, where there are no likelihoods). Runs are the unit: each has a slope, and the slopes of the arms are compared. The claim
//! holds where the arm without the filter collapses and the one with it does so less, by more than half; a single bad cycle is none.
//!
//! With e edits isolated in n operations and shingles of w, J = (n-we)/(n+we), and a `MinHash` estimate of k functions has standard
//! error sqrt(J(1-J)/k).

use std::fmt::Write as _;

use super::statistics::{LEVEL95, Uncertain, bootstrap, difference_of, line, mean, student, wilson};
use super::{Assumption, Claim, Effect, Estimate, Finding, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// A loss of entropy, in nats a cycle, and of new networks, as a share a cycle, that would be no collapse within a run of 22 cycles.
const STEADY: [f64; 2] = [0.1, 0.01];

/// |A and B| / |A or B| of two sorted sets; 0 of two empty ones: `{1, 2, 3}` and `{2, 3, 4}` have half in common.
pub(crate) fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        common += usize::from(left == right);
        i += usize::from(left <= right);
        j += usize::from(right <= left);
    }
    let union = a.len() + b.len() - common;
    if union == 0 { 0.0 } else { common as f64 / union as f64 }
}

/// What a cycle asked for and got.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CycleCounts {
    /// From 1.
    pub cycle: u64,
    /// Candidates asked of the policy, invalid ones included.
    pub asked: u64,
    /// Candidates that are networks.
    pub valid: u64,
    /// Of these, networks that the run had not seen before, copies within the cycle counted once.
    pub unique: u64,
    /// Mean -log p of the completions, a sampled entropy of the policy; where known.
    pub mean_nll: Option<f64>,
}

/// Runs with the filter on, or with it off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arm {
    /// The cycles of each run.
    pub runs: Vec<Vec<CycleCounts>>,
    /// Every network that was trained, in order.
    pub accepted: Vec<Accepted>,
}

/// A network that was trained, as the filter compares it.
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
    pub(crate) fn with(mut self, other: Self, run: usize) -> Self {
        self.runs.extend(other.runs);
        let before = self.accepted.len();
        self.accepted.extend(other.accepted.into_iter().map(|a| Accepted { run, parent: a.parent.map(|p| p + before), ..a }));
        self
    }
}

/// One comparison of the filter: estimated and exact similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The Jaccard index as `MinHash` estimates it, from 0 to 1.
    pub estimate: f64,
    /// The Jaccard index of the two sets of shingles, from 0 to 1.
    pub exact: f64,
}

/// What `MinHash` got wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinHashError {
    /// Mean of estimate - exact.
    pub bias: Estimate,
    /// Root mean square of the error.
    pub observed: f64,
    /// Root mean square of the standard errors sqrt(J(1-J)/k) of the comparisons, J being the exact index.
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
pub(crate) fn leaks(networks: &[Accepted], threshold: f64) -> usize {
    let related = |a: usize, b: usize| networks[a].parent == Some(b) || networks[b].parent == Some(a);
    pairs(networks).filter(|&(a, b)| !related(a, b) && jaccard(&networks[a].shingles, &networks[b].shingles) >= threshold).count()
}

/// What a collapse is read off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Entropy,
    NewShare,
}

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Entropy => "sampled entropy of p, nats a cycle",
            Self::NewShare => "share of valid networks that are new, a cycle",
        }
    }

    fn of(self, cycle: &CycleCounts) -> Option<f64> {
        match self {
            Self::Entropy => cycle.mean_nll,
            Self::NewShare => (cycle.valid > 0).then(|| cycle.unique as f64 / cycle.valid as f64),
        }
    }

    /// The slope of a run; None for fewer than three cycles.
    fn slope(self, run: &[CycleCounts]) -> Option<Uncertain> {
        let (x, y): (Vec<f64>, Vec<f64>) = run.iter().filter_map(|c| Some((c.cycle as f64, self.of(c)?))).unzip();
        let slope = line(&x, &y)?.slope;
        let freedom = x.len() as f64 - 2.0;
        Some(Uncertain { value: slope.value, error: (slope.high - slope.value) / student(freedom, LEVEL95), freedom })
    }
}

impl Arm {
    fn slopes(&self, of: Endpoint) -> Option<Vec<Uncertain>> {
        self.runs.iter().map(|run| of.slope(run)).collect()
    }

    /// Its mean slope: over the runs, or within the one that there is.
    fn trend(&self, of: Endpoint) -> Option<Uncertain> {
        let slopes = self.slopes(of)?;
        match slopes.as_slice() {
            [only] => Some(*only),
            several => Uncertain::mean(&several.iter().map(|s| s.value).collect::<Vec<_>>()),
        }
    }

    /// All runs together, cycle by cycle.
    pub(crate) fn cycles(&self) -> Vec<CycleCounts> {
        let mut all: Vec<CycleCounts> = Vec::new();
        for theirs in self.runs.iter().flatten() {
            match all.iter_mut().find(|c| c.cycle == theirs.cycle) {
                Some(own) => {
                    let (a, b) = (own.asked as f64, theirs.asked as f64);
                    own.mean_nll = own.mean_nll.zip(theirs.mean_nll).map(|(x, y)| (a * x + b * y) / (a + b));
                    own.asked += theirs.asked;
                    own.valid += theirs.valid;
                    own.unique += theirs.unique;
                }
                None => all.push(*theirs),
            }
        }
        all
    }
}

/// Difference of two shares with Newcombe's interval (from the two Wilson intervals).
pub fn share_difference(successes: u64, trials: u64, other_successes: u64, other_trials: u64) -> Estimate {
    difference_of(wilson(successes, trials), wilson(other_successes, other_trials))
}

/// What the arms say of claim 5.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its effect is the difference of the slopes with and without the filter.
    pub finding: Finding,
    /// The finding in words, with the numbers behind it.
    pub sentence: String,
    /// Pairs of accepted networks at or above the threshold: what the filter should have stopped.
    pub leaks: usize,
    /// Unique-valid rate with the filter minus without.
    pub gain: Option<Estimate>,
    /// Slope with the filter, without it, and their difference, where there are both.
    pub(crate) trends: Option<(Endpoint, [Uncertain; 3])>,
    pub(crate) error: Option<MinHashError>,
    numbers: Vec<(String, Cell)>,
    plot: Option<Plot>,
}

fn totals(arm: &Arm) -> (u64, u64, u64) {
    arm.runs.iter().flatten().fold((0, 0, 0), |(asked, valid, unique), c| (asked + c.asked, valid + c.valid, unique + c.unique))
}

fn trends(on: &Arm, off: &Arm) -> Option<(Endpoint, [Uncertain; 3])> {
    [Endpoint::Entropy, Endpoint::NewShare].into_iter().find_map(|of| {
        let (with, without) = (on.trend(of)?, off.trend(of)?);
        Some((of, [with, without, with.minus(without)]))
    })
}

/// The verdict on slopes with the filter, without it, and their difference.
fn of_trends(of: Endpoint, [with, without, difference]: [Uncertain; 3]) -> Finding {
    let effect = Effect {
        name: format!("slope with the filter minus slope without: {}", of.name()),
        estimate: difference.interval(),
        detectable: difference.detectable(),
        show: Show::Signed(3),
    };
    let off = without.interval();
    let steady = STEADY[usize::from(of == Endpoint::NewShare)];
    let bounded = Finding::bounded(effect, 0.0, 0.0);
    let verdict = match bounded.verdict {
        Verdict::Holds if off.high >= 0.0 || with.value < without.value / 2.0 => Verdict::Undecided,
        verdict => verdict,
    };
    let collapses = off.high < 0.0 || off.low < -steady;
    let finding = Finding { verdict, ..bounded };
    // That the filter makes it worse needs no collapse of the other arm.
    if finding.verdict == Verdict::Fails { finding } else { finding.unless(&[(collapses, Assumption::Collapse)]) }
}

/// `on` and `off` are the arms with and without the filter, `threshold` and `hashes` its settings.
pub fn judge(on: &Arm, off: Option<&Arm>, threshold: f64, comparisons: &[Comparison], hashes: usize) -> Outcome {
    let leaks = leaks(&on.accepted, threshold);
    let error = minhash_error(comparisons, hashes);
    let (asked, valid, unique) = totals(on);
    let gain = off.map(|off| {
        let (other_asked, _, other_unique) = totals(off);
        share_difference(unique, asked, other_unique, other_asked)
    });
    let trends = off.and_then(|off| trends(on, off));
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let (finding, sentence) = if asked == 0 || valid == 0 {
        (Finding::broken(Assumption::ValidNetworks, None), "There was no valid network to compare.".to_owned())
    } else if leaks > 0 {
        let sentence = format!("The filter let {leaks} pairs of accepted networks through at or above J = {threshold}.");
        (Finding::of(Verdict::Fails, None), sentence)
    } else if let (Some(off), Some(gain)) = (off, gain) {
        let (other_asked, _, other_unique) = totals(off);
        let mut told = format!(
            "{:.0}% of the candidates are new valid networks with the filter, {:.0}% without (difference {:+.3} [{:+.3}, {:+.3}])",
            share(unique, asked),
            share(other_unique, other_asked),
            gain.value,
            gain.low,
            gain.high
        );
        let mut finding = Finding::broken(Assumption::Cycles, None);
        if let Some((of, slopes)) = trends {
            let [with, without, difference] = slopes.map(Uncertain::interval);
            let _ = write!(
                told,
                "; {} changes by {:+.3} [{:+.3}, {:+.3}] with the filter and by {:+.3} [{:+.3}, {:+.3}] without, a difference of {:+.3} \
                 [{:+.3}, {:+.3}]",
                of.name(),
                with.value,
                with.low,
                with.high,
                without.value,
                without.low,
                without.high,
                difference.value,
                difference.low,
                difference.high
            );
            finding = of_trends(of, slopes);
        }
        let several = on.runs.len() > 1 && off.runs.len() > 1;
        let finding = finding.unless(&[(asked == other_asked, Assumption::EqualBudgets), (several, Assumption::SeveralSeeds)]);
        (finding, format!("{told}."))
    } else {
        let valid_share = share(unique, valid);
        let sentence = format!(
            "The claim needs an arm without the filter. With it {unique} of {valid} valid networks ({valid_share:.0}%) were new; no copy was accepted."
        );
        (Finding::broken(Assumption::TwoArms, None), sentence)
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
        for of in [Endpoint::Entropy, Endpoint::NewShare] {
            if let Some(trend) = arm.trend(of) {
                numbers.push((format!("{name}: slope of the {}", of.name()), trend.interval().into()));
            }
        }
        let point = |c: &CycleCounts| {
            let share = wilson(c.unique, c.valid);
            Point { x: c.cycle as f64, y: share.value, interval: Some((share.low, share.high)) }
        };
        series.push(Series {
            name: name.into(),
            mark: Mark::Points,
            points: arm.cycles().iter().filter(|c| c.valid > 0).map(point).collect(),
        });
    }
    if let Some(error) = error {
        numbers.push(("MinHash: mean error".into(), error.bias.into()));
        numbers.push(("MinHash: r.m.s. error, observed".into(), Cell::number(error.observed, Show::Fixed(4))));
        numbers.push(("MinHash: r.m.s. error, predicted".into(), Cell::number(error.predicted, Show::Fixed(4))));
    }
    let plot = (asked > 0).then(|| Plot { x_label: "cycle".into(), y_label: "new of valid networks".into(), series });
    Outcome { finding, sentence, leaks, gain, trends, error, numbers, plot }
}

impl Outcome {
    /// The finding with its numbers and its plot, ready to be shown.
    pub fn panel(&self) -> Panel {
        Panel {
            claim: Claim::Diversity,
            title: Claim::Diversity.title().into(),
            finding: self.finding.clone(),
            sentence: self.sentence.clone(),
            numbers: self.numbers.clone(),
            plot: self.plot.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::jaccard;

    #[test]
    fn jaccard_is_what_two_sets_have_in_common() {
        assert_eq!(jaccard(&[1, 2, 3], &[2, 3, 4]).to_bits(), 0.5f64.to_bits());
        assert_eq!([jaccard(&[], &[]), jaccard(&[1], &[]), jaccard(&[7], &[7])], [0.0, 0.0, 1.0]);
    }
}
