//! How well a score orders deltas of one parent by what they gain.

use super::statistics::{few_interval, mean, spearman};

/// The area under the ROC curve: the chance that a score puts one of the better half above one of the other, equal scores counting half.
/// None where there is only one half, as where all gains are equal.
pub(crate) fn auc(score: &[f64], gain: &[f64]) -> Option<f64> {
    let mut sorted = gain.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied()?;
    // With ties at the median the better half is what is above it, unless nothing is.
    let best = sorted.last().copied()?;
    let is_better = |gain: f64| if best > median { gain > median } else { gain >= median };
    let of = |better: bool| score.iter().zip(gain).filter(move |(_, gain)| is_better(**gain) == better).map(|(score, _)| *score);
    let (mut right, mut pairs) = (0.0, 0.0);
    for better in of(true) {
        for other in of(false) {
            right += if better == other { 0.5 } else { f64::from(better > other) };
            pairs += 1.0;
        }
    }
    (pairs > 0.0).then(|| right / pairs)
}

/// How well a score orders siblings, over several parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordering {
    /// Parents whose deltas were scored.
    pub parents: usize,
    /// Deltas of all parents together.
    pub deltas: usize,
    /// None where no parent says anything.
    pub auc: Option<OverParents>,
    /// Spearman's, from -1 to 1; None where no parent says anything.
    pub rank_correlation: Option<OverParents>,
}

/// A mean over parents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverParents {
    /// Each parent counts alike.
    pub mean: f64,
    /// The ends of its 95% interval; one parent says nothing of others.
    pub interval: Option<(f64, f64)>,
}

/// `siblings` are the scores and the gains of each parent's deltas.
pub fn ordering(siblings: &[(Vec<f64>, Vec<f64>)]) -> Ordering {
    let over_parents = |of_each: Vec<Option<f64>>, [least, most]: [f64; 2]| {
        let known: Vec<f64> = of_each.into_iter().flatten().collect();
        let interval = few_interval(&known, 15).filter(|_| known.len() > 1).map(|all| (all.low.max(least), all.high.min(most)));
        (!known.is_empty()).then(|| OverParents { mean: mean(&known), interval })
    };
    Ordering {
        parents: siblings.len(),
        deltas: siblings.iter().map(|(_, gain)| gain.len()).sum(),
        auc: over_parents(siblings.iter().map(|(score, gain)| auc(score, gain)).collect(), [0.0, 1.0]),
        rank_correlation: over_parents(
            siblings.iter().map(|(score, gain)| Some(spearman(score, gain)).filter(|rho| rho.is_finite())).collect(),
            [-1.0, 1.0],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_one_of_a_right_order_a_half_of_none_and_counts_pairs() {
        let gain = [0.1, 0.2, 0.3, 0.4, 0.5];
        assert_eq!(auc(&[1.0, 2.0, 3.0, 4.0, 5.0], &gain), Some(1.0));
        assert_eq!(auc(&[5.0, 4.0, 3.0, 2.0, 1.0], &gain), Some(0.0));
        assert_eq!(auc(&[1.0; 5], &gain), Some(0.5));
        // The better are the last two; of their six pairs with the others one is wrong and one undecided.
        assert_eq!(auc(&[3.0, 0.0, 4.0, 4.0, 3.5], &gain), Some(4.5 / 6.0));
        assert_eq!(auc(&[1.0, 2.0], &[0.3, 0.3]), None);
        // More than half are best.
        assert_eq!(auc(&[0.0, 1.0, 1.0], &[0.1, 0.3, 0.3]), Some(1.0));
        assert_eq!(auc(&[], &[]), None);
    }

    #[test]
    fn an_ordering_is_the_mean_over_parents() {
        let up = (vec![1.0, 2.0, 3.0], vec![0.1, 0.2, 0.3]);
        let down = (vec![3.0, 2.0, 1.0], vec![0.1, 0.2, 0.3]);
        let both = ordering(&[up.clone(), down, up.clone()]);
        assert_eq!((both.parents, both.deltas), (3, 9));
        assert!((both.rank_correlation.unwrap().mean - 1.0 / 3.0).abs() < 1e-12);
        assert!(both.rank_correlation.unwrap().interval.is_some());
        assert_eq!(ordering(&[up]).auc, Some(OverParents { mean: 1.0, interval: None }));
        assert_eq!(ordering(&[]).auc, None);
    }
}
