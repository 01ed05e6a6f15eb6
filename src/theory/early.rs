//! How well what is known early ranks networks by what is known late: Spearman's correlation of a cheap score, or of the
//! accuracy after an earlier epoch, with the quality.

use serde::{Deserialize, Serialize};

use super::Estimate;
use super::statistics::{bootstrap, spearman};

/// What was known of one network before its quality, each by name; a score that is not defined is left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scores {
    pub(crate) quality: f64,
    pub(crate) early: Vec<(String, f64)>,
}

/// How one early score ranks networks by their quality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// Of the score, as `synflow` or `accuracy after epoch 2`.
    pub name: String,
    /// How many have the score and a quality.
    pub networks: usize,
    /// None where there are too few networks or all are alike.
    pub rank: Option<Estimate>,
}

/// One correlation for each name, in the order in which they first occur.
pub(crate) fn correlations(networks: &[Scores]) -> Vec<Correlation> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in networks.iter().flat_map(|network| &network.early) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let of = |name: &str| {
        let pairs: Vec<(f64, f64)> = networks
            .iter()
            .filter_map(|network| Some((network.early.iter().find(|(n, _)| n == name)?.1, network.quality)))
            .filter(|(score, quality)| score.is_finite() && quality.is_finite())
            .collect();
        let rank = bootstrap(pairs.len(), 0, |units| {
            let column = |of: fn(&(f64, f64)) -> f64| units.iter().map(|&unit| of(&pairs[unit])).collect::<Vec<_>>();
            spearman(&column(|pair| pair.0), &column(|pair| pair.1))
        });
        Correlation { name: name.into(), networks: pairs.len(), rank }
    };
    names.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_ranks_is_told_from_noise_and_from_one_that_is_missing() {
        let network = |i: u32| {
            let mut early = vec![("rank".to_owned(), f64::from(i).powi(3)), ("noise".to_owned(), f64::from(i * 37 % 41))];
            if i < 1 {
                early.push(("once".to_owned(), 1.0));
            }
            Scores { quality: f64::from(i), early }
        };
        let found = correlations(&(0..40).map(network).collect::<Vec<_>>());
        assert_eq!(found.iter().map(|c| (&c.name[..], c.networks)).collect::<Vec<_>>(), [("rank", 40), ("noise", 40), ("once", 1)]);
        assert_eq!(found[0].rank.unwrap().value, 1.0);
        assert!(found[1].rank.unwrap().contains(0.0), "{:?}", found[1]);
        assert_eq!(found[2].rank, None);
    }
}
