//! The quality of every candidate over the cycles, and what the filter saw of their likeness.

use super::chart::{Axis, Chart, Shape};
use super::data::{Candidate, ReportData};
use super::html::{chart_table, details, table};
use crate::base::show::{NONE, or_none, percent, thousands};
use crate::gates::{Gate, Stage};
use crate::theory::Estimate;
use crate::theory::statistics::{mean, mean_interval};

/// Qualities of the trained candidates of a cycle.
pub(crate) fn of_cycle(data: &ReportData, cycle: u64) -> Vec<f64> {
    data.candidates.iter().filter(|c| c.cycle == cycle).filter_map(|c| c.quality).collect()
}

pub(crate) fn interval(data: &ReportData, cycle: u64) -> Option<Estimate> {
    mean_interval(&of_cycle(data, cycle), cycle)
}

pub(crate) fn best_start(data: &ReportData) -> Option<f64> {
    data.start.iter().filter_map(|start| start.quality).reduce(f64::max)
}

pub(crate) fn section(data: &ReportData) -> String {
    let (Some(first), Some(last)) = (data.cycles.first(), data.cycles.last()) else {
        return "<p class=\"quiet\">No cycle has closed yet.</p>\n".into();
    };
    let trained = || data.candidates.iter().filter_map(|c| c.quality.map(|quality| (c, quality)));
    let all = || trained().map(|(_, quality)| quality).chain(best_start(data));
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let y = Axis::percent("validation accuracy", low, high);
    let mut chart = Chart::new(Axis::bands("cycle", first.cycle, last.cycle), y, 380.0);

    if let Some(start) = best_start(data) {
        chart.line(&[(first.cycle as f64 - 0.5, start), (last.cycle as f64 + 0.5, start)], "start");
    }
    for (candidate, quality) in trained() {
        // A fixed shift by index (golden ratio) instead of random jitter.
        let shift = ((candidate.index as f64 * 0.618_034).fract() - 0.5) * 0.56;
        let (shape, class, kind) = match (candidate.elite, candidate.held_out) {
            (true, false) => (Shape::Diamond, "elite", ", elite"),
            (true, true) => (Shape::Diamond, "held-out", ", elite held out of tuning"),
            _ => (Shape::Dot, "candidate", ""),
        };
        let Candidate { cycle, index, parent, .. } = candidate;
        let title = format!("cycle {cycle}, candidate {index}{kind}: {} (parent {parent})", percent(quality));
        chart.point(*cycle as f64 + shift, quality, shape, class, &title);
    }
    let mut best: Option<f64> = None;
    let mut best_line = Vec::new();
    let mut rows = Vec::new();
    for cycle in &data.cycles {
        let at = cycle.cycle as f64;
        let qualities = of_cycle(data, cycle.cycle);
        if let Some(gamma) = cycle.gamma {
            chart.line(&[(at - 0.42, gamma), (at + 0.42, gamma)], "gamma");
        }
        let interval = mean_interval(&qualities, cycle.cycle);
        if !qualities.is_empty() {
            let center = mean(&qualities);
            let range = or_none(interval, |i| format!(", 95% interval {} to {}", percent(i.low), percent(i.high)));
            let title = format!("cycle {}: mean {}{range}", cycle.cycle, percent(center));
            if let Some(interval) = interval {
                chart.interval(at, interval.low, interval.high, "mean", &title);
            }
            chart.point(at, center, Shape::Square, "mean-dot", &title);
        }
        best = qualities.iter().copied().chain(best).reduce(f64::max);
        if let Some(best) = best {
            best_line.extend([(at - 0.5, best), (at + 0.5, best)]);
        }
        rows.push(vec![
            cycle.cycle.to_string(),
            qualities.len().to_string(),
            if qualities.is_empty() { NONE.into() } else { percent(mean(&qualities)) },
            or_none(interval, |i| format!("{} \u{2026} {}", percent(i.low), percent(i.high))),
            or_none(cycle.gamma, percent),
            or_none(qualities.iter().copied().reduce(f64::max), percent),
            or_none(best, percent),
        ]);
    }
    chart.line(&best_line, "best");
    chart.legend_shape(Shape::Dot, "candidate", "candidate");
    chart.legend_shape(Shape::Diamond, "elite", "elite");
    if trained().any(|(c, _)| c.held_out) {
        chart.legend_shape(Shape::Diamond, "held-out", "elite held out of tuning");
    }
    chart.legend_shape(Shape::Square, "mean-dot", "mean with 95% interval");
    chart.legend_line("best", "best so far");
    if data.cycles.iter().any(|cycle| cycle.gamma.is_some()) {
        chart.legend_line("gamma", "elite threshold \u{3b3}");
    }
    if best_start(data).is_some() {
        chart.legend_line("start", "best start network");
    }
    let mut html = chart.figure(
        "Validation accuracy of every trained candidate. Nothing is smoothed; candidates that failed have no quality and are not drawn.",
    );
    let head = ["cycle", "trained", "mean", "95% interval of the mean", "\u{3b3}", "best of cycle", "best so far"];
    html.push_str(&chart_table("Quality of each cycle", &head, &rows));
    html
}

/// Similarity to the nearest network accepted before.
pub(crate) fn novelty(data: &ReportData) -> String {
    const BINS: usize = 20;
    let mut counts = [[0u64; 2]; BINS];
    let mut compared = 0u64;
    for candidate in &data.candidates {
        if let Some(jaccard) = candidate.nearest_jaccard {
            let bin = ((jaccard * BINS as f64) as usize).min(BINS - 1);
            counts[bin][usize::from(candidate.stage == Stage::WithinBudget)] += 1;
            compared += 1;
        }
    }
    if compared == 0 {
        return "<p class=\"quiet\">No candidate was compared with another.</p>\n".into();
    }
    let most = counts.iter().map(|[passed, refused]| passed + refused).max().unwrap_or(1);
    let mut chart = Chart::new(Axis::plain("J to the nearest accepted network", 0.0, 1.0), Axis::counts("candidates", most), 260.0);
    for (bin, [passed, refused]) in counts.into_iter().enumerate() {
        let (low, high) = (bin as f64 / BINS as f64, (bin + 1) as f64 / BINS as f64);
        let range = format!("J from {low:.2} to {high:.2}");
        if passed > 0 {
            chart.bar((low, high), (0.0, passed as f64), "end6", &format!("{range}: {passed} passed"));
        }
        if refused > 0 {
            chart.bar((low, high), (passed as f64, (passed + refused) as f64), "end4", &format!("{range}: {refused} refused"));
        }
    }
    chart.legend_bar("end6", "passed the filter");
    chart.legend_bar("end4", "refused");
    let refused: u64 = counts.iter().map(|[_, refused]| refused).sum();
    let mut html = chart.figure(&format!(
        "{compared} candidates compared, {refused} of them refused. J, the Jaccard similarity, is exact, over paths of operations of the canonical graph; the parent is not counted as a neighbour."
    ));
    let mut reasons: Vec<(String, u64)> = Vec::new();
    for reason in data.cycles.iter().flat_map(|cycle| &cycle.reasons).filter(|reason| reason.gate == Gate::Novelty) {
        match reasons.iter_mut().find(|(known, _)| *known == reason.reason) {
            Some((_, count)) => *count += reason.count,
            None => reasons.push((reason.reason.clone(), reason.count)),
        }
    }
    if !reasons.is_empty() {
        let rows: Vec<Vec<String>> = reasons.into_iter().map(|(reason, count)| vec![reason, count.to_string()]).collect();
        html.push_str(&table("Why the filter refused", &["reason", "candidates"], &rows));
    }
    html
}

/// Every candidate, a row each.
pub(crate) fn all(data: &ReportData) -> String {
    let head = ["cycle", "candidate", "parent", "stage", "quality", "elite", "nearest J", "parent J", "parameters", "MACs", "reason"];
    let rows: Vec<Vec<String>> = data
        .candidates
        .iter()
        .map(|c| {
            let elite = match (c.elite, c.held_out) {
                (true, true) => "held out",
                (true, false) => "yes",
                _ => "",
            };
            vec![
                c.cycle.to_string(),
                c.index.to_string(),
                c.parent.clone(),
                c.stage.to_string(),
                or_none(c.quality, percent),
                elite.into(),
                or_none(c.nearest_jaccard, |j| format!("{j:.3}")),
                or_none(c.parent_jaccard, |j| format!("{j:.3}")),
                or_none(c.parameters, thousands),
                or_none(c.macs, thousands),
                c.reason.chars().take(160).collect(),
            ]
        })
        .collect();
    details(&format!("All {} candidates", rows.len()), &table("All candidates", &head, &rows))
}
