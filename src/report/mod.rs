//! One self-contained HTML file about a run: no script, nothing fetched, charts as inline SVG.

pub mod audit;
pub(crate) mod chart;
pub mod claims;
pub mod collect;
pub mod data;
pub mod early;
mod funnel;
pub(crate) mod html;
mod network;
pub(crate) mod panels;
mod quality;
pub mod tables;
mod tuning;

pub use data::ReportData;

use crate::base::show::{or_none, percent};
use crate::config::Policy;
use html::{Section, details, document, escape, source, table, terms};

use crate::theory::statistics::wilson;

/// Seconds after which the page of a run that goes on loads itself again.
const RELOAD: u32 = 20;

/// The whole report.
pub fn render(data: &ReportData) -> String {
    page(data, None)
}

/// The report of a run that goes on: the page loads itself again.
pub fn render_live(data: &ReportData) -> String {
    page(data, Some(RELOAD))
}

fn page(data: &ReportData, reload: Option<u32>) -> String {
    let mut sections = vec![
        Section::new("funnel", "Funnel", funnel::section(data)),
        Section::new("quality", "Quality over the cycles", quality::section(data)),
    ];
    if let Some(tuning) = tuning::section(data) {
        sections.push(Section::new("tuning", "Tuning on the elites", tuning));
    }
    if let Some(scores) = early::section(data) {
        sections.push(Section::new("scores", "Cheap scores against the quality", scores));
    }
    sections.extend([
        Section::new("best", "Best network", network::best(data)),
        Section::new("lineage", "Lineage of the best network", network::lineage(data)),
        Section::new("novelty", "Novelty", quality::novelty(data)),
        Section::new("theory", "The theory, measured", panels::section(data)),
        Section::new("cost", "Time and memory", funnel::cost(data)),
        Section::new("candidates", "Candidates", quality::all(data)),
        Section::new("settings", "Settings", details("run.toml", &source(&data.settings))),
        Section::new("provenance", "Provenance", provenance(data)),
    ]);
    document(&format!("eliteloop: {}", data.name), &header(data, reload.is_some()), &sections, reload)
}

fn header(data: &ReportData, goes_on: bool) -> String {
    let facts = [
        ("best", data.best.as_ref().map(|best| percent(best.quality))),
        ("best start network", quality::best_start(data).map(percent)),
        ("mean, first cycle", mean_of(data, data.cycles.first())),
        ("mean, last cycle", mean_of(data, data.cycles.last())),
        ("trained of asked", {
            let total = funnel::total(data);
            (total.asked > 0).then(|| {
                let share = wilson(total.trained, total.asked);
                format!("{} of {} ({} \u{2026} {})", total.trained, total.asked, percent(share.low), percent(share.high))
            })
        }),
    ];
    let facts: Vec<(String, String)> = facts.into_iter().filter_map(|(term, value)| Some((term.to_owned(), value?))).collect();
    format!(
        "<header><p class=\"kicker\">eliteloop {}{}</p><h1>{}</h1>\n<p class=\"result\">{}</p>\n{}</header>\n",
        escape(&data.program_version),
        if goes_on { "; the run goes on, and this page with it" } else { "" },
        escape(&data.name),
        escape(&sentence(data)),
        terms(&facts)
    )
}

fn mean_of(data: &ReportData, cycle: Option<&data::Cycle>) -> Option<String> {
    let interval = quality::interval(data, cycle?.cycle)?;
    Some(format!("{} ({} \u{2026} {})", percent(interval.value), percent(interval.low), percent(interval.high)))
}

/// What came out, in one sentence.
fn sentence(data: &ReportData) -> String {
    let total = funnel::total(data);
    let who = match data.policy {
        Policy::Llm => format!("{}, tuned on its own elites,", data.model),
        Policy::Frozen => format!("{}, never tuned,", data.model),
        Policy::BestOfN => format!("{}, never tuned, on the start networks alone,", data.model),
        Policy::TableCe => "The cross-entropy method with a table, without an LLM,".to_owned(),
        Policy::MixtureCe => "The cross-entropy method without a restricted family, without an LLM,".to_owned(),
        Policy::TiltCe => "The cross-entropy method with exponential weights, without an LLM,".to_owned(),
        Policy::Random => "Random mutation, without an LLM,".to_owned(),
        Policy::Evolution => "Regularised evolution, without an LLM,".to_owned(),
        Policy::LocalSearch => "Local search, without an LLM,".to_owned(),
        Policy::Uniform => "Random mutation of parents drawn uniformly, without an LLM,".to_owned(),
    };
    let cycles = data.cycles.len();
    let plural = if cycles == 1 { "" } else { "s" };
    let asked = format!("In {cycles} cycle{plural} and {} candidates, {} of them trained on {},", total.asked, total.trained, data.dataset);
    let Some(best) = &data.best else {
        return format!("{asked} {who} found no network that could be trained.");
    };
    let versus = match quality::best_start(data) {
        Some(start) if best.quality > start => format!(", {} against the best start network", network::points(best.quality - start)),
        Some(start) => format!(", no better than the best start network ({})", percent(start)),
        None => String::new(),
    };
    format!("{asked} {who} found a network of {} validation accuracy{versus}.", percent(best.quality))
}

fn provenance(data: &ReportData) -> String {
    let known = [
        ("program version", data.program_version.clone()),
        ("policy", data.policy.name().to_owned()),
        ("model", data.model.clone()),
        ("data set", data.dataset.clone()),
        ("started", data.started.clone()),
        ("finished", data.finished.clone()),
    ];
    let mut entries: Vec<(String, String)> = known.into_iter().map(|(term, value)| (term.to_owned(), value)).collect();
    entries.extend(data.provenance.iter().cloned());
    entries.retain(|(_, value)| !value.is_empty());
    let start: Vec<Vec<String>> = data.start.iter().map(|s| vec![s.name.clone(), or_none(s.quality, percent)]).collect();
    let mut html = terms(&entries);
    if !start.is_empty() {
        html.push_str(&table("Start networks", &["start network", "validation accuracy"], &start));
    }
    html
}
