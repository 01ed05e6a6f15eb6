//! Regularised evolution (Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019): the population
//! is the youngest that were measured, a child descends from the best of a tournament among them, and the oldest die whatever
//! their quality.

use rand::Rng;

/// How many are alive, and how many of these a tournament draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evolution {
    pub(crate) population: usize,
    pub(crate) tournament: usize,
    pub(crate) draws: Draws,
}

/// How the members of a tournament are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draws {
    /// One at a time out of all that are alive, so one may be drawn twice.
    WithReplacement,
    /// All at once, each one another.
    Distinct,
}

impl Evolution {
    /// Those of `born` (in the order of birth) that are alive.
    pub(crate) fn alive<'a, T>(&self, born: &'a [T]) -> &'a [T] {
        &born[born.len().saturating_sub(self.population)..]
    }

    /// The parent of a child: the best of a tournament among the `alive`, of which there is one at least.
    pub(crate) fn parent<'a, T>(&self, alive: &'a [T], quality: impl Fn(&T) -> f64, rng: &mut impl Rng) -> &'a T {
        let drawn: Vec<usize> = match self.draws {
            Draws::WithReplacement => (0..self.tournament).map(|_| rng.random_range(0..alive.len())).collect(),
            // The order matters to equals only, of which the first wins.
            Draws::Distinct => {
                let mut drawn = rand::seq::index::sample(rng, alive.len(), self.tournament.min(alive.len())).into_vec();
                drawn.reverse();
                drawn
            }
        };
        let members = drawn.into_iter().map(|i| &alive[i]);
        members.reduce(|best, next| if quality(next) > quality(best) { next } else { best }).expect("a tournament has one member at least")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed;

    #[test]
    fn the_best_of_the_youngest_wins_as_often_as_it_is_drawn() {
        // Twenty, the oldest the best; only the five youngest are alive.
        let born: Vec<u32> = (0..20).collect();
        let quality = |one: &u32| -f64::from(*one);
        let wins = |draws| {
            let evolution = Evolution { population: 5, tournament: 2, draws };
            let alive = evolution.alive(&born);
            assert_eq!(alive, [15, 16, 17, 18, 19]);
            let mut count = [0i32; 20];
            for i in 0..2000 {
                count[*evolution.parent(alive, quality, &mut seed::rng(1, "test", &[i])) as usize] += 1;
            }
            count
        };
        // The best wins with probability 1 - (4/5)^2 or 2/5, the worst with 1/25 or never; within four standard errors.
        let (twice, once) = (wins(Draws::WithReplacement), wins(Draws::Distinct));
        assert!((twice[15] - 720).abs() < 86 && (twice[19] - 80).abs() < 36, "{twice:?}");
        assert!((once[15] - 800).abs() < 88 && once[19] == 0, "{once:?}");
        assert_eq!([twice, once].map(|count| count[..15].iter().sum::<i32>()), [0, 0]);
    }

    #[test]
    fn a_population_that_is_not_full_is_all_alive() {
        let evolution = Evolution { population: 5, tournament: 9, draws: Draws::Distinct };
        let alive = evolution.alive(&[3.0, 7.0, 5.0]);
        assert_eq!(alive.len(), 3);
        assert_eq!(*evolution.parent(alive, |q| *q, &mut seed::rng(1, "test", &[])), 7.0);
    }
}
