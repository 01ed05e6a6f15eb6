//! Claim 4: deltas beat full code under a first-order Markov model of token errors.
//!
//! Each token of a completion is valid (V) or an error (E); p = P(V to E), q = P(E to V), `pi_0` = P(first is V). Then
//!
//! - strict (an error is final): P(valid) = `pi_0` (1-p)^(L-1)
//! - recoverable: P(`s_L` = V) = s + (`pi_0` - s)(1-p-q)^(L-1), s = q/(p+q)
//! - i.i.d.: (1-eps)^L, eps = p/(p+q)
//!
//! With kappa the share of deltas that apply, the strict model predicts kappa times the mean of `pi_0` (1-p)^(L-1) over their lengths (not
//! at their mean length); so that what kappa counts is not counted again, the chain of deltas is that of deltas that apply. There are two
//! verdicts: the direction (deltas are valid more often) and the size (the model predicts by how much, within a factor [`NEAR`]).
//! Intervals are by the jackknife over parents. Whether a second order is needed is judged by what it changes of the predicted rate: its
//! p-value (G^2, one degree of freedom for first order against none, two for second against first) falls with every token read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::statistics::{Uncertain, jackknife, wilson};
use super::{Assumption, Claim, Effect, Estimate, Finding, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// A predicted ratio of valid rates is right where it is within this factor of the observed one; and a second order is needed where it
/// changes a predicted rate by more.
pub(crate) const NEAR: f64 = 1.25;

/// The chain of maximum likelihood, its rates with Wilson's intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chain {
    /// P(V to E): a valid token is followed by an error.
    pub p: Estimate,
    /// P(E to V): an error is followed by a valid token; the value is NaN where no token follows an error.
    pub q: Estimate,
    pub(crate) start: Estimate,
    /// Transitions that left V: what the interval of p rests on.
    pub(crate) from_valid: u64,
    /// p-value of "tokens are independent" against first order.
    pub independent: f64,
    /// p-value of "tokens are a first-order chain" against second order.
    pub first_order: f64,
    /// P(E) after two valid tokens; None where none follow.
    pub after_two: Option<f64>,
}

/// `labels[i][t]`: whether token t of completion i is valid. None where no transition leaves V.
pub fn chain<L: AsRef<[bool]>>(labels: &[L]) -> Option<Chain> {
    let place = |valid: bool| usize::from(!valid);
    let mut pairs = [[0u64; 2]; 2];
    // [from][before][to]: for each middle state a table of the same shape as `pairs`.
    let mut triples = [[[0u64; 2]; 2]; 2];
    for completion in labels.iter().map(AsRef::as_ref) {
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
    let first = labels.iter().filter_map(|completion| completion.as_ref().first());
    let (sequences, valid) = first.fold((0, 0), |(all, valid), &first| (all + 1, valid + u64::from(first)));
    Some(Chain {
        p: wilson(ve, vv + ve),
        q: wilson(ev, ev + ee),
        start: wilson(valid, sequences),
        from_valid: vv + ve,
        independent: independence(&[pairs]),
        first_order: independence(&triples),
        after_two: Some(triples[0][0]).filter(|[v, e]| v + e > 0).map(|[v, e]| e as f64 / (v + e) as f64),
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

    /// What a second order makes of the strict rate: its ratio to that of the first, at this length.
    pub fn second_order_effect(&self, length: f64) -> f64 {
        let after_two = self.after_two.unwrap_or(self.p.value);
        ((1.0 - after_two) / (1.0 - self.p.value)).powf((length - 2.0).max(0.0))
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

/// One completion and what became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// Completions of one parent are alike.
    pub parent: String,
    /// Whether each token is valid.
    pub labels: Vec<bool>,
    /// Whether it could be applied to its parent; of full code always.
    pub applied: bool,
    /// Whether it gave a network.
    pub valid: bool,
    /// Tokens of the prompt that it was sampled after.
    pub prompt_tokens: u64,
}

/// Completions of one format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arm {
    /// Of one run or of several, in any order.
    pub completions: Vec<Completion>,
}

/// Counts of an arm's part: of a parent's completions, or of all but these.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    tried: f64,
    applied: f64,
    valid: f64,
    /// First tokens of applied completions that are valid, transitions from V and of these to E.
    first: f64,
    from_valid: f64,
    to_error: f64,
}

impl Part {
    fn add(&mut self, completion: &Completion, sign: f64) {
        self.tried += sign;
        self.valid += sign * f64::from(u8::from(completion.valid));
        if completion.applied {
            self.applied += sign;
            self.first += sign * f64::from(u8::from(completion.labels.first() == Some(&true)));
            for pair in completion.labels.windows(2).filter(|pair| pair[0]) {
                self.from_valid += sign;
                self.to_error += sign * f64::from(u8::from(!pair[1]));
            }
        }
    }

    /// P(V to E); where no error was seen, that of half an error.
    fn p(&self) -> f64 {
        if self.to_error > 0.5 { self.to_error / self.from_valid } else { 0.5 / (self.from_valid + 1.0) }
    }
}

impl Arm {
    fn count(&self, of: impl Fn(&Completion) -> bool) -> u64 {
        self.completions.iter().filter(|c| of(c)).count() as u64
    }

    pub(crate) fn tried(&self) -> u64 {
        self.completions.len() as u64
    }

    pub(crate) fn applied(&self) -> u64 {
        self.count(|c| c.applied)
    }

    /// How many completions gave a network.
    pub fn valid(&self) -> u64 {
        self.count(|c| c.valid)
    }

    fn average(&self, of: impl Fn(&Completion) -> f64) -> f64 {
        self.completions.iter().map(of).sum::<f64>() / self.tried().max(1) as f64
    }

    /// Mean tokens of a completion.
    pub(crate) fn tokens(&self) -> f64 {
        self.average(|c| c.labels.len() as f64)
    }

    pub(crate) fn prompt_tokens(&self) -> f64 {
        self.average(|c| c.prompt_tokens as f64)
    }

    /// Of the completions that could be applied.
    pub(crate) fn chain(&self) -> Option<Chain> {
        chain(&self.completions.iter().filter(|c| c.applied).map(|c| c.labels.as_slice()).collect::<Vec<_>>())
    }

    /// Tokens read and written for each valid network.
    pub fn cost(&self) -> f64 {
        (self.prompt_tokens() + self.tokens()) * self.tried() as f64 / self.valid() as f64
    }

    /// Logarithms of the observed valid rate, of the one that the strict model predicts, and of the first over the second, by the
    /// jackknife over parents (over completions where there is one parent); None without a valid network.
    fn rates(&self) -> Option<[Uncertain; 3]> {
        let mut names: Vec<&str> = self.completions.iter().map(|c| c.parent.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let several = names.len() > 1;
        let cluster = |at: usize, c: &Completion| if several { names.binary_search(&c.parent.as_str()).unwrap_or(0) } else { at };
        let clusters = if several { names.len() } else { self.completions.len() };
        let mut own: Vec<Vec<&Completion>> = vec![Vec::new(); clusters];
        let mut all = Part::default();
        for (at, completion) in self.completions.iter().enumerate() {
            own[cluster(at, completion)].push(completion);
            all.add(completion, 1.0);
        }
        // Completions of a length are alike to the model.
        let lengths = |completions: &[&Completion]| {
            let mut lengths: BTreeMap<usize, f64> = BTreeMap::new();
            for c in completions.iter().filter(|c| c.applied) {
                *lengths.entry(c.labels.len()).or_default() += 1.0;
            }
            lengths
        };
        let every = lengths(&self.completions.iter().collect::<Vec<_>>());
        let of = |out: Option<usize>| {
            let mut part = all;
            let mut without = BTreeMap::new();
            if let Some(out) = out {
                own[out].iter().for_each(|c| part.add(c, -1.0));
                without = lengths(&own[out]);
            }
            let p = part.p();
            let survive: f64 = every
                .iter()
                .map(|(&length, count)| (count - without.get(&length).unwrap_or(&0.0)) * (1.0 - p).powf(length as f64 - 1.0))
                .sum();
            // kappa times the mean of pi_0 (1-p)^(L-1).
            let predicted = part.first / part.applied * survive / part.tried;
            ((part.valid / part.tried).ln(), predicted.ln())
        };
        let observed = jackknife(clusters, |out| of(out).0)?;
        // Siblings that agree by chance are no proof of certainty: at least the binomial error.
        let share = (all.valid + 0.5) / (all.tried + 1.0);
        let least = |u: Uncertain| Uncertain { error: u.error.max(((1.0 - share) / share / all.tried).sqrt()), ..u };
        let predicted = jackknife(clusters, |out| of(out).1)?;
        let misfit = jackknife(clusters, |out| of(out).0 - of(out).1)?;
        Some([least(observed), predicted, least(misfit)])
    }
}

/// What the completions of the two formats say of claim 4.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Both together.
    pub finding: Finding,
    /// Whether deltas are valid more often.
    pub direction: Finding,
    /// Whether the model predicts by how much.
    pub fit: Finding,
    /// The finding in words, with the numbers behind it.
    pub sentence: String,
    pub(crate) deltas: Option<Chain>,
    pub(crate) full: Option<Chain>,
    /// Valid rate of deltas over that of full code, as the strict model predicts it; None where either is not known.
    pub predicted: Option<Estimate>,
    /// The same ratio as observed, with its interval by the jackknife.
    pub observed: Option<Estimate>,
    /// Full code shorter than this would win.
    pub crossover: Option<f64>,
    numbers: Vec<(String, Cell)>,
    plot: Option<Plot>,
}

/// A ratio from its logarithm.
fn ratio(name: &str, log: Uncertain) -> Effect {
    let e = log.interval();
    let estimate = Estimate { value: e.value.exp(), low: e.low.exp(), high: e.high.exp() };
    Effect { name: name.into(), estimate, detectable: log.detectable().map(f64::exp), show: Show::Fixed(2) }
}

/// Compares the two formats; a run of one format gives its chain, but no verdict on the claim. `same_warm_up` says whether both began
/// with the same adapter.
pub fn judge(deltas: Option<&Arm>, full: Option<&Arm>, same_warm_up: bool) -> Outcome {
    let [d, f] = [deltas, full].map(|arm| arm.and_then(Arm::chain));
    let unmet = |assumption| Finding::broken(assumption, None);
    let mut outcome = Outcome {
        finding: unmet(Assumption::TwoFormats),
        direction: unmet(Assumption::TwoFormats),
        fit: unmet(Assumption::TwoFormats),
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
        outcome.sentence = of_one_format(&[("Deltas", deltas, d), ("Full code", full, f)]);
        return outcome;
    };
    let kappa = deltas.applied() as f64 / deltas.tried() as f64;
    outcome.crossover = Some((kappa.ln() + deltas.tokens() * (1.0 - d.p.value).ln()) / (1.0 - f.p.value).ln()).filter(|l| l.is_finite());
    let (Some([seen_d, said_d, off_d]), Some([seen_f, said_f, off_f])) = (deltas.rates(), full.rates()) else {
        let rates = Finding::broken(Assumption::Rates, None);
        (outcome.finding, outcome.direction, outcome.fit) = (rates.clone(), rates.clone(), rates);
        outcome.sentence = format!(
            "No ratio of valid rates exists: {} of {} deltas and {} of {} full sources were valid.",
            deltas.valid(),
            deltas.tried(),
            full.valid(),
            full.tried()
        );
        return outcome;
    };
    let observed = ratio("valid rate of deltas over that of full code", seen_d.minus(seen_f));
    let predicted = ratio("the same as predicted", said_d.minus(said_f));
    let misfit = ratio("observed over predicted ratio", off_d.minus(off_f));
    let warm = (same_warm_up, Assumption::SameWarmUp);
    outcome.direction = Finding::bounded(observed.clone(), 1.0, 1.0).unless(&[warm]);
    let orders = [d.second_order_effect(deltas.tokens()), f.second_order_effect(full.tokens())];
    let first_order = orders.iter().all(|effect| (1.0 / NEAR..=NEAR).contains(effect));
    let off = misfit.estimate;
    let fits = if off.low >= 1.0 / NEAR && off.high <= NEAR {
        Verdict::Holds
    } else if !off.contains(1.0) && !(1.0 / NEAR..=NEAR).contains(&off.value) {
        Verdict::Fails
    } else {
        Verdict::Undecided
    };
    outcome.fit = Finding::of(fits, Some(misfit)).unless(&[(first_order, Assumption::FirstOrder)]);
    let (verdict, broken) = match (outcome.direction.verdict, outcome.fit.verdict) {
        (Verdict::AssumptionNotMet, _) => (Verdict::AssumptionNotMet, outcome.direction.broken),
        (Verdict::Holds | Verdict::Undecided, Verdict::AssumptionNotMet) => (Verdict::AssumptionNotMet, outcome.fit.broken),
        (Verdict::Fails, _) | (_, Verdict::Fails) => (Verdict::Fails, None),
        (Verdict::Holds, Verdict::Holds) => (Verdict::Holds, None),
        _ => (Verdict::Undecided, None),
    };
    outcome.finding = Finding { verdict, broken, effect: Some(observed.clone()) };
    let show = |e: &Effect| format!("{:.2} [{:.2}, {:.2}]", e.estimate.value, e.estimate.low, e.estimate.high);
    outcome.sentence = format!(
        "Deltas are valid {} times as often as full code (direction: {}); the model predicts {} (size: {}).",
        show(&observed),
        outcome.direction,
        show(&predicted),
        outcome.fit
    );
    if let Some(log) = outcome.crossover {
        outcome.numbers.push(("full code wins below this many tokens".into(), Cell::number(log, Show::Fixed(0))));
    }
    for (name, effect) in ["deltas", "full code"].iter().zip(orders) {
        outcome.numbers.push((format!("{name}: second order over first, predicted valid"), Cell::number(effect, Show::Fixed(3))));
    }
    outcome.numbers.push(("predicted ratio".into(), predicted.estimate.into()));
    outcome.numbers.push(("observed ratio".into(), observed.estimate.into()));
    outcome.numbers.push(("observed over predicted".into(), off.into()));
    outcome.numbers.push(("direction".into(), outcome.direction.to_string().into()));
    outcome.numbers.push(("size".into(), outcome.fit.to_string().into()));
    (outcome.predicted, outcome.observed) = (Some(predicted.estimate), Some(observed.estimate));
    outcome
}

fn of_one_format(arms: &[Named<'_>]) -> String {
    let mut sentence = "The claim compares deltas with full code; these are records of one format at most.".to_owned();
    for (name, arm, chain) in arms {
        if let (Some(arm), Some(chain)) = (arm, chain) {
            let said = arm.rates().map_or(f64::NAN, |[_, predicted, _]| predicted.value.exp());
            let _ = write!(
                sentence,
                " {name}: {} of {} valid; the strict model predicts {said:.2} (p {:.4}, {:.0} tokens in the mean).",
                arm.valid(),
                arm.tried(),
                chain.p.value,
                arm.tokens()
            );
        }
    }
    sentence
}

type Named<'a> = (&'a str, Option<&'a Arm>, Option<Chain>);

fn numbers(arms: &[Named<'_>]) -> Vec<(String, Cell)> {
    let mut numbers = Vec::new();
    for (name, arm, chain) in arms {
        let (Some(arm), Some(chain)) = (arm, chain) else { continue };
        let mut add = |what: &str, value: Cell| numbers.push((format!("{name}: {what}"), value));
        let fixed = |value: f64, digits: usize| Cell::number(value, Show::Fixed(digits));
        add("valid", Cell::Part(arm.valid(), arm.tried()));
        add("share valid", wilson(arm.valid(), arm.tried()).into());
        add("kappa: applied", wilson(arm.applied(), arm.tried()).into());
        add("mean tokens of the prompt", fixed(arm.prompt_tokens(), 0));
        add("mean tokens of the completion", fixed(arm.tokens(), 1));
        add("first token valid", chain.start.into());
        add("p = P(V to E)", chain.p.into());
        add("q = P(E to V)", if chain.q.value.is_nan() { "no error seen".into() } else { chain.q.into() });
        add("predicted valid, strict", fixed(chain.strict(arm.tokens()), 4));
        add("predicted valid, recoverable", fixed(chain.recoverable(arm.tokens()), 4));
        add("predicted valid, i.i.d.", fixed(chain.independent(arm.tokens()), 4));
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
        let longest = arm.completions.iter().map(|c| c.labels.len()).max().unwrap_or(1).max(2);
        let line = (0..=24).map(|i| 1.0 + (longest - 1) as f64 * f64::from(i) / 24.0);
        let point = |length: f64, y: f64| Point { x: length, y, interval: None };
        series.push(Series {
            name: format!("{name}, strict model"),
            mark: Mark::Line,
            points: line.map(|l| point(l, chain.strict(l))).collect(),
        });
        let share = wilson(arm.valid(), arm.tried());
        let seen = Point { x: arm.tokens(), y: share.value, interval: Some((share.low, share.high)) };
        series.push(Series { name: format!("{name}, observed"), mark: Mark::Points, points: vec![seen] });
    }
    (!series.is_empty()).then(|| Plot { x_label: "tokens of the completion".into(), y_label: "P(valid)".into(), series })
}

impl Outcome {
    /// The finding with its numbers and its plot, ready to be shown.
    pub fn panel(&self) -> Panel {
        Panel {
            claim: Claim::Validity,
            title: Claim::Validity.title().into(),
            finding: self.finding.clone(),
            sentence: self.sentence.clone(),
            numbers: self.numbers.clone(),
            plot: self.plot.clone(),
        }
    }
}
