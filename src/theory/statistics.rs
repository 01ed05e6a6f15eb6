//! Estimators that the claims share. Intervals are 95% throughout; randomness comes from named seeds only.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::base::seed;

/// Two-sided 95% point of the standard normal.
pub(crate) const Z95: f64 = 1.959_963_984_540_054;

/// The place of the upper end of a 95% interval.
pub(crate) const LEVEL95: f64 = 0.975;

/// The probability with which an effect shall be found that is called detectable.
pub(crate) const POWER: f64 = 0.8;

/// Bootstrap resamples behind every interval and test.
pub(crate) const RESAMPLES: usize = 2000;

/// A value with the ends of its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The point estimate; NaN of a share of nothing.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// Whether the interval contains a value, its ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4} [{:.4}, {:.4}]", self.value, self.low, self.high)
    }
}

pub(crate) fn standard_normal() -> Normal {
    Normal::new(0.0, 1.0).expect("the standard normal exists")
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Unbiased; 0 of fewer than two values.
pub(crate) fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Linear interpolation between order statistics: the value at place `share * (n - 1)` of the sorted values.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted_quantile(&sorted, share)
}

fn sorted_quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = place.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// Bootstrap interval (`BCa`) of a statistic of `n` exchangeable units; the statistic is told which units to use.
///
/// The levels are widened so that for a mean the interval is as wide as Student's, not narrower by sqrt((n-1)/n) and by
/// the normal quantile (Hesterberg 2015); without it small samples are covered too rarely. None where the statistic
/// is not finite or there are fewer than two units.
pub(crate) fn bootstrap(n: usize, seed: u64, statistic: impl Fn(&[usize]) -> f64) -> Option<Estimate> {
    bootstrap_at(n, seed, LEVEL95, statistic)
}

/// [`bootstrap`] whose interval leaves out `1 - level` at either end.
fn bootstrap_at(n: usize, seed: u64, level: f64, statistic: impl Fn(&[usize]) -> f64) -> Option<Estimate> {
    let all: Vec<usize> = (0..n).collect();
    let value = statistic(&all);
    if n < 2 || !value.is_finite() {
        return None;
    }
    let mut rng = seed::rng(seed, "bootstrap", &[n as u64]);
    let mut units = all.clone();
    let mut draws: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            resample(&mut units, &mut rng);
            statistic(&units)
        })
        .filter(|draw| draw.is_finite())
        .collect();
    if draws.len() < RESAMPLES / 2 {
        return None;
    }
    draws.sort_unstable_by(f64::total_cmp);

    let normal = standard_normal();
    let below = draws.partition_point(|&draw| draw < value);
    let equal = draws.partition_point(|&draw| draw <= value) - below;
    let share = (below as f64 + 0.5 * equal as f64) / draws.len() as f64;
    let bias = normal.inverse_cdf(share.clamp(1e-3, 1.0 - 1e-3));
    let acceleration = acceleration(&all, &statistic);
    let student = StudentsT::new(0.0, 1.0, (n - 1) as f64).expect("n is at least 2").inverse_cdf(level);
    let z = student * (n as f64 / (n - 1) as f64).sqrt();
    let end = |z: f64| sorted_quantile(&draws, normal.cdf(bias + (bias + z) / (1.0 - acceleration * (bias + z)).max(0.1)));
    Some(Estimate { value, low: end(-z).min(value), high: end(z).max(value) })
}

/// Skewness of the jackknife values over 6: how fast the spread of the statistic changes with its value.
fn acceleration(all: &[usize], statistic: impl Fn(&[usize]) -> f64) -> f64 {
    let left_out: Vec<f64> = (0..all.len())
        .map(|out| {
            let kept: Vec<usize> = all.iter().copied().filter(|&unit| unit != out).collect();
            statistic(&kept)
        })
        .filter(|value| value.is_finite())
        .collect();
    if left_out.is_empty() {
        return 0.0;
    }
    let center = mean(&left_out);
    let squares: f64 = left_out.iter().map(|value| (center - value).powi(2)).sum();
    let cubes: f64 = left_out.iter().map(|value| (center - value).powi(3)).sum();
    if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
}

fn resample(units: &mut [usize], rng: &mut ChaCha8Rng) {
    let n = units.len();
    for unit in units {
        *unit = rng.random_range(0..n);
    }
}

/// [`bootstrap`] of the mean.
pub fn mean_interval(values: &[f64], seed: u64) -> Option<Estimate> {
    mean_interval_at(values, seed, LEVEL95)
}

/// [`mean_interval`] that leaves out `1 - level` at either end.
pub(crate) fn mean_interval_at(values: &[f64], seed: u64, level: f64) -> Option<Estimate> {
    bootstrap_at(values.len(), seed, level, |units| units.iter().map(|&unit| values[unit]).sum::<f64>() / units.len() as f64)
}

/// [`bootstrap`] of the median; None of fewer than two.
pub(crate) fn median_interval(values: &[f64], seed: u64) -> Option<Estimate> {
    if values.len() < 2 {
        return None;
    }
    bootstrap(values.len(), seed, |units| quantile(&units.iter().map(|&unit| values[unit]).collect::<Vec<_>>(), 0.5))
}

/// Interval of the mean of a few independent values, as one a seed: [`mean_interval`] from eight on, below that Student's, since no
/// resample of a few values leaves their range. None of fewer than two.
pub fn few_interval(values: &[f64], seed: u64) -> Option<Estimate> {
    few_interval_at(values, seed, LEVEL95)
}

/// [`few_interval`] that leaves out `1 - level` at either end.
pub(crate) fn few_interval_at(values: &[f64], seed: u64, level: f64) -> Option<Estimate> {
    let n = values.len();
    if n >= 8 {
        return mean_interval_at(values, seed, level);
    }
    let student = StudentsT::new(0.0, 1.0, n.checked_sub(1)? as f64).ok()?.inverse_cdf(level);
    let (value, half) = (mean(values), student * (variance(values) / n as f64).sqrt());
    Some(Estimate { value, low: value - half, high: value + half })
}

/// Student's quantile; the normal's where there are infinitely many degrees of freedom.
pub(crate) fn student(freedom: f64, level: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom) {
        Ok(student) if freedom < 1e6 => student.inverse_cdf(level),
        _ => standard_normal().inverse_cdf(level),
    }
}

/// An estimate by its standard error and the degrees of freedom behind the error. What is exact has the error 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uncertain {
    /// The point estimate.
    pub value: f64,
    pub(crate) error: f64,
    pub(crate) freedom: f64,
}

impl Uncertain {
    pub(crate) const fn exact(value: f64) -> Self {
        Self { value, error: 0.0, freedom: f64::INFINITY }
    }

    /// The mean of independent values, one a cluster; None of fewer than two.
    pub(crate) fn mean(values: &[f64]) -> Option<Self> {
        let n = values.len();
        (n > 1).then(|| Self { value: mean(values), error: (variance(values) / n as f64).sqrt(), freedom: (n - 1) as f64 })
    }

    /// Of the difference of two independent estimates (Welch).
    #[must_use]
    pub(crate) fn minus(self, other: Self) -> Self {
        let (a, b) = (self.error.powi(2), other.error.powi(2));
        let freedom = if a + b > 0.0 { (a + b).powi(2) / (a * a / self.freedom + b * b / other.freedom) } else { f64::INFINITY };
        Self { value: self.value - other.value, error: (a + b).sqrt(), freedom }
    }

    /// The interval that leaves out `1 - level` at either end.
    pub(crate) fn interval_at(self, level: f64) -> Estimate {
        let half = if self.error == 0.0 { 0.0 } else { self.error * student(self.freedom, level) };
        Estimate { value: self.value, low: self.value - half, high: self.value + half }
    }

    /// The 95% interval by Student's distribution.
    pub fn interval(self) -> Estimate {
        self.interval_at(LEVEL95)
    }

    /// The least true difference from zero that a two-sided test at 5% finds with a probability of 80%; None of what is exact.
    pub(crate) fn detectable(self) -> Option<f64> {
        (self.error > 0.0 && self.freedom > 0.0).then(|| self.error * detectable(self.freedom, LEVEL95))
    }
}

/// The probability that Student's two-sided test at `level` (its upper end) finds an effect of `effect` standard errors.
pub(crate) fn power(effect: f64, freedom: f64, level: f64) -> f64 {
    let (normal, critical) = (standard_normal(), student(freedom, level));
    let at = |ratio: f64| normal.cdf(effect - critical * ratio) + normal.cdf(-effect - critical * ratio);
    if freedom >= 1e6 {
        return at(1.0);
    }
    // Over the ratio of the estimated to the true spread, whose square is chi-squared over its freedom.
    let log_density = |ratio: f64| freedom * ratio.ln() - freedom * ratio * ratio / 2.0 - ratio.ln();
    let spread = 1.0 / (2.0 * freedom).sqrt();
    let (low, high) = ((1.0 - 9.0 * spread).max(1e-6), 1.0 + 9.0 * spread);
    let steps = 400;
    let width = (high - low) / f64::from(steps);
    let peak = log_density(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    for step in 0..steps {
        let ratio = low + width * (f64::from(step) + 0.5);
        let density = (log_density(ratio) - peak).exp();
        (sum, weight) = (sum + density * at(ratio), weight + density);
    }
    sum / weight
}

/// The effect, in standard errors, that is found with the probability [`POWER`].
pub(crate) fn detectable(freedom: f64, level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while power(high, freedom, level) < POWER && high < 1e6 {
        high *= 2.0;
    }
    for _ in 0..30 {
        let middle = f64::midpoint(low, high);
        if power(middle, freedom, level) < POWER {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How many paired runs find a mean difference of `difference` where the differences have the standard deviation `spread`; None beyond
/// `most`.
pub(crate) fn runs_for(difference: f64, spread: f64, level: f64, most: u64) -> Option<u64> {
    let enough = |runs: u64| power(difference / spread * (runs as f64).sqrt(), runs as f64 - 1.0, level) >= POWER;
    let mut high = 2;
    while !enough(high) {
        if high >= most {
            return None;
        }
        high = (2 * high).min(most);
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = u64::midpoint(low, high);
        if enough(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// A statistic of independent clusters by the jackknife: the statistic of all and of all but each one. None for fewer than two clusters
/// or where one of them is not finite.
pub(crate) fn jackknife(clusters: usize, statistic: impl Fn(Option<usize>) -> f64) -> Option<Uncertain> {
    let value = statistic(None);
    let left_out: Vec<f64> = (0..clusters).map(|out| statistic(Some(out))).collect();
    if clusters < 2 || !value.is_finite() || left_out.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let n = clusters as f64;
    let center = mean(&left_out);
    let squares: f64 = left_out.iter().map(|v| (v - center).powi(2)).sum();
    Some(Uncertain { value, error: ((n - 1.0) / n * squares).sqrt(), freedom: n - 1.0 })
}

/// Interval of `a - b` for independent estimates, from their own intervals (the square-and-add method).
pub fn difference_of(a: Estimate, b: Estimate) -> Estimate {
    let value = a.value - b.value;
    let low = value - ((a.value - a.low).powi(2) + (b.high - b.value).powi(2)).sqrt();
    let high = value + ((a.high - a.value).powi(2) + (b.value - b.low).powi(2)).sqrt();
    Estimate { value, low, high }
}

/// Wilson's score interval of a share; the whole of [0, 1] where nothing was tried.
pub fn wilson(successes: u64, trials: u64) -> Estimate {
    wilson_of(successes as f64, trials as f64)
}

/// [`wilson`] of counts that stand for others and need not be whole.
pub(crate) fn wilson_of(successes: f64, trials: f64) -> Estimate {
    if trials == 0.0 {
        return Estimate { value: f64::NAN, low: 0.0, high: 1.0 };
    }
    let (n, share, z) = (trials, successes / trials, Z95);
    let z2 = z * z;
    let center = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    Estimate { value: share, low: (center - half).max(0.0), high: (center + half).min(1.0) }
}

/// Ranks from 1; equal values share the mean of their ranks.
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let equal = order[first..].iter().take_while(|&&place| values[place] == values[order[first]]).count();
        for &place in &order[first..first + equal] {
            ranks[place] = first as f64 + f64::midpoint(equal as f64, 1.0);
        }
        first += equal;
    }
    ranks
}

/// Pearson's correlation; NaN where one side does not vary.
pub(crate) fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let (mx, my) = (mean(x), mean(y));
    let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(&a, &b)| f(a - mx, b - my)).sum::<f64>();
    let (xy, xx, yy) = (sum(&|a, b| a * b), sum(&|a, _| a * a), sum(&|_, b| b * b));
    if xx > 0.0 && yy > 0.0 { (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0) } else { f64::NAN }
}

/// Spearman's rank correlation.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    pearson(&ranks(x), &ranks(y))
}

/// Kendall's tau-b.
pub(crate) fn kendall(x: &[f64], y: &[f64]) -> f64 {
    let (mut score, mut in_x, mut in_y) = (0.0, 0.0, 0.0);
    for i in 0..x.len() {
        for j in 0..i {
            let sign = |difference: f64| if difference == 0.0 { 0.0 } else { difference.signum() };
            let (a, b) = (sign(x[i] - x[j]), sign(y[i] - y[j]));
            score += a * b;
            in_x += a * a;
            in_y += b * b;
        }
    }
    if in_x > 0.0 && in_y > 0.0 { score / f64::sqrt(in_x * in_y) } else { f64::NAN }
}

/// A straight line by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub(crate) intercept: f64,
    /// With Student's interval of n - 2 degrees of freedom.
    pub slope: Estimate,
    pub(crate) r_squared: f64,
}

/// Fits y = intercept + slope x; None for fewer than three points or where x does not vary.
pub fn line(x: &[f64], y: &[f64]) -> Option<Line> {
    let n = x.len();
    let (mx, my) = (mean(x), mean(y));
    let xx: f64 = x.iter().map(|a| (a - mx).powi(2)).sum();
    if n < 3 || xx == 0.0 {
        return None;
    }
    let slope = x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my)).sum::<f64>() / xx;
    let intercept = my - slope * mx;
    let residual: f64 = x.iter().zip(y).map(|(a, b)| (b - intercept - slope * a).powi(2)).sum();
    let total: f64 = y.iter().map(|b| (b - my).powi(2)).sum();
    let error = (residual / (n - 2) as f64 / xx).sqrt();
    let half = error * StudentsT::new(0.0, 1.0, (n - 2) as f64).ok()?.inverse_cdf(0.975);
    let r_squared = if total > 0.0 { 1.0 - residual / total } else { 1.0 };
    Some(Line { intercept, slope: Estimate { value: slope, low: slope - half, high: slope + half }, r_squared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_interpolates() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 1.0), 3.0);
    }

    #[test]
    fn wilson_has_its_textbook_values() {
        // 10 of 50: from the quadratic formula by hand.
        let share = wilson(10, 50);
        assert!((share.low - 0.112_4).abs() < 1e-4 && (share.high - 0.330_4).abs() < 1e-4, "{share}");
        assert_eq!(wilson(0, 20).low, 0.0);
        assert_eq!((wilson(0, 0).low, wilson(0, 0).high), (0.0, 1.0));
    }

    #[test]
    fn the_detectable_difference_is_the_textbooks_and_is_found_that_often() {
        // Of a paired t test of n = 10 the effect size of power .80 is .9958 (G*Power, noncentral t).
        let d = Uncertain { value: 0.0, error: 1.0 / 10f64.sqrt(), freedom: 9.0 }.detectable().unwrap();
        assert!((d - 0.995_8).abs() < 2e-3, "{d}");
        let normal = Uncertain { value: 0.0, error: 1.0, freedom: f64::INFINITY };
        assert!((normal.detectable().unwrap() - 2.801_6).abs() < 1e-3);
        assert_eq!((Uncertain::exact(2.0).detectable(), Uncertain::exact(2.0).interval().low), (None, 2.0));
    }

    /// SciPy's noncentral t (`scipy.stats.nct`, two-sided at the contest's strict level) for spreads of a study of ours.
    #[test]
    fn the_runs_that_a_difference_needs_are_those_of_the_noncentral_t() {
        let needed = |difference, spread| runs_for(difference, spread, 0.987_5, 100_000).unwrap();
        assert_eq!([0.5, 1.0, 2.0, 3.0].map(|d| needed(d, 2.76)), [293, 75, 21, 11]);
        assert_eq!([0.5, 1.0, 2.0, 3.0].map(|d| needed(d, 1.39)), [76, 21, 8, 5]);
        assert!((2.76 / 3f64.sqrt() * detectable(2.0, 0.987_5) - 12.8).abs() < 0.1);
        assert!((1.39 / 3f64.sqrt() * detectable(2.0, 0.987_5) - 6.4).abs() < 0.1);
        assert_eq!(runs_for(1e-6, 1.0, 0.975, 10_000), None);
        assert!((power(0.0, 5.0, 0.975) - 0.05).abs() < 1e-3, "nothing is found at the level");
    }

    #[test]
    fn the_jackknife_of_a_mean_is_its_standard_error() {
        let values = [1.0, 2.0, 4.0, 9.0];
        let mean_but = |out: Option<usize>| mean(&(0..4).filter(|i| Some(*i) != out).map(|i| values[i]).collect::<Vec<_>>());
        let (jack, plain) = (jackknife(4, mean_but).unwrap(), Uncertain::mean(&values).unwrap());
        assert!((jack.error - plain.error).abs() < 1e-12 && jack.value == plain.value && jack.freedom == 3.0);
        assert!(jackknife(1, |_| 1.0).is_none() && jackknife(3, |out| out.map_or(1.0, |_| f64::NAN)).is_none());
        let welch = plain.minus(Uncertain { error: 0.0, ..plain });
        assert!((welch.freedom - 3.0).abs() < 1e-12 && welch.value == 0.0);
    }

    #[test]
    fn rank_correlations_with_ties() {
        assert_eq!(ranks(&[2.0, 1.0, 2.0, 5.0]), [2.5, 1.0, 2.5, 4.0]);
        let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]);
        assert!((spearman(&x, &y) - 0.8).abs() < 1e-12);
        assert!((kendall(&x, &y) - 0.6).abs() < 1e-12);
        assert!(pearson(&x, &[1.0; 5]).is_nan());
    }

    #[test]
    fn a_line_is_found_with_students_interval() {
        // y = 1 + 2x with residuals (0.1, -0.2, 0.1): slope exact, s^2 = 0.06, sum of squares of x = 2, t(1) = 12.706.
        let fit = line(&[0.0, 1.0, 2.0], &[1.1, 2.8, 5.1]).unwrap();
        assert!((fit.slope.value - 2.0).abs() < 1e-12 && (fit.intercept - 1.0).abs() < 1e-12);
        assert!((fit.slope.high - 2.0 - 12.706_2 * (0.06_f64 / 2.0).sqrt()).abs() < 1e-3);
    }
}
