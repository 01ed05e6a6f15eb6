//! The cross-entropy method on a finite space, exactly: what an unrestricted policy would do with the same elites.
//!
//! With p a distribution over the space and e the empirical distribution of the elites, the CE update is
//! p' = alpha e + (1 - alpha) p. The population version takes for e the distribution p conditioned on S >= gamma.

use super::Estimate;

/// The closed form of the update of a softmax table: v\[j\] = (elites with choice j) / |elites|.
pub fn elite_frequencies(choices: &[usize], options: usize) -> Vec<f64> {
    let mut counts = vec![0.0; options];
    for &choice in choices {
        counts[choice] += 1.0;
    }
    counts.iter().map(|count| count / choices.len().max(1) as f64).collect()
}

/// alpha `new` + (1 - alpha) `old`.
pub fn smooth(new: &[f64], old: &[f64], alpha: f64) -> Vec<f64> {
    new.iter().zip(old).map(|(new, old)| alpha * new + (1.0 - alpha) * old).collect()
}

/// The population CE update; `p` itself where nothing reaches `gamma`.
pub fn update(p: &[f64], quality: &[f64], gamma: f64, alpha: f64) -> Vec<f64> {
    above(p, quality, gamma).map_or_else(|| p.to_vec(), |elite| smooth(&elite, p, alpha))
}

/// `p` given that S >= gamma: the population elites. None where nothing reaches gamma.
pub(crate) fn above(p: &[f64], quality: &[f64], gamma: f64) -> Option<Vec<f64>> {
    let mass = tail(p, quality, gamma);
    (mass > 0.0).then(|| p.iter().zip(quality).map(|(p, &s)| if s >= gamma { p / mass } else { 0.0 }).collect())
}

/// The (1-rho) quantile of the quality under `p`: the highest quality that is reached with at least the probability `rho`.
pub(crate) fn threshold(p: &[f64], quality: &[f64], rho: f64) -> f64 {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| p[i] > 0.0).collect();
    order.sort_by(|&a, &b| quality[b].total_cmp(&quality[a]));
    let mut mass = 0.0;
    let reached = order.iter().find(|&&i| {
        mass += p[i];
        // Sums of many probabilities are rounded.
        mass >= rho - 1e-12
    });
    reached.or(order.last()).map_or(f64::NEG_INFINITY, |&i| quality[i])
}

/// `p` tilted towards quality, p' ~ p exp(beta S), beta such that KL(p' || p) is `nats`, or as much of it as there can be.
pub(crate) fn tilt(p: &[f64], quality: &[f64], nats: f64) -> Vec<f64> {
    let reach = |i: usize| p[i] > 0.0;
    let best = (0..p.len()).filter(|&i| reach(i)).map(|i| quality[i]).fold(f64::NEG_INFINITY, f64::max);
    let with = |beta: f64| {
        let weights: Vec<f64> = p.iter().zip(quality).map(|(p, s)| if *p > 0.0 { p * (beta * (s - best)).exp() } else { 0.0 }).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / total).collect::<Vec<f64>>()
    };
    let far = |beta: f64| kl(&with(beta), p);
    let (mut low, mut high) = (0.0, 1.0);
    while far(high) < nats && high < 1e9 {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if far(middle) < nats {
            low = middle;
        } else {
            high = middle;
        }
    }
    with(f64::midpoint(low, high))
}

/// E\[S\]
pub fn expected(p: &[f64], quality: &[f64]) -> f64 {
    p.iter().zip(quality).map(|(p, s)| p * s).sum()
}

/// P(S >= gamma)
pub fn tail(p: &[f64], quality: &[f64], gamma: f64) -> f64 {
    p.iter().zip(quality).filter(|&(_, &s)| s >= gamma).map(|(p, _)| p).sum()
}

/// In nats.
pub fn entropy(p: &[f64]) -> f64 {
    -p.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

/// KL(p || q) in nats; infinite where q misses something of p.
pub fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).filter(|&(&p, _)| p > 0.0).map(|(p, q)| p * (p / q).ln()).sum()
}

/// How much of the CE update a real update was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Realised {
    /// KL(e || p) before and after.
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// 1 - after / before: 1 where the elites' distribution was reached, 0 where nothing moved towards it.
    pub share: f64,
    /// The alpha whose mixture (1 - alpha) p + alpha e is nearest to the new distribution p'.
    pub alpha: f64,
    /// KL(p' || that mixture), in nats.
    pub distance: f64,
}

/// Compares the new distribution with the mixtures of the old one and the elites.
pub fn realised(elites: &[f64], old: &[f64], new: &[f64]) -> Realised {
    let (before, after) = (kl(elites, old), kl(elites, new));
    // The sum over what is no elite needs one pass: there the mixture is (1 - alpha) p.
    let support: Vec<usize> = (0..elites.len()).filter(|&i| elites[i] > 0.0).collect();
    let mut is_elite = vec![false; elites.len()];
    for &i in &support {
        is_elite[i] = true;
    }
    let rest = |values: &[f64]| (0..values.len()).filter(|&i| !is_elite[i]).map(|i| values[i]).collect::<Vec<f64>>();
    let (others, mass) = (kl(&rest(new), &rest(old)), rest(new).iter().sum::<f64>());
    let distance = |alpha: f64| {
        let of = |&i: &usize| if new[i] > 0.0 { new[i] * (new[i] / ((1.0 - alpha) * old[i] + alpha * elites[i])).ln() } else { 0.0 };
        let outside = if mass > 0.0 { others - mass * (-alpha).ln_1p() } else { 0.0 };
        support.iter().map(of).sum::<f64>() + outside
    };
    // Convex in alpha: golden section.
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..80 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if distance(a) <= distance(b) {
            high = b;
        } else {
            low = a;
        }
    }
    let alpha = [0.0, f64::midpoint(low, high), 1.0].into_iter().min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap_or(0.0);
    Realised { before, after, share: 1.0 - after / before, alpha, distance: distance(alpha) }
}

/// Self-normalised importance sampling: the mean quality under another policy from samples of this one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reweighted {
    /// The mean quality under the other policy, with its bootstrap interval.
    pub mean: Estimate,
    /// (sum w)^2 / sum w^2: how many samples the estimate is worth.
    pub effective_samples: f64,
}

/// exp(log p' - log q) over the largest of them.
pub(crate) fn weights(log_p: &[f64], log_q: &[f64]) -> Vec<f64> {
    let logs: Vec<f64> = log_p.iter().zip(log_q).map(|(p, q)| p - q).collect();
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter().map(|log| (log - most).exp()).collect()
}

/// Weights exp(log p' - log q) of samples drawn from q; None where there are fewer than two or no weight is finite.
pub fn reweighted_mean(quality: &[f64], log_p: &[f64], log_q: &[f64], seed: u64) -> Option<Reweighted> {
    let weights = weights(log_p, log_q);
    let mean = super::statistics::bootstrap(quality.len(), seed, |units| {
        let total: f64 = units.iter().map(|&unit| weights[unit]).sum();
        units.iter().map(|&unit| weights[unit] * quality[unit]).sum::<f64>() / total
    })?;
    Some(Reweighted { mean, effective_samples: effective_samples(&weights) })
}

/// (sum w)^2 / sum w^2; 0 of no samples.
pub(crate) fn effective_samples(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}
