//! One arm against another: quality of the runs that share a seed.

use serde::Serialize;

use crate::theory::Estimate;
use crate::theory::statistics::{LEVEL95, difference_of, few_interval_at, mean, mean_interval_at};

/// What Holm's correction asks of the stronger of two tests: the upper end of a 97.5% interval.
const STRICT: f64 = 0.9875;

/// A measured quantity; with one run there may be no interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
    /// Whether zero lies outside the 97.5% interval too.
    #[serde(skip)]
    strict: bool,
}

impl Measured {
    /// Of one value a run.
    pub fn of(values: &[f64], seed: u64) -> Option<Self> {
        let value = (!values.is_empty()).then(|| mean(values))?;
        Some(Self::from_intervals(value, |level| few_interval_at(values, seed, level)))
    }

    fn from_intervals(value: f64, at: impl Fn(f64) -> Option<Estimate>) -> Self {
        let strict = at(STRICT).is_some_and(|e| !e.contains(0.0));
        Self { value, interval: at(LEVEL95).map(|e| (e.low, e.high)), strict }
    }

    pub fn is_above_zero(&self) -> bool {
        self.interval.is_some_and(|(low, _)| low > 0.0)
    }

    pub fn is_below_zero(&self) -> bool {
        self.interval.is_some_and(|(_, high)| high < 0.0)
    }
}

/// One run as a contest sees it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub seed: u64,
    /// Of all that has one.
    pub qualities: Vec<f64>,
    /// The best after one, two, .. trials of the budget.
    pub best_so_far: Vec<f64>,
}

impl Entry {
    pub fn mean(&self) -> Option<f64> {
        (!self.qualities.is_empty()).then(|| mean(&self.qualities))
    }

    /// The best of the first `budget` trials.
    pub fn best_of(&self, budget: usize) -> Option<f64> {
        self.best_so_far.get(budget.min(self.best_so_far.len()).checked_sub(1)?).copied()
    }

    fn mean_interval(&self, level: f64) -> Option<Estimate> {
        mean_interval_at(&self.qualities, self.seed, level)
    }
}

/// An arm as a contest sees it.
#[derive(Clone, Debug)]
pub struct Side {
    pub name: String,
    pub entries: Vec<Entry>,
}

/// Mean and best quality of an arm over its runs. With one run the interval of the mean is over its candidates.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    pub mean: Option<Measured>,
    /// At the budget: of as many trials as every run that is compared has.
    pub best: Option<Measured>,
    /// Share of the candidates that are networks.
    pub valid: Option<Measured>,
}

impl Level {
    /// `valid` is the share of each run that asked for candidates.
    pub fn of(side: &Side, budget: usize, valid: &[f64]) -> Self {
        let per_run = |f: &dyn Fn(&Entry) -> Option<f64>| side.entries.iter().filter_map(f).collect::<Vec<f64>>();
        let mean = match side.entries.as_slice() {
            [only] => only.mean().map(|value| Measured::from_intervals(value, |level| only.mean_interval(level))),
            _ => Measured::of(&per_run(&Entry::mean), 1),
        };
        Self { mean, best: Measured::of(&per_run(&|e| e.best_of(budget)), 2), valid: Measured::of(valid, 3) }
    }
}

/// `arm` minus `against`.
#[derive(Clone, Debug, Serialize)]
pub struct Contest {
    pub arm: String,
    pub against: String,
    /// Seeds that both have.
    pub seeds: Vec<u64>,
    /// What the intervals are of, seed by seed.
    pub pairs: Vec<Pair>,
    pub mean: Option<Measured>,
    /// At the budget that both runs of a seed have.
    pub best: Option<Measured>,
}

/// The differences of two runs that share a seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    pub seed: u64,
    pub mean: Option<f64>,
    /// At the budget that both have.
    pub best: Option<f64>,
}

impl Pair {
    fn of(a: &Entry, b: &Entry) -> Self {
        let budget = a.best_so_far.len().min(b.best_so_far.len());
        let difference = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
        Self { seed: a.seed, mean: difference(a.mean(), b.mean()), best: difference(a.best_of(budget), b.best_of(budget)) }
    }
}

impl Contest {
    pub fn hold(arm: &Side, against: &Side) -> Self {
        let other = |seed: u64| against.entries.iter().find(|e| e.seed == seed);
        let both: Vec<(&Entry, &Entry)> = arm.entries.iter().filter_map(|e| Some((e, other(e.seed)?))).collect();
        let pairs: Vec<Pair> = both.iter().map(|(a, b)| Pair::of(a, b)).collect();
        let over = |f: &dyn Fn(&Pair) -> Option<f64>| pairs.iter().filter_map(f).collect::<Vec<f64>>();
        let mean = match both.as_slice() {
            [(a, b)] => one_pair(a, b),
            _ => Measured::of(&over(&|pair| pair.mean), 4),
        };
        let best = Measured::of(&over(&|pair| pair.best), 5);
        let seeds = pairs.iter().map(|pair| pair.seed).collect();
        Self { arm: arm.name.clone(), against: against.name.clone(), seeds, mean, best, pairs }
    }

    /// Significantly better in mean or best, and significantly worse in neither: at 5% in all, by Holm's correction. The stronger
    /// of the two tests is held to 2.5%; only where it passes is the other held to 5%.
    pub fn wins(&self) -> bool {
        let both = || [&self.mean, &self.best].into_iter().flatten();
        both().any(|m| m.strict) && both().any(Measured::is_above_zero) && !both().any(Measured::is_below_zero)
    }
}

/// The candidates of two runs are independent samples.
fn one_pair(a: &Entry, b: &Entry) -> Option<Measured> {
    let value = a.mean()? - b.mean()?;
    let difference = |level| Some(difference_of(a.mean_interval(level)?, b.mean_interval(level)?));
    Some(Measured::from_intervals(value, difference))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contest(means: &[f64], bests: &[f64]) -> Contest {
        let entry =
            |(seed, (mean, best)): (usize, (f64, f64))| Entry { seed: seed as u64, qualities: vec![mean; 3], best_so_far: vec![best] };
        let pairs = means.iter().copied().zip(bests.iter().copied());
        let arm = Side { name: "arm".into(), entries: pairs.enumerate().map(entry).collect() };
        let zero = Side { name: "zero".into(), entries: (0..means.len()).map(|seed| entry((seed, (0.0, 0.0)))).collect() };
        Contest::hold(&arm, &zero)
    }

    #[test]
    fn one_of_two_tests_has_to_pass_at_half_the_level() {
        // Student's t of three values: 2 / sqrt(var / 3). Two-sided p of t = 5 is .038, of t = 8 is .015.
        let about = |t: f64| {
            let spread = 2.0 / t * f64::sqrt(3.0);
            [2.0 - spread, 2.0, 2.0 + spread]
        };
        let nothing = [-1.0, 0.0, 1.0];
        let weak = contest(&about(5.0), &nothing);
        assert!(weak.mean.unwrap().is_above_zero() && !weak.wins(), "p = .038 alone is not enough for two tests");
        assert!(contest(&about(8.0), &nothing).wins() && contest(&nothing, &about(8.0)).wins());
        assert!(!contest(&about(5.0), &about(5.0)).wins(), "Holm asks the stronger one first");
        assert!(contest(&about(5.0), &about(8.0)).wins());
        let worse = about(5.0).map(|v| -v);
        assert!(!contest(&about(8.0), &worse).wins(), "held to 5% once the stronger one passed");
    }
}
