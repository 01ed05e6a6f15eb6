//! Claim 4: deltas beat full code under a first-order Markov model of token errors.
//!
//! Each token of a completion is valid (V) or an error (E); p = P(V to E), q = P(E to V), `pi_0` = P(first is V). Then
//!
//! - strict (an error is final): P(valid) = `pi_0` (1-p)^(L-1)
//! - recoverable: P(`s_L` = V) = s + (`pi_0` - s)(1-p-q)^(L-1), s = q/(p+q)
//! - i.i.d.: (1-eps)^L, eps = p/(p+q)
//!
//! Orders are compared by likelihood ratio: G^2 of first order against none has one degree of freedom, of second order
//! against first two. With kappa the share of deltas that apply, deltas win iff kappa `lambda_d`^`L_d` > `lambda_f`^`L_f`,
//! lambda = 1-p; so that what kappa counts is not counted again, the chain of deltas is that of deltas that apply.

use std::fmt::Write as _;

use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::statistics::{Z95, wilson};
use super::{Claim, Estimate, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// Below this p-value a second order is taken to be needed.
const LEVEL: f64 = 0.01;

/// The chain of maximum likelihood, its rates with Wilson's intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chain {
    pub p: Estimate,
    pub q: Estimate,
    pub start: Estimate,
    /// Transitions that left V: what the interval of p rests on.
    pub from_valid: u64,
    /// p-value of "tokens are independent" against first order, and of "first order" against second.
    pub independent: f64,
    pub first_order: f64,
}

/// `labels[i][t]`: whether token t of completion i is valid. None where no transition leaves V.
pub fn chain(labels: &[Vec<bool>]) -> Option<Chain> {
    let place = |valid: bool| usize::from(!valid);
    let mut pairs = [[0u64; 2]; 2];
    // [from][before][to]: for each middle state a table of the same shape as `pairs`.
    let mut triples = [[[0u64; 2]; 2]; 2];
    for completion in labels {
        for pair in completion.windows(2) {
            pairs[place(pair[0])][place(pair[1])] += 1;
        }
        for triple in completion.windows(3) {
            triples[place(triple[1])][place(triple[0])][place(triple[2])] += 1;
        }
    }
    let [[vv, ve], [ev, ee]] = pairs;
    if vv + ve == 0 {
        return None;
    }
    let first = labels.iter().filter_map(|completion| completion.first());
    let (sequences, valid) = first.fold((0, 0), |(all, valid), &first| (all + 1, valid + u64::from(first)));
    Some(Chain {
        p: wilson(ve, vv + ve),
        q: wilson(ev, ev + ee),
        start: wilson(valid, sequences),
        from_valid: vv + ve,
        independent: independence(&[pairs]),
        first_order: independence(&triples),
    })
}

/// p-value of G^2 = 2 sum `n_ij` ln(`n_ij` n / (`n_i` `n_j`)) over tables whose rows should not matter, one degree of freedom
/// each; a table with an empty row or column has none and says nothing.
fn independence(tables: &[[[u64; 2]; 2]]) -> f64 {
    let (mut g, mut freedom) = (0.0, 0);
    for table in tables {
        let rows = table.map(|row| row[0] + row[1]);
        let columns = [table[0][0] + table[1][0], table[0][1] + table[1][1]];
        if rows.contains(&0) || columns.contains(&0) {
            continue;
        }
        freedom += 1;
        let all = (rows[0] + rows[1]) as f64;
        for (i, row) in table.iter().enumerate() {
            for (j, &count) in row.iter().enumerate().filter(|&(_, &count)| count > 0) {
                g += 2.0 * count as f64 * (count as f64 * all / (rows[i] as f64 * columns[j] as f64)).ln();
            }
        }
    }
    ChiSquared::new(f64::from(freedom)).map_or(1.0, |chi| chi.sf(g.max(0.0)))
}

impl Chain {
    /// Where an error is final.
    pub fn strict(&self, length: f64) -> f64 {
        self.start.value * (1.0 - self.p.value).powf(length - 1.0)
    }

    /// Where the text may recover: the chance that token `length` is valid.
    pub fn recoverable(&self, length: f64) -> f64 {
        let (p, q) = (self.p.value, if self.q.value.is_nan() { 0.0 } else { self.q.value });
        if p + q == 0.0 {
            return self.start.value;
        }
        let stationary = q / (p + q);
        stationary + (self.start.value - stationary) * (1.0 - p - q).powf(length - 1.0)
    }

    /// Where tokens fail independently at the chain's stationary rate.
    pub fn independent(&self, length: f64) -> f64 {
        let (p, q) = (self.p.value, if self.q.value.is_nan() { 0.0 } else { self.q.value });
        if p + q == 0.0 { 1.0 } else { (1.0 - p / (p + q)).powf(length) }
    }
}

/// Completions of one format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arm {
    /// Of the deltas that apply; of all full sources.
    pub labels: Vec<Vec<bool>>,
    pub tried: u64,
    /// Completions that could be applied to their parent; for full code all of them.
    pub applied: u64,
    /// Completions that gave a valid network.
    pub valid: u64,
    /// Mean tokens of prompt and of completion.
    pub prompt_tokens: f64,
    pub tokens: f64,
}

impl Arm {
    /// This arm with more completions.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        let (a, b) = (self.tried as f64, other.tried as f64);
        let mix = |x: f64, y: f64| if a + b > 0.0 { (a * x + b * y) / (a + b) } else { 0.0 };
        self.prompt_tokens = mix(self.prompt_tokens, other.prompt_tokens);
        self.tokens = mix(self.tokens, other.tokens);
        self.labels.extend(other.labels);
        self.tried += other.tried;
        self.applied += other.applied;
        self.valid += other.valid;
        self
    }

    /// Tokens read and written for each valid network.
    pub fn cost(&self) -> f64 {
        (self.prompt_tokens + self.tokens) * self.tried as f64 / self.valid as f64
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub sentence: String,
    pub deltas: Option<Chain>,
    pub full: Option<Chain>,
    /// Valid rate of deltas over valid rate of full code.
    pub predicted: Option<Estimate>,
    pub observed: Option<Estimate>,
    /// Full code shorter than this would win.
    pub crossover: Option<f64>,
    numbers: Vec<(String, Cell)>,
    plot: Option<Plot>,
}

/// kappa `lambda_d`^`L_d` / `lambda_f`^`L_f`, interval by the delta method on its logarithm.
fn predicted(deltas: &Arm, full: &Arm, d: &Chain, f: &Chain) -> Option<Estimate> {
    let kappa = deltas.applied as f64 / deltas.tried as f64;
    let term = |arm: &Arm, chain: &Chain| {
        let p = chain.p.value;
        (arm.tokens * (1.0 - p).ln(), arm.tokens.powi(2) * p / (1.0 - p) / chain.from_valid as f64)
    };
    let ((log_d, var_d), (log_f, var_f)) = (term(deltas, d), term(full, f));
    let log = kappa.ln() + log_d - log_f;
    log_interval(log, (1.0 - kappa) / kappa / deltas.tried as f64 + var_d + var_f)
}

/// Ratio of two shares with Katz's log interval.
pub fn share_ratio(valid: u64, tried: u64, other_valid: u64, other_tried: u64) -> Option<Estimate> {
    let inverse = |n: u64| 1.0 / n as f64;
    let log = (valid as f64 / tried as f64).ln() - (other_valid as f64 / other_tried as f64).ln();
    log_interval(log, inverse(valid) - inverse(tried) + inverse(other_valid) - inverse(other_tried))
}

fn log_interval(log: f64, variance: f64) -> Option<Estimate> {
    let half = Z95 * variance.sqrt();
    (log.is_finite() && half.is_finite()).then(|| Estimate { value: log.exp(), low: (log - half).exp(), high: (log + half).exp() })
}

/// Compares the two formats; a run of one format gives its chain, but no verdict on the claim.
pub fn judge(deltas: Option<&Arm>, full: Option<&Arm>) -> Outcome {
    let chains = [deltas, full].map(|arm| arm.and_then(|arm| chain(&arm.labels)));
    let [d, f] = chains;
    let mut outcome = Outcome {
        verdict: Verdict::AssumptionNotMet,
        sentence: String::new(),
        deltas: d,
        full: f,
        predicted: None,
        observed: None,
        crossover: None,
        numbers: numbers(&[("deltas", deltas, d), ("full code", full, f)]),
        plot: plot(&[("deltas", deltas, d), ("full code", full, f)]),
    };
    let (Some(deltas), Some(full), Some(d), Some(f)) = (deltas, full, d, f) else {
        outcome.sentence = "The claim compares deltas with full code; these are records of one format at most.".into();
        for (name, arm, chain) in [("Deltas", deltas, d), ("Full code", full, f)] {
            if let (Some(arm), Some(chain)) = (arm, chain) {
                let kappa = if name == "Deltas" { arm.applied as f64 / arm.tried as f64 } else { 1.0 };
                let _ = write!(
                    outcome.sentence,
                    " {name}: {} of {} valid; kappa (1-p)^L predicts {:.2} (p {:.4}, L {:.0}).",
                    arm.valid,
                    arm.tried,
                    kappa * chain.strict(arm.tokens),
                    chain.p.value,
                    arm.tokens
                );
            }
        }
        return outcome;
    };
    outcome.predicted = predicted(deltas, full, &d, &f);
    outcome.observed = share_ratio(deltas.valid, deltas.tried, full.valid, full.tried);
    let kappa = deltas.applied as f64 / deltas.tried as f64;
    outcome.crossover = Some((kappa.ln() + deltas.tokens * (1.0 - d.p.value).ln()) / (1.0 - f.p.value).ln()).filter(|l| l.is_finite());
    let (Some(predicted), Some(observed)) = (outcome.predicted, outcome.observed) else {
        outcome.sentence = format!(
            "No ratio of valid rates exists: {} of {} deltas and {} of {} full sources were valid.",
            deltas.valid, deltas.tried, full.valid, full.tried
        );
        return outcome;
    };
    let ratios = format!(
        "predicted {:.2} [{:.2}, {:.2}], observed {:.2} [{:.2}, {:.2}]",
        predicted.value, predicted.low, predicted.high, observed.value, observed.low, observed.high
    );
    let worst = d.first_order.min(f.first_order);
    (outcome.verdict, outcome.sentence) = if worst < LEVEL {
        (
            Verdict::AssumptionNotMet,
            format!("Token errors are not a first-order chain: a second order fits better (p {worst:.1e}). Valid-rate ratio {ratios}."),
        )
    } else if observed.low > 1.0 && predicted.value > 1.0 {
        let inside = if observed.contains(predicted.value) { "which the data bear out" } else { "which is outside the observed interval" };
        (Verdict::Holds, format!("Deltas are valid more often than full code: {ratios}; the model's size of the gain is one {inside}."))
    } else {
        let why = if predicted.value <= 1.0 { "the model itself predicts no gain" } else { "the observed gain is not significant" };
        (Verdict::Fails, format!("Deltas do not beat full code here ({why}): valid-rate ratio {ratios}."))
    };
    if let (Some(log), true) = (outcome.crossover, outcome.verdict != Verdict::AssumptionNotMet) {
        outcome.numbers.push(("full code wins below this many tokens".into(), Cell::number(log, Show::Fixed(0))));
    }
    outcome.numbers.push(("predicted ratio".into(), predicted.into()));
    outcome.numbers.push(("observed ratio".into(), observed.into()));
    outcome
}

type Named<'a> = (&'a str, Option<&'a Arm>, Option<Chain>);

fn numbers(arms: &[Named<'_>]) -> Vec<(String, Cell)> {
    let mut numbers = Vec::new();
    for (name, arm, chain) in arms {
        let (Some(arm), Some(chain)) = (arm, chain) else { continue };
        let mut add = |what: &str, value: Cell| numbers.push((format!("{name}: {what}"), value));
        let fixed = |value: f64, digits: usize| Cell::number(value, Show::Fixed(digits));
        add("valid", Cell::Part(arm.valid, arm.tried));
        add("share valid", wilson(arm.valid, arm.tried).into());
        add("kappa: applied", wilson(arm.applied, arm.tried).into());
        add("mean tokens of the prompt", fixed(arm.prompt_tokens, 0));
        add("mean tokens of the completion", fixed(arm.tokens, 1));
        add("first token valid", chain.start.into());
        add("p = P(V to E)", chain.p.into());
        add("q = P(E to V)", if chain.q.value.is_nan() { "no error seen".into() } else { chain.q.into() });
        add("predicted valid, strict", fixed(chain.strict(arm.tokens), 4));
        add("predicted valid, recoverable", fixed(chain.recoverable(arm.tokens), 4));
        add("predicted valid, i.i.d.", fixed(chain.independent(arm.tokens), 4));
        add("independent tokens, p-value", Cell::number(chain.independent, Show::Scientific(2)));
        add("first order enough, p-value", Cell::number(chain.first_order, Show::Scientific(2)));
        add("tokens read and written for a valid network", fixed(arm.cost(), 0));
    }
    numbers
}

fn plot(arms: &[Named<'_>]) -> Option<Plot> {
    let mut series = Vec::new();
    for (name, arm, chain) in arms {
        let (Some(arm), Some(chain)) = (arm, chain) else { continue };
        let longest = arm.labels.iter().map(Vec::len).max().unwrap_or(1).max(2);
        let line = (0..=24).map(|i| 1.0 + (longest - 1) as f64 * f64::from(i) / 24.0);
        let point = |length: f64, y: f64| Point { x: length, y, interval: None };
        series.push(Series {
            name: format!("{name}, strict model"),
            mark: Mark::Line,
            points: line.map(|l| point(l, chain.strict(l))).collect(),
        });
        let share = wilson(arm.valid, arm.tried);
        let seen = Point { x: arm.tokens, y: share.value, interval: Some((share.low, share.high)) };
        series.push(Series { name: format!("{name}, observed"), mark: Mark::Points, points: vec![seen] });
    }
    (!series.is_empty()).then(|| Plot { x_label: "tokens of the completion".into(), y_label: "P(valid)".into(), series })
}

impl Outcome {
    pub fn panel(&self) -> Panel {
        Panel {
            claim: Claim::Validity,
            title: Claim::Validity.title().into(),
            verdict: self.verdict,
            sentence: self.sentence.clone(),
            numbers: self.numbers.clone(),
            plot: self.plot.clone(),
        }
    }
}
