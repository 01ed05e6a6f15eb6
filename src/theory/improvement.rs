//! Claim 2: expected quality does not decrease.
//!
//! The exact unrestricted update with gamma fixed gives E'\[S\] = (1-alpha) E\[S\] + alpha E\[S | S >= gamma\] >= E\[S\]. Measured
//! are the means over the raw samples of each cycle that have a quality. A transition counts as a decrease where the
//! mean fell, as a significant one where a one-sided bootstrap test says so after Holm's correction. The change from the
//! first cycle to the last is tested along with the transitions.

use super::statistics::{decrease_p_value, holm, mean, mean_interval};
use super::{Claim, Estimate, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

const LEVEL: f64 = 0.05;

/// With fewer qualities the mean of a cycle says nothing.
const FEWEST: usize = 5;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct CycleQualities {
    pub cycle: u64,
    /// Of all candidates of the cycle that were trained, not of the elites.
    pub qualities: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The later cycle.
    pub cycle: u64,
    pub difference: f64,
    /// Of "the mean did not fall", before and after Holm's correction.
    pub p_value: f64,
    pub adjusted: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub sentence: String,
    pub means: Vec<(u64, Estimate)>,
    pub transitions: Vec<Transition>,
}

/// `tuned` says whether the policy was updated at all: without an update the claim has nothing to speak of.
pub fn judge(tuned: bool, cycles: &[CycleQualities]) -> Outcome {
    let means: Vec<(u64, Estimate)> = cycles
        .iter()
        .filter(|c| !c.qualities.is_empty())
        .map(|c| {
            let value = mean(&c.qualities);
            let unknown = Estimate { value, low: f64::NAN, high: f64::NAN };
            (c.cycle, mean_interval(&c.qualities, c.cycle).unwrap_or(unknown))
        })
        .collect();
    let pairs = || cycles.windows(2).filter(|pair| pair.iter().all(|c| !c.qualities.is_empty()));
    let mut p_values: Vec<f64> = pairs().map(|pair| decrease_p_value(&pair[0].qualities, &pair[1].qualities, pair[1].cycle)).collect();
    // Many small steps down, none of them significant by itself, are a decrease too.
    if let [first, _, .., last] = cycles
        && !first.qualities.is_empty()
        && !last.qualities.is_empty()
    {
        p_values.push(decrease_p_value(&first.qualities, &last.qualities, u64::MAX));
    }
    let adjusted = holm(&p_values);
    let transitions: Vec<Transition> = pairs()
        .zip(p_values.iter().zip(&adjusted))
        .map(|(pair, (&p_value, &adjusted))| Transition {
            cycle: pair[1].cycle,
            difference: mean(&pair[1].qualities) - mean(&pair[0].qualities),
            p_value,
            adjusted,
        })
        .collect();

    let fell = transitions.iter().filter(|t| t.difference < 0.0).count();
    let significant: Vec<u64> = transitions.iter().filter(|t| t.adjusted < LEVEL).map(|t| t.cycle).collect();
    let all = transitions.len();
    let slide = adjusted.get(all).is_some_and(|&adjusted| adjusted < LEVEL);
    let course = match (means.first(), means.last()) {
        (Some((_, first)), Some((_, last))) => format!("the mean went from {:.4} to {:.4}", first.value, last.value),
        _ => String::new(),
    };
    let (verdict, sentence) = if !tuned {
        (Verdict::AssumptionNotMet, "The policy was never updated, so there is no update that could keep its promise.".into())
    } else if cycles.len() < 2 || cycles.iter().any(|c| c.qualities.len() < FEWEST) {
        let why = format!("Too few records: the test needs two cycles of {FEWEST} trained candidates each.");
        (Verdict::AssumptionNotMet, why)
    } else if !significant.is_empty() {
        let places: Vec<String> = significant.iter().map(u64::to_string).collect();
        let places = places.join(", ");
        (Verdict::Fails, format!("The mean fell in {fell} of {all} transitions, significantly (Holm, 5%) into cycle {places}; {course}."))
    } else if slide {
        (
            Verdict::Fails,
            format!(
                "No single one of {all} transitions is a significant decrease, but from the first cycle to the last {course}, which is significant."
            ),
        )
    } else {
        (Verdict::Holds, format!("The mean fell in {fell} of {all} transitions, in none of them significantly (Holm, 5%); {course}."))
    };
    Outcome { verdict, sentence, means, transitions }
}

impl Outcome {
    pub fn panel(&self) -> Panel {
        let points = self.means.iter().map(|(cycle, mean)| Point {
            x: *cycle as f64,
            y: mean.value,
            interval: mean.low.is_finite().then_some((mean.low, mean.high)),
        });
        let points: Vec<Point> = points.collect();
        let mut numbers: Vec<(String, Cell)> =
            self.means.iter().map(|&(cycle, mean)| (format!("mean, cycle {cycle}"), mean.into())).collect();
        numbers.extend(self.transitions.iter().flat_map(|t| {
            let name = |what: &str| format!("change into cycle {}{what}", t.cycle);
            [
                (name(""), Cell::number(t.difference, Show::Signed(4))),
                (name(": p-value of a decrease"), Cell::number(t.p_value, Show::Fixed(4))),
                (name(": the same after Holm"), Cell::number(t.adjusted, Show::Fixed(4))),
            ]
        }));
        Panel {
            claim: Claim::Improvement,
            title: Claim::Improvement.title().into(),
            verdict: self.verdict,
            sentence: self.sentence.clone(),
            numbers,
            plot: (!points.is_empty()).then(|| Plot {
                x_label: "cycle".into(),
                y_label: "mean quality".into(),
                series: vec![Series { name: "mean with 95% interval".into(), mark: Mark::Points, points }],
            }),
        }
    }
}
