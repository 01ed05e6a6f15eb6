//! Learning rate of a step: a linear rise over the first tenth (one epoch at most), then a cosine to zero.

/// The rate of `step` (from 0) of `total`, with `epoch` steps in an epoch.
#[must_use]
pub(crate) fn rate(peak: f64, step: usize, total: usize, epoch: usize) -> f64 {
    let rise = total.div_ceil(10).min(epoch).max(1);
    if step < rise {
        return peak * (step + 1) as f64 / rise as f64;
    }
    let progress = (step - rise) as f64 / (total - rise).max(1) as f64;
    peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rises_to_the_peak_then_falls_towards_zero() {
        let rates: Vec<f64> = (0..100).map(|step| rate(1.0, step, 100, 50)).collect();
        assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[9] - 1.0).abs() < 1e-12 && (rates[10] - 1.0).abs() < 1e-12);
        assert!(rates[10..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[99] > 0.0 && rates[99] < 1e-3);
    }

    #[test]
    fn a_single_step_has_the_peak_rate() {
        assert_eq!(rate(0.3, 0, 1, 1), 0.3);
    }
}
