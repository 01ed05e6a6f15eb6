//! One arm against another: quality of the runs that share a seed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::theory::Estimate;
use crate::theory::statistics::{LEVEL95, Uncertain, detectable, few_interval_at, mean};

/// What Holm's correction asks of the stronger of two tests: the upper end of a 97.5% interval.
pub(crate) const STRICT: f64 = 0.9875;

/// A measured quantity; with one run there is no interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The mean over the runs; of a contest that of the differences of its pairs.
    pub value: f64,
    /// The ends of the 95% interval.
    pub interval: Option<(f64, f64)>,
    /// The least true difference from zero that the strict level finds in 4 of 5 cases.
    pub(crate) detectable: Option<f64>,
    /// Whether zero lies outside the 97.5% interval too.
    #[serde(skip)]
    strict: bool,
}

impl Measured {
    /// Of one value a run.
    pub(crate) fn of(values: &[f64], seed: u64) -> Option<Self> {
        let value = (!values.is_empty()).then(|| mean(values))?;
        let found = Uncertain::mean(values).filter(|u| u.error > 0.0).map(|u| u.error * detectable(u.freedom, STRICT));
        Some(Self { detectable: found, ..Self::from_intervals(value, |level| few_interval_at(values, seed, level)) })
    }

    fn from_intervals(value: f64, at: impl Fn(f64) -> Option<Estimate>) -> Self {
        let strict = at(STRICT).is_some_and(|e| !e.contains(0.0));
        Self { value, interval: at(LEVEL95).map(|e| (e.low, e.high)), detectable: None, strict }
    }

    pub(crate) fn is_above_zero(&self) -> bool {
        self.interval.is_some_and(|(low, _)| low > 0.0)
    }

    pub(crate) fn is_below_zero(&self) -> bool {
        self.interval.is_some_and(|(_, high)| high < 0.0)
    }
}

/// One run as a contest sees it.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What pairs it with a run of another arm.
    pub seed: u64,
    /// Of all that has one.
    pub qualities: Vec<f64>,
    /// The best after one, two, .. trials of the budget.
    pub best_so_far: Vec<f64>,
    /// The same after one, two, .. candidates that were asked for; minus infinity before the first that has a quality.
    pub best_asked: Vec<f64>,
    /// The same after so many seconds, cycle by cycle.
    pub best_at: Vec<(f64, f64)>,
    /// What its qualities are measured by, key by key: data, recipe, start networks. Runs that differ in it are no pair.
    pub ground: BTreeMap<String, String>,
}

impl Entry {
    /// The mean quality; None where nothing has one.
    pub fn mean(&self) -> Option<f64> {
        (!self.qualities.is_empty()).then(|| mean(&self.qualities))
    }

    /// The best of the first `budget` trials.
    pub fn best_of(&self, budget: usize) -> Option<f64> {
        self.best_so_far.get(budget.min(self.best_so_far.len()).checked_sub(1)?).copied()
    }

    /// The best of the first candidates that were asked for.
    fn best_of_asked(&self, asked: usize) -> Option<f64> {
        self.best_asked.get(asked.checked_sub(1)?).copied().filter(|best| best.is_finite())
    }

    /// The best of what was closed within so many seconds.
    fn best_within(&self, seconds: f64) -> Option<f64> {
        self.best_at.iter().rfind(|(at, _)| *at <= seconds).map(|(_, best)| *best).filter(|best| best.is_finite())
    }
}

/// In which keys the ground of two runs differs, as `key (one / other)`.
pub(crate) fn differing(a: &Entry, b: &Entry) -> Vec<String> {
    let keys: BTreeSet<&String> = a.ground.keys().chain(b.ground.keys()).collect();
    let of = |entry: &Entry, key: &str| entry.ground.get(key).map_or_else(|| "nothing".to_owned(), |value| shortened(value));
    let differ = keys.into_iter().filter(|key| a.ground.get(*key) != b.ground.get(*key));
    differ.map(|key| format!("{key} ({} / {})", of(a, key), of(b, key))).collect()
}

fn shortened(value: &str) -> String {
    if value.chars().count() > 40 { value.chars().take(12).chain("..".chars()).collect() } else { value.to_owned() }
}

/// An arm as a contest sees it.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

/// Mean and best quality of an arm over its runs.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    /// The mean quality of a run.
    pub mean: Option<Measured>,
    /// At the budget: of as many trials as every run that is compared has.
    pub best: Option<Measured>,
    /// Share of the candidates that are networks.
    pub valid: Option<Measured>,
}

impl Level {
    /// `valid` is the share of each run that asked for candidates.
    pub(crate) fn of(side: &Side, budget: usize, valid: &[f64]) -> Self {
        let per_run = |f: &dyn Fn(&Entry) -> Option<f64>| side.entries.iter().filter_map(f).collect::<Vec<f64>>();
        Self {
            mean: Measured::of(&per_run(&Entry::mean), 1),
            best: Measured::of(&per_run(&|e| e.best_of(budget)), 2),
            valid: Measured::of(valid, 3),
        }
    }
}

/// `arm` minus `against`.
#[derive(Clone, Debug, Serialize)]
pub struct Contest {
    /// Name of the arm.
    pub arm: String,
    /// Name of the arm that it is held against.
    pub against: String,
    /// Seeds that both have.
    pub seeds: Vec<u64>,
    /// What the intervals are of, seed by seed.
    pub(crate) pairs: Vec<Pair>,
    /// Difference of the mean qualities, by pair.
    pub mean: Option<Measured>,
    /// After as many trials (trained networks, distinct cells) as both runs of a seed have.
    pub best: Option<Measured>,
    /// After as many candidates asked for, and after as many seconds.
    pub(crate) best_asked: Option<Measured>,
    pub(crate) best_seconds: Option<Measured>,
    /// Seeds that both have whose runs are no pair, and in what they differ.
    pub(crate) refused: Vec<(u64, Vec<String>)>,
}

/// The differences of two runs that share a seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub(crate) seed: u64,
    pub(crate) mean: Option<f64>,
    /// At the budget that both have: of trials, of candidates asked for, of seconds.
    pub(crate) best: Option<f64>,
    pub(crate) best_asked: Option<f64>,
    pub(crate) best_seconds: Option<f64>,
}

impl Pair {
    fn of(a: &Entry, b: &Entry) -> Self {
        let budget = a.best_so_far.len().min(b.best_so_far.len());
        let asked = a.best_asked.len().min(b.best_asked.len());
        let end = |entry: &Entry| entry.best_at.last().map_or(0.0, |(at, _)| *at);
        let seconds = end(a).min(end(b));
        let difference = |of: &dyn Fn(&Entry) -> Option<f64>| Some(of(a)? - of(b)?);
        Self {
            seed: a.seed,
            mean: difference(&Entry::mean),
            best: difference(&|e| e.best_of(budget)),
            best_asked: difference(&|e| e.best_of_asked(asked)),
            best_seconds: difference(&|e| e.best_within(seconds)),
        }
    }
}

/// How a contest came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Significantly better in the mean or in the best, and in neither significantly worse.
    Beats,
    /// Significantly worse in the mean or in the best, and in neither significantly better.
    IsBeaten,
    /// No significant difference, or better in one and worse in the other.
    Open,
    /// One seed never beats anything.
    OneSeed,
    /// No two runs of one seed whose qualities are measured alike.
    NoPair,
}

impl Standing {
    /// Between the names of two arms.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Beats => "beats",
            Self::IsBeaten => "is beaten by",
            Self::Open => "is not told apart from",
            Self::OneSeed => "is, with one seed, not to be told apart from",
            Self::NoPair => "is not comparable with",
        }
    }
}

impl Contest {
    pub(crate) fn hold(arm: &Side, against: &Side) -> Self {
        let other = |seed: u64| against.entries.iter().find(|e| e.seed == seed);
        let both: Vec<(&Entry, &Entry)> = arm.entries.iter().filter_map(|e| Some((e, other(e.seed)?))).collect();
        let (same, other): (Vec<_>, Vec<_>) = both.into_iter().partition(|(a, b)| a.ground == b.ground);
        let pairs: Vec<Pair> = same.iter().map(|(a, b)| Pair::of(a, b)).collect();
        let over = |seed, of: &dyn Fn(&Pair) -> Option<f64>| Measured::of(&pairs.iter().filter_map(of).collect::<Vec<f64>>(), seed);
        Self {
            arm: arm.name.clone(),
            against: against.name.clone(),
            seeds: pairs.iter().map(|pair| pair.seed).collect(),
            mean: over(4, &|pair| pair.mean),
            best: over(5, &|pair| pair.best),
            best_asked: over(6, &|pair| pair.best_asked),
            best_seconds: over(7, &|pair| pair.best_seconds),
            refused: other.iter().map(|(a, b)| (a.seed, differing(a, b))).collect(),
            pairs,
        }
    }

    /// By the mean and by the best after as many trials, at 5% in all, by Holm's correction: the stronger of the two tests is held to
    /// 2.5%; only where it passes is the other held to 5%. Significantly better in one and worse in the other is neither.
    pub fn standing(&self) -> Standing {
        let both = || [&self.mean, &self.best].into_iter().flatten();
        match self.pairs.len() {
            0 => Standing::NoPair,
            1 => Standing::OneSeed,
            _ if !both().any(|m| m.strict) => Standing::Open,
            _ => match (both().any(Measured::is_above_zero), both().any(Measured::is_below_zero)) {
                (true, false) => Standing::Beats,
                (false, true) => Standing::IsBeaten,
                _ => Standing::Open,
            },
        }
    }

    /// Whether the arm beats the other, see [`Self::standing`].
    pub fn wins(&self) -> bool {
        self.standing() == Standing::Beats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contest(means: &[f64], bests: &[f64]) -> Contest {
        let entry = |(seed, (mean, best)): (usize, (f64, f64))| Entry {
            seed: seed as u64,
            qualities: vec![mean; 3],
            best_so_far: vec![best],
            ..Entry::default()
        };
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

    #[test]
    fn to_be_beaten_is_said_and_one_seed_says_nothing() {
        let sure = [1.99, 2.0, 2.01];
        assert_eq!(contest(&sure, &sure).standing(), Standing::Beats);
        assert_eq!(contest(&sure.map(|v| -v), &sure.map(|v| -v)).standing(), Standing::IsBeaten);
        assert_eq!(contest(&sure, &sure.map(|v| -v)).standing(), Standing::Open, "better in one, worse in the other");
        // The candidates of one pair were taken for independent samples once, and one seed won.
        let one = contest(&[2.0], &[2.0]);
        assert_eq!((one.standing(), one.mean.unwrap().interval), (Standing::OneSeed, None));
        assert_eq!(contest(&[], &[]).standing(), Standing::NoPair);
        let nothing = contest(&[-1.0, 0.0, 1.0], &[0.0; 3]);
        assert!((nothing.mean.unwrap().detectable.unwrap() - 12.8 / 2.76).abs() < 0.05, "{nothing:?}");
    }

    #[test]
    fn runs_on_other_ground_are_no_pair_and_budgets_are_three() {
        let ground = |data: &str| BTreeMap::from([("proxy.dataset".to_owned(), data.to_owned()), ("proxy.epochs".into(), "2".into())]);
        let entry = |seed, data: &str, trained: &[f64]| Entry {
            seed,
            qualities: trained.to_vec(),
            best_so_far: trained.to_vec(),
            best_asked: [f64::NEG_INFINITY].into_iter().chain(trained.iter().copied()).collect(),
            best_at: trained.iter().enumerate().map(|(i, best)| (10.0 * (i + 1) as f64, *best)).collect(),
            ground: ground(data),
        };
        let side = |entries: Vec<Entry>| Side { name: "x".into(), entries };
        let a = side(vec![entry(0, "cifar10", &[0.1, 0.2, 0.3]), entry(1, "cifar10", &[0.1])]);
        let b = side(vec![entry(0, "cifar10", &[0.1, 0.15]), entry(1, "shapes40", &[0.9])]);
        let held = Contest::hold(&a, &b);
        assert_eq!(held.seeds, [0]);
        assert_eq!(held.refused, [(1, vec!["proxy.dataset (cifar10 / shapes40)".to_owned()])]);
        let pair = held.pairs[0];
        // Two trained each; three asked for, of which the first failed; twenty seconds.
        assert!([pair.best, pair.best_asked, pair.best_seconds].iter().all(|d| (d.unwrap() - 0.05).abs() < 1e-12), "{pair:?}");
    }
}
