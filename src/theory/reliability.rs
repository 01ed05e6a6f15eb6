//! Claim 6: how reliable the proxy is, in closed form.
//!
//! A proxy score is a + noise. From repeated seeds, `sigma_n`^2 = `MS_within` and `sigma_a`^2 = (`MS_between` - `MS_within`)/k, SNR
//! their ratio. For normal a and noise all else follows from rho = sqrt(SNR/(1+SNR)), the correlation of score and truth:
//! rank correlations, the chance that a pair is ordered rightly, what more seeds bring, how many of the chosen top
//! belong there. Seed noise does not see the bias of short training; pairs of proxy and full training do.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use statrs::distribution::{Continuous, ContinuousCDF, FisherSnedecor};

use super::statistics::{bootstrap, kendall, mean, spearman, standard_normal};
use super::{Assumption, Claim, Effect, Estimate, Finding, Mark, Panel, Plot, Point, Series, Verdict};
use crate::theory::values::{Cell, Show};

/// Correlation of a score with the truth.
pub fn correlation(snr: f64) -> f64 {
    (snr / (1.0 + snr)).sqrt()
}

/// Correlation of two noisy scores of the same truth.
pub fn correlation_of_two(truth: f64, noise_1: f64, noise_2: f64) -> f64 {
    truth / ((truth + noise_1) * (truth + noise_2)).sqrt()
}

/// Spearman's rank correlation of normal variables with correlation `rho`.
pub fn rank_correlation(rho: f64) -> f64 {
    6.0 / PI * (rho / 2.0).asin()
}

/// Kendall's tau of the same.
pub fn tau(rho: f64) -> f64 {
    2.0 / PI * rho.asin()
}

/// The chance that the better of two networks has the better score.
pub fn pair_right(rho: f64) -> f64 {
    0.5 + rho.asin() / PI
}

/// Spearman-Brown: reliability of the mean of `k` scores of reliability `r`.
pub fn reliability_of_mean(r: f64, k: f64) -> f64 {
    k * r / (1.0 + (k - 1.0) * r)
}

/// Seeds needed for reliability `wanted` where one score has `r`.
pub fn seeds_for(r: f64, wanted: f64) -> f64 {
    wanted * (1.0 - r) / (r * (1.0 - wanted))
}

/// The share of the top `share` by score that is in the top `share` by truth:
/// (1/u) times the integral of phi(x) Phi((rho x - z)/sqrt(1-rho^2)) from z = Phi^-1(1-u).
pub fn precision(rho: f64, share: f64) -> f64 {
    if rho >= 1.0 {
        return 1.0;
    }
    let normal = standard_normal();
    let z = normal.inverse_cdf(1.0 - share);
    let f = |x: f64| normal.pdf(x) * normal.cdf((rho * x - z) / (1.0 - rho * rho).sqrt());
    // Simpson's rule; beyond z + 10 nothing is left of phi.
    let (steps, width) = (2000, 10.0);
    let h = width / f64::from(steps);
    let weight = |i: i32| {
        if i == 0 || i == steps {
            1.0
        } else if i % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    (0..=steps).map(|i| weight(i) * f(z + h * f64::from(i))).sum::<f64>() * h / 3.0 / share
}

/// Thorndike's correction: the correlation over all networks from one seen only in a part whose spread of the score is
/// `1 / ratio` of the whole's.
pub fn unrestricted(correlation: f64, ratio: f64) -> f64 {
    correlation * ratio / (1.0 + correlation * correlation * (ratio * ratio - 1.0)).sqrt()
}

/// Variance components of networks trained with several seeds each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Components {
    pub(crate) networks: usize,
    /// Seeds of a network; where they differ, the number that makes the between-mean-square unbiased.
    pub seeds: f64,
    /// Variance of the score of one network over its seeds.
    pub noise: f64,
    /// Variance of the networks' true quality; 0 where the estimate was negative.
    pub truth: f64,
    /// Whether that estimate was negative.
    pub clipped: bool,
    /// `truth / noise` with its interval from the F distribution (exact for normal scores and equal numbers of seeds).
    pub snr: Estimate,
}

/// A network that was trained with several seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repeated {
    /// Name of its parent, which its siblings share.
    pub parent: String,
    /// One a seed.
    pub scores: Vec<f64>,
}

impl Repeated {
    fn mean(&self) -> f64 {
        mean(&self.scores)
    }
}

/// Components of all networks about their common mean. None for fewer than two networks, or where no network has two seeds.
pub fn components(networks: &[Repeated]) -> Option<Components> {
    components_by(networks, |_| "")
}

/// Components of networks about the mean of their siblings: what the proxy tells apart among deltas of one parent.
pub fn within_parent(networks: &[Repeated]) -> Option<Components> {
    components_by(networks, |network| &network.parent)
}

/// Components of the better half, by the mean score. Their spread is a little too small for having been chosen by the score itself.
pub(crate) fn top_half(networks: &[Repeated]) -> Option<Components> {
    let mut ranked: Vec<&Repeated> = networks.iter().filter(|n| !n.scores.is_empty()).collect();
    ranked.sort_by(|a, b| b.mean().total_cmp(&a.mean()));
    ranked.truncate(ranked.len().div_ceil(2));
    components(&ranked.into_iter().cloned().collect::<Vec<_>>())
}

fn components_by(networks: &[Repeated], group: impl Fn(&Repeated) -> &str) -> Option<Components> {
    let mut groups: BTreeMap<&str, Vec<&Repeated>> = BTreeMap::new();
    for network in networks.iter().filter(|network| !network.scores.is_empty()) {
        groups.entry(group(network)).or_default().push(network);
    }
    // A single child has no sibling to be compared with.
    groups.retain(|_, own| own.len() > 1);
    let count = |network: &Repeated| network.scores.len() as f64;
    let (mut between, mut within, mut weighted) = (0.0, 0.0, 0.0);
    let (mut all, mut d1, mut d2) = (0, 0.0, 0.0);
    for own in groups.values() {
        let total: f64 = own.iter().map(|network| count(network)).sum();
        let center = own.iter().flat_map(|network| &network.scores).sum::<f64>() / total;
        between += own.iter().map(|network| count(network) * (network.mean() - center).powi(2)).sum::<f64>();
        within += own.iter().flat_map(|n| n.scores.iter().map(|score| (score - n.mean()).powi(2))).sum::<f64>();
        weighted += total - own.iter().map(|network| count(network).powi(2)).sum::<f64>() / total;
        d1 += own.len() as f64 - 1.0;
        d2 += total - own.len() as f64;
        all += own.len();
    }
    if d1 < 1.0 || d2 < 1.0 {
        return None;
    }
    let (between, noise, seeds) = (between / d1, within / d2, weighted / d1);
    let truth = (between - noise) / seeds;
    let f = between / noise;
    let quantile = FisherSnedecor::new(d1, d2).ok()?;
    let snr = |ratio: f64| ((ratio - 1.0) / seeds).max(0.0);
    let snr = Estimate { value: snr(f), low: snr(f / quantile.inverse_cdf(0.975)), high: snr(f / quantile.inverse_cdf(0.025)) };
    snr.value.is_finite().then_some(Components { networks: all, seeds, noise, truth: truth.max(0.0), clipped: truth < 0.0, snr })
}

/// Scores of networks under the proxy and under full training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// One a network.
    pub proxy: Vec<f64>,
    /// Of the same networks, in the same order.
    pub full: Vec<f64>,
    /// Spread (standard deviation) of the proxy score over all candidates divided by that over these, where only the top
    /// was fully trained; None for a random subsample.
    pub restricted: Option<f64>,
}

/// Bootstrap interval of Spearman's correlation; None where it is not defined.
pub fn observed_rank_correlation(pairs: &Pairs) -> Option<Estimate> {
    bootstrap(pairs.proxy.len().min(pairs.full.len()), 6, |units| {
        let pick = |scores: &[f64]| units.iter().map(|&unit| scores[unit]).collect::<Vec<f64>>();
        spearman(&pick(&pairs.proxy), &pick(&pairs.full))
    })
}

/// What repeated and full trainings say of claim 6.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its effect is the weakest SNR among all networks, the top half and siblings.
    pub finding: Finding,
    /// The finding in words, with the numbers behind it.
    pub sentence: String,
    /// Of all networks; None where no two have several seeds that differ.
    pub components: Option<Components>,
    pub(crate) top_half: Option<Components>,
    pub(crate) within_parent: Option<Components>,
    /// Rank correlation of proxy and full training; None where it is not defined.
    pub observed: Option<Estimate>,
    numbers: Vec<(String, Cell)>,
    plot: Option<Plot>,
}

/// SNR from which a proxy is called reliable, and below which it is called unreliable.
pub(crate) const RELIABLE: f64 = 9.0;
pub(crate) const UNRELIABLE: f64 = 1.0;

/// `elite_share` is rho of the run: the share whose precision is reported. The verdict is by the bounds of the least SNR: among all, in
/// the top half (broken networks are easy to tell, and elites are not chosen among them), and among siblings.
pub fn judge(networks: &[Repeated], pairs: &Pairs, elite_share: f64) -> Outcome {
    let components = components(networks);
    let (top_half, within_parent) = (top_half(networks), within_parent(networks));
    let observed = observed_rank_correlation(pairs);
    let mut numbers = Vec::new();
    let mut add = |what: &str, value: Cell| numbers.push((what.to_owned(), value));
    let digits = |value: f64| Cell::number(value, Show::Fixed(3));
    let among = [("all networks", components), ("the top half", top_half), ("siblings", within_parent)];
    let known = || among.iter().filter_map(|(name, c)| Some((*name, (*c)?)));
    let weakest = known().min_by(|a, b| a.1.snr.low.total_cmp(&b.1.snr.low));
    let (finding, mut sentence) = if let Some((c, (name, weakest))) = components.zip(weakest) {
        let rho = correlation(c.snr.value);
        let seeds = seeds_for(rho * rho, 0.9).ceil();
        add("networks", c.networks.into());
        add("seeds a network", Cell::number(c.seeds, Show::Fixed(1)));
        add("standard deviation of the noise", Cell::number(c.noise.sqrt(), Show::Fixed(4)));
        let clipped = if c.clipped { " (negative estimate, set to 0)" } else { "" };
        add(&format!("standard deviation of the networks{clipped}"), Cell::number(c.truth.sqrt(), Show::Fixed(4)));
        for (name, c) in known() {
            add(&format!("SNR among {name}"), c.snr.into());
        }
        add("correlation with the truth", digits(rho));
        add("rank correlation of two scores, predicted", digits(rank_correlation(rho * rho)));
        add("rank correlation with the truth, predicted", digits(rank_correlation(rho)));
        add("Kendall's tau with the truth, predicted", digits(tau(rho)));
        add("a pair is ordered rightly", digits(pair_right(rho)));
        add(&format!("precision of the top {elite_share}"), digits(precision(rho, elite_share)));
        if seeds.is_finite() {
            add("seeds for a reliability of 0.9", Cell::number(seeds, Show::Fixed(0)));
        }
        let effect = Effect { name: format!("SNR among {name}"), estimate: weakest.snr, detectable: None, show: Show::Fixed(2) };
        let finding = Finding::bounded(effect, RELIABLE, UNRELIABLE);
        let is = match finding.verdict {
            Verdict::Holds => "The proxy is reliable",
            Verdict::Fails => "The proxy is unreliable: noise is larger than the differences between networks",
            _ if weakest.snr.low >= UNRELIABLE => "The proxy is at least weak",
            _ => "The repeats do not tell whether the proxy is reliable",
        };
        let snrs: Vec<String> =
            known().map(|(name, c)| format!("{:.2} [{:.2}, {:.2}] among {name}", c.snr.value, c.snr.low, c.snr.high)).collect();
        let sentence = format!(
            "{is}: SNR is {}. By the first, a pair of networks is ordered rightly with probability {:.2}, and {:.0}% of the chosen elites \
                 belong there.",
            snrs.join(", "),
            pair_right(rho),
            100.0 * precision(rho, elite_share)
        );
        (finding, sentence)
    } else {
        let why = "No two networks have several seeds that differ, so noise cannot be told from difference.";
        (Finding::broken(Assumption::Repeats, None), why.to_owned())
    };
    if let Some(observed) = observed {
        numbers.push(("rank correlation of proxy and full training, observed".into(), observed.into()));
        numbers.push(("Kendall's tau, observed".into(), digits(kendall(&pairs.proxy, &pairs.full))));
        sentence.push_str(&observed_text(observed, pairs.restricted));
    }
    let points: Vec<Point> = pairs.proxy.iter().zip(&pairs.full).map(|(&x, &y)| Point { x, y, interval: None }).collect();
    let plot = (!points.is_empty()).then(|| Plot {
        x_label: "quality by the proxy".into(),
        y_label: "after full training".into(),
        series: vec![Series { name: "network".into(), mark: Mark::Points, points }],
    });
    Outcome { finding, sentence, components, top_half, within_parent, observed, numbers, plot }
}

fn observed_text(observed: Estimate, restricted: Option<f64>) -> String {
    let seen =
        format!(" Observed rank correlation of proxy and full training: {:.2} [{:.2}, {:.2}]", observed.value, observed.low, observed.high);
    match restricted {
        Some(ratio) => format!("{seen} in the top only, {:.2} when the restriction is undone.", unrestricted(observed.value, ratio)),
        None => format!("{seen}, in a random subsample."),
    }
}

impl Outcome {
    /// The finding with its numbers and its plot, ready to be shown.
    pub fn panel(&self) -> Panel {
        Panel {
            claim: Claim::Reliability,
            title: Claim::Reliability.title().into(),
            finding: self.finding.clone(),
            sentence: self.sentence.clone(),
            numbers: self.numbers.clone(),
            plot: self.plot.clone(),
        }
    }
}
