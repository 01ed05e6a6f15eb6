//! What a report draws, as tables: for those who draw it themselves.

use super::data::{Candidate, Cycle, ReportData};
use crate::record::Funnel;
use crate::theory::early::Correlation;
use crate::theory::values::{Cell, Column, Show, Table, estimate, seconds, value, values};
use crate::theory::{Effect, Panel, Plot};

/// Every table of a report; accuracies from 0 to 1.
pub fn tables(data: &ReportData) -> Vec<Table> {
    let correlations = vec![value("score"), value("networks"), estimate("Spearman")];
    let plots = vec![value("claim"), value("series"), value("x"), estimate("y")];
    let start = data.start.iter().map(|s| vec![s.name.as_str().into(), exact(s.quality)]);
    let behind = vec![value("claim"), value("name"), estimate("value")];
    let cycles = [vec![value("cycle")], values(Funnel::HEAD), values(CYCLE)].concat();
    let claims = [
        values(["claim", "title", "verdict", "broken assumption", "effect"]),
        vec![estimate("estimate"), value("detectable"), value("sentence")],
    ]
    .concat();
    vec![
        table("cycles", "Cycles", cycles, data.cycles.iter().map(cycle).collect()),
        table("reasons", "Why candidates ended", values(["cycle", "gate", "reason", "count"]), reasons(data)),
        table("phases", "Time of each phase", vec![value("cycle"), value("phase"), seconds("time")], phases(data)),
        table("candidates", "Candidates", values(CANDIDATE), data.candidates.iter().map(candidate).collect()),
        table("start", "Start networks", values(["name", "quality"]), start.collect()),
        table("lineage", "Lineage of the best network", values(["name", "quality", "completion"]), lineage(data)),
        table("early", "What is known early", correlations, data.early.iter().map(early).collect()),
        table("claims", "The six claims", claims, data.theory.iter().map(claim).collect()),
        table("numbers", "The numbers behind the verdicts", behind, data.theory.iter().flat_map(numbers).collect()),
        table("plots", "The plots of the claims", plots, data.theory.iter().flat_map(points).collect()),
    ]
}

/// What a cycle has beside its funnel.
const CYCLE: [&str; 8] = ["gamma", "examples", "steps", "loss before", "loss after", "held out before", "held out after", "logged loss"];

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

fn table(id: &'static str, title: &str, head: Vec<Column>, rows: Vec<Vec<Cell>>) -> Table {
    Table { id, title: title.into(), note: String::new(), head, rows }
}

fn exact(value: impl Into<Option<f64>>) -> Cell {
    Cell::number(value, Show::Fixed(4))
}

fn cycle(c: &Cycle) -> Vec<Cell> {
    let mut row = vec![Cell::from(c.cycle)];
    row.extend(c.funnel.counts().map(Cell::from));
    row.push(exact(c.gamma));
    let t = c.tuning.as_ref();
    row.extend([t.map(|t| t.examples), t.map(|t| t.steps)].map(Cell::from));
    row.extend([t.map(|t| t.loss_before), t.map(|t| t.loss_after)].map(exact));
    row.extend([t.and_then(|t| t.held_out_before), t.and_then(|t| t.held_out_after), t.and_then(|t| t.logged_loss)].map(exact));
    row
}

fn reasons(data: &ReportData) -> Vec<Vec<Cell>> {
    let of = |c: &Cycle| {
        let row = |r: &super::data::Reason| vec![c.cycle.into(), r.gate.name().into(), r.reason.as_str().into(), r.count.into()];
        c.reasons.iter().map(row).collect::<Vec<_>>()
    };
    data.cycles.iter().flat_map(of).collect()
}

fn phases(data: &ReportData) -> Vec<Vec<Cell>> {
    let of = |c: &Cycle| {
        let row = |(phase, time): &(String, f64)| vec![c.cycle.into(), phase.as_str().into(), Cell::number(*time, Show::Duration)];
        c.seconds.iter().map(row).collect::<Vec<_>>()
    };
    data.cycles.iter().flat_map(of).collect()
}

fn candidate(c: &Candidate) -> Vec<Cell> {
    vec![
        c.cycle.into(),
        c.index.into(),
        c.parent.as_str().into(),
        c.stage.name().into(),
        c.reason.as_str().into(),
        exact(c.quality),
        c.elite.into(),
        c.held_out.into(),
        exact(c.nearest_jaccard),
        exact(c.parent_jaccard),
        c.parameters.into(),
        c.macs.into(),
    ]
}

fn lineage(data: &ReportData) -> Vec<Vec<Cell>> {
    data.lineage.iter().map(|a| vec![a.name.as_str().into(), exact(a.quality), a.completion.as_str().into()]).collect()
}

fn early(c: &Correlation) -> Vec<Cell> {
    let rank = c.rank.map_or(Cell::Unknown, |r| Cell::estimate(r.value, Some((r.low, r.high)), Show::Fixed(4)));
    vec![c.name.as_str().into(), c.networks.into(), rank]
}

fn claim(p: &Panel) -> Vec<Cell> {
    let broken = p.finding.broken.map_or(Cell::Unknown, |assumption| assumption.text().into());
    let effect = p.finding.effect.as_ref();
    let (estimate, detectable) = effect.map_or((Cell::Unknown, Cell::Unknown), Effect::cells);
    let name = effect.map_or(Cell::Unknown, |effect| effect.name.as_str().into());
    vec![
        p.claim.into(),
        p.title.as_str().into(),
        p.finding.verdict.name().into(),
        broken,
        name,
        estimate,
        detectable,
        p.sentence.as_str().into(),
    ]
}

fn numbers(p: &Panel) -> Vec<Vec<Cell>> {
    p.numbers.iter().map(|(name, value)| vec![p.claim.into(), name.as_str().into(), value.clone()]).collect()
}

fn points(p: &Panel) -> Vec<Vec<Cell>> {
    let of = |plot: &Plot| {
        let rows = plot.series.iter().flat_map(|s| s.points.iter().map(|point| (s.name.as_str(), *point)));
        rows.map(|(name, point)| {
            let y = Cell::estimate(point.y, point.interval, Show::Fixed(4));
            vec![p.claim.into(), name.into(), exact(point.x), y]
        })
        .collect::<Vec<_>>()
    };
    p.plot.as_ref().map(of).unwrap_or_default()
}
