//! One arm against another: quality of the runs that share a seed.

use serde::Serialize;

use super::runs::{Arm, RunFacts};
use crate::theory::Estimate;
use crate::theory::statistics::{difference_of, few_interval, mean, mean_interval};

/// A measured quantity; with one run there may be no interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
}

impl Measured {
    fn of(values: &[f64], seed: u64) -> Option<Self> {
        let value = (!values.is_empty()).then(|| mean(values))?;
        Some(Self { value, interval: few_interval(values, seed).map(|e| (e.low, e.high)) })
    }

    fn estimate(e: Estimate) -> Self {
        Self { value: e.value, interval: Some((e.low, e.high)) }
    }

    pub fn is_above_zero(&self) -> bool {
        self.interval.is_some_and(|(low, _)| low > 0.0)
    }

    pub fn is_below_zero(&self) -> bool {
        self.interval.is_some_and(|(_, high)| high < 0.0)
    }
}

/// Mean and best quality of an arm over its runs. With one run the interval of the mean is over its candidates.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    pub mean: Option<Measured>,
    /// At the budget: of as many trained candidates as every run that is compared has.
    pub best: Option<Measured>,
    /// Share of the candidates that are networks.
    pub valid: Option<Measured>,
}

pub fn level(arm: &Arm, budget: usize) -> Level {
    let per_run = |f: &dyn Fn(&RunFacts) -> Option<f64>| arm.runs.iter().filter_map(f).collect::<Vec<f64>>();
    let mean = match arm.runs.as_slice() {
        [only] => alone(only),
        _ => Measured::of(&per_run(&RunFacts::mean), 1),
    };
    let valid = |r: &RunFacts| (r.funnel.asked > 0).then(|| r.funnel.traced as f64 / r.funnel.asked as f64);
    Level { mean, best: Measured::of(&per_run(&|r| r.best_of(budget)), 2), valid: Measured::of(&per_run(&valid), 3) }
}

fn alone(run: &RunFacts) -> Option<Measured> {
    let values: Vec<f64> = run.qualities.iter().map(|(_, q)| *q).collect();
    let value = run.mean()?;
    Some(Measured { value, interval: mean_interval(&values, 1).map(|e| (e.low, e.high)) })
}

/// `arm` minus `against`.
#[derive(Clone, Debug, Serialize)]
pub struct Contest {
    pub arm: String,
    pub against: String,
    /// Seeds that both have.
    pub seeds: Vec<u64>,
    pub mean: Option<Measured>,
    /// At the budget that both runs of a seed have.
    pub best: Option<Measured>,
}

impl Contest {
    pub fn hold(arm: &Arm, against: &Arm) -> Self {
        let pairs: Vec<(&RunFacts, &RunFacts)> = arm.runs.iter().filter_map(|r| Some((r, against.run(r.seed)?))).collect();
        let over = |f: &dyn Fn(&RunFacts, &RunFacts) -> Option<f64>| pairs.iter().filter_map(|(a, b)| f(a, b)).collect::<Vec<f64>>();
        let mean = match pairs.as_slice() {
            [(a, b)] => one_pair(a, b),
            _ => Measured::of(&over(&|a, b| Some(a.mean()? - b.mean()?)), 4),
        };
        let best = over(&|a, b| {
            let budget = a.qualities.len().min(b.qualities.len());
            Some(a.best_of(budget)? - b.best_of(budget)?)
        });
        let seeds = pairs.iter().map(|(a, _)| a.seed).collect();
        Self { arm: arm.name.clone(), against: against.name.clone(), seeds, mean, best: Measured::of(&best, 5) }
    }

    /// Significantly better in mean or best, and significantly worse in neither.
    pub fn wins(&self) -> bool {
        let both = [&self.mean, &self.best];
        let any = |f: fn(&Measured) -> bool| both.iter().any(|m| m.as_ref().is_some_and(f));
        any(Measured::is_above_zero) && !any(Measured::is_below_zero)
    }
}

/// The candidates of two runs are independent samples.
fn one_pair(a: &RunFacts, b: &RunFacts) -> Option<Measured> {
    let interval = |run: &RunFacts| mean_interval(&run.qualities.iter().map(|(_, q)| *q).collect::<Vec<_>>(), run.seed);
    match (interval(a), interval(b)) {
        (Some(a), Some(b)) => Some(Measured::estimate(difference_of(a, b))),
        _ => Some(Measured { value: a.mean()? - b.mean()?, interval: None }),
    }
}
