//! Claim 2: expected quality does not decrease.
//!
//! The exact unrestricted update on a fixed objective with population elites gives E'\[S\] = (1-alpha) E\[S\] + alpha E\[S | S >= gamma\]
//! which is no less than E\[S\]. The estimand is the change of E\[S\] by an update **on the same parents**: means of whole cycles confound
//! it with which parents were drawn. It is, by what the records allow,
//!
//! - exact, in an audit, for the objective in force;
//! - reweighted: the samples of the cycle weighted by p'/q, where they were scored after the update. Trained elites speak for an update
//!   that was made for them, so they are left out and the held-out ones count for all elites; without held-out ones there is no such
//!   estimate. Worth `(sum w)^2 / sum w^2` samples;
//! - the difference between this cycle's and the next one's samples of the same parent, parent by parent.
//!
//! An update that takes all there is selects nothing; its change is chance, and it is left out.
//!
//! The intervals are those of the parents that were drawn: each is compared with itself, so their own differences cancel.
//!
//! The claim **holds** where all falls together are at most [`MARGIN`], each at the lower end of its interval (simultaneous over the
//! updates), and, of exact changes, where so many updates without a fall are no luck: at 95%, fewer than a share of [`OFTEN`] of such
//! updates fall. It **fails** where one update, or all together, lowered E\[S\] significantly and more than the margin is not excluded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use statrs::distribution::{Beta, ContinuousCDF};

use super::finite::effective_samples;
use super::statistics::{LEVEL95, Uncertain, mean, variance};
use super::{Assumption, Claim, Effect, Estimate, Finding, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// What falls of E\[S\] together may amount to: one point of accuracy, about the noise of a single training.
pub(crate) const MARGIN: f64 = 0.01;
/// A share of the updates: half of them fall where nothing is selected, and most of those that are left to luck rise.
pub(crate) const OFTEN: f64 = 0.25;
/// Exact changes below this are none.
const ROUNDING: f64 = 1e-9;
/// An estimate worth fewer samples says nothing.
const FEWEST: f64 = 5.0;

/// What a cycle sampled and what is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Name of the parent; empty where nothing has one.
    pub parent: String,
    /// None of what is no network. A network that is known has the quality it is known by.
    pub quality: Option<f64>,
    /// `log q` of what it was drawn from, where it is known.
    pub log_q: Option<f64>,
    /// `log p` under the policy after the update, where it was scored.
    pub log_p_after: Option<f64>,
    /// What the update made of it.
    pub role: Role,
}

/// The part of a sample in the update of its cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Neither tuned on nor held out.
    #[default]
    Other,
    /// Tuned on.
    Trained,
    /// An elite kept out of tuning.
    HeldOut,
}

/// The samples of a cycle, and the update that followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CycleSamples {
    /// From 1.
    pub cycle: u64,
    /// All of the cycle, in order; those without a quality too.
    pub samples: Vec<Sample>,
    /// Whether an update followed.
    pub updated: bool,
    /// Whether it took fewer than all that it could have taken. One that took all is drift, of which the claim says nothing.
    pub selected: bool,
    /// The change of E\[S\] by it, where it is known exactly.
    pub exact: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Exact,
    Reweighting,
    SameParents,
}

/// The change of E\[S\] by the update of a cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub(crate) cycle: u64,
    pub(crate) by: By,
    /// E\[S\] after the update less E\[S\] before it.
    pub change: Uncertain,
    /// What the estimate is worth, in samples.
    pub(crate) worth: f64,
}

/// What the cycles of a run say of claim 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its effect is the mean change of E\[S\] by an update.
    pub finding: Finding,
    /// The finding in words, with the numbers behind it.
    pub sentence: String,
    /// Of whole cycles: shown, not judged.
    pub means: Vec<(u64, Estimate)>,
    /// One an update that selected and whose change can be estimated.
    pub changes: Vec<Change>,
    /// Mean change an update.
    pub pooled: Option<Uncertain>,
}

/// The change by an update from samples that were scored after it. Of 95% intervals 93% cover where the weights are as uneven as those of
/// a shift by 0.4 standard deviations, and 90% at twice that (`claim_2_reweighted_change_covers_and_leaves_out_what_was_tuned_on`).
pub fn reweighted(samples: &[Sample]) -> Option<Change> {
    let count = |role| samples.iter().filter(|s| s.quality.is_some() && s.role == role).count() as f64;
    let (trained, held_out) = (count(Role::Trained), count(Role::HeldOut));
    if trained > 0.0 && held_out == 0.0 {
        return None;
    }
    let share = |role| match role {
        Role::Other => 1.0,
        Role::Trained => 0.0,
        Role::HeldOut => (trained + held_out) / held_out,
    };
    // (parent, how many samples it stands for, log weight, quality)
    let mut known = Vec::new();
    for s in samples.iter().filter(|s| s.role != Role::Trained) {
        let Some(quality) = s.quality else { continue };
        known.push((&s.parent, share(s.role), s.log_p_after? - s.log_q?, quality));
    }
    let most = known.iter().map(|k| k.2).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = known.iter().map(|k| k.1 * (k.2 - most).exp()).collect();
    let (n, total) = (known.iter().map(|k| k.1).sum::<f64>(), weights.iter().sum::<f64>());
    let worth = effective_samples(&weights);
    if worth.is_nan() || worth < FEWEST {
        return None;
    }
    let after = weights.iter().zip(&known).map(|(w, k)| w * k.3).sum::<f64>() / total;
    let before = known.iter().map(|k| k.1 * k.3).sum::<f64>() / n;
    // What each sample adds to the difference, as if it had no part in the means (a jackknife to first order: a heavy one draws them to
    // itself); siblings are compared with their mean.
    let mut strata: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (w, k) in weights.iter().zip(&known) {
        let (now, then) = (w / total, k.1 / n);
        strata.entry(k.0).or_default().push(now / (1.0 - now) * (k.3 - after) - then / (1.0 - then) * (k.3 - before));
    }
    let (single, several): (Vec<_>, Vec<_>) = strata.into_values().partition(|own| own.len() < 2);
    let groups: Vec<Vec<f64>> = several.into_iter().chain([single.concat()]).filter(|own| own.len() > 1).collect();
    let freedom = groups.iter().map(|own| own.len() as f64 - 1.0).sum::<f64>();
    let squared = groups.iter().map(|own| own.len() as f64 * variance(own)).sum::<f64>();
    // Satterthwaite: a variance that rests on a few heavy samples is known as badly as from a few.
    let fourth: f64 = groups.iter().flat_map(|own| own.iter().map(|part| (part - mean(own)).powi(4))).sum();
    let known_as = 2.0 * squared.powi(2) / (fourth - squared.powi(2) / known.len() as f64).max(f64::MIN_POSITIVE);
    let change = Uncertain { value: after - before, error: squared.sqrt(), freedom: freedom.min(worth - 1.0).min(known_as) };
    Some(Change { cycle: 0, by: By::Reweighting, change, worth })
}

/// Qualities of one parent's samples in one cycle.
type Cells<'a> = BTreeMap<&'a str, Vec<f64>>;

fn cells(cycle: &CycleSamples) -> Cells<'_> {
    let mut cells = Cells::new();
    for s in &cycle.samples {
        if let Some(quality) = s.quality {
            cells.entry(&s.parent).or_default().push(quality);
        }
    }
    cells
}

/// Variance within the cells of a cycle, and its degrees of freedom.
fn within(cells: &Cells<'_>) -> (f64, f64) {
    let freedom: f64 = cells.values().map(|own| own.len() as f64 - 1.0).sum();
    let squares: f64 = cells.values().map(|own| (own.len() as f64 - 1.0) * variance(own)).sum();
    (squares / freedom, freedom)
}

/// A linear combination of cell means: its coefficient of each (cycle, parent).
type Combination<'a> = BTreeMap<(usize, &'a str), f64>;

/// The difference of two cycles on their common parents, each weighted by the smaller of its two numbers of samples; None without one.
fn contrast<'a>(at: usize, now: &Cells<'a>, next: &Cells<'a>) -> Option<Combination<'a>> {
    let common: Vec<(&str, f64)> =
        now.iter().filter_map(|(parent, own)| Some((*parent, own.len().min(next.get(parent)?.len()) as f64))).collect();
    let total: f64 = common.iter().map(|(_, weight)| weight).sum();
    let both = |(parent, weight): (&'a str, f64)| [((at, parent), -weight / total), ((at + 1, parent), weight / total)];
    (total > 0.0).then(|| common.into_iter().flat_map(both).collect())
}

fn evaluate(combination: &Combination<'_>, cells: &[Cells<'_>], spread: &[(f64, f64)]) -> Uncertain {
    let mut value = 0.0;
    let mut of_cycle: BTreeMap<usize, f64> = BTreeMap::new();
    for (&(cycle, parent), coefficient) in combination {
        let own = &cells[cycle][parent];
        value += coefficient * mean(own);
        *of_cycle.entry(cycle).or_default() += coefficient.powi(2) / own.len() as f64;
    }
    let parts: Vec<(f64, f64)> = of_cycle.iter().map(|(&cycle, sum)| (sum * spread[cycle].0, spread[cycle].1)).collect();
    let sum: f64 = parts.iter().map(|(part, _)| part).sum();
    // Satterthwaite.
    let freedom = sum.powi(2) / parts.iter().map(|(part, freedom)| part.powi(2) / freedom).sum::<f64>();
    Uncertain { value, error: sum.sqrt(), freedom: if freedom.is_nan() { 0.0 } else { freedom } }
}

/// The changes by the updates that the records tell of, and their mean.
fn changes(cycles: &[CycleSamples]) -> (Vec<Change>, Option<Uncertain>) {
    let cells: Vec<Cells<'_>> = cycles.iter().map(cells).collect();
    let spread: Vec<(f64, f64)> = cells.iter().map(within).collect();
    let (mut changes, mut together, mut rest) = (Vec::new(), Combination::new(), Vec::new());
    for (at, cycle) in cycles.iter().enumerate().filter(|(_, cycle)| cycle.updated && cycle.selected) {
        if let Some(exact) = cycle.exact {
            let change = Uncertain::exact(exact);
            changes.push(Change { cycle: cycle.cycle, by: By::Exact, change, worth: f64::INFINITY });
            rest.push(change);
        } else if let Some(change) = reweighted(&cycle.samples) {
            changes.push(Change { cycle: cycle.cycle, ..change });
            rest.push(change.change);
        } else if let Some(next) = cycles.get(at + 1).filter(|next| next.cycle == cycle.cycle + 1) {
            let Some(combination) = contrast(at, &cells[at], &cells[at + 1]) else { continue };
            let change = evaluate(&combination, &cells, &spread);
            if change.freedom < 1.0 || next.samples.is_empty() {
                continue;
            }
            for (cell, coefficient) in combination {
                *together.entry(cell).or_insert(0.0) += coefficient;
            }
            changes.push(Change { cycle: cycle.cycle, by: By::SameParents, change, worth: change.freedom });
        }
    }
    // Neighbouring differences share a cycle, so they are summed before the error is taken.
    let n = changes.len() as f64;
    let mut sum = if together.is_empty() { Uncertain::exact(0.0) } else { evaluate(&together, &cells, &spread) };
    for change in rest {
        // Minus the negative: errors of independent estimates add up.
        sum = sum.minus(Uncertain { value: -change.value, ..change });
    }
    let pooled = (n > 0.0).then(|| Uncertain { value: sum.value / n, error: sum.error / n, ..sum });
    (changes, pooled)
}

/// The share of updates that fall, at most: the upper end of the one-sided 95% interval of Clopper and Pearson.
fn most_falling(falls: usize, updates: usize) -> f64 {
    let (falls, updates) = (falls as f64, updates as f64);
    if falls >= updates {
        return 1.0;
    }
    Beta::new(falls + 1.0, updates - falls).map_or(1.0, |beta| beta.inverse_cdf(0.95))
}

/// `broken` are assumptions that the records do not meet.
pub fn judge(broken: &[Assumption], cycles: &[CycleSamples]) -> Outcome {
    let qualities = |c: &CycleSamples| c.samples.iter().filter_map(|s| s.quality).collect::<Vec<f64>>();
    let means: Vec<(u64, Estimate)> = cycles
        .iter()
        .map(|c| (c.cycle, qualities(c)))
        .filter(|(_, own)| !own.is_empty())
        .map(|(cycle, own)| {
            let value = mean(&own);
            (cycle, Uncertain::mean(&own).map_or(Estimate { value, low: f64::NAN, high: f64::NAN }, Uncertain::interval))
        })
        .collect();
    let (changes, pooled) = changes(cycles);
    let n = changes.len() as f64;
    // Simultaneous over the updates and their sum.
    let level = 1.0 - (1.0 - LEVEL95) / (n + 1.0);
    let bounds: Vec<Estimate> = changes.iter().map(|c| c.change.interval_at(level)).collect();
    let falls = |of: fn(&Estimate) -> f64| bounds.iter().map(|b| (-of(b)).max(0.0)).sum::<f64>();
    let (least, most) = (falls(|b| b.high), falls(|b| b.low));
    let slid = pooled.is_some_and(|p| p.interval_at(level).high < 0.0);
    let fell = changes.iter().filter(|c| c.change.value < 0.0).count();
    let significant: Vec<String> = changes.iter().zip(&bounds).filter(|(_, b)| b.high < 0.0).map(|(c, _)| c.cycle.to_string()).collect();
    let is_exact = !changes.is_empty() && changes.iter().all(|c| c.by == By::Exact);
    let effect = pooled.map(|pooled| Effect {
        name: if is_exact { "exact change of E[S] an update".into() } else { "change of E[S] an update, on the same parents".into() },
        estimate: pooled.interval(),
        detectable: pooled.detectable(),
        show: Show::Signed(4),
    });
    let exact = changes.iter().filter(|c| c.by == By::Exact);
    let exact_falls = exact.clone().filter(|c| c.change.value < -ROUNDING).count();
    let rare = exact.clone().next().is_none() || most_falling(exact_falls, exact.count()) < OFTEN;
    let verdict = if changes.is_empty() || (most <= MARGIN && !rare) {
        Verdict::Undecided
    } else if most <= MARGIN {
        Verdict::Holds
    } else if least > 0.0 || slid {
        Verdict::Fails
    } else {
        Verdict::Undecided
    };
    let updates = cycles.iter().any(|c| c.updated);
    let drifts = cycles.iter().filter(|c| c.updated && !c.selected).count();
    // A threshold of elites is nothing to this claim.
    let thresholds = [Assumption::FixedThreshold, Assumption::KnownThreshold];
    let broken: Vec<Assumption> = broken.iter().copied().filter(|assumption| !thresholds.contains(assumption)).collect();
    let there = [(updates, Assumption::Updated), (!changes.is_empty(), Assumption::Overlap)];
    let [updated, overlap] = there;
    let finding = Finding::of(verdict, effect).unless(&[overlap]).supposing(&broken).unless(&[updated]);
    let mut told = told(&changes, pooled, fell, most, &significant);
    if most <= MARGIN && !rare {
        let _ = write!(told, " So many updates are too few to say that fewer than {OFTEN} of them fall.");
    }
    if drifts > 0 && !changes.is_empty() {
        let _ = write!(told, " {drifts} more took all that was trained, so that they selected nothing, and are not judged.");
    }
    let sentence = match finding.broken {
        Some(Assumption::Updated) => "The policy was never updated, so there is no update that could keep its promise.".into(),
        Some(Assumption::FixedObjective) => {
            format!("The novelty filter makes each cycle's objective another one, for which nothing is promised. {told}")
        }
        Some(Assumption::ChosenByQuality) => {
            format!("The elites were chosen by another measure than the quality, for which nothing is promised. {told}")
        }
        Some(Assumption::Overlap) => "No two cycles share a parent, and no samples were scored after an update.".into(),
        _ => told,
    };
    Outcome { finding, sentence, means, changes, pooled }
}

fn told(changes: &[Change], pooled: Option<Uncertain>, fell: usize, most: f64, significant: &[String]) -> String {
    let Some(pooled) = pooled else { return String::new() };
    let all = changes.len();
    let by = |by: By| changes.iter().filter(|c| c.by == by).count();
    if by(By::Exact) == all {
        let falls = if fell == 0 { "it fell in none".to_owned() } else { format!("it fell in {fell}, by {most:.5} together") };
        return format!("Exactly, an update changed E[S] by {:+.4} in the mean of {all}; {falls} (margin {MARGIN}).", pooled.value);
    }
    let e = pooled.interval();
    let mut text = format!("On the same parents an update changed E[S] by {:+.4} [{:+.4}, {:+.4}]", e.value, e.low, e.high);
    let _ = match (by(By::Reweighting), by(By::SameParents)) {
        (weighted, 0) => write!(text, " ({weighted} updates, by reweighting samples)"),
        (0, parents) => write!(text, " ({parents} updates, by the parents that two cycles share)"),
        (weighted, parents) => write!(text, " ({weighted} updates by reweighting samples, {parents} by shared parents)"),
    };
    if let Some(least) = pooled.detectable() {
        let _ = write!(text, "; {least:.4} an update would have been seen");
    }
    let _ = match significant {
        [] => write!(text, "; no single fall is significant, and all together may be as much as {most:.3} (margin {MARGIN})."),
        some => write!(text, "; it fell significantly in cycle {}.", some.join(", ")),
    };
    text
}

impl Outcome {
    /// The finding with its numbers and its plot, ready to be shown.
    pub fn panel(&self) -> Panel {
        let points = self.means.iter().map(|(cycle, mean)| Point {
            x: *cycle as f64,
            y: mean.value,
            interval: mean.low.is_finite().then_some((mean.low, mean.high)),
        });
        let points: Vec<Point> = points.collect();
        let mut numbers: Vec<(String, Cell)> = Vec::new();
        if let Some(pooled) = self.pooled {
            numbers.push(("change an update, mean".into(), pooled.interval().into()));
        }
        numbers.extend(self.changes.iter().map(|c| {
            let by = match c.by {
                By::Exact => "exactly",
                By::Reweighting => "by reweighting",
                By::SameParents => "on shared parents",
            };
            let e = c.change.interval();
            let interval = (c.by != By::Exact).then_some((e.low, e.high));
            (format!("change by the update of cycle {}, {by}", c.cycle), Cell::estimate(e.value, interval, Show::Signed(5)))
        }));
        numbers.extend(self.means.iter().map(|&(cycle, mean)| (format!("mean of the samples, cycle {cycle}"), mean.into())));
        Panel {
            claim: Claim::Improvement,
            title: Claim::Improvement.title().into(),
            finding: self.finding.clone(),
            sentence: self.sentence.clone(),
            numbers,
            plot: (!points.is_empty()).then(|| Plot {
                x_label: "cycle".into(),
                y_label: "mean quality".into(),
                series: vec![Series { name: "mean of the samples, whatever their parents".into(), mark: Mark::Points, points }],
            }),
        }
    }
}
