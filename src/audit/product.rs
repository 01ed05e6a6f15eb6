//! The table policy: each edge has a distribution over the operations of its own, independent of the other edges.
//!
//! The CE update of such a table is a closed form: `v[edge][operation]` = share of the elites with it, smoothed by
//! `alpha v + (1 - alpha) v_old`.

use rand::Rng;

use super::exact::Distribution;
use crate::oracle::cell::{Cell, EDGES, WORDS};
use crate::theory::table::{elite_frequencies, smooth};

#[derive(Clone, Debug, PartialEq)]
pub struct Product([Vec<f64>; EDGES]);

impl Product {
    pub fn uniform() -> Self {
        Self(std::array::from_fn(|_| vec![1.0 / WORDS.len() as f64; WORDS.len()]))
    }

    /// The independent distribution nearest to `p` (least KL(p || product)): its marginals.
    pub fn marginals(p: &Distribution) -> Self {
        let mut product = Self(std::array::from_fn(|_| vec![0.0; WORDS.len()]));
        for (cell, p) in Cell::all().zip(p.inside()) {
            for (edge, operation) in product.0.iter_mut().zip(cell.operations()) {
                edge[operation] += p;
            }
        }
        product
    }

    pub fn edges(&self) -> &[Vec<f64>; EDGES] {
        &self.0
    }

    /// The CE update.
    pub fn update(&mut self, elites: &[Cell], alpha: f64) {
        if elites.is_empty() {
            return;
        }
        for (edge, table) in self.0.iter_mut().enumerate() {
            let choices: Vec<usize> = elites.iter().map(|cell| cell.operations()[edge]).collect();
            *table = smooth(&elite_frequencies(&choices, WORDS.len()), table, alpha);
        }
    }

    pub fn probability(&self, cell: Cell) -> f64 {
        self.0.iter().zip(cell.operations()).map(|(table, operation)| table[operation]).product()
    }

    pub fn distribution(&self) -> Distribution {
        Distribution::complete(Cell::all().map(|cell| self.probability(cell)).collect())
    }

    pub fn sample(&self, rng: &mut impl Rng) -> Cell {
        let operations: Vec<usize> = self.0.iter().map(|table| draw(table, rng.random())).collect();
        Cell::new(&operations).expect("six operations")
    }
}

/// The first operation at which the running sum exceeds `u`, of those that have a probability.
fn draw(table: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (operation, &p) in table.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        sum += p;
        last = operation;
        if sum > u {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed;

    fn cells(texts: &[&str]) -> Vec<Cell> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn the_update_is_the_smoothed_share_of_the_elites() {
        let elites = cells(&[
            "none skip one three pool none",
            "none one one three pool none",
            "skip skip one three pool pool",
            "none skip one pool pool one",
        ]);
        let mut product = Product::uniform();
        product.update(&elites, 0.5);
        assert_eq!(product.edges()[0], [0.5 * 0.75 + 0.1, 0.5 * 0.25 + 0.1, 0.1, 0.1, 0.1]);
        assert_eq!(product.edges()[2], [0.1, 0.1, 0.6, 0.1, 0.1]);
        product.update(&elites, 1.0);
        assert_eq!(product.edges()[3], [0.0, 0.0, 0.0, 0.75, 0.25]);
    }

    #[test]
    fn samples_are_as_frequent_as_their_probability_and_marginals_come_back() {
        let mut product = Product::uniform();
        product.update(&cells(&["none skip one three pool none", "pool skip one three one none"]), 0.8);
        let mut rng = seed::rng(4, "test", &[]);
        let mut counts = [0.0; 5];
        for _ in 0..20_000 {
            counts[product.sample(&mut rng).operations()[0]] += 1.0 / 20_000.0;
        }
        for (seen, p) in counts.iter().zip(&product.edges()[0]) {
            assert!((seen - p).abs() < 0.015, "{counts:?}");
        }
        let distribution = product.distribution();
        assert!((distribution.cells().iter().sum::<f64>() - 1.0).abs() < 1e-12 && distribution.outside() == 0.0);
        for (found, right) in Product::marginals(&distribution).edges().iter().flatten().zip(product.edges().iter().flatten()) {
            assert!((found - right).abs() < 1e-12);
        }
    }
}
