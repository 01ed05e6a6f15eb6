//! The charts of a study: quality against trials, differences to the controls with their intervals, and the funnel.

use super::file::NO_MODEL;
use super::kinds::words;
use super::report::{Cell, Report};
use super::tables::{share, shown};
use crate::compare::contest::{Contest, Measured};
use crate::compare::curves::{self, Curve};
use crate::compare::text::points;
use crate::record::Funnel;
use crate::report::chart::{Axis, Band, Chart, Course, Shape, Style};
use crate::report::html::escape;

/// A chart of quality: the curve of an arm, the names of x and y, how the curve goes, and what is said under it.
type Quality<'a> = (&'a dyn Fn(&Cell) -> Vec<Band>, &'a str, &'a str, Course, &'a str);
/// A bar of the funnel: its class, its name, and how many candidates got so far.
type Stage = (&'static str, &'static str, fn(&Funnel) -> u64);

/// Best and mean quality of each arm against trials, and the mean of each cycle; a group of charts a model, arms without an LLM in
/// each of them. Axes are the same for all models, and an arm looks the same.
pub(crate) fn quality(report: &Report) -> String {
    let mut arms: Vec<&str> = Vec::new();
    let mut models: Vec<&str> = Vec::new();
    for cell in shown(report) {
        if !arms.contains(&cell.arm.as_str()) {
            arms.push(&cell.arm);
        }
        if cell.model != NO_MODEL && !models.contains(&cell.model.as_str()) {
            models.push(&cell.model);
        }
    }
    if models.is_empty() {
        models.push(NO_MODEL);
    }
    let curves_of = |model: &str, bands: &dyn Fn(&Cell) -> Vec<Band>| -> Vec<Curve> {
        let own = shown(report).filter(|cell| cell.model == model || cell.model == NO_MODEL);
        let curve = |cell: &Cell| Curve {
            name: cell.arm.clone(),
            style: Style::of(arms.iter().position(|arm| *arm == cell.arm).unwrap_or(0)),
            bands: bands(cell),
        };
        own.map(curve).collect()
    };
    let words = words(report.kind);
    let charts: [Quality; 3] = [
        (
            &|cell| curves::best(&cell.side().entries),
            words.trials,
            words.best_so_far,
            Course::Steps,
            "Best so far, as far as every seed of the arm goes.",
        ),
        (
            &|cell: &Cell| curves::mean_so_far(&cell.side().entries),
            words.candidates,
            words.mean_so_far,
            Course::Straight,
            "Mean of all candidates so far.",
        ),
        (&Cell::cycle_means, "cycle", "mean of the cycle", Course::Straight, "Mean of the candidates of each cycle."),
    ];
    let mut groups: Vec<Vec<String>> = vec![Vec::new(); models.len()];
    for (bands, x, y, course, caption) in charts {
        let all: Vec<Vec<Curve>> = models.iter().map(|model| curves_of(model, bands)).collect();
        let most = all.iter().flatten().filter_map(|c| c.bands.last()).map(|b| b.x).fold(0.0, f64::max) as u64;
        let Some(range) = curves::range(all.iter().flatten()) else { continue };
        for (group, curves) in groups.iter_mut().zip(&all) {
            group.push(curves::figure(curves, Axis::counts(x, most), y, range, course, caption));
        }
    }
    let heading = |model: &str| if models.len() > 1 { model.to_owned() } else { String::new() };
    models.iter().zip(&groups).map(|(model, figures)| curves::pair(&heading(model), figures)).collect()
}

/// Forest plots, one a method, on one scale: its differences to each control with 95% intervals.
pub(crate) fn differences(report: &Report) -> String {
    let held: Vec<&Contest> = report.contests.iter().filter(|c| !c.seeds.is_empty()).collect();
    let ends = |m: &Measured| m.interval.map_or([m.value; 2], |(low, high)| [low, high]);
    let measured = held.iter().flat_map(|c| [&c.mean, &c.best]).flatten().flat_map(ends);
    let pairs = held.iter().flat_map(|c| &c.pairs).flat_map(|pair| [pair.mean, pair.best]).flatten();
    let (low, high) = measured.chain(pairs).fold((0.0, 0.0), |(low, high): (f64, f64), end| (low.min(end), high.max(end)));
    let mut methods: Vec<&str> = held.iter().map(|c| c.arm.as_str()).collect();
    methods.dedup();
    methods.into_iter().map(|method| forest(method, &held, (low, high))).collect()
}

fn forest(method: &str, held: &[&Contest], (low, high): (f64, f64)) -> String {
    let own: Vec<&Contest> = held.iter().copied().filter(|c| c.arm == method).collect();
    let name = |c: &&Contest| {
        let seeds = if c.seeds.len() == 1 { "1 seed".to_owned() } else { format!("{} seeds", c.seeds.len()) };
        format!("against {} ({seeds})", c.against)
    };
    let names: Vec<String> = own.iter().map(name).collect();
    let axis = Axis::plain("difference in accuracy (percentage points)", 100.0 * low, 100.0 * high);
    let mut chart = Chart::rows(axis, &names, 72.0);
    chart.line(&[(0.0, 0.0), (0.0, -(own.len() as f64))], "zero");
    let kinds =
        [(0.53, Shape::Square, "tuned", "mean quality"), (0.85, Shape::Diamond, "unseen", "best quality at the budget of the pair")];
    for (row, contest) in own.iter().enumerate() {
        let differences = [
            (contest.mean, contest.pairs.iter().map(|p| p.mean).collect::<Vec<_>>()),
            (contest.best, contest.pairs.iter().map(|p| p.best).collect()),
        ];
        for ((down, shape, class, what), (m, pairs)) in kinds.into_iter().zip(differences) {
            let y = -(row as f64) - down;
            for (pair, difference) in contest.pairs.iter().zip(pairs) {
                let Some(difference) = difference else { continue };
                let title = format!("{what}, seed {}: {:+.1} points", pair.seed, 100.0 * difference);
                chart.point(100.0 * difference, y + 0.12, Shape::Dot, "pair-dot", &title);
            }
            let Some(m) = m else { continue };
            let title = format!("{method} against {}, {what}: {}", contest.against, points(m));
            if let Some((low, high)) = m.interval {
                chart.span((100.0 * low, 100.0 * high), y, class, &title);
            }
            chart.point(100.0 * m.value, y, shape, class, &title);
        }
    }
    for (_, shape, class, what) in kinds {
        chart.legend_shape(shape, class, what);
    }
    chart.legend_shape(Shape::Dot, "pair-dot", "one seed");
    let figure = chart.figure(&format!(
        "{method} minus each control, paired by seed, with 95% intervals: right of the dashed zero line {method} is better. An interval that \
         holds zero leaves open which of the two is better."
    ));
    format!("<h3>{}</h3>\n{figure}", escape(&format!("{method} against its controls")))
}

/// How far the candidates of each arm got.
pub(crate) fn funnel(report: &Report) -> String {
    let arms: Vec<&Cell> = shown(report).filter(|cell| cell.runs.iter().any(|r| r.funnel.asked > 0)).collect();
    if arms.is_empty() {
        return String::new();
    }
    let names: Vec<String> = arms.iter().map(|cell| cell.name()).collect();
    let axis = Axis::plain("share of the candidates asked for (%)", 0.0, 100.0);
    let mut chart = Chart::rows(axis, &names, 72.0);
    let stages: [Stage; 3] = [("hollow", "traced", |f| f.traced), ("medium", "novel", |f| f.novel), ("dark", "trained", |f| f.trained)];
    for (row, cell) in arms.iter().enumerate() {
        for (place, (class, what, reached)) in stages.into_iter().enumerate() {
            let Some(m) = Measured::of(&cell.shares(reached), 3) else { continue };
            let top = -(row as f64) - 0.36 - 0.2 * place as f64;
            let title = format!("{}: {what} {}", cell.name(), share(m));
            chart.bar((0.0, 100.0 * m.value), (top - 0.16, top), class, &title);
        }
    }
    for (class, what, _) in stages {
        chart.legend_bar(class, what);
    }
    chart.figure(&format!("How many of the candidates got so far, mean over the seeds. {}", words(report.kind).funnel))
}
