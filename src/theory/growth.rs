//! Laws of growth of a probability over the cycles, fitted to counts by maximum likelihood.
//!
//! - geometric in 1-C: the claim, exact for the update with a fixed threshold;
//! - exponential in C: a threshold that moves with the policy, C'/C = 1 - alpha + alpha/rho;
//! - logistic: replicator dynamics, what weights exp(beta S) give;
//! - a straight line: no law at all, for a law that explains the counts no better explains nothing.
//!
//! Each has two parameters, so a difference of AIC is twice that of the log-likelihoods. Counts need not be whole: where C is known
//! exactly, N C stands for what N samples would be expected to show, and two laws are told apart where N samples a cycle would do it.

/// Samples of a cycle that reached the threshold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Count {
    /// From 1.
    pub cycle: u64,
    /// N, invalid samples included.
    pub asked: f64,
    /// Samples with S >= gamma*.
    pub reached: f64,
    /// The same (asked, reached) by parent; empty where there are no parents.
    pub groups: Vec<(f64, f64)>,
}

impl Count {
    /// Of samples that are not told apart by parent.
    pub fn new(cycle: u64, asked: u64, reached: u64) -> Self {
        Self { cycle, asked: asked as f64, reached: reached as f64, groups: Vec::new() }
    }

    pub(crate) fn share(&self) -> f64 {
        self.reached / self.asked
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    Geometric,
    Exponential,
    Logistic,
    Linear,
}

impl Law {
    pub(crate) const ALL: [Self; 4] = [Self::Geometric, Self::Exponential, Self::Logistic, Self::Linear];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Geometric => "geometric in 1-C",
            Self::Exponential => "exponential in C",
            Self::Logistic => "logistic",
            Self::Linear => "a straight line",
        }
    }

    /// C at the part `s` (from 0 to 1) of the way, by the logits of what it is at either end; the exponential may be at 1 before.
    fn at(self, [first, last]: [f64; 2], s: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (a, b) = (sigmoid(first), sigmoid(last));
        let c = match self {
            Self::Geometric => 1.0 - (1.0 - a).powf(1.0 - s) * (1.0 - b).powf(s),
            // The second parameter is the growth of log C.
            Self::Exponential => a * (last * s).exp(),
            Self::Logistic => sigmoid(first + (last - first) * s),
            Self::Linear => a + (b - a) * s,
        };
        c.clamp(1e-9, 1.0 - 1e-9)
    }
}

/// A law as it fits best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fitted {
    pub(crate) law: Law,
    pub(crate) log_likelihood: f64,
    ends: [f64; 2],
    first: f64,
    length: f64,
}

impl Fitted {
    pub(crate) fn probability(&self, cycle: u64) -> f64 {
        self.law.at(self.ends, (cycle as f64 - self.first) / self.length)
    }

    /// 2 sum of y ln(y / expected) over what reached and what did not.
    pub(crate) fn deviance(&self, counts: &[Count]) -> f64 {
        let term = |seen: f64, expected: f64| if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
        let of = |c: &Count| {
            let p = self.probability(c.cycle);
            term(c.reached, c.asked * p) + term(c.asked - c.reached, c.asked * (1.0 - p))
        };
        2.0 * counts.iter().map(of).sum::<f64>()
    }
}

/// Fits a law; None for fewer than two cycles.
pub(crate) fn fit(law: Law, counts: &[Count]) -> Option<Fitted> {
    let first = counts.iter().map(|c| c.cycle).min()? as f64;
    let length = counts.iter().map(|c| c.cycle).max()? as f64 - first;
    if length <= 0.0 {
        return None;
    }
    let likelihood = |ends: [f64; 2]| -> f64 {
        let of = |c: &Count| {
            let p = law.at(ends, (c.cycle as f64 - first) / length);
            c.reached * p.ln() + (c.asked - c.reached) * (-p).ln_1p()
        };
        counts.iter().map(of).sum()
    };
    let asked: f64 = counts.iter().map(|c| c.asked).sum();
    let all = (counts.iter().map(|c| c.reached).sum::<f64>() / asked).clamp(0.01, 0.99);
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let from = logit(all);
    let starts = match law {
        Law::Exponential => [[from, 0.0], [from - 2.0, 2.0], [from - 4.0, 5.0]],
        _ => [[from, from], [from - 1.5, from + 1.5], [from - 3.0, from + 3.0]],
    };
    let best = starts.map(|start| climb(start, &likelihood)).into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Fitted { law, log_likelihood: best.1, ends: best.0, first, length })
}

/// The highest place of a function of two variables near a start (Nelder and Mead 1965), and its value.
fn climb(start: [f64; 2], f: &impl Fn([f64; 2]) -> f64) -> ([f64; 2], f64) {
    let [x, y] = start;
    let mut simplex = [[x, y], [x + 0.7, y], [x, y + 0.7]].map(|p| (p, f(p)));
    let toward = |from: [f64; 2], to: [f64; 2], by: f64| [from[0] + by * (to[0] - from[0]), from[1] + by * (to[1] - from[1])];
    for _ in 0..400 {
        simplex.sort_by(|a, b| b.1.total_cmp(&a.1));
        let [best, middle, worst] = simplex;
        if best.1 - worst.1 < 1e-10 {
            break;
        }
        let center = [f64::midpoint(best.0[0], middle.0[0]), f64::midpoint(best.0[1], middle.0[1])];
        let tried = |by: f64| {
            let place = toward(worst.0, center, by);
            (place, f(place))
        };
        let reflected = tried(2.0);
        let next = if reflected.1 > best.1 {
            let expanded = tried(3.0);
            if expanded.1 > reflected.1 { expanded } else { reflected }
        } else if reflected.1 > middle.1 {
            reflected
        } else {
            let contracted = if reflected.1 > worst.1 { tried(1.5) } else { tried(0.5) };
            if contracted.1 > worst.1.max(reflected.1) {
                contracted
            } else {
                // All towards the best.
                for corner in &mut simplex[1..] {
                    corner.0 = toward(best.0, corner.0, 0.5);
                    corner.1 = f(corner.0);
                }
                continue;
            }
        };
        simplex[2] = next;
    }
    simplex.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("it has three corners")
}

/// How much more the counts of parents differ within a cycle than independent samples would: Pearson's statistic over its degrees of
/// freedom, at least 1.
pub(crate) fn overdispersion(counts: &[Count]) -> f64 {
    let (mut statistic, mut freedom) = (0.0, 0.0);
    for count in counts {
        let share = count.share();
        if count.groups.len() < 2 || share <= 0.0 || share >= 1.0 {
            continue;
        }
        let of = |&(asked, reached): &(f64, f64)| (reached - asked * share).powi(2) / (asked * share * (1.0 - share));
        statistic += count.groups.iter().map(of).sum::<f64>();
        freedom += count.groups.len() as f64 - 1.0;
    }
    if freedom > 0.0 { f64::max(statistic / freedom, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Truth = fn(f64) -> f64;

    #[test]
    fn each_law_is_found_again_and_fits_its_own_counts_best() {
        let of = |c: fn(f64) -> f64| -> Vec<Count> {
            (1..=22).map(|t| Count { cycle: t, asked: 50.0, reached: 50.0 * c((t - 1) as f64), groups: vec![] }).collect()
        };
        let laws: [(Law, Truth); 4] = [
            (Law::Geometric, |t| 1.0 - 0.8 * 0.9f64.powf(t)),
            (Law::Exponential, |t| 0.02 * 1.18f64.powf(t)),
            (Law::Logistic, |t| 1.0 / (1.0 + (3.0 - 0.4 * t).exp())),
            (Law::Linear, |t| 0.05 + 0.03 * t),
        ];
        for (law, truth) in laws {
            let counts = of(truth);
            let found = fit(law, &counts).unwrap();
            for count in &counts {
                assert!((found.probability(count.cycle) - count.share()).abs() < 1e-4, "{law:?} {count:?}");
            }
            assert!(found.deviance(&counts) < 1e-4);
            for other in Law::ALL.into_iter().filter(|other| *other != law) {
                let worse = fit(other, &counts).unwrap();
                assert!(worse.log_likelihood < found.log_likelihood - 1.0, "{law:?} against {other:?}");
            }
        }
        assert!(fit(Law::Geometric, &[Count::new(1, 5, 2)]).is_none());
    }

    #[test]
    fn parents_that_differ_are_seen() {
        let with = |groups: Vec<(f64, f64)>| Count { groups, ..Count::new(1, 40, 20) };
        // X^2 by hand: (10-5)^2 / 2.5 twice is 20, of one degree of freedom.
        assert!((overdispersion(&[with(vec![(10.0, 10.0), (10.0, 0.0)])]) - 20.0).abs() < 1e-12);
        assert_eq!(overdispersion(&[with(vec![(10.0, 5.0), (10.0, 5.0)]), Count::new(2, 9, 3)]), 1.0);
    }
}
