//! Claim 3: the probability of an elite converges to 1 geometrically.
//!
//! With gamma* fixed before cycle 0 ends, `C_t` = P(S >= gamma*) over the N samples of a cycle, invalid ones included. The
//! exact update gives 1 - `C_t` = (1-alpha)^t (1 - `C_0`), a straight line of log(1 - `C_t`) on t. It is fitted by maximum
//! likelihood (binomial counts, log link), which weights each cycle by what its N samples can tell and takes cycles with
//! `C_t` = 0 or 1 as they are.

use statrs::distribution::ContinuousCDF;

use super::statistics::{Z95, standard_normal, wilson, wilson_at};
use super::{Claim, Estimate, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// With fewer cycles a line fits anything.
const FEWEST: usize = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub cycle: u64,
    /// N, invalid samples included.
    pub asked: u64,
    /// Samples with S >= gamma*.
    pub reached: u64,
}

/// log(1 - C) = `intercept` + `slope` t
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    pub intercept: f64,
    pub slope: Estimate,
    /// Of the observed log(1 - C) against the line, over the cycles where it is finite, weighted by their information.
    pub r_squared: f64,
}

impl Fit {
    /// 1 - exp(slope): the share of the rest that each cycle wins, which is alpha for the exact update.
    pub fn rate(&self) -> Estimate {
        let rate = |slope: f64| 1.0 - slope.exp();
        Estimate { value: rate(self.slope.value), low: rate(self.slope.high), high: rate(self.slope.low) }
    }

    pub fn probability(&self, cycle: u64) -> f64 {
        1.0 - (self.intercept + self.slope.value * cycle as f64).exp().min(1.0)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub sentence: String,
    /// (cycle, `C_t` with Wilson's interval)
    pub probabilities: Vec<(u64, Estimate)>,
    pub fit: Option<Fit>,
    /// The first cycle whose interval (level corrected for the number of cycles) does not hold the fitted value.
    pub breaks: Option<u64>,
    /// Cycles after the first that are significantly below 1 - (1 - `rho_0`)^t.
    pub below_bound: Vec<u64>,
    pub rho_0: f64,
}

/// Maximum likelihood by Fisher scoring; None where the counts do not determine a line.
pub fn fit(counts: &[Count]) -> Option<Fit> {
    let most = counts.iter().map(|c| c.cycle).max()? as f64;
    let log_rest = |a: f64, b: f64, t: f64| (a + b * t).min(-1e-9);
    let feasible = |a: f64, b: f64| a <= -1e-9 && a + b * most <= -1e-9;
    let likelihood = |a: f64, b: f64| -> f64 {
        let of = |c: &Count| {
            let log = log_rest(a, b, c.cycle as f64);
            (c.asked - c.reached) as f64 * log + if c.reached > 0 { c.reached as f64 * (-log.exp_m1()).ln() } else { 0.0 }
        };
        counts.iter().map(of).sum()
    };
    let asked: u64 = counts.iter().map(|c| c.asked).sum();
    let reached: u64 = counts.iter().map(|c| c.reached).sum();
    if counts.len() < 3 || reached == 0 || reached == asked {
        return None;
    }
    let (mut a, mut b) = ((1.0 - reached as f64 / asked as f64).ln(), 0.0);
    let mut information = [0.0; 3];
    for _ in 0..200 {
        let mut score = [0.0; 2];
        information = [0.0; 3];
        for c in counts {
            let t = c.cycle as f64;
            let rest = log_rest(a, b, t).exp();
            let n = c.asked as f64;
            let residual = ((c.asked - c.reached) as f64 - n * rest) / (1.0 - rest);
            let weight = n * rest / (1.0 - rest);
            score[0] += residual;
            score[1] += residual * t;
            information[0] += weight;
            information[1] += weight * t;
            information[2] += weight * t * t;
        }
        let [i, j, k] = information;
        let determinant = i * k - j * j;
        if determinant.is_nan() || determinant <= 1e-12 * i * k {
            return None;
        }
        let step = [(k * score[0] - j * score[1]) / determinant, (i * score[1] - j * score[0]) / determinant];
        let now = likelihood(a, b);
        let mut length = 1.0;
        while length > 1e-10 {
            let (next_a, next_b) = (a + length * step[0], b + length * step[1]);
            if feasible(next_a, next_b) && likelihood(next_a, next_b) >= now {
                (a, b) = (next_a, next_b);
                break;
            }
            length /= 2.0;
        }
        if length <= 1e-10 || (length * step[0]).abs() + (length * step[1]).abs() < 1e-10 {
            break;
        }
    }
    let [i, j, k] = information;
    let error = (i / (i * k - j * j)).sqrt();
    let slope = Estimate { value: b, low: b - Z95 * error, high: b + Z95 * error };
    (a.is_finite() && error.is_finite()).then(|| Fit { intercept: a, slope, r_squared: r_squared(counts, a, b) })
}

fn r_squared(counts: &[Count], a: f64, b: f64) -> f64 {
    let seen: Vec<(f64, f64, f64)> = counts
        .iter()
        .filter(|c| c.reached > 0 && c.reached < c.asked)
        .map(|c| {
            let rest = 1.0 - c.reached as f64 / c.asked as f64;
            (c.cycle as f64, rest.ln(), c.asked as f64 * rest / (1.0 - rest))
        })
        .collect();
    let weight: f64 = seen.iter().map(|&(_, _, w)| w).sum();
    let center = seen.iter().map(|&(_, y, w)| w * y).sum::<f64>() / weight;
    let total: f64 = seen.iter().map(|&(_, y, w)| w * (y - center).powi(2)).sum();
    let left: f64 = seen.iter().map(|&(t, y, w)| w * (y - a - b * t).powi(2)).sum();
    1.0 - left / total
}

/// The paper's bound. It is also the chance of at least one elite in t draws at rate `rho_0`: weak evidence.
pub fn bound(rho_0: f64, cycle: u64) -> f64 {
    1.0 - (1.0 - rho_0).powf(cycle as f64)
}

pub fn judge(counts: &[Count]) -> Outcome {
    let counts: Vec<Count> = counts.iter().copied().filter(|c| c.asked > 0).collect();
    let probabilities: Vec<(u64, Estimate)> = counts.iter().map(|c| (c.cycle, wilson(c.reached, c.asked))).collect();
    let fit = fit(&counts);
    let z = standard_normal().inverse_cdf(1.0 - 0.025 / counts.len().max(1) as f64);
    let breaks = fit.and_then(|fit| {
        let broken = |c: &&Count| !wilson_at(c.reached, c.asked, z).contains(fit.probability(c.cycle));
        counts.iter().find(broken).map(|c| c.cycle)
    });
    let rho_0 = probabilities.first().map_or(0.0, |(_, first)| first.value);
    let start = counts.first().map_or(0, |c| c.cycle);
    let below = |c: &&Count| wilson_at(c.reached, c.asked, z).high < bound(rho_0, c.cycle - start);
    let below_bound: Vec<u64> = counts.iter().skip(1).filter(below).map(|c| c.cycle).collect();

    let caveat = format!(
        "Paper's bound 1-(1-{rho_0:.3})^t is {}; that bound is also the chance of one elite in t draws, so meeting it is weak evidence.",
        if below_bound.is_empty() {
            "met in every cycle".to_owned()
        } else {
            format!("missed significantly in {} cycles", below_bound.len())
        }
    );
    let (verdict, sentence) = match fit {
        _ if counts.len() < FEWEST => (
            Verdict::AssumptionNotMet,
            format!("{} cycles are too few to tell a line from anything else ({FEWEST} at least).", counts.len()),
        ),
        None => {
            let why = "Every sample or no sample reached gamma*, so no rate can be fitted.";
            (Verdict::AssumptionNotMet, why.to_owned())
        }
        Some(fit) => {
            let rate = fit.rate();
            let rate = format!("{:.3} [{:.3}, {:.3}] a cycle, R2 {:.2}", rate.value, rate.low, rate.high, fit.r_squared);
            match breaks {
                _ if fit.slope.high >= 0.0 => {
                    (Verdict::Fails, format!("The elite probability does not rise significantly (rate {rate}). {caveat}"))
                }
                Some(cycle) => (
                    Verdict::Fails,
                    format!(
                        "The elite probability rises (rate {rate}), but not geometrically: the fit breaks first in cycle {cycle}. {caveat}"
                    ),
                ),
                None => {
                    (Verdict::Holds, format!("The rest 1-C shrinks geometrically at {rate}, within the interval of every cycle. {caveat}"))
                }
            }
        }
    };
    Outcome { verdict, sentence, probabilities, fit, breaks, below_bound, rho_0 }
}

impl Outcome {
    pub fn panel(&self) -> Panel {
        let measured: Vec<Point> =
            self.probabilities.iter().map(|&(cycle, c)| Point { x: cycle as f64, y: c.value, interval: Some((c.low, c.high)) }).collect();
        let start = self.probabilities.first().map_or(0, |&(cycle, _)| cycle);
        let along = |value: &dyn Fn(u64) -> f64| -> Vec<Point> {
            self.probabilities.iter().map(|&(cycle, _)| Point { x: cycle as f64, y: value(cycle), interval: None }).collect()
        };
        let mut numbers: Vec<(String, Cell)> =
            self.probabilities.iter().map(|&(cycle, c)| (format!("C, cycle {cycle}"), c.into())).collect();
        let mut series = vec![Series { name: "C with Wilson's 95% interval".into(), mark: Mark::Points, points: measured }];
        if let Some(fit) = self.fit {
            numbers.push(("rate a cycle".into(), fit.rate().into()));
            numbers.push(("slope of log(1-C)".into(), fit.slope.into()));
            numbers.push(("R2".into(), Cell::number(fit.r_squared, Show::Fixed(3))));
            series.push(Series { name: "geometric fit".into(), mark: Mark::Line, points: along(&|cycle| fit.probability(cycle)) });
        }
        numbers.push(("first cycle where the fit breaks".into(), self.breaks.map_or("none".into(), Cell::from)));
        series.push(Series { name: "paper's bound".into(), mark: Mark::Line, points: along(&|cycle| bound(self.rho_0, cycle - start)) });
        Panel {
            claim: Claim::Convergence,
            title: Claim::Convergence.title().into(),
            verdict: self.verdict,
            sentence: self.sentence.clone(),
            numbers,
            plot: (!self.probabilities.is_empty()).then(|| Plot {
                x_label: "cycle".into(),
                y_label: "C = P(S \u{2265} \u{3b3}*)".into(),
                series,
            }),
        }
    }
}
