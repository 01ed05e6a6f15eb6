//! A comparison as text and as tables; the page shows the same tables.

use std::fmt::Write as _;

use super::Comparison;
use super::contest::Measured;
use crate::report::data::Funnel;
use crate::report::html::{duration, or_none, percent};
use crate::table::{Table, section};

/// A difference of qualities in percentage points.
pub fn points(m: Measured) -> String {
    match m.interval {
        Some((low, high)) => format!("{:+.1} points [{:+.1}, {:+.1}]", 100.0 * m.value, 100.0 * low, 100.0 * high),
        None => format!("{:+.1} points (one pair: no interval)", 100.0 * m.value),
    }
}

/// A share with its interval.
pub fn share(m: Measured) -> String {
    match m.interval {
        // Student's interval of a share may reach beyond what a share can be.
        Some((low, high)) => format!("{} [{}, {}]", percent(m.value), percent(low.max(0.0)), percent(high.min(1.0))),
        None => percent(m.value),
    }
}

pub fn tables(c: &Comparison) -> Vec<Table> {
    vec![arms(c), contests(c), runs(c), funnel(c), cost(c)]
}

fn arms(c: &Comparison) -> Table {
    let rows = c.arms.iter().zip(&c.levels).map(|(arm, level)| {
        vec![
            arm.name.clone(),
            arm.runs.len().to_string(),
            or_none(level.valid, share),
            or_none(level.mean, share),
            or_none(level.best, share),
        ]
    });
    Table {
        id: "arms",
        title: format!("Arms (best of the first {} trained candidates of each run; intervals over the runs)", c.budget),
        note: String::new(),
        head: vec!["arm", "runs", "valid", "mean quality", "best quality"],
        rows: rows.collect(),
    }
}

fn contests(c: &Comparison) -> Table {
    let rows = c.contests.iter().map(|contest| {
        let seeds: Vec<String> = contest.seeds.iter().map(u64::to_string).collect();
        vec![
            format!("{} \u{2212} {}", contest.arm, contest.against),
            seeds.join(" "),
            or_none(contest.mean, points),
            or_none(contest.best, points),
        ]
    });
    Table {
        id: "differences",
        title: "Differences, paired by seed".into(),
        note: String::new(),
        head: vec!["arms", "seeds", "mean quality", "best quality"],
        rows: rows.collect(),
    }
}

fn runs(c: &Comparison) -> Table {
    let rows = c.arms.iter().flat_map(|arm| &arm.runs).zip(c.arms.iter().flat_map(|a| a.runs.iter().map(|_| &a.name))).map(|(run, arm)| {
        vec![
            run.folder.file_name().map_or_else(|| run.folder.display().to_string(), |n| n.to_string_lossy().into_owned()),
            arm.clone(),
            run.seed.to_string(),
            format!("{} of {}", run.cycles, run.config.cycles),
            run.qualities.len().to_string(),
            or_none(run.mean(), percent),
            or_none(run.best_of(usize::MAX), percent),
            or_none(run.best_of(c.budget), percent),
            or_none(run.best_start, percent),
        ]
    });
    Table {
        id: "runs",
        title: "Runs".into(),
        note: String::new(),
        head: vec!["run", "arm", "seed", "cycles", "trained", "mean", "best", "best at the budget", "best start"],
        rows: rows.collect(),
    }
}

/// The funnel of an arm, its runs together.
pub fn funnel_of(arm: &super::runs::Arm) -> Funnel {
    arm.runs.iter().map(|run| run.funnel).sum()
}

fn funnel(c: &Comparison) -> Table {
    let rows = c.arms.iter().map(|arm| {
        let f = funnel_of(arm);
        let counts = [f.asked, f.parsed, f.applied, f.traced, f.within_budget, f.novel, f.trained, f.elite];
        std::iter::once(arm.name.clone()).chain(counts.map(|count| count.to_string())).collect()
    });
    Table {
        id: "funnel",
        title: "Funnel (first tries, all runs of an arm together)".into(),
        note: String::new(),
        head: vec!["arm", "asked", "parsed", "applied", "traced", "in budget", "novel", "trained", "elite"],
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
        let mut row = vec![arm.name.clone()];
        row.extend(phases.iter().map(|name| format!("{:.1}", phase(name))));
        row.push(duration(total / runs));
        row.push(if trained > 0.0 { format!("{:.1}", total / trained) } else { crate::report::html::NONE.into() });
        row.push(format!("{:.0}", sum(&|r| r.tokens_written as f64) / runs));
        row.push(format!("{:.0}", sum(&|r| r.tokens_tuned as f64) / runs));
        row
    });
    Table {
        id: "cost",
        title: "Cost of a run".into(),
        note: String::new(),
        head: vec![
            "arm",
            "propose (s)",
            "screen (s)",
            "train (s)",
            "tune (s)",
            "in all",
            "seconds a trained network",
            "tokens written",
            "tokens tuned",
        ],
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
        let _ = write!(out, "\n\nClaim {}: {}: {}\n{}", panel.claim, panel.title, panel.verdict, panel.sentence);
    }
    out
}
