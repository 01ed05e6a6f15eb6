//! The cross-entropy method on tables: each place of a sequence of choices has a distribution over the options of its own,
//! independent of the other places.
//!
//! The CE update of such a table is a closed form: `v[place][option]` = share of the elites with it, smoothed by
//! `alpha v + (1 - alpha) v_old`.

use rand::Rng;

use crate::theory::finite::{elite_frequencies, smooth};

/// A distribution over a choice at each of some places; the probabilities of each place's options sum to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct TableCe(Vec<Vec<f64>>);

impl TableCe {
    /// All of `options` options alike, at every place.
    pub fn uniform(places: usize, options: usize) -> Self {
        Self(vec![vec![1.0 / options as f64; options]; places])
    }

    /// The independent distribution nearest to `p` (least KL(p || table)): its marginals. `p` gives choices and their probability.
    pub(crate) fn marginals<C: IntoIterator<Item = usize>>(places: usize, options: usize, p: impl Iterator<Item = (C, f64)>) -> Self {
        let mut table = Self(vec![vec![0.0; options]; places]);
        for (choices, p) in p {
            for (place, choice) in table.0.iter_mut().zip(choices) {
                place[choice] += p;
            }
        }
        table
    }

    /// Of each place, the probability of each option.
    pub fn places(&self) -> &[Vec<f64>] {
        &self.0
    }

    /// The CE update; none of no elites.
    pub fn update(&mut self, elites: &[Vec<usize>], alpha: f64) {
        if elites.is_empty() {
            return;
        }
        for (at, place) in self.0.iter_mut().enumerate() {
            let choices: Vec<usize> = elites.iter().map(|elite| elite[at]).collect();
            *place = smooth(&elite_frequencies(&choices, place.len()), place, alpha);
        }
    }

    /// The CE update towards elites of which only the marginals are known.
    pub(crate) fn toward(&mut self, elites: &Self, alpha: f64) {
        for (place, elites) in self.0.iter_mut().zip(&elites.0) {
            *place = smooth(elites, place, alpha);
        }
    }

    pub(crate) fn probability(&self, choices: impl IntoIterator<Item = usize>) -> f64 {
        self.0.iter().zip(choices).map(|(place, choice)| place[choice]).product()
    }

    pub(crate) fn sample(&self, rng: &mut impl Rng) -> Vec<usize> {
        self.0.iter().map(|place| draw(place, rng.random())).collect()
    }
}

/// The first option at which the running sum exceeds `u`, of those that have a probability.
pub(crate) fn draw(place: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (option, &p) in place.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        sum += p;
        last = option;
        if sum > u {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed;

    #[test]
    fn the_update_is_the_smoothed_share_of_the_elites() {
        let elites = [[0, 1, 2], [0, 2, 2], [1, 1, 2], [0, 1, 2]].map(Vec::from);
        let mut table = TableCe::uniform(3, 5);
        table.update(&elites, 0.5);
        assert_eq!(table.places()[0], [0.5 * 0.75 + 0.1, 0.5 * 0.25 + 0.1, 0.1, 0.1, 0.1]);
        assert_eq!(table.places()[2], [0.1, 0.1, 0.6, 0.1, 0.1]);
        table.update(&elites, 1.0);
        assert_eq!(table.places()[1], [0.0, 0.75, 0.25, 0.0, 0.0]);
        let before = table.clone();
        table.update(&[], 1.0);
        assert_eq!(table, before);
    }

    #[test]
    fn samples_are_as_frequent_as_their_probability_and_marginals_come_back() {
        let mut table = TableCe::uniform(2, 5);
        table.update(&[vec![0, 1], vec![4, 1]], 0.8);
        let mut rng = seed::rng(4, "test", &[]);
        let mut counts = [0.0; 5];
        for _ in 0..20_000 {
            counts[table.sample(&mut rng)[0]] += 1.0 / 20_000.0;
        }
        for (seen, p) in counts.iter().zip(&table.places()[0]) {
            assert!((seen - p).abs() < 0.015, "{counts:?}");
        }
        let all = || (0..25).map(|i| [i / 5, i % 5]);
        assert!((all().map(|choices| table.probability(choices)).sum::<f64>() - 1.0).abs() < 1e-12);
        let again = TableCe::marginals(2, 5, all().map(|choices| (choices, table.probability(choices))));
        for (found, right) in again.places().iter().flatten().zip(table.places().iter().flatten()) {
            assert!((found - right).abs() < 1e-12);
        }
    }
}
