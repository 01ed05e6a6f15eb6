//! What a report draws, as tables: for those who draw it themselves.

use super::data::{Candidate, Cycle, ReportData};
use crate::table::Table;
use crate::theory::early::Correlation;
use crate::theory::{Panel, Plot};

/// Every table of a report; numbers at full precision, accuracies from 0 to 1.
pub fn tables(data: &ReportData) -> Vec<Table> {
    vec![
        table("cycles", "Cycles", CYCLE.to_vec(), data.cycles.iter().map(cycle).collect()),
        table("reasons", "Why candidates ended", vec!["cycle", "stage", "reason", "count"], reasons(data)),
        table("phases", "Seconds of each phase", vec!["cycle", "phase", "seconds"], phases(data)),
        table("candidates", "Candidates", CANDIDATE.to_vec(), data.candidates.iter().map(candidate).collect()),
        table(
            "start",
            "Start networks",
            vec!["name", "quality"],
            data.start.iter().map(|s| vec![s.name.clone(), or_empty(s.quality)]).collect(),
        ),
        table("lineage", "Lineage of the best network", vec!["name", "quality", "completion"], lineage(data)),
        table("early", "What is known early", vec!["score", "networks", "Spearman", "low", "high"], data.early.iter().map(early).collect()),
        table("claims", "The six claims", vec!["claim", "title", "verdict", "sentence"], data.theory.iter().map(claim).collect()),
        table("numbers", "The numbers behind the verdicts", vec!["claim", "name", "value"], data.theory.iter().flat_map(numbers).collect()),
        table(
            "plots",
            "The plots of the claims",
            vec!["claim", "series", "x", "y", "low", "high"],
            data.theory.iter().flat_map(points).collect(),
        ),
    ]
}

const CYCLE: [&str; 17] = [
    "cycle",
    "asked",
    "parsed",
    "applied",
    "traced",
    "within budget",
    "novel",
    "trained",
    "elite",
    "gamma",
    "examples",
    "steps",
    "loss before",
    "loss after",
    "held out before",
    "held out after",
    "logged loss",
];

const CANDIDATE: [&str; 12] = [
    "cycle",
    "index",
    "parent",
    "stage",
    "reason",
    "quality",
    "elite",
    "held out",
    "nearest Jaccard",
    "parent Jaccard",
    "parameters",
    "MACs",
];

fn table(id: &'static str, title: &str, head: Vec<&'static str>, rows: Vec<Vec<String>>) -> Table {
    Table { id, title: title.into(), note: String::new(), head, rows }
}

fn or_empty(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}

fn cycle(c: &Cycle) -> Vec<String> {
    let f = &c.funnel;
    let mut row = vec![c.cycle, f.asked, f.parsed, f.applied, f.traced, f.within_budget, f.novel, f.trained, f.elite]
        .into_iter()
        .map(|n| n.to_string())
        .collect::<Vec<_>>();
    row.push(or_empty(c.gamma));
    let t = c.tuning.as_ref();
    row.extend([t.map(|t| t.examples), t.map(|t| t.steps)].map(or_empty));
    row.extend([t.map(|t| t.loss_before), t.map(|t| t.loss_after)].map(or_empty));
    row.extend([t.and_then(|t| t.held_out_before), t.and_then(|t| t.held_out_after), t.and_then(|t| t.logged_loss)].map(or_empty));
    row
}

fn reasons(data: &ReportData) -> Vec<Vec<String>> {
    let of = |c: &Cycle| {
        c.reasons.iter().map(|r| vec![c.cycle.to_string(), r.stage.clone(), r.reason.clone(), r.count.to_string()]).collect::<Vec<_>>()
    };
    data.cycles.iter().flat_map(of).collect()
}

fn phases(data: &ReportData) -> Vec<Vec<String>> {
    let of = |c: &Cycle| c.seconds.iter().map(|(phase, s)| vec![c.cycle.to_string(), phase.clone(), s.to_string()]).collect::<Vec<_>>();
    data.cycles.iter().flat_map(of).collect()
}

fn candidate(c: &Candidate) -> Vec<String> {
    vec![
        c.cycle.to_string(),
        c.index.to_string(),
        c.parent.clone(),
        c.stage.clone(),
        c.reason.clone(),
        or_empty(c.quality),
        c.elite.to_string(),
        c.held_out.to_string(),
        or_empty(c.nearest_jaccard),
        or_empty(c.parent_jaccard),
        or_empty(c.parameters),
        or_empty(c.macs),
    ]
}

fn lineage(data: &ReportData) -> Vec<Vec<String>> {
    data.lineage.iter().map(|a| vec![a.name.clone(), or_empty(a.quality), a.completion.clone()]).collect()
}

fn early(c: &Correlation) -> Vec<String> {
    let ends = [c.rank.map(|r| r.value), c.rank.map(|r| r.low), c.rank.map(|r| r.high)].map(or_empty);
    [vec![c.name.clone(), c.networks.to_string()], ends.to_vec()].concat()
}

fn claim(p: &Panel) -> Vec<String> {
    vec![p.claim.to_string(), p.title.clone(), p.verdict.to_string(), p.sentence.clone()]
}

fn numbers(p: &Panel) -> Vec<Vec<String>> {
    p.numbers.iter().map(|(name, value)| vec![p.claim.to_string(), name.clone(), value.clone()]).collect()
}

fn points(p: &Panel) -> Vec<Vec<String>> {
    let of = |plot: &Plot| {
        let rows = plot.series.iter().flat_map(|s| s.points.iter().map(|point| (s.name.clone(), *point)));
        rows.map(|(name, point)| {
            let ends = point.interval.map_or_else(Default::default, |(low, high)| [low.to_string(), high.to_string()]);
            [vec![p.claim.to_string(), name, point.x.to_string(), point.y.to_string()], ends.to_vec()].concat()
        })
        .collect::<Vec<_>>()
    };
    p.plot.as_ref().map(of).unwrap_or_default()
}
