//! The theory page: a panel for each claim that the run's records can speak to.

use std::fmt::Write as _;

use super::chart::{Axis, Chart, Shape};
use super::data::ReportData;
use super::html::{details, escape, terms};
use crate::base::show::short;
use crate::theory::{Mark, Panel, Plot, Verdict};

pub(crate) fn section(data: &ReportData) -> String {
    if data.theory.is_empty() {
        return "<p class=\"quiet\">The records of this run speak to none of the claims.</p>\n".into();
    }
    grid(&data.theory)
}

pub(crate) fn grid(panels: &[Panel]) -> String {
    let mut html = String::from("<div class=\"panels\">\n");
    for panel in panels {
        html.push_str(&one(panel));
    }
    html.push_str("</div>\n");
    html
}

fn one(panel: &Panel) -> String {
    let (class, sign) = match panel.finding.verdict {
        Verdict::Holds => ("holds", "\u{2713}"),
        Verdict::Fails => ("fails", "\u{2717}"),
        Verdict::Undecided => ("unmet", "?"),
        Verdict::AssumptionNotMet => ("unmet", "\u{2013}"),
    };
    let mut html = format!(
        "<section class=\"panel\" id=\"claim-{}\"><h3>Claim {}: {}</h3>\n<p><span class=\"verdict {class}\">{sign} {}</span> {}</p>\n{}",
        panel.claim,
        panel.claim,
        escape(&panel.title),
        panel.finding.verdict,
        escape(&panel.sentence),
        effect(panel)
    );
    if let Some(plot) = &panel.plot {
        html.push_str(&draw(plot, &panel.title));
    }
    if !panel.numbers.is_empty() {
        let numbers: Vec<(String, String)> = panel.numbers.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        html.push_str(&details("The numbers", &terms(&numbers)));
    }
    let _ = writeln!(html, "</section>");
    html
}

/// What was estimated, what would have been seen, and the assumption that is broken.
fn effect(panel: &Panel) -> String {
    let mut lines = Vec::new();
    if let Some(effect) = &panel.finding.effect {
        let (estimate, detectable) = effect.cells();
        lines.push((effect.name.clone(), estimate.to_string()));
        if effect.detectable.is_some() {
            lines.push(("least effect found in 4 of 5 cases".into(), detectable.to_string()));
        }
    }
    if let Some(assumption) = panel.finding.broken {
        lines.push(("not met".into(), assumption.text().into()));
    }
    if lines.is_empty() { String::new() } else { terms(&lines) + "\n" }
}

const COLORS: [&str; 4] = ["tuned", "unseen", "third", "fourth"];
const SHAPES: [Shape; 3] = [Shape::Dot, Shape::Diamond, Shape::Square];

fn draw(plot: &Plot, title: &str) -> String {
    let finite = |y: &f64| y.is_finite();
    let points = || plot.series.iter().flat_map(|series| &series.points).filter(|p| p.x.is_finite() && p.y.is_finite());
    if points().next().is_none() {
        return String::new();
    }
    let xs = || points().map(|p| p.x);
    let ys = || points().flat_map(|p| [Some(p.y), p.interval.map(|i| i.0), p.interval.map(|i| i.1)]).flatten().filter(finite);
    let (left, right) = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
    let x = if xs().all(|x| x >= 0.0 && x.fract() == 0.0) && right - left < 1000.0 {
        Axis::bands(&plot.x_label, left as u64, right as u64)
    } else {
        Axis::plain(&plot.x_label, left, right)
    };
    let y = Axis::plain(&plot.y_label, ys().fold(f64::INFINITY, f64::min), ys().fold(f64::NEG_INFINITY, f64::max));
    let mut chart = Chart::new(x, y, 300.0);
    for (number, series) in plot.series.iter().enumerate() {
        let (class, shape) = (COLORS[number % COLORS.len()], SHAPES[number % SHAPES.len()]);
        let drawn: Vec<_> = series.points.iter().filter(|p| p.x.is_finite() && p.y.is_finite()).collect();
        match series.mark {
            Mark::Line => {
                chart.line(&drawn.iter().map(|p| (p.x, p.y)).collect::<Vec<_>>(), class);
                chart.legend_line(class, &series.name);
            }
            Mark::Points => {
                for p in drawn {
                    let title = format!("{}: x {}, y {}", series.name, short(p.x), short(p.y));
                    if let Some((low, high)) = p.interval {
                        chart.interval(p.x, low, high, class, &title);
                    }
                    chart.point(p.x, p.y, shape, class, &title);
                }
                chart.legend_shape(shape, class, &series.name);
            }
        }
    }
    chart.figure(title)
}
