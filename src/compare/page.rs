//! A comparison as one HTML file like a run's report.

use super::Comparison;
use super::contest::Measured;
use super::curves::{self, Curve};
use super::text::{share, tables};
use crate::base::show::percent;
use crate::report::chart::{Axis, Chart, Course, Shape, Style};
use crate::report::html::{Section, document, escape, titled_table};
use crate::report::panels;
use crate::theory::statistics::{mean, mean_interval};

/// The whole page.
pub fn page(c: &Comparison) -> String {
    document("eliteloop: comparison", &header("Runs side by side", &c.verdict), &sections(c), None)
}

pub(crate) fn header(heading: &str, verdict: &str) -> String {
    format!(
        "<header><p class=\"kicker\">eliteloop {}</p><h1>{}</h1>\n<p class=\"result\">{}</p></header>\n",
        env!("CARGO_PKG_VERSION"),
        escape(heading),
        escape(verdict)
    )
}

/// What a page about several runs shows.
pub(crate) fn sections(c: &Comparison) -> Vec<Section> {
    let mut sections = vec![
        Section::new("arms", "Arms", levels(c) + &shown(c, &["arms", "differences"])),
        Section::new("search", "Best so far", search(c)),
        Section::new("means", "Mean quality over the cycles", means(c)),
    ];
    if !c.panels.is_empty() {
        sections.push(Section::new("theory", "Claims that take two arms", panels::grid(&c.panels)));
    }
    sections.push(Section::new("funnel", "Funnel", shown(c, &["funnel"])));
    sections.push(Section::new("cost", "Cost", shown(c, &["cost"])));
    sections.push(Section::new("runs", "Runs", shown(c, &["runs"])));
    sections
}

fn shown(c: &Comparison, ids: &[&str]) -> String {
    tables(c).iter().filter(|t| ids.contains(&t.id) && !t.rows.is_empty()).map(titled_table).collect()
}

/// Mean and best of each arm, with intervals.
fn levels(c: &Comparison) -> String {
    let ends = |m: &Measured| m.interval.map_or([m.value, m.value], |(low, high)| [low.max(0.0), high.min(1.0)]);
    let all: Vec<f64> = c.levels.iter().flat_map(|l| [&l.mean, &l.best]).flatten().flat_map(ends).collect();
    if all.is_empty() {
        return String::new();
    }
    let (low, high) = (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let y = Axis::percent("validation accuracy", low, high);
    let mut chart = Chart::new(Axis::bands("arm, as numbered in the table", 1, c.arms.len() as u64), y, 300.0);
    for (place, (arm, level)) in c.arms.iter().zip(&c.levels).enumerate() {
        let x = (place + 1) as f64;
        for (shift, m, shape, class, what) in
            [(-0.12, level.mean, Shape::Square, "tuned", "mean"), (0.12, level.best, Shape::Diamond, "unseen", "best")]
        {
            let Some(m) = m else { continue };
            let title = format!("{}: {what} {}", arm.name, share(m));
            if m.interval.is_some() {
                let [low, high] = ends(&m);
                chart.interval(x + shift, low, high, class, &title);
            }
            chart.point(x + shift, m.value, shape, class, &title);
        }
    }
    chart.legend_shape(Shape::Square, "tuned", "mean of a run, with 95% interval over the runs");
    chart.legend_shape(Shape::Diamond, "unseen", "best of a run at the budget");
    chart.figure("Mean and best quality of each arm, in the order of the table below.")
}

/// Best so far against trained candidates, a line an arm.
fn search(c: &Comparison) -> String {
    if c.budget == 0 {
        return "<p class=\"quiet\">Not every run has trained a candidate yet.</p>\n".into();
    }
    let curve = |(place, arm): (usize, &super::runs::Arm)| Curve {
        name: arm.name.clone(),
        style: Style::of(place),
        bands: curves::best(&arm.side().entries),
    };
    let all: Vec<Curve> = c.arms.iter().enumerate().map(curve).collect();
    let Some(range) = curves::range(&all) else { return String::new() };
    let most = all.iter().map(|c| c.bands.len()).max().unwrap_or(0);
    let x = Axis::counts("trained candidates", most as u64);
    curves::figure(&all, x, "best accuracy so far", range, Course::Steps, "Best validation accuracy after so many trained candidates.")
}

/// Mean quality of each cycle, all runs of an arm together.
fn means(c: &Comparison) -> String {
    let last = c.arms.iter().flat_map(|a| &a.runs).map(|r| r.cycles).max().unwrap_or(0);
    let mut points = Vec::new();
    for (place, arm) in c.arms.iter().enumerate() {
        for cycle in 1..=last {
            let of: Vec<f64> =
                arm.runs.iter().flat_map(|r| &r.qualities).filter(|(of, _)| *of == cycle).map(|(_, quality)| *quality).collect();
            if !of.is_empty() {
                points.push((place, cycle, mean(&of), mean_interval(&of, cycle)));
            }
        }
    }
    if points.is_empty() {
        return "<p class=\"quiet\">No candidate was trained yet.</p>\n".into();
    }
    let ys = || points.iter().flat_map(|(_, _, mean, i)| [*mean, i.map_or(*mean, |i| i.low), i.map_or(*mean, |i| i.high)]);
    let y = Axis::percent("mean quality", ys().fold(f64::INFINITY, f64::min), ys().fold(f64::NEG_INFINITY, f64::max));
    let mut chart = Chart::new(Axis::bands("cycle", 1, last), y, 340.0);
    for (place, arm) in c.arms.iter().enumerate() {
        let (class, shape) = (Style::of(place).color(), Style::of(place).shape);
        let shift = 0.6 * ((place as f64 + 0.5) / c.arms.len() as f64 - 0.5);
        for (_, cycle, mean, interval) in points.iter().filter(|p| p.0 == place) {
            let title = format!("{}, cycle {cycle}: {}", arm.name, percent(*mean));
            if let Some(i) = interval {
                chart.interval(*cycle as f64 + shift, i.low, i.high, class, &title);
            }
            chart.point(*cycle as f64 + shift, *mean, shape, class, &title);
        }
        chart.legend_shape(shape, class, &arm.name);
    }
    chart.figure("Mean quality of the trained candidates of each cycle with 95% bootstrap intervals, all runs of an arm together.")
}
