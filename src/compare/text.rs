//! A comparison as text and as tables; the page shows the same tables.

use std::fmt::Write as _;

use super::Comparison;
use super::contest::Measured;
use crate::record::Funnel;
use crate::theory::values::{Cell, Show, Table, estimate, part, seconds, section, value, values};

/// A difference of qualities in percentage points.
pub(crate) fn points(m: Measured) -> String {
    let missing = if m.interval.is_none() { " (one seed: no interval)" } else { "" };
    format!("{}{missing}", measured(m, Show::Points))
}

/// A share with its interval.
pub(crate) fn share(m: Measured) -> String {
    measured(m, SHARE).to_string()
}

/// A measured quantity as a cell.
pub(crate) fn measured(m: impl Into<Option<Measured>>, show: Show) -> Cell {
    m.into().map_or(Cell::Unknown, |m| Cell::estimate(m.value, m.interval, show))
}

const SHARE: Show = Show::Percent(1);

/// Arms, differences, runs, funnel and cost, in this order.
pub fn tables(c: &Comparison) -> Vec<Table> {
    vec![arms(c), contests(c), runs(c), funnel(c), cost(c)]
}

fn arms(c: &Comparison) -> Table {
    let rows = c.arms.iter().zip(&c.levels).map(|(arm, level)| {
        let levels = [level.valid, level.mean, level.best].map(|m| measured(m, SHARE));
        [vec![arm.name.as_str().into(), arm.runs.len().into()], levels.to_vec()].concat()
    });
    Table {
        id: "arms",
        title: format!("Arms (best of the first {} trained candidates of each run; intervals over the runs)", c.budget),
        note: String::new(),
        head: vec![value("arm"), value("runs"), estimate("valid"), estimate("mean quality"), estimate("best quality")],
        rows: rows.collect(),
    }
}

fn contests(c: &Comparison) -> Table {
    let rows = c.contests.iter().map(|contest| {
        let seeds: Vec<String> = contest.seeds.iter().map(u64::to_string).collect();
        vec![
            format!("{} \u{2212} {}", contest.arm, contest.against).into(),
            seeds.join(" ").into(),
            contest.standing().verb().into(),
            measured(contest.mean, Show::Points),
            measured(contest.best, Show::Points),
            measured(contest.best_asked, Show::Points),
            measured(contest.best_seconds, Show::Points),
            Cell::number(contest.mean.and_then(|m| m.detectable), Show::Points),
        ]
    });
    Table {
        id: "differences",
        title: "Differences, paired by seed".into(),
        note: "The best after as many trained networks, as many candidates asked for, as many seconds. Seen: the least difference of means that \
               would be found in 4 of 5 cases."
            .into(),
        head: vec![
            value("arms"),
            value("seeds"),
            value("the first"),
            estimate("mean quality"),
            estimate("best, equal trained"),
            estimate("best, equal asked"),
            estimate("best, equal seconds"),
            value("seen"),
        ],
        rows: rows.collect(),
    }
}

fn runs(c: &Comparison) -> Table {
    let rows = c.arms.iter().flat_map(|arm| arm.runs.iter().map(|run| (arm.name.as_str(), run))).map(|(arm, run)| {
        let name = run.folder.file_name().map_or_else(|| run.folder.display().to_string(), |n| n.to_string_lossy().into_owned());
        let qualities = [run.mean(), run.best_of(usize::MAX), run.best_of(c.budget), run.best_start];
        let mut row = vec![name.into(), arm.into(), run.seed.into(), Cell::Part(run.cycles, run.config.cycles), run.qualities.len().into()];
        row.extend(qualities.map(|quality| Cell::number(quality, SHARE)));
        row
    });
    Table {
        id: "runs",
        title: "Runs".into(),
        note: String::new(),
        head: [
            vec![value("run"), value("arm"), value("seed"), part("cycles")],
            values(["trained", "mean", "best", "best at the budget", "best start"]),
        ]
        .concat(),
        rows: rows.collect(),
    }
}

/// The funnel of an arm, its runs together.
pub(crate) fn funnel_of(arm: &super::runs::Arm) -> Funnel {
    arm.runs.iter().map(|run| run.funnel).sum()
}

fn funnel(c: &Comparison) -> Table {
    let rows = c.arms.iter().map(|arm| std::iter::once(arm.name.as_str().into()).chain(funnel_of(arm).counts().map(Cell::from)).collect());
    Table {
        id: "funnel",
        title: "Funnel (first tries, all runs of an arm together)".into(),
        note: String::new(),
        head: [vec![value("arm")], values(Funnel::HEAD)].concat(),
        rows: rows.collect(),
    }
}

fn cost(c: &Comparison) -> Table {
    let phases = ["propose", "screen", "train", "tune"];
    let rows = c.arms.iter().map(|arm| {
        let runs = arm.runs.len() as f64;
        let sum = |f: &dyn Fn(&super::runs::RunFacts) -> f64| arm.runs.iter().map(f).sum::<f64>();
        // A sum of nothing is -0.0.
        let phase = |name: &str| 0.0 + sum(&|r| r.seconds.iter().filter(|(n, _)| n == name).map(|(_, s)| s).sum()) / runs;
        let trained = sum(&|r| r.qualities.len() as f64);
        let total = sum(&|r| r.total_seconds());
        let mut row = vec![arm.name.as_str().into()];
        row.extend(phases.iter().map(|name| Cell::number(phase(name), Show::Fixed(1))));
        row.push(Cell::number(total / runs, Show::Duration));
        row.push(Cell::number((trained > 0.0).then(|| total / trained), Show::Fixed(1)));
        row.push(Cell::number(sum(&|r| r.tokens_written as f64) / runs, Show::Fixed(0)));
        row.push(Cell::number(sum(&|r| r.tokens_tuned as f64) / runs, Show::Fixed(0)));
        row
    });
    Table {
        id: "cost",
        title: "Cost of a run".into(),
        note: String::new(),
        head: [
            values(["arm", "propose (s)", "screen (s)", "train (s)", "tune (s)"]),
            vec![seconds("in all")],
            values(["seconds a trained network", "tokens written", "tokens tuned"]),
        ]
        .concat(),
        rows: rows.collect(),
    }
}

/// The comparison for a terminal.
pub fn text(c: &Comparison) -> String {
    let mut out = c.verdict.clone();
    for table in tables(c) {
        if table.rows.is_empty() {
            continue;
        }
        out += "\n";
        out += &section(&table);
    }
    for panel in &c.panels {
        let _ = write!(out, "\n\nClaim {}: {}: {}\n{}", panel.claim, panel.title, panel.finding, panel.sentence);
    }
    out
}
