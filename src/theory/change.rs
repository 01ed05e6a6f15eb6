//! What an update did to a policy, from what the cycle sampled and the log-probabilities of that before and after: no enumeration is
//! needed, so a run has these numbers as an audit has them.
//!
//! With p the policy before, p' after, q what was sampled from (p itself but for a temperature or a mask), e the tuned examples:
//!
//! - share realised `(NLL - NLL') / (NLL - H(e))`, NLL the mean of -log p(d|a) over e: 1 is the cross-entropy update;
//! - `KL(p' || p) = sum_i w_i K_i / sum_i w_i`, `w_i = p'(d_i|a_i) / q(d_i|a_i)`, `K_i = sum_t KL(p'(.|a_i, d_i<t) || p(.|a_i, d_i<t))`:
//!   the chain rule of the divergence, each token's part exact (Rao-Blackwell), and only the prefixes sampled;
//! - Price's equation (1970): `E'[S] - E[S] = Cov_p(p'/p, S)`, a sum over the samples, so what examples of the update contribute
//!   (memorised) and what all others do (generalised) can be told apart.

use std::collections::BTreeMap;

use super::finite::{effective_samples, weights};

/// Of examples the prompt (the parent), the completion (the delta) and the weight: `H(e(d|a))` in nats, the mean negative log-likelihood
/// that no policy gets below. 0 of no examples.
pub fn conditional_entropy<P: Ord, D: Ord>(examples: &[(P, D, f64)]) -> f64 {
    let (mut of_prompt, mut of_pair) = (BTreeMap::new(), BTreeMap::new());
    let mut total = 0.0;
    for (prompt, completion, weight) in examples {
        *of_prompt.entry(prompt).or_insert(0.0) += weight;
        *of_pair.entry((prompt, completion)).or_insert(0.0) += weight;
        total += weight;
    }
    let part = |((prompt, _), weight): (&(&P, &D), &f64)| if *weight > 0.0 { weight * f64::ln(of_prompt[prompt] / weight) } else { 0.0 };
    if total > 0.0 { of_pair.iter().map(part).sum::<f64>() / total } else { 0.0 }
}

/// The share of the cross-entropy update that was realised; None where there was nothing left to realise.
pub fn share(before: f64, now: f64, floor: f64) -> Option<f64> {
    // Losses are sums of f32.
    (before - floor > 1e-6 * before.abs().max(1.0)).then(|| (before - now) / (before - floor))
}

/// KL(p' || p) in nats, and the samples that the estimate is worth; None of no samples. `steps` are the `K_i`.
pub(crate) fn divergence(now: &[f64], log_q: &[f64], steps: &[f64]) -> Option<(f64, f64)> {
    let weights = weights(now, log_q);
    let total: f64 = weights.iter().sum();
    let kl = weights.iter().zip(steps).map(|(weight, step)| weight * step).sum::<f64>() / total;
    kl.is_finite().then(|| (kl, effective_samples(&weights)))
}

/// The change of the mean quality in two parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Price {
    /// Of the samples that were tuned on.
    pub(crate) memorised: f64,
    /// Of all others.
    pub(crate) generalised: f64,
}

/// A sample that has a quality.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weighed {
    pub(crate) quality: f64,
    pub(crate) log_q: f64,
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// Whether the update was tuned on what it says, by this sample or by another.
    pub(crate) tuned: bool,
}

/// Price's split, self-normalised: with `u_i` the share of sample i in `p/q`, `v_i` that in `p'/q`, and m the mean quality under u,
/// the parts are sums of `(v_i - u_i) (S_i - m)`. None of fewer than two samples, or where no weight is finite.
pub(crate) fn price(samples: &[Weighed]) -> Option<Price> {
    let of = |log_p: fn(&Weighed) -> f64| {
        let logs: Vec<f64> = samples.iter().map(log_p).collect();
        let all = weights(&logs, &samples.iter().map(|s| s.log_q).collect::<Vec<_>>());
        let total: f64 = all.iter().sum();
        all.into_iter().map(|w| w / total).collect::<Vec<_>>()
    };
    let (before, after) = (of(|s| s.before), of(|s| s.after));
    let mean: f64 = before.iter().zip(samples).map(|(u, s)| u * s.quality).sum();
    let part = |tuned: bool| -> f64 {
        let terms = before.iter().zip(&after).zip(samples).filter(|(_, s)| s.tuned == tuned);
        terms.map(|((u, v), s)| (v - u) * (s.quality - mean)).sum()
    };
    let price = Price { memorised: part(true), generalised: part(false) };
    (samples.len() >= 2 && (price.memorised + price.generalised).is_finite()).then_some(price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theory::finite;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} for {b}");
    }

    #[test]
    fn the_floor_of_the_loss_is_what_the_empirical_distribution_itself_has() {
        // Ten of one prompt, all different; half of them twice of another.
        close(conditional_entropy(&(0..10).map(|i| (0, i, 1.0)).collect::<Vec<_>>()), 10f64.ln());
        let two = [(0, 7, 1.0), (0, 7, 1.0), (0, 8, 2.0), (1, 7, 4.0)];
        close(conditional_entropy(&two), 0.5 * 2f64.ln());
        close(conditional_entropy(&[(3, 3, 0.5), (3, 4, 0.0)]), 0.0);
    }

    #[test]
    fn the_share_from_losses_is_the_one_from_divergences() {
        // p, the elites' shares, and what an update made of p.
        let (p, e, now) = ([0.1, 0.2, 0.3, 0.4], [0.5, 0.25, 0.25, 0.0], [0.2, 0.25, 0.25, 0.3]);
        let nll = |p: &[f64]| -e.iter().zip(p).map(|(e, p): (&f64, &f64)| e * p.ln()).sum::<f64>();
        let found = share(nll(&p), nll(&now), finite::entropy(&e)).unwrap();
        close(found, finite::realised(&e, &p, &now).share);
        close(share(nll(&p), finite::entropy(&e), finite::entropy(&e)).unwrap(), 1.0);
        assert_eq!(share(1.5, 1.5, 1.5), None);
    }

    /// Sequences of two tokens of three: `first[i] * second[i][j]`.
    struct Chain {
        first: [f64; 3],
        second: [[f64; 3]; 3],
    }

    const BEFORE: Chain = Chain { first: [0.2, 0.5, 0.3], second: [[0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.8, 0.1, 0.1]] };
    const AFTER: Chain = Chain { first: [0.5, 0.3, 0.2], second: [[0.3, 0.6, 0.1], [0.1, 0.3, 0.6], [0.5, 0.25, 0.25]] };

    impl Chain {
        fn p(&self, at: usize) -> f64 {
            self.first[at / 3] * self.second[at / 3][at % 3]
        }

        fn all(&self) -> Vec<f64> {
            (0..9).map(|at| self.p(at)).collect()
        }
    }

    #[test]
    fn the_divergence_over_a_sample_of_every_sequence_by_its_probability_is_exact() {
        // Each sequence as often as 1000 q says, so that the estimate has no noise.
        let q = [100, 150, 50, 200, 100, 100, 100, 150, 50].map(|n: usize| n);
        let sample: Vec<usize> = (0..9).flat_map(|at| std::iter::repeat_n(at, q[at])).collect();
        let steps: Vec<f64> = sample
            .iter()
            .map(|at| finite::kl(&AFTER.first, &BEFORE.first) + finite::kl(&AFTER.second[at / 3], &BEFORE.second[at / 3]))
            .collect();
        let now: Vec<f64> = sample.iter().map(|at| AFTER.p(*at).ln()).collect();
        let log_q: Vec<f64> = sample.iter().map(|at| (q[*at] as f64 / 1000.0).ln()).collect();
        let (kl, worth) = divergence(&now, &log_q, &steps).unwrap();
        close(kl, finite::kl(&AFTER.all(), &BEFORE.all()));
        assert!(worth > 100.0 && worth < 1000.0, "{worth}");
        assert_eq!(divergence(&[], &[], &[]), None);
    }

    #[test]
    fn prices_parts_add_up_to_the_change_of_the_mean() {
        let quality = [0.1, 0.9, 0.4, 0.3, 0.8, 0.2, 0.6, 0.5, 0.7];
        let sample = |at: usize| Weighed {
            quality: quality[at],
            // A flat sample of every sequence once: q is 1/9.
            log_q: -(9f64.ln()),
            before: BEFORE.p(at).ln(),
            after: AFTER.p(at).ln(),
            tuned: [1, 4].contains(&at),
        };
        let samples: Vec<Weighed> = (0..9).map(sample).collect();
        let found = price(&samples).unwrap();
        let mean = |p: &[f64]| finite::expected(p, &quality);
        let (before, after) = (BEFORE.all(), AFTER.all());
        close(found.memorised + found.generalised, mean(&after) - mean(&before));
        let own: f64 = [1, 4].iter().map(|&at| (after[at] - before[at]) * (quality[at] - mean(&before))).sum();
        close(found.memorised, own);
        assert_eq!(price(&samples[..1]), None);
    }
}
