//! A study as one HTML file like a run's report.

use std::fmt::Write as _;

use super::charts;
use super::report::Report;
use super::tables::{missing, progress, tables};
use crate::compare::page::header;
use crate::report::html::{Section, details, document, escape, source, titled_table};
use crate::report::panels;
use crate::theory::Panel;

/// The whole page.
pub fn page(report: &Report) -> String {
    let tables = tables(report);
    let shown = |ids: &[&str]| -> String { tables.iter().filter(|t| ids.contains(&t.id)).map(titled_table).collect() };
    let mut sections = vec![
        Section::new("results", "Results", state(report) + &shown(&["arms", "search"])),
        Section::new("quality", "Quality against candidates", charts::quality(report)),
        Section::new("differences", "Against the controls", charts::differences(report) + &shown(&["differences"])),
        Section::new("funnel", "Funnel", charts::funnel(report) + &shown(&["funnel"])),
        Section::new("theory", "The six claims", shown(&["verdicts", "measures", "published"])),
    ];
    if !report.pairs.is_empty() {
        let of = |(model, panel): &(String, Panel)| format!("<h3>{}</h3>\n{}", escape(model), panels::grid(std::slice::from_ref(panel)));
        sections.push(Section::new("pairs", "Claims that take two arms", report.pairs.iter().map(of).collect()));
    }
    sections.push(Section::new("runs", "Runs", shown(&["runs"])));
    sections.retain(|section| !section.is_empty());
    sections.push(Section::new("study", "The study", details("study.toml", &source(&report.file))));
    document(&format!("eliteloop: {}", report.title), &header(&report.title, &report.verdict), &sections, None)
}

/// How much of the study there is, and what is missing.
fn state(report: &Report) -> String {
    let mut html = format!("<p>{}</p>\n", escape(&progress(report)));
    for line in missing(report) {
        let _ = writeln!(html, "<p>{}</p>", escape(&line));
    }
    for (job, message) in &report.failed {
        let _ = writeln!(html, "<p>Failed: {}: {}</p>", escape(job), escape(message));
    }
    html
}
