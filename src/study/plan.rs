//! Power beforehand: how many seeds a difference needs, and what the seeds of a study can show.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

use super::report::Report;
use crate::compare::contest::{Contest, Pair, STRICT};
use crate::theory::statistics::{detectable, runs_for, variance};
use crate::theory::values::{self as table, Cell, Show, estimate, value};

/// Differences that are planned for where none is asked for, as shares.
pub const DIFFERENCES: [f64; 4] = [0.005, 0.01, 0.02, 0.03];
/// Nobody runs more.
const MOST: u64 = 100_000;

/// A spread of paired differences, and where it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// The quantity and the two arms, as `mean, llm - random`; `given` where a person gave the value.
    pub of: String,
    /// Standard deviation over the seeds, as a share.
    pub value: f64,
    /// Its 95% interval, of a measured one.
    pub interval: Option<(f64, f64)>,
}

impl Spread {
    /// Of differences that were measured, one a seed; None of fewer than two or where they do not differ.
    fn measured(of: String, differences: &[f64]) -> Option<Self> {
        let (value, freedom) = (variance(differences).sqrt(), differences.len().checked_sub(1)? as f64);
        let chi = ChiSquared::new(freedom).ok()?;
        let normal = Normal::standard();
        // The square of a standard normal variable; near 0 the general inverse is no number.
        let quantile =
            |level: f64| if freedom == 1.0 { normal.inverse_cdf(f64::midpoint(1.0, level)).powi(2) } else { chi.inverse_cdf(level) };
        let end = |level: f64| value * (freedom / quantile(level)).sqrt();
        (value > 0.0).then(|| Self { of, value, interval: Some((end(0.975), end(0.025))) })
    }
}

/// The spreads that a study has measured: of the mean and of the best, for each pair of arms.
pub fn measured(report: &Report) -> Vec<Spread> {
    let of = |contest: &Contest, what: &str, get: fn(&Pair) -> Option<f64>| {
        let differences: Vec<f64> = contest.pairs.iter().filter_map(get).collect();
        Spread::measured(format!("{what}, {} - {}", contest.arm, contest.against), &differences)
    };
    let both = |c: &Contest| [of(c, "mean", |pair| pair.mean), of(c, "best", |pair| pair.best)];
    report.contests.iter().flat_map(both).flatten().collect()
}

/// For each spread the seeds that each difference needs, and the least difference that `seeds` of them find.
pub fn plan(spreads: &[Spread], differences: &[f64], seeds: usize) -> table::Table {
    let mut rows = Vec::new();
    for spread in spreads {
        let least = (seeds > 1).then(|| spread.value / (seeds as f64).sqrt() * detectable(seeds as f64 - 1.0, STRICT));
        for &difference in differences {
            rows.push(vec![
                spread.of.as_str().into(),
                Cell::estimate(spread.value, spread.interval, Show::Percent(2)),
                Cell::number(difference, Show::Points),
                runs_for(difference, spread.value, STRICT, MOST).map_or(Cell::Unknown, Cell::from),
                Cell::number(least, Show::Points),
            ]);
        }
    }
    table::Table {
        id: "plan",
        title: format!("Seeds for a difference, and what {seeds} seeds can show"),
        note:
            "Paired runs, Student's test at the strict level of a contest (2.5%), found in 4 of 5 cases. Spread: standard deviation of the \
               differences over the seeds, with its 95% interval where it was measured; a spread of few seeds is hardly known."
                .into(),
        head: vec![value("of"), estimate("spread"), value("difference"), value("seeds"), value("least seen with the study's")],
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_the_seeds_and_what_the_study_can_show() {
        let given = Spread { of: "given".into(), value: 0.0276, interval: None };
        let plan = plan(&[given], &DIFFERENCES, 3);
        let rows = table::json(&plan);
        let seeds: Vec<u64> = rows.as_array().unwrap().iter().map(|row| row["seeds"].as_u64().unwrap()).collect();
        assert_eq!(seeds, [293, 75, 21, 11]);
        assert!((rows[0]["least_seen_with_the_study_s"].as_f64().unwrap() - 0.128).abs() < 0.001, "{rows}");
    }

    #[test]
    fn a_measured_spread_has_the_interval_of_the_chi_squared() {
        // s of (1, 2, 3) is 1; with two degrees of freedom chi-squared is .0506 and 7.378 at 2.5 and 97.5%.
        let spread = Spread::measured("x".into(), &[1.0, 2.0, 3.0]).unwrap();
        let (low, high) = spread.interval.unwrap();
        assert!((spread.value - 1.0).abs() < 1e-12 && (low - 0.5207).abs() < 1e-3 && (high - 6.285).abs() < 1e-2, "{spread:?}");
        // With one it is .000982 and 5.024.
        let (low, high) = Spread::measured("x".into(), &[1.0, 2.0]).unwrap().interval.unwrap();
        assert!((low - 0.3155).abs() < 1e-3 && (high - 22.56).abs() < 0.02, "{low} {high}");
        assert_eq!(Spread::measured("x".into(), &[1.0]), None);
        assert_eq!(Spread::measured("x".into(), &[1.0, 1.0]), None);
    }
}
