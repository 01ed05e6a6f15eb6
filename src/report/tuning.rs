//! What tuning did to the loss of the elites, and whether it started from the loss that was logged.

use super::chart::{Axis, Chart, Shape};
use super::data::ReportData;
use super::html::chart_table;
use crate::base::show::{or_none, short};

/// None where no cycle was tuned: a control.
pub(crate) fn section(data: &ReportData) -> Option<String> {
    let tuned: Vec<_> = data.cycles.iter().filter_map(|cycle| cycle.tuning.as_ref().map(|tuning| (cycle.cycle, tuning))).collect();
    let (&(first, _), &(last, _)) = (tuned.first()?, tuned.last()?);
    let losses =
        || tuned.iter().flat_map(|(_, t)| [Some(t.loss_before), Some(t.loss_after), t.held_out_before, t.held_out_after]).flatten();
    let (low, high) = (losses().fold(0.0, f64::min), losses().fold(0.0, f64::max));
    let mut chart = Chart::new(Axis::bands("cycle", first, last), Axis::plain("loss (nats per delta)", low, high), 320.0);
    for (cycle, tuning) in &tuned {
        let pairs = [
            (-0.18, Some(tuning.loss_before), Some(tuning.loss_after), Shape::Dot, "tuned", "trained elites"),
            (0.18, tuning.held_out_before, tuning.held_out_after, Shape::Diamond, "unseen", "held-out elites"),
        ];
        for (shift, before, after, shape, class, name) in pairs {
            let (Some(before), Some(after)) = (before, after) else { continue };
            let x = *cycle as f64 + shift;
            chart.line(&[(x, before), (x, after)], class);
            chart.point(x, before, shape, &format!("{class} open"), &format!("cycle {cycle}, {name}: {} before", short(before)));
            chart.point(x, after, shape, class, &format!("cycle {cycle}, {name}: {} after", short(after)));
        }
    }
    chart.legend_shape(Shape::Dot, "tuned open", "trained elites before");
    chart.legend_shape(Shape::Dot, "tuned", "after");
    if tuned.iter().any(|(_, tuning)| tuning.held_out_before.is_some()) {
        chart.legend_shape(Shape::Diamond, "unseen open", "held-out elites before");
        chart.legend_shape(Shape::Diamond, "unseen", "after");
    }
    let mut html = chart.figure("Loss of the elites before and after the tuning of each cycle: mean over elites of the summed negative log-likelihood of the delta.");
    let head =
        ["cycle", "elites", "steps", "before", "after", "held out before", "held out after", "logged at sampling", "relative difference"];
    let rows: Vec<Vec<String>> = tuned
        .iter()
        .map(|(cycle, t)| {
            let difference = t.logged_loss.map(|logged| (t.loss_before - logged).abs() / logged.abs().max(f64::MIN_POSITIVE));
            vec![
                cycle.to_string(),
                t.examples.to_string(),
                t.steps.to_string(),
                format!("{:.3}", t.loss_before),
                format!("{:.3}", t.loss_after),
                or_none(t.held_out_before, |loss| format!("{loss:.3}")),
                or_none(t.held_out_after, |loss| format!("{loss:.3}")),
                or_none(t.logged_loss, |loss| format!("{loss:.3}")),
                or_none(difference, |difference| format!("{difference:.1e}")),
            ]
        })
        .collect();
    html.push_str(&chart_table("Tuning of each cycle", &head, &rows));
    Some(html)
}
