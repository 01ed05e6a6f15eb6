//! Claim 1: fine-tuning on the elite set is the cross-entropy update.
//!
//! The update is theta' = argmax (1/|E|) sum over elites of log p(d | a), log p the sum over the tokens of the delta. So
//! the tuning loss at step 0 must be -(1/|E|) sum log p as it was logged when the elites were sampled, the examples must
//! be elites and nothing else, and the loss on them must fall. Whether the update generalises is read off elites that
//! were kept out of it.

use super::statistics::few_interval;
use super::{Claim, Estimate, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// Cached decoding against teacher forcing in f32.
pub const TOLERANCE: f64 = 1e-3;
/// Losses below this, in nats, are compared with this: log-probabilities in f32 differ by about 1e-5 nats however they are
/// computed, which is all of the loss of a policy that is certain of its elites.
pub const SMALLEST: f64 = 0.1;

/// The tuning of one cycle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuning {
    pub cycle: u64,
    /// Whether the loss was the mean of sums; a mean over tokens is another objective.
    pub summed: bool,
    /// log p of each trained elite, logged at sampling.
    pub logged: Vec<f64>,
    pub loss_before: f64,
    pub loss_after: f64,
    /// Mean loss of the held-out elites before and after.
    pub held_out: Option<(f64, f64)>,
    /// Hashes of the examples trained on, and of all elites that they may be taken from.
    pub trained: Vec<String>,
    pub elites: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub sentence: String,
    /// (cycle, relative difference of the loss at step 0)
    pub differences: Vec<(u64, f64)>,
    /// Examples that are no elites: (cycle, hash).
    pub strays: Vec<(u64, String)>,
    /// Cycles whose tuning did not lower the loss on the trained elites.
    pub not_lowered: Vec<u64>,
    /// Mean change of the held-out loss over the cycles (negative: it generalises).
    pub held_out_change: Option<Estimate>,
}

/// |loss - expected| / max(|expected|, [`SMALLEST`]), expected = -mean of the logged log p.
pub fn relative_difference(logged: &[f64], loss: f64) -> f64 {
    let expected = -logged.iter().sum::<f64>() / logged.len() as f64;
    (loss - expected).abs() / expected.abs().max(SMALLEST)
}

/// Examples that are not among the elites.
pub fn strays<'a>(trained: &'a [String], elites: &[String]) -> Vec<&'a String> {
    trained.iter().filter(|example| !elites.contains(example)).collect()
}

pub fn judge(cycles: &[Tuning]) -> Outcome {
    let differences: Vec<(u64, f64)> = cycles.iter().map(|t| (t.cycle, relative_difference(&t.logged, t.loss_before))).collect();
    let strays: Vec<(u64, String)> =
        cycles.iter().flat_map(|t| strays(&t.trained, &t.elites).into_iter().map(|hash| (t.cycle, hash.clone()))).collect();
    // Of a policy that is certain of its elites there is nothing left to lower.
    let not_lowered: Vec<u64> = cycles
        .iter()
        .filter(|t| t.loss_before.is_nan() || t.loss_before > TOLERANCE * SMALLEST)
        .filter(|t| !matches!(t.loss_after.partial_cmp(&t.loss_before), Some(std::cmp::Ordering::Less)))
        .map(|t| t.cycle)
        .collect();
    let changes: Vec<f64> = cycles.iter().filter_map(|t| t.held_out.map(|(before, after)| after - before)).collect();
    let held_out_change = few_interval(&changes, 1);

    let worst = differences
        .iter()
        .map(|&(_, difference)| difference)
        .fold(0.0, |worst: f64, d| if d.is_nan() { f64::INFINITY } else { worst.max(d) });
    let examples: usize = cycles.iter().map(|t| t.trained.len()).sum();
    let empty = cycles.iter().any(|t| t.logged.is_empty() || t.trained.is_empty());
    let (verdict, mut sentence) = if cycles.is_empty() {
        (Verdict::AssumptionNotMet, "The policy of this run was never tuned.".to_owned())
    } else if let Some(t) = cycles.iter().find(|t| !t.summed) {
        let why = "which weights each elite by one over its length and is not the CE update";
        (Verdict::AssumptionNotMet, format!("Cycle {} was tuned on the mean over tokens, {why}.", t.cycle))
    } else if empty {
        (Verdict::AssumptionNotMet, "A cycle was tuned, but its examples or their log-probabilities are not on record.".to_owned())
    } else if let Some((cycle, hash)) = strays.first() {
        let short: String = hash.chars().take(12).collect();
        (Verdict::Fails, format!("{} of {examples} training examples are no elites (the first in cycle {cycle}: {short}).", strays.len()))
    } else if worst > TOLERANCE {
        let off = differences.iter().filter(|(_, d)| d.is_nan() || *d > TOLERANCE).count();
        let all = differences.len();
        (
            Verdict::Fails,
            format!(
                "The loss at step 0 differs from the logged one by up to {worst:.1e} (tolerance {TOLERANCE:.0e}), in {off} of {all} cycles."
            ),
        )
    } else if !not_lowered.is_empty() {
        (Verdict::Fails, format!("Tuning did not make the elites more probable in {} of {} cycles.", not_lowered.len(), cycles.len()))
    } else {
        let n = cycles.len();
        (
            Verdict::Holds,
            format!(
                "In {n} cycles the loss at step 0 equals the logged one to {worst:.1e}, and all {examples} training examples are elites."
            ),
        )
    };
    if let Some(change) = held_out_change {
        let says = if change.high < 0.0 {
            "fell: the update generalises"
        } else if change.low > 0.0 {
            "rose: the update does not generalise"
        } else {
            "did not change significantly"
        };
        sentence.push_str(&format_held_out(change, says));
    }
    Outcome { verdict, sentence, differences, strays, not_lowered, held_out_change }
}

fn format_held_out(change: Estimate, says: &str) -> String {
    format!(" The loss of held-out elites {says} (by {:+.2} nats [{:+.2}, {:+.2}] a cycle).", change.value, change.low, change.high)
}

impl Outcome {
    pub fn panel(&self) -> Panel {
        let points =
            self.differences.iter().map(|&(cycle, difference)| Point { x: cycle as f64, y: difference.max(1e-9).log10(), interval: None });
        let points: Vec<Point> = points.collect();
        let limit = points.iter().map(|p| Point { y: TOLERANCE.log10(), ..*p }).collect();
        let mut numbers: Vec<(String, Cell)> = self
            .differences
            .iter()
            .map(|(cycle, difference)| {
                (format!("relative difference at step 0, cycle {cycle}"), Cell::number(*difference, Show::Scientific(2)))
            })
            .collect();
        numbers.push(("training examples that are no elites".into(), self.strays.len().into()));
        numbers.push(("cycles whose tuning did not lower the loss".into(), self.not_lowered.len().into()));
        if let Some(change) = self.held_out_change {
            numbers.push(("change of the held-out loss, nats".into(), change.into()));
        }
        let plot = (!points.is_empty()).then(|| Plot {
            x_label: "cycle".into(),
            y_label: "log10 of rel. difference".into(),
            series: vec![
                Series { name: "loss at step 0 against the logged one".into(), mark: Mark::Points, points },
                Series { name: "tolerance".into(), mark: Mark::Line, points: limit },
            ],
        });
        Panel {
            claim: Claim::Update,
            title: Claim::Update.title().into(),
            verdict: self.verdict,
            sentence: self.sentence.clone(),
            numbers,
            plot,
        }
    }
}
