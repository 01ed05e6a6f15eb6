//! The best network: its source, what changed, its training curve, and where it comes from.

use std::fmt::Write as _;

use super::chart::{Axis, Chart, Shape};
use super::data::{Best, ReportData};
use super::html::{details, diff, escape, source, table, terms};
use crate::base::show::{or_none, percent, short, thousands};

pub(crate) fn best(data: &ReportData) -> String {
    let Some(best) = &data.best else {
        return "<p class=\"quiet\">No candidate has been trained yet.</p>\n".into();
    };
    let seeds: Vec<String> = best.quality_per_seed.iter().map(|&quality| percent(quality)).collect();
    let facts = [
        ("found in", format!("cycle {}, candidate {}", best.cycle, best.index)),
        ("validation accuracy", percent(best.quality)),
        ("by training seed", seeds.join(", ")),
        ("parameters", thousands(best.parameters)),
        ("MACs for one image", thousands(best.macs)),
        ("parent", best.parent.clone()),
        ("start network", best.start.clone()),
    ];
    let mut html = terms(&facts.map(|(term, value)| (term.to_owned(), value)));
    html.push_str(&curve(best));
    html.push_str("<h3>Source</h3>\n");
    html.push_str(&source(&best.source));
    let _ = write!(html, "<h3>What changed since the start network</h3>\n{}", diff(&best.start_source, &best.source));
    if best.parent_source != best.start_source {
        let _ = write!(html, "<h3>What its last delta changed</h3>\n{}", diff(&best.parent_source, &best.source));
    }
    html
}

fn curve(best: &Best) -> String {
    let (Some(first), Some(last)) = (best.curve.first(), best.curve.last()) else { return String::new() };
    let accuracy: Vec<(f64, f64)> = best.curve.iter().map(|e| (e.epoch as f64, e.valid_accuracy)).collect();
    let loss: Vec<(f64, f64)> = best.curve.iter().map(|e| (e.epoch as f64, e.train_loss)).collect();
    let range =
        |points: &[(f64, f64)]| points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &(_, y)| (low.min(y), high.max(y)));
    let mut figures = String::from("<div class=\"pair\">");
    let (low, high) = range(&accuracy);
    let y = Axis::percent("validation accuracy", low, high);
    let mut chart = Chart::new(Axis::bands("epoch", first.epoch, last.epoch), y, 300.0);
    chart.line(&accuracy, "best");
    for &(x, y) in &accuracy {
        chart.point(x, y, Shape::Dot, "best-dot", &format!("epoch {x}: {}", percent(y)));
    }
    figures.push_str(&chart.figure("Validation accuracy after each epoch of its proxy training."));
    let (low, high) = range(&loss);
    let mut chart = Chart::new(Axis::bands("epoch", first.epoch, last.epoch), Axis::plain("training loss (nats)", low, high), 300.0);
    chart.line(&loss, "tuned");
    for &(x, y) in &loss {
        chart.point(x, y, Shape::Dot, "tuned", &format!("epoch {x}: {}", short(y)));
    }
    figures.push_str(&chart.figure("Training loss of each epoch."));
    figures.push_str("</div>\n");
    let rows: Vec<Vec<String>> = best
        .curve
        .iter()
        .map(|e| vec![e.epoch.to_string(), format!("{:.4}", e.train_loss), format!("{:.2}%", 100.0 * e.valid_accuracy)])
        .collect();
    figures.push_str(&details("Training curve as numbers", &table("Curve", &["epoch", "training loss", "validation accuracy"], &rows)));
    figures
}

/// The chain of deltas from the start network to the best one.
pub(crate) fn lineage(data: &ReportData) -> String {
    if data.lineage.len() < 2 {
        return "<p class=\"quiet\">The best network has no ancestors in this run.</p>\n".into();
    }
    let mut html = String::from("<ol class=\"lineage\">\n");
    for (place, ancestor) in data.lineage.iter().enumerate() {
        let quality = or_none(ancestor.quality, percent);
        let _ = write!(html, "<li><p><strong>{}</strong> <span class=\"value\">{quality}</span>", escape(&ancestor.name));
        if let Some(before) = place.checked_sub(1).map(|place| &data.lineage[place]) {
            if let (Some(now), Some(then)) = (ancestor.quality, before.quality) {
                let _ = write!(html, " <span class=\"quiet\">{}</span>", points(now - then));
            }
            let mut body = diff(&before.source, &ancestor.source);
            let _ = write!(body, "<p>The delta as it was written:</p>\n{}", source(&ancestor.completion));
            let _ = write!(html, "</p>\n{}</li>\n", details("What this delta changed", &body));
        } else {
            let _ = write!(
                html,
                " <span class=\"quiet\">start network</span></p>\n{}</li>\n",
                details("Its source", &source(&ancestor.source))
            );
        }
    }
    html.push_str("</ol>\n");
    html
}

/// A difference of accuracies in percentage points.
pub(crate) fn points(difference: f64) -> String {
    let sign = if difference < 0.0 { "\u{2212}" } else { "+" };
    format!("{sign}{:.1} points", 100.0 * difference.abs())
}
