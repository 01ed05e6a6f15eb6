//! How much each example of an update weighs, by its quality. Equal weights on the best are the cross-entropy method's; the others are
//! of its relatives, and an update with them is not the cross-entropy update.
//!
//! ```text
//! entropic  w_i ~ exp(beta S_i) over all that has a quality, KL(w || 1/N) = -ln rho     (REPS: Peters et al. 2010)
//! rank      w_i ~ ln(mu + 1/2) - ln i, i the rank among the mu elites                  (CMA-ES: Hansen 2016)
//! ```
//!
//! The entropic weights take as much information as truncation to the share rho does, whose divergence from the N samples is -ln rho
//! too; they are the weights of highest mean quality that do.

use crate::config::EliteWeights;

/// The weights of examples by their qualities, summing to 1; empty where all weigh the same. `samples` is N.
pub(crate) fn of(kind: EliteWeights, quality: &[f64], rho: f64, samples: usize) -> Vec<f64> {
    match kind {
        EliteWeights::Truncation => Vec::new(),
        EliteWeights::Entropic => entropic(quality, -rho.ln(), samples),
        EliteWeights::Rank => rank(quality),
    }
}

fn entropic(quality: &[f64], divergence: f64, samples: usize) -> Vec<f64> {
    let best = quality.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let worst = quality.iter().copied().fold(f64::INFINITY, f64::min);
    let weights = |beta: f64| -> Vec<f64> {
        let all: Vec<f64> = quality.iter().map(|s| (beta * (s - best)).exp()).collect();
        let total: f64 = all.iter().sum();
        all.into_iter().map(|w| w / total).collect()
    };
    let kl = |weights: &[f64]| weights.iter().filter(|w| **w > 0.0).map(|w| w * (w * samples as f64).ln()).sum::<f64>();
    // That the invalid ones weigh nothing may be enough already.
    if best <= worst || kl(&weights(0.0)) >= divergence {
        return weights(0.0);
    }
    // Beyond it only the best count, whose weights are equal.
    let most = 1e4 / (best - worst);
    let (mut low, mut high) = (0.0, most);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if kl(&weights(middle)) < divergence { low = middle } else { high = middle }
    }
    weights(high)
}

/// Equal ones share the mean of their places.
fn rank(quality: &[f64]) -> Vec<f64> {
    let mu = quality.len() as f64;
    let of_rank = |rank: usize| (mu + 0.5).ln() - ((rank + 1) as f64).ln();
    let raw: Vec<f64> = quality
        .iter()
        .map(|own| {
            let above = quality.iter().filter(|other| *other > own).count();
            let equal = quality.iter().filter(|other| *other == own).count();
            (above..above + equal).map(of_rank).sum::<f64>() / equal as f64
        })
        .collect();
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} for {b}");
    }

    #[test]
    fn entropic_weights_are_exponential_and_take_as_much_as_truncation() {
        let quality: Vec<f64> = (0..40).map(|i| 0.5 + 0.3 * (1.7 * f64::from(i)).sin()).collect();
        let found = of(EliteWeights::Entropic, &quality, 0.2, 50);
        close(found.iter().sum(), 1.0);
        close(found.iter().map(|w| w * (w * 50.0).ln()).sum(), 5f64.ln());
        // Exponential: the logarithm of a ratio is beta times the difference, the same beta for all.
        let beta = (found[1] / found[0]).ln() / (quality[1] - quality[0]);
        assert!(beta > 0.0);
        for (w, s) in found.iter().zip(&quality) {
            assert!(((w / found[0]).ln() - beta * (s - quality[0])).abs() < 1e-6);
        }
        // Of all weights with this divergence the mean is highest: above truncation's.
        let mean: f64 = found.iter().zip(&quality).map(|(w, s)| w * s).sum();
        let mut best = quality.clone();
        best.sort_by(f64::total_cmp);
        assert!(mean > best[30..].iter().sum::<f64>() / 10.0);
    }

    #[test]
    fn entropic_weights_of_few_of_equals_and_of_many_best() {
        // Ten valid of fifty: the share is there without any weighting.
        for w in of(EliteWeights::Entropic, &[0.1, 0.5, 0.3, 0.9, 0.2, 0.4, 0.6, 0.8, 0.7, 0.0], 0.2, 50) {
            close(w, 0.1);
        }
        assert_eq!(of(EliteWeights::Entropic, &[0.4, 0.4], 0.2, 4), [0.5, 0.5]);
        // More are best than the share: they alone count.
        let found = of(EliteWeights::Entropic, &[0.9, 0.9, 0.9, 0.1], 0.25, 4);
        for w in &found[..3] {
            close(*w, 1.0 / 3.0);
        }
        assert!(found[3] < 1e-12 && of(EliteWeights::Entropic, &[], 0.2, 4).is_empty());
    }

    #[test]
    fn ranks_weigh_as_in_cma_es_and_equals_the_same() {
        let found = of(EliteWeights::Rank, &[0.5, 0.9, 0.7], 0.2, 15);
        let raw = [3.5f64.ln() - 3f64.ln(), 3.5f64.ln(), 3.5f64.ln() - 2f64.ln()];
        let total: f64 = raw.iter().sum();
        for (w, raw) in found.iter().zip(raw) {
            close(*w, raw / total);
        }
        let tied = of(EliteWeights::Rank, &[0.5, 0.9, 0.9], 0.2, 15);
        close(tied[1], f64::midpoint(raw[1], raw[2]) / total);
        close(tied[1], tied[2]);
        assert!(of(EliteWeights::Truncation, &[0.5, 0.9], 0.2, 15).is_empty());
    }
}
