//! The quality that an arm has reached after so many trials, over its runs: the median, and the quartiles as a band.

use super::contest::Entry;
use crate::report::chart::{Axis, Band, Chart, Course, Style};
use crate::report::html::escape;
use crate::theory::statistics::quantile;

/// Of values of several runs, one at each `x`.
pub(crate) fn band(x: f64, values: &[f64]) -> Band {
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(values, share));
    Band { x, low, middle, high }
}

/// At trial 1, 2, .. as far as every run goes: beyond that the runs that are left would be others.
fn bands(runs: &[Vec<f64>]) -> Vec<Band> {
    let shortest = runs.iter().map(Vec::len).min().unwrap_or(0);
    (0..shortest).map(|n| band((n + 1) as f64, &runs.iter().map(|run| run[n]).collect::<Vec<_>>())).collect()
}

/// The best of the first trials.
pub(crate) fn best(entries: &[Entry]) -> Vec<Band> {
    bands(&entries.iter().map(|e| e.best_so_far.clone()).collect::<Vec<_>>())
}

/// The mean quality of the first candidates that have one.
pub(crate) fn mean_so_far(entries: &[Entry]) -> Vec<Band> {
    let of = |entry: &Entry| {
        let sums = entry.qualities.iter().scan(0.0, |sum, quality| {
            *sum += quality;
            Some(*sum)
        });
        sums.zip(1..).map(|(sum, n)| sum / f64::from(n)).collect()
    };
    bands(&entries.iter().map(of).collect::<Vec<Vec<f64>>>())
}

/// One arm in a chart.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) style: Style,
    pub(crate) bands: Vec<Band>,
}

/// What an axis of quality has to hold: all but the first twentieth of each curve, where a search has seen next to nothing and
/// which would flatten the rest.
pub(crate) fn range<'a>(curves: impl IntoIterator<Item = &'a Curve>) -> Option<(f64, f64)> {
    let settled = |curve: &'a Curve| &curve.bands[curve.bands.len() / 20..];
    let ends = curves.into_iter().flat_map(settled).map(|b| (b.low, b.high));
    ends.reduce(|(low, high), (l, h)| (low.min(l), high.max(h)))
}

/// The curves in one figure, with the caption that says how to read them; empty where there are none.
pub(crate) fn figure(curves: &[Curve], x: Axis, y: &str, range: (f64, f64), course: Course, caption: &str) -> String {
    if curves.iter().all(|c| c.bands.is_empty()) {
        return String::new();
    }
    let mut chart = Chart::new(x, Axis::percent(y, range.0, range.1), 340.0);
    for curve in curves.iter().filter(|c| !c.bands.is_empty()) {
        chart.curve(&curve.bands, curve.style, course, &curve.name);
        chart.legend_series(curve.style, &curve.name);
    }
    let below = curves.iter().flat_map(|c| &c.bands).any(|b| !chart.holds(b.low));
    let cut = if below { " What lies below the axis is drawn on it." } else { "" };
    chart.figure(&format!("{caption} Line: median over the seeds; band: the middle half of them.{cut}"))
}

/// Figures beside each other; nothing where there are none.
pub(crate) fn pair(heading: &str, figures: &[String]) -> String {
    let drawn: String = figures.concat();
    if drawn.is_empty() {
        return drawn;
    }
    let heading = if heading.is_empty() { String::new() } else { format!("<h3>{}</h3>\n", escape(heading)) };
    format!("{heading}<div class=\"pair\">{drawn}</div>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_as_far_as_every_run() {
        let entry = |seed, qualities: &[f64], best: &[f64]| Entry {
            seed,
            qualities: qualities.to_vec(),
            best_so_far: best.to_vec(),
            ..Entry::default()
        };
        let entries =
            [entry(0, &[0.2, 0.4], &[0.2, 0.4, 0.5]), entry(1, &[0.6, 0.0, 0.3], &[0.6, 0.6]), entry(2, &[0.4, 0.4], &[0.4, 0.5])];
        let best = best(&entries);
        assert_eq!(best.len(), 2);
        assert_eq!((best[1].x, best[1].middle), (2.0, 0.5));
        assert!((best[0].low - 0.3).abs() < 1e-12 && (best[0].high - 0.5).abs() < 1e-12, "quartiles of .2 .4 .6");
        let mean = mean_so_far(&entries);
        assert!((mean[1].low - 0.3).abs() < 1e-12 && (mean[1].middle - 0.3).abs() < 1e-12 && (mean[1].high - 0.35).abs() < 1e-12);
        assert!(super::best(&[]).is_empty());
    }
}
