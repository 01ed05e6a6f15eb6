//! A study as one HTML file like a run's report.

use std::fmt::Write as _;

use super::report::Report;
use super::tables::{progress, tables};
use crate::compare::page::header;
use crate::report::html::{Section, details, document, escape, source, titled_table};
use crate::report::panels;
use crate::theory::Panel;

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut results = format!("<p>{}</p>\n", escape(&progress(report)));
    for (job, message) in &report.failed {
        let _ = writeln!(results, "<p>Failed: {}: {}</p>", escape(job), escape(message));
    }
    let shown = |ids: &[&str]| -> String {
        tables(report).iter().filter(|t| ids.contains(&t.id) && !t.rows.is_empty()).map(titled_table).collect()
    };
    let known: Vec<&str> = tables(report).iter().map(|t| t.id).collect();
    let (theory, others): (Vec<&str>, Vec<&str>) = known.into_iter().partition(|id| ["verdicts", "measures", "published"].contains(id));
    results += &shown(&others);
    let mut sections = vec![Section::new("results", "Results", results), Section::new("theory", "The six claims", shown(&theory))];
    if !report.pairs.is_empty() {
        let of = |(model, panel): &(String, Panel)| format!("<h3>{}</h3>\n{}", escape(model), panels::grid(std::slice::from_ref(panel)));
        sections.push(Section::new("pairs", "Claims that take two arms", report.pairs.iter().map(of).collect()));
    }
    sections.push(Section::new("study", "The study", details("study.toml", &source(&report.file))));
    document(&format!("eliteloop: {}", report.title), &header(&report.title, &report.verdict), &sections)
}
