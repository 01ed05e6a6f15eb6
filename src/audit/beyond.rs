//! What an enumerated update says beyond the six claims. All of it follows from the distributions before and after, the elites' and the
//! quality in force, so it costs no more than a pass over the cells.
//!
//! With C(gamma) = P(S >= gamma), gamma the elites' threshold and e* = p(. | S >= gamma):
//!
//! - `log C'(gamma)/C(gamma) >= KL(e*||p) - KL(e*||p')`, always: by Jensen, since KL(e*||p') = E_e* log(e*/p') and p' >= p' 1[S >= gamma].
//!   The left side is what CE raises; whether the right side is above 0 is the finding;
//! - three alphas: of the nearest mixture ([`super::exact::Update`]), of C, of E\[S\]. They are one for a mixture with the population
//!   elites, and their spread is what generalises;
//! - Price's equation, E'\[S\] - E\[S\] = sum (p' - p)(S - E\[S\]), in the elites' cells (memorised) and in all others (generalised);
//! - drift: E|p' - p|^2 over 1 - sum p^2 is 1/`N_e` for tuning on a random subset, alpha^2/mu for a table;
//! - D = 1 - prod(1 - 1/`N_e`) over the updates, [`lost`]: what of the first diversity drift alone takes, and with it the chance that the best
//!   cell is lost before it is found (by simulation of table CE: kept in 90% of runs at .43, in 39% at .97);
//! - the forgetting floor p'(x)/p(x) >= 1 - alpha of a mixture;
//! - SNR under p: how reliable one training is among what the policy writes;
//! - the kernel: mean log p'(x)/p(x) by the number of slots in which x differs from its nearest elite.

use serde::{Deserialize, Serialize};

use super::exact::Distribution;
use crate::oracle::{Cell, Space, Table};
use crate::theory::finite::{above, expected, kl, tail};
use crate::theory::statistics::variance;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beyond {
    /// C at the elites' threshold, before and after.
    pub(crate) reached_before: f64,
    pub(crate) reached_after: f64,
    /// log C'/C, and what Jensen's inequality promises of it; None where it is infinite.
    pub(crate) raised: Option<f64>,
    pub(crate) promised: Option<f64>,
    /// (C' - C)/(1 - C) and (E'\[S\] - E\[S\])/(E\[S | S >= gamma\] - E\[S\]).
    pub(crate) alpha_of_reached: Option<f64>,
    pub(crate) alpha_of_quality: Option<f64>,
    pub(crate) memorised: f64,
    pub(crate) generalised: f64,
    /// |p' - p|^2 and 1 - sum p^2.
    pub(crate) drift: f64,
    pub(crate) diversity: f64,
    /// p'/p of the best cell, and the least of all cells; None where the best cell had no probability.
    pub(crate) kept_best: Option<f64>,
    pub(crate) kept_least: f64,
    /// Variance of the cells' means over the mean variance of their trainings, under p; None without noise.
    pub(crate) snr: Option<f64>,
    /// By slots in which it differs from the nearest elite, 0 to all; None where there is no such cell.
    pub(crate) kernel: Vec<Option<f64>>,
}

impl Beyond {
    /// `objective` is the quality in force, `gamma` the elites' threshold, `elites` their distribution.
    pub(crate) fn of(
        before: &Distribution,
        after: &Distribution,
        elites: &Distribution,
        objective: &[f64],
        gamma: f64,
        table: &Table,
    ) -> Self {
        let (p, new, e) = (before.inside(), after.inside(), elites.cells());
        let finite = |value: f64| value.is_finite().then_some(value);
        let (reached_before, reached_after) = (tail(&p, objective, gamma), tail(&new, objective, gamma));
        let star = above(&p, objective, gamma);
        let promised = star.as_ref().and_then(|star| finite(kl(star, &p) - kl(star, &new)));
        let (mean, mean_after) = (expected(&p, objective), expected(&new, objective));
        let gain = star.as_ref().map(|star| expected(star, objective) - mean).filter(|gain| *gain > 1e-12);
        let part = |elite: bool| (0..p.len()).filter(|&i| (e[i] > 0.0) == elite).map(|i| (new[i] - p[i]) * (objective[i] - mean)).sum();
        let kept = |i: usize| new[i] / p[i];
        let best = table.best().index();
        let center = expected(&p, table.means());
        let spread: f64 = p.iter().zip(table.means()).map(|(p, s)| p * (s - center).powi(2)).sum();
        let noise: f64 = Cell::all(table.space()).zip(&p).map(|(cell, p)| p * variance(&table.entry(cell).accuracy)).sum();
        Self {
            reached_before,
            reached_after,
            raised: finite((reached_after / reached_before).ln()),
            promised,
            alpha_of_reached: finite((reached_after - reached_before) / (1.0 - reached_before)),
            alpha_of_quality: gain.map(|gain| (mean_after - mean) / gain),
            memorised: part(true),
            generalised: part(false),
            drift: p.iter().zip(&new).map(|(p, new)| (new - p).powi(2)).sum(),
            diversity: 1.0 - p.iter().map(|p| p * p).sum::<f64>(),
            kept_best: (p[best] > 0.0).then(|| kept(best)),
            kept_least: (0..p.len()).filter(|&i| p[i] > 0.0).map(kept).fold(f64::INFINITY, f64::min),
            snr: finite(spread / noise),
            kernel: kernel(table.space(), &p, &new, e),
        }
    }

    /// The numbers by their names.
    pub(crate) fn figures(&self) -> Vec<(String, Option<f64>)> {
        let mut figures: Vec<(String, Option<f64>)> = [
            ("C at the elites' threshold, before", Some(self.reached_before)),
            ("C at the elites' threshold, after", Some(self.reached_after)),
            ("log C'/C", self.raised),
            ("log C'/C, at least", self.promised),
            ("alpha of C", self.alpha_of_reached),
            ("alpha of E[S]", self.alpha_of_quality),
            ("change of E[S], memorised", Some(self.memorised)),
            ("change of E[S], generalised", Some(self.generalised)),
            ("N_e", (self.drift > 0.0).then(|| self.diversity / self.drift)),
            ("p'/p of the best cell", self.kept_best),
            ("p'/p, least of all cells", Some(self.kept_least)),
            ("SNR of one training under p", self.snr),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let kernel = self.kernel.iter().enumerate().map(|(slots, value)| (format!("mean log p'/p, {slots} slots from an elite"), *value));
        figures.extend(kernel);
        figures
    }
}

/// D of these updates: the share of the first diversity 1 - sum p^2 that drift takes, were each of them on a random subset; an update that
/// selects moves p by more than its drift.
pub(crate) fn lost<'a>(updates: impl IntoIterator<Item = &'a Beyond>) -> f64 {
    1.0 - updates.into_iter().filter(|u| u.diversity > 0.0).map(|u| (1.0 - u.drift / u.diversity).max(0.0)).product::<f64>()
}

/// Under p; of all distances where the elites are no more than a few, else only whether a cell is one.
fn kernel(space: &'static Space, p: &[f64], new: &[f64], e: &[f64]) -> Vec<Option<f64>> {
    let cells: Vec<Cell> = Cell::all(space).collect();
    let elites: Vec<usize> = (0..e.len()).filter(|&i| e[i] > 0.0).collect();
    // Beyond this all cells are near one, and the pass is no longer cheap.
    let few = elites.len() <= 200;
    let mut sums = vec![(0.0, 0.0); space.slots().len() + 1];
    for i in (0..p.len()).filter(|&i| p[i] > 0.0 && new[i] > 0.0 && (few || e[i] > 0.0)) {
        let distance = |elite: &usize| cells[i].distance(cells[*elite]);
        let nearest = if e[i] > 0.0 { Some(0) } else { elites.iter().map(distance).min() };
        if let Some(nearest) = nearest {
            sums[nearest].0 += p[i] * (new[i] / p[i]).ln();
            sums[nearest].1 += p[i];
        }
    }
    sums.into_iter().map(|(sum, mass)| (mass > 0.0).then(|| sum / mass)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::nasbench201::space;
    use crate::oracle::table::Entry;
    use crate::theory::finite::{smooth, tilt};

    fn table() -> Table {
        let truth = |cell: Cell| 0.5 + 0.4 * (cell.index() as f64 * 0.618_034).fract();
        let entry = |cell: Cell| {
            let accuracy = vec![truth(cell) + 0.01, truth(cell) - 0.01];
            Entry { accuracy, costs: None }
        };
        Table::of(space(), Cell::all(space()).map(entry).collect(), String::new())
    }

    #[test]
    fn a_mixture_with_the_population_elites_has_one_alpha_and_keeps_its_floor() {
        let table = table();
        let p = Distribution::complete(space(), (0..space().cells()).map(|i| 1.0 + (i % 7) as f64).collect());
        let gamma = 0.8;
        let star = Distribution::complete(space(), above(p.cells(), table.means(), gamma).unwrap());
        let new = Distribution::complete(space(), smooth(star.cells(), p.cells(), 0.3));
        let b = Beyond::of(&p, &new, &star, table.means(), gamma, &table);
        for alpha in [b.alpha_of_reached, b.alpha_of_quality] {
            assert!((alpha.unwrap() - 0.3).abs() < 1e-9, "{b:?}");
        }
        assert!((b.kept_least - 0.7).abs() < 1e-9 && b.kept_best.unwrap() > 1.0);
        assert!(b.raised.unwrap() >= b.promised.unwrap() - 1e-12 && b.promised.unwrap() > 0.0);
        let change = expected(new.cells(), table.means()) - expected(p.cells(), table.means());
        assert!((b.memorised + b.generalised - change).abs() < 1e-12, "Price's equation is an identity");
        // Trainings differ by .02: their variance is 2e-4.
        let mean = expected(p.cells(), table.means());
        let spread: f64 = p.cells().iter().zip(table.means()).map(|(p, s)| p * (s - mean).powi(2)).sum();
        assert!((b.snr.unwrap() - spread / 2e-4).abs() < 1e-6);
    }

    #[test]
    fn jensens_bound_holds_for_any_update_and_the_kernel_is_by_distance() {
        let table = table();
        let uniform = Distribution::complete(space(), vec![1.0; space().cells()]);
        let elite = Cell::at(space(), 77);
        let e = Distribution::empirical(space(), &[elite]);
        for new in [tilt(uniform.cells(), table.means(), 0.5), smooth(e.cells(), uniform.cells(), 0.5)] {
            let new = Distribution::complete(space(), new);
            let b = Beyond::of(&uniform, &new, &e, table.means(), 0.85, &table);
            assert!(b.raised.unwrap() >= b.promised.unwrap() - 1e-12, "{b:?}");
        }
        // Weights 2^-distance: the kernel is a line of slope -ln 2.
        let distance = |cell: Cell| cell.distance(elite) as i32;
        let new = Distribution::complete(space(), Cell::all(space()).map(|cell| 0.5f64.powi(distance(cell))).collect());
        let kernel = Beyond::of(&uniform, &new, &e, table.means(), 0.85, &table).kernel;
        let kernel: Vec<f64> = kernel.into_iter().map(Option::unwrap).collect();
        assert_eq!(kernel.len(), 7);
        for pair in kernel.windows(2) {
            assert!((pair[0] - pair[1] - 2f64.ln()).abs() < 1e-9, "{kernel:?}");
        }
    }

    /// Drift of a table: tuning on mu random own samples gives E|p'-p|^2 = (1 - sum p^2) alpha^2/mu, exactly.
    #[test]
    fn the_drift_of_a_random_subset_is_that_of_the_closed_form() {
        let table = table();
        let p = Distribution::complete(space(), (0..space().cells()).map(|i| f64::from(u32::from(i < 40))).collect());
        let (mu, alpha) = (5, 0.5);
        let mut rng = crate::base::seed::rng(1, "drift", &[]);
        let mean: f64 = (0..2000)
            .map(|_| {
                let drawn: Vec<Cell> =
                    (0..mu).map(|_| Cell::at(space(), crate::policy::table_ce::draw(p.cells(), rand::Rng::random(&mut rng)))).collect();
                let e = Distribution::empirical(space(), &drawn);
                let new = Distribution::complete(space(), smooth(e.cells(), p.cells(), alpha));
                p.cells().iter().zip(new.cells()).map(|(p, new)| (new - p).powi(2)).sum::<f64>()
            })
            .sum::<f64>()
            / 2000.0;
        let diversity = Beyond::of(&p, &p, &p, table.means(), 0.9, &table).diversity;
        assert!((mean / (diversity * alpha * alpha / f64::from(mu)) - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn drift_takes_what_d_says_of_the_diversity() {
        let table = table();
        let first = Distribution::complete(space(), (0..space().cells()).map(|i| f64::from(u32::from(i < 40))).collect());
        let (mu, alpha, updates, runs) = (5, 0.5, 4, 100);
        let mut rng = crate::base::seed::rng(1, "drift", &[]);
        let (mut told, mut left) = (0.0, 0.0);
        for _ in 0..runs {
            let (mut p, mut seen) = (first.clone(), Vec::new());
            for _ in 0..updates {
                let draw = |rng: &mut _| Cell::at(space(), crate::policy::table_ce::draw(p.cells(), rand::Rng::random(rng)));
                let e = Distribution::empirical(space(), &(0..mu).map(|_| draw(&mut rng)).collect::<Vec<_>>());
                let new = Distribution::complete(space(), smooth(e.cells(), p.cells(), alpha));
                seen.push(Beyond::of(&p, &new, &e, table.means(), 0.9, &table));
                p = new;
            }
            told += lost(&seen) / f64::from(runs);
            left += Beyond::of(&p, &p, &p, table.means(), 0.9, &table).diversity / seen[0].diversity / f64::from(runs);
        }
        let closed = 1.0 - (1.0 - alpha * alpha / f64::from(mu)).powi(updates);
        assert!((told - closed).abs() < 0.02 && (1.0 - left - closed).abs() < 0.02, "{told}, {} for {closed}", 1.0 - left);
    }
}
