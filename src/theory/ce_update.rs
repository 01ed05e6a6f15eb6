//! Claim 1: fine-tuning on the elite set is the cross-entropy update.
//!
//! The update is theta' = argmax (1/|E|) sum over elites of log p(d | a), log p the sum over the tokens of the delta. The objective is
//! met where the loss at step 0 is -(1/|E|) sum log p as it was logged when the elites were sampled, and the examples are the elites and
//! nothing else; these are necessary and no evidence. The claim is about the argmax, and how far an update came is the share realised
//!
//! > share = (loss before - loss after) / (loss before - target),
//!
//! the target being the loss of the distribution that the update should give: H(e|a), the entropy of the elites given their parents,
//! or with a smoothing alpha that of (1 - alpha) p + alpha e. It equals the share of KL(e || p) that was closed, and needs no enumeration.

use super::statistics::{Uncertain, mean};
use super::{Assumption, Claim, Effect, Estimate, Finding, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// Cached decoding against teacher forcing in f32.
pub(crate) const TOLERANCE: f64 = 1e-3;
/// Losses below this, in nats, are compared with this: log-probabilities in f32 differ by about 1e-5 nats however they are
/// computed, which is all of the loss of a policy that is certain of its elites.
pub(crate) const SMALLEST: f64 = 0.1;
/// An update that realises this share of the argmax is called the CE update. At .9 the divergence left is a tenth of what it was; what
/// is usually called tuned is at .05 to .2.
pub(crate) const LITERAL: f64 = 0.9;

/// The tuning of one cycle. Losses are means over the trained elites of -log p, in nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuning {
    /// From 1.
    pub cycle: u64,
    /// Whether the loss was the mean of sums; of a mean over tokens the losses are in another unit.
    pub summed: bool,
    /// The loss as it was logged at sampling; None where not all examples were sampled in this cycle, or no loss is computed by scoring.
    pub logged: Option<f64>,
    /// Before the first step.
    pub loss_before: f64,
    /// After the last step.
    pub loss_after: f64,
    /// The loss of the distribution that the update should give: [`super::change::conditional_entropy`].
    pub target: f64,
    /// Mean loss of the held-out elites before and after.
    pub held_out: Option<(f64, f64)>,
    /// The examples trained on, a name each.
    pub trained: Vec<String>,
    /// All elites that the examples may be taken from, by the same names.
    pub elites: Vec<String>,
}

/// What the tunings of a run say of claim 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its effect is the mean share of the update that was realised.
    pub finding: Finding,
    /// The finding in words, with the numbers behind it.
    pub sentence: String,
    /// (cycle, relative difference of the loss at step 0), where it was logged.
    pub(crate) differences: Vec<(u64, f64)>,
    /// Examples that are no elites: (cycle, name).
    pub(crate) strays: Vec<(u64, String)>,
    /// (cycle, share of the update realised); a cycle that had nothing left to lower has none.
    pub shares: Vec<(u64, f64)>,
    /// Mean change of the held-out loss over the cycles (negative: it generalises).
    pub held_out_change: Option<Uncertain>,
}

/// |loss - expected| / max(|expected|, [`SMALLEST`]).
pub(crate) fn relative_difference(expected: f64, loss: f64) -> f64 {
    (loss - expected).abs() / expected.abs().max(SMALLEST)
}

/// Examples that are not among the elites.
pub(crate) fn strays<'a>(trained: &'a [String], elites: &[String]) -> Vec<&'a String> {
    trained.iter().filter(|example| !elites.contains(example)).collect()
}

impl Tuning {
    /// What share of the update was realised; None where nothing was left to lower.
    pub fn share(&self) -> Option<f64> {
        let room = self.loss_before - self.target;
        if room <= SMALLEST { None } else { Some((self.loss_before - self.loss_after) / room) }
    }
}

/// `family` says whether the policy could have been anything: a table of independent places is not.
pub fn judge(cycles: &[Tuning], family: bool) -> Outcome {
    let differences: Vec<(u64, f64)> =
        cycles.iter().filter_map(|t| Some((t.cycle, relative_difference(t.logged?, t.loss_before)))).collect();
    let strays: Vec<(u64, String)> =
        cycles.iter().flat_map(|t| strays(&t.trained, &t.elites).into_iter().map(|name| (t.cycle, name.clone()))).collect();
    let shares: Vec<(u64, f64)> = cycles.iter().filter_map(|t| Some((t.cycle, t.share()?))).collect();
    let changes: Vec<f64> = cycles.iter().filter_map(|t| t.held_out.map(|(before, after)| after - before)).collect();
    let held_out_change = Uncertain::mean(&changes);

    // A NaN is worse than any difference.
    let worst = differences.iter().map(|&(_, d)| if d.is_nan() { f64::INFINITY } else { d }).fold(0.0, f64::max);
    let examples: usize = cycles.iter().map(|t| t.trained.len()).sum();
    let values: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
    let unknown = values.iter().any(|share| share.is_nan()) || cycles.iter().any(|t| t.loss_before.is_nan());
    let of_shares = Uncertain::mean(&values);
    let estimate = match (of_shares, values.as_slice()) {
        (Some(shares), _) => Some(shares.interval()),
        // One update is no sample of updates.
        (None, [one]) => Some(Estimate { value: *one, low: f64::NEG_INFINITY, high: f64::INFINITY }),
        (None, _) => None,
    };
    let effect = estimate.filter(|e| !e.value.is_nan()).map(|estimate| Effect {
        name: "share of the CE update realised".into(),
        estimate,
        detectable: of_shares.and_then(Uncertain::detectable),
        show: Show::Fixed(3),
    });
    let tested = || match (&effect, values.is_empty() && !cycles.is_empty()) {
        (Some(effect), _) => Finding::bounded(effect.clone(), LITERAL, LITERAL),
        // Of a policy that is certain of its elites there is nothing left to lower.
        (None, true) => Finding::of(Verdict::Undecided, None),
        (None, false) => Finding::of(Verdict::Fails, None),
    };
    let (finding, mut sentence) = if cycles.is_empty() {
        (Finding::broken(Assumption::Updated, None), "The policy of this run was never tuned.".to_owned())
    } else if let Some(t) = cycles.iter().find(|t| !t.summed) {
        let why = "whose losses are a token's and not an elite's, so that the share realised cannot be read off them";
        (Finding::broken(Assumption::SummedLoss, effect), format!("Cycle {} was tuned on the mean over tokens, {why}.", t.cycle))
    } else if cycles.iter().any(|t| t.trained.is_empty()) {
        (Finding::broken(Assumption::OnRecord, effect), "A cycle was tuned, but its examples are not on record.".to_owned())
    } else if let Some((cycle, name)) = strays.first() {
        let short: String = name.chars().take(12).collect();
        let sentence = format!("{} of {examples} training examples are no elites (the first in cycle {cycle}: {short}).", strays.len());
        (Finding::of(Verdict::Fails, effect), sentence)
    } else if worst > TOLERANCE {
        let off = differences.iter().filter(|(_, d)| d.is_nan() || *d > TOLERANCE).count();
        let all = differences.len();
        let sentence = format!(
            "The loss at step 0 differs from the logged one by up to {worst:.1e} (tolerance {TOLERANCE:.0e}), in {off} of {all} cycles."
        );
        (Finding::of(Verdict::Fails, effect), sentence)
    } else if unknown {
        (Finding::of(Verdict::Fails, None), "The loss of the tuned elites is no number.".to_owned())
    } else {
        let finding = tested().excused(family, Assumption::Family);
        let identity = if differences.is_empty() {
            String::new()
        } else {
            format!("; its objective is CE's (loss at step 0 as logged to {worst:.1e}, all {examples} examples elites)")
        };
        (finding, said(&values, of_shares, &identity))
    };
    if let Some(change) = held_out_change {
        sentence.push_str(&of_held_out(change));
    }
    Outcome { finding, sentence, differences, strays, shares, held_out_change }
}

fn said(values: &[f64], shares: Option<Uncertain>, identity: &str) -> String {
    let lowered = values.iter().filter(|share| **share > 0.0).count();
    let many = match shares {
        None if values.is_empty() => "The policy was certain of its elites before it was tuned, so nothing was left to realise".to_owned(),
        None => format!("One update realised {:.3} of the CE update, and one is no sample of updates", values[0]),
        Some(shares) => {
            let e = shares.interval();
            format!(
                "An update realised {:.3} [{:.3}, {:.3}] of the CE update ({LITERAL} would be called the literal one), and made the elites more \
                 probable in {lowered} of {} cycles",
                e.value,
                e.low,
                e.high,
                values.len()
            )
        }
    };
    format!("{many}{identity}.")
}

fn of_held_out(change: Uncertain) -> String {
    let e = change.interval();
    let says = if e.high < 0.0 {
        "fell: the update generalises to them, as any sharpening would"
    } else if e.low > 0.0 {
        "rose: the update does not generalise"
    } else {
        "did not change significantly"
    };
    let least = change.detectable().map_or_else(String::new, |d| format!(", {d:.2} would have been seen"));
    format!(" The loss of held-out elites {says} (by {:+.2} nats [{:+.2}, {:+.2}] a cycle{least}).", e.value, e.low, e.high)
}

impl Outcome {
    /// The finding with its numbers and its plot, ready to be shown.
    pub fn panel(&self) -> Panel {
        let point = |&(cycle, y): &(u64, f64)| Point { x: cycle as f64, y, interval: None };
        let points: Vec<Point> = self.shares.iter().map(point).collect();
        let literal = points.iter().map(|p| Point { y: LITERAL, ..*p }).collect();
        let share = |(cycle, share): &(u64, f64)| (format!("share realised, cycle {cycle}"), Cell::number(*share, Show::Fixed(4)));
        let mut numbers: Vec<(String, Cell)> = self.shares.iter().map(share).collect();
        if !self.shares.is_empty() {
            let values: Vec<f64> = self.shares.iter().map(|(_, share)| *share).collect();
            numbers.push(("share realised, mean".into(), Cell::number(mean(&values), Show::Fixed(4))));
        }
        let difference =
            |(cycle, d): &(u64, f64)| (format!("relative difference at step 0, cycle {cycle}"), Cell::number(*d, Show::Scientific(2)));
        numbers.extend(self.differences.iter().map(difference));
        numbers.push(("training examples that are no elites".into(), self.strays.len().into()));
        if let Some(change) = self.held_out_change {
            numbers.push(("change of the held-out loss, nats".into(), change.interval().into()));
        }
        let plot = (!points.is_empty()).then(|| Plot {
            x_label: "cycle".into(),
            y_label: "share of the CE update".into(),
            series: vec![
                Series { name: "share realised".into(), mark: Mark::Points, points },
                Series { name: "the literal update".into(), mark: Mark::Line, points: literal },
            ],
        });
        Panel {
            claim: Claim::Update,
            title: Claim::Update.title().into(),
            finding: self.finding.clone(),
            sentence: self.sentence.clone(),
            numbers,
            plot,
        }
    }
}
