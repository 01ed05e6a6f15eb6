//! How many candidates got how far, and why the others did not.

use super::chart::{Axis, Chart};
use super::data::ReportData;
use super::html::{chart_table, details, table};
use crate::base::show::{duration, or_none, percent};
use crate::gates::Gate;
use crate::record::Funnel;

/// Where candidates end, from the first gate to the last: (class of the colour, name).
fn ends() -> [(String, String); 8] {
    let name = |place: usize| match Gate::ALL.get(place) {
        Some(gate) => format!("ended at {gate}"),
        None => Funnel::HEAD[place].to_owned(),
    };
    std::array::from_fn(|place| (format!("end{place}"), name(place)))
}

/// How many end at each place of [`ends`].
fn ended(funnel: &Funnel) -> [u64; 8] {
    let counts = funnel.counts();
    std::array::from_fn(|place| counts[place].saturating_sub(counts.get(place + 1).copied().unwrap_or(0)))
}

pub(crate) fn total(data: &ReportData) -> Funnel {
    data.cycles.iter().map(|cycle| cycle.funnel).sum()
}

fn row(name: &str, f: &Funnel) -> Vec<String> {
    let share = if f.asked > 0 { Some(f.trained as f64 / f.asked as f64) } else { None };
    let counts = f.counts().into_iter().map(|count| count.to_string());
    std::iter::once(name.to_owned()).chain(counts).chain([or_none(share, percent)]).collect()
}

pub(crate) fn section(data: &ReportData) -> String {
    let (Some(first), Some(last)) = (data.cycles.first(), data.cycles.last()) else {
        return "<p class=\"quiet\">No cycle has closed yet.</p>\n".into();
    };
    let most = data.cycles.iter().map(|cycle| cycle.funnel.asked).max().unwrap_or(0);
    let mut chart = Chart::new(Axis::bands("cycle", first.cycle, last.cycle), Axis::counts("candidates", most), 300.0);
    let ends = ends();
    for cycle in &data.cycles {
        let mut floor = 0;
        let x = (cycle.cycle as f64 - 0.4, cycle.cycle as f64 + 0.4);
        for (count, (class, name)) in ended(&cycle.funnel).into_iter().zip(&ends).rev() {
            if count > 0 {
                let title = format!("cycle {}: {count} {name}", cycle.cycle);
                chart.bar(x, (floor as f64, (floor + count) as f64), class, &title);
                floor += count;
            }
        }
    }
    for (class, name) in ends.iter().rev() {
        chart.legend_bar(class, name);
    }
    let mut html = chart.figure("Where the candidates of each cycle ended. Elites are trained candidates too.");

    let head = [&["cycle"][..], &Funnel::HEAD, &["trained of asked"]].concat();
    let mut rows: Vec<Vec<String>> = data.cycles.iter().map(|cycle| row(&cycle.cycle.to_string(), &cycle.funnel)).collect();
    rows.push(row("all", &total(data)));
    html.push_str(&chart_table("Funnel of each cycle", &head, &rows));
    html.push_str("<p class=\"quiet\">Parsed and applied count first tries: nothing is repaired.</p>\n");

    let reasons: Vec<Vec<String>> = data
        .cycles
        .iter()
        .flat_map(|cycle| {
            let row = |r: &super::data::Reason| vec![cycle.cycle.to_string(), r.gate.to_string(), r.reason.clone(), r.count.to_string()];
            cycle.reasons.iter().map(row)
        })
        .collect();
    if !reasons.is_empty() {
        html.push_str(&details("Why candidates did not pass", &table("Reasons", &["cycle", "gate", "reason", "candidates"], &reasons)));
    }
    html
}

/// Seconds of each phase and peak memory, a row a cycle.
pub(crate) fn cost(data: &ReportData) -> String {
    let mut phases: Vec<&str> = Vec::new();
    for (phase, _) in data.cycles.iter().flat_map(|cycle| &cycle.seconds) {
        if !phases.contains(&phase.as_str()) {
            phases.push(phase);
        }
    }
    if phases.is_empty() {
        return "<p class=\"quiet\">No times were recorded.</p>\n".into();
    }
    let head: Vec<String> = phases.iter().map(|phase| format!("{phase} (s)")).collect();
    let mut head: Vec<&str> = head.iter().map(String::as_str).collect();
    head.insert(0, "cycle");
    head.extend(["total (s)", "peak memory (MiB)"]);
    let mut sums = vec![0.0; phases.len()];
    let mut rows = Vec::new();
    for cycle in &data.cycles {
        let seconds = phases.iter().map(|phase| cycle.seconds.iter().filter(|(name, _)| name == phase).map(|(_, s)| s).sum::<f64>());
        let seconds: Vec<f64> = seconds.collect();
        sums.iter_mut().zip(&seconds).for_each(|(sum, s)| *sum += s);
        let mut row = vec![cycle.cycle.to_string()];
        row.extend(seconds.iter().map(|s| format!("{s:.1}")));
        row.push(format!("{:.1}", seconds.iter().sum::<f64>()));
        row.push(or_none(cycle.peak_memory_mib, |mib| format!("{mib:.0}")));
        rows.push(row);
    }
    let all: f64 = sums.iter().sum();
    let mut row = vec!["all".to_owned()];
    row.extend(sums.iter().map(|s| format!("{s:.1}")));
    let peak = data
        .cycles
        .iter()
        .filter_map(|cycle| cycle.peak_memory_mib)
        .fold(None, |most: Option<f64>, mib| Some(most.map_or(mib, |m| m.max(mib))));
    row.extend([format!("{all:.1}"), or_none(peak, |mib| format!("{mib:.0}"))]);
    rows.push(row);
    format!("<p>{} in all.</p>\n{}", duration(all), chart_table("Seconds of each phase", &head, &rows))
}
