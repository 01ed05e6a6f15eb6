//! Claim 3: the probability of an elite converges to 1 geometrically.
//!
//! With gamma* fixed before the first sample, `C_t` = P(S >= gamma*) over the N samples of a cycle, invalid ones included. The exact
//! update with population elites above a fixed threshold gives 1 - `C_t` = (1-alpha)^t (1 - `C_0`). That law is held against others
//! ([`super::growth`]) by likelihood. It **holds** where it is the best by an evidence of twenty to one against each, fits, rises, and has
//! at least halved 1 - C, which is what converging to 1 begins with; it **fails** where C falls significantly, another law is better by
//! as much, or the counts refuse it at 1%. Samples of one parent are alike, so counts are worth less by their overdispersion.

use std::fmt::Write as _;

use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::growth::{self, Count, Fitted, Law, overdispersion};
use super::statistics::{LEVEL95, Uncertain, wilson_of};
use super::{Assumption, Claim, Effect, Estimate, Finding, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// With fewer cycles a law of two parameters fits anything.
const FEWEST: usize = 4;
/// A difference of AIC: 2 ln 20. Under another law the counts favour this one by twenty to one in at most one case of twenty.
const EVIDENCE: f64 = 5.991;
/// Level of the test of fit.
const REFUSED: f64 = 0.01;

/// log(1 - C) = `intercept` + `slope` t
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// log(1 - C) at cycle 0.
    pub intercept: f64,
    pub(crate) slope: Uncertain,
}

impl Fit {
    /// 1 - exp(slope): the share of the rest that each cycle wins, which is alpha for the exact update.
    pub fn rate(&self) -> Estimate {
        let rate = |slope: f64| 1.0 - slope.exp();
        let slope = self.slope.interval();
        Estimate { value: rate(slope.value), low: rate(slope.high), high: rate(slope.low) }
    }
}

/// What the counts of a run say of claim 3.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its effect is the share of 1 - C that a cycle wins.
    pub finding: Finding,
    /// The finding in words, with the numbers behind it.
    pub sentence: String,
    /// (cycle, `C_t` with Wilson's interval, widened by the overdispersion)
    pub(crate) probabilities: Vec<(u64, Estimate)>,
    /// The geometric law as it fits best; None where the counts do not determine it.
    pub fit: Option<Fit>,
    /// The laws with what AIC they have above the best.
    pub(crate) laws: Vec<(Fitted, f64)>,
    pub(crate) overdispersion: f64,
    /// C of the first cycle.
    pub(crate) rho_0: f64,
}

/// Maximum likelihood of the geometric law by Fisher scoring, which weights each cycle by what its N samples can tell and takes cycles
/// with `C_t` = 0 or 1 as they are; None where the counts do not determine it.
pub fn fit(counts: &[Count]) -> Option<Fit> {
    let most = counts.iter().map(|c| c.cycle).max()? as f64;
    let log_rest = |a: f64, b: f64, t: f64| (a + b * t).min(-1e-9);
    let feasible = |a: f64, b: f64| a <= -1e-9 && a + b * most <= -1e-9;
    let likelihood = |a: f64, b: f64| -> f64 {
        let of = |c: &Count| {
            let log = log_rest(a, b, c.cycle as f64);
            (c.asked - c.reached) * log + if c.reached > 0.0 { c.reached * (-log.exp_m1()).ln() } else { 0.0 }
        };
        counts.iter().map(of).sum()
    };
    let asked: f64 = counts.iter().map(|c| c.asked).sum();
    let reached: f64 = counts.iter().map(|c| c.reached).sum();
    if counts.len() < 3 || reached <= 0.0 || reached >= asked {
        return None;
    }
    let (mut a, mut b) = ((1.0 - reached / asked).ln(), 0.0);
    let mut information = [0.0; 3];
    for _ in 0..200 {
        let mut score = [0.0; 2];
        information = [0.0; 3];
        for c in counts {
            let t = c.cycle as f64;
            let rest = log_rest(a, b, t).exp();
            let residual = ((c.asked - c.reached) - c.asked * rest) / (1.0 - rest);
            let weight = c.asked * rest / (1.0 - rest);
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
    let slope = Uncertain { value: b, error, freedom: f64::INFINITY };
    (a.is_finite() && error.is_finite()).then_some(Fit { intercept: a, slope })
}

/// The paper's bound. It is also the chance of at least one elite in t independent draws at rate `rho_0`.
pub fn bound(rho_0: f64, cycle: u64) -> f64 {
    1.0 - (1.0 - rho_0).powf(cycle as f64)
}

/// `broken` are assumptions that the records do not meet.
pub fn judge(broken: &[Assumption], counts: &[Count]) -> Outcome {
    let counts: Vec<Count> = counts.iter().filter(|c| c.asked > 0.0).cloned().collect();
    let overdispersion = overdispersion(&counts);
    // What the samples are worth where those of a parent are alike.
    let worth: Vec<Count> =
        counts.iter().map(|c| Count { asked: c.asked / overdispersion, reached: c.reached / overdispersion, ..c.clone() }).collect();
    let probabilities: Vec<(u64, Estimate)> = worth.iter().map(|c| (c.cycle, wilson_of(c.reached, c.asked))).collect();
    let fit = fit(&worth);
    let mut laws: Vec<(Fitted, f64)> =
        Law::ALL.into_iter().filter_map(|law| growth::fit(law, &worth)).map(|fitted| (fitted, -2.0 * fitted.log_likelihood)).collect();
    let least = laws.iter().map(|(_, aic)| *aic).fold(f64::INFINITY, f64::min);
    for (_, aic) in &mut laws {
        *aic -= least;
    }
    let rho_0 = probabilities.first().map_or(0.0, |(_, first)| first.value);

    let effect = fit.map(|fit| Effect {
        name: "share of 1-C won a cycle".into(),
        estimate: fit.rate(),
        detectable: fit.slope.detectable().map(|slope| 1.0 - (-slope).exp()),
        show: Show::Fixed(3),
    });
    let geometric = laws.iter().find(|(fitted, _)| fitted.law == Law::Geometric).map(|(fitted, above)| (*fitted, *above));
    // How much better than the best of the others it is; negative where it is worse.
    let lead = geometric.map_or(0.0, |(_, above)| {
        let others = laws.iter().filter(|(fitted, _)| fitted.law != Law::Geometric).map(|(_, aic)| *aic);
        others.fold(f64::INFINITY, f64::min) - above
    });
    let refused = geometric.is_some_and(|(fitted, _)| {
        let freedom = worth.len() as f64 - 2.0;
        freedom >= 1.0 && ChiSquared::new(freedom).is_ok_and(|chi| fitted.deviance(&worth) > chi.inverse_cdf(1.0 - REFUSED))
    });
    let (rises, falls) = fit.map_or((false, false), |fit| {
        let slope = fit.slope.interval_at(LEVEL95);
        (slope.high < 0.0, slope.low > 0.0)
    });
    let span = counts.last().map_or(0.0, |c| c.cycle as f64) - counts.first().map_or(0.0, |c| c.cycle as f64);
    let halved = fit.is_some_and(|fit| (fit.slope.value * span).exp() <= 0.5);
    let verdict = if falls || refused || lead <= -EVIDENCE {
        Verdict::Fails
    } else if rises && halved && lead >= EVIDENCE {
        Verdict::Holds
    } else {
        Verdict::Undecided
    };
    let there = [(counts.len() >= FEWEST, Assumption::Cycles), (fit.is_some(), Assumption::SomeReach)];
    let finding = Finding::of(verdict, effect).unless(&there).supposing(broken);
    let mut sentence = course(&counts);
    if let Some(fit) = fit {
        let rate = fit.rate();
        let _ = write!(sentence, " A cycle wins {:.3} [{:.3}, {:.3}] of the rest 1-C", rate.value, rate.low, rate.high);
        let why = match (falls, refused, rises, halved) {
            (true, ..) => "C falls",
            (_, true, ..) => "the counts refuse the geometric law",
            (_, _, false, _) => "which is no significant rise",
            (_, _, _, false) => "and 1-C has not halved, so that nothing converged yet",
            _ => "",
        };
        let _ = if why.is_empty() { write!(sentence, ".") } else { write!(sentence, "; {why}.") };
        sentence += &of_laws(&laws, lead);
    } else {
        sentence += " Every sample or no sample reached gamma*, so there is no rate.";
    }
    if rho_0 > 0.0 {
        let start = counts.first().map_or(0, |c| c.cycle);
        let below = |(cycle, c): &&(u64, Estimate)| c.high < bound(rho_0, cycle - start);
        let below = probabilities.iter().skip(1).filter(below).count();
        let _ = write!(
            sentence,
            " The paper's bound 1-(1-{rho_0:.3})^t is {}; independent draws, tuned or not, meet it as well.",
            if below == 0 { "met".to_owned() } else { format!("missed in {below} cycles") }
        );
    }
    Outcome { finding, sentence, probabilities, fit, laws, overdispersion, rho_0 }
}

fn course(counts: &[Count]) -> String {
    match (counts.first(), counts.last()) {
        (Some(first), Some(last)) if counts.len() > 1 => {
            format!("C went from {:.3} in cycle {} to {:.3} in cycle {}.", first.share(), first.cycle, last.share(), last.cycle)
        }
        _ => format!("{} cycle is no course.", counts.len()),
    }
}

fn of_laws(laws: &[(Fitted, f64)], lead: f64) -> String {
    let Some((best, _)) = laws.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return String::new() };
    let others = laws.iter().filter(|(fitted, _)| fitted.law != best.law);
    let others: Vec<String> = others.map(|(fitted, above)| format!("{} +{above:.1}", fitted.law.name())).collect();
    let weight = if lead.abs() < EVIDENCE { ", which decides nothing" } else { "" };
    format!(" Best law of growth: {} (AIC of the others: {}){weight}.", best.law.name(), others.join(", "))
}

impl Outcome {
    /// The finding with its numbers and its plot, ready to be shown.
    pub fn panel(&self) -> Panel {
        let measured: Vec<Point> =
            self.probabilities.iter().map(|&(cycle, c)| Point { x: cycle as f64, y: c.value, interval: Some((c.low, c.high)) }).collect();
        let along = |value: &dyn Fn(u64) -> f64| -> Vec<Point> {
            self.probabilities.iter().map(|&(cycle, _)| Point { x: cycle as f64, y: value(cycle), interval: None }).collect()
        };
        let mut numbers: Vec<(String, Cell)> =
            self.probabilities.iter().map(|&(cycle, c)| (format!("C, cycle {cycle}"), c.into())).collect();
        let mut series = vec![Series { name: "C with Wilson's 95% interval".into(), mark: Mark::Points, points: measured }];
        if let Some(fit) = self.fit {
            numbers.push(("share of 1-C won a cycle".into(), fit.rate().into()));
            numbers.push(("slope of log(1-C)".into(), fit.slope.interval().into()));
        }
        numbers.push(("overdispersion by parent".into(), Cell::number(self.overdispersion, Show::Fixed(2))));
        for (fitted, above) in &self.laws {
            numbers.push((format!("AIC above the best: {}", fitted.law.name()), Cell::number(*above, Show::Fixed(2))));
            if fitted.law != Law::Linear {
                let points = along(&|cycle| fitted.probability(cycle));
                series.push(Series { name: fitted.law.name().into(), mark: Mark::Line, points });
            }
        }
        Panel {
            claim: Claim::Convergence,
            title: Claim::Convergence.title().into(),
            finding: self.finding.clone(),
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
