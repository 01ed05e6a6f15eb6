//! The tables of a study as people read them; the page, the Markdown and the terminal show the same ones.

use super::file::Kind;
use super::published;
use super::report::{Cell, Report};
use crate::audit::compare::AFTER;
use crate::compare::contest::Measured;
use crate::compare::text::points;
use crate::report::html::{NONE, duration, or_none};
use crate::table::Table;

pub fn tables(report: &Report) -> Vec<Table> {
    let all = [arms(report), published_rows(), search(report), contests(report), verdicts(report), measures(report), runs(report)];
    all.into_iter().filter(|t| !t.rows.is_empty()).collect()
}

fn shown(report: &Report) -> impl Iterator<Item = &Cell> {
    report.cells.iter().filter(|c| !c.runs.is_empty())
}

fn whole(value: Option<f64>) -> String {
    or_none(value, |v| format!("{v:.0}"))
}

fn arms(report: &Report) -> Table {
    let rows = shown(report).map(|cell| {
        vec![
            cell.model.clone(),
            cell.arm.clone(),
            format!("{} of {}", cell.runs.len(), cell.planned),
            whole(cell.average(|r| Some(r.funnel.asked as f64))),
            or_none(cell.level.valid, share),
            whole(cell.average(|r| Some(r.funnel.trained as f64))),
            whole(cell.average(|r| Some(r.distinct as f64))),
            or_none(cell.level.mean, share),
            or_none(cell.level.best, share),
            percent_of(cell.average(|r| r.best)),
            or_none(cell.average(|r| Some(r.seconds)), duration),
            whole(cell.average(|r| r.tokens_written.map(|t| t as f64))),
            whole(cell.average(|r| r.tokens_tuned.map(|t| t as f64))),
        ]
    });
    Table {
        id: "arms",
        title: "Models and arms".into(),
        note: format!(
            "Means over the seeds with 95% intervals. Mean quality is of all candidates that have one; the best at the budget is after {} {}.",
            report.budget,
            match report.kind {
                Kind::Audit => "distinct cells, by true accuracy (the mean over the table's training seeds)",
                Kind::Run => "trained candidates, by the accuracy measured",
            }
        ),
        head: vec![
            "model",
            "arm",
            "seeds",
            "asked",
            "valid",
            "trained",
            "distinct",
            "mean quality",
            "best at the budget",
            "best at the end",
            "time of a run",
            "tokens written",
            "tokens tuned",
        ],
        rows: rows.collect(),
    }
}

/// A share of candidates, or an accuracy, with its interval.
fn share(m: Measured) -> String {
    let show = |v: f64| format!("{:.2}", 100.0 * v.clamp(0.0, 1.0));
    m.interval.map_or_else(|| show(m.value) + "%", |(low, high)| format!("{}% [{}, {}]", show(m.value), show(low), show(high)))
}

fn percent_of(value: Option<f64>) -> String {
    or_none(value, |v| format!("{:.2}%", 100.0 * v))
}

fn published_rows() -> Table {
    let rows = published::ROWS
        .iter()
        .map(|row| vec![row.name.into(), percent_of(Some(row.valid)), percent_of(Some(row.mean)), percent_of(Some(row.best))]);
    Table {
        id: "published",
        title: "The published table".into(),
        note: published::CAVEAT.into(),
        head: vec!["published", "valid", "mean", "best"],
        rows: rows.collect(),
    }
}

fn search(report: &Report) -> Table {
    let rows = shown(report).filter_map(|cell| {
        let search = cell.search.as_ref()?;
        let found = format!("{} of {}", search.found, search.searches.len());
        let mut row = vec![cell.model.clone(), cell.arm.clone(), found, search.show_median()];
        row.extend(search.best.iter().zip(&search.incumbent).map(|(best, incumbent)| format!("{best:.2} ({incumbent:.2})")));
        Some(row)
    });
    let [a, b, c] = AFTER;
    Table {
        id: "search",
        title: "The search".into(),
        note: format!(
            "Seeds that queried the best cell of the space; of these, median distinct cells until they did, with its bootstrap interval; the true \
             accuracy of the best cell queried after {a}, {b} and {c} distinct cells (in brackets: of the cell with the highest accuracy as measured)."
        ),
        head: vec!["model", "arm", "found in", "median cells until", "after 100", "after 500", "after 1100"],
        rows: rows.collect(),
    }
}

fn contests(report: &Report) -> Table {
    let rows = report.contests.iter().filter(|c| !c.seeds.is_empty()).map(|contest| {
        vec![
            contest.arm.clone(),
            contest.against.clone(),
            contest.seeds.len().to_string(),
            or_none(contest.mean, points),
            or_none(contest.best, points),
            if contest.wins() { "yes" } else { "no" }.into(),
        ]
    });
    Table {
        id: "differences",
        title: "Differences, paired by seed".into(),
        note: "At the budget that both runs of a pair have. An arm beats another if its mean or its best is significantly higher and neither is \
               significantly lower (5% in all, Holm's correction over the two; not corrected over the rows)."
            .into(),
        head: vec!["arm", "against", "seeds", "mean quality", "best quality", "beats it"],
        rows: rows.collect(),
    }
}

fn verdicts(report: &Report) -> Table {
    let rows = (1..=6).flat_map(|claim| {
        let of = report.methods().filter_map(move |cell| Some((cell, cell.verdicts.iter().find(|v| v.claim == claim)?)));
        let own = of.map(move |(cell, v)| {
            vec![
                claim.to_string(),
                cell.name(),
                v.holds.to_string(),
                v.fails.to_string(),
                v.not_met.to_string(),
                published::of_claim(claim).into(),
            ]
        });
        let pairs = report.pairs.iter().filter(move |(_, panel)| panel.claim == claim).map(move |(model, panel)| {
            let is = |verdict: crate::theory::Verdict| u8::from(panel.verdict == verdict).to_string();
            let who = format!("{model}, its two arms together");
            let [holds, fails, unmet] =
                [crate::theory::Verdict::Holds, crate::theory::Verdict::Fails, crate::theory::Verdict::AssumptionNotMet];
            vec![claim.to_string(), who, is(holds), is(fails), is(unmet), published::of_claim(claim).into()]
        });
        own.chain(pairs).collect::<Vec<_>>()
    });
    Table {
        id: "verdicts",
        title: "The six claims".into(),
        note: "How many seeds say what, beside what was published (arXiv 2605.30103).".into(),
        head: vec!["claim", "arm", "holds", "fails", "assumption not met", "published"],
        rows: rows.collect(),
    }
}

/// The numbers behind the verdicts, means over the seeds.
fn measures(report: &Report) -> Table {
    let mut rows = Vec::new();
    for cell in report.methods() {
        let mut add = |claim: u8, what: &str, value: Option<String>| {
            if let Some(value) = value {
                rows.push(vec![claim.to_string(), cell.name(), what.into(), value]);
            }
        };
        let count = |of: fn(&super::outcome::Measures) -> Option<(usize, usize)>| {
            let all: Vec<(usize, usize)> = cell.runs.iter().filter_map(|r| of(&r.measures)).collect();
            let seeds = all.iter().map(|(fell, _)| fell.to_string()).collect::<Vec<_>>().join(", ");
            let of = all.iter().map(|(_, of)| *of).max()?;
            Some(format!("{seeds} of {of}"))
        };
        let plain = |digits: usize| {
            move |m: Measured| match m.interval {
                Some((low, high)) => format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", m.value),
                None => format!("{:.digits$}", m.value),
            }
        };
        let from_to = |first: Option<Measured>, last: Option<Measured>, show: &dyn Fn(Measured) -> String| {
            first.zip(last).map(|(first, last)| format!("{} -> {}", show(first), show(last)))
        };
        add(1, "share of the CE update realised, exact, median of a run", cell.measure(|m| m.realised).map(share));
        add(2, "transitions in which the raw mean fell, seed by seed", count(|m| Some((m.fell, m.transitions))));
        add(2, "updates by which exact E[S] fell, seed by seed", count(|m| m.exact_fell.zip(m.updates)));
        add(3, "C in the first and the last cycle", from_to(cell.measure(|m| m.first_c), cell.measure(|m| m.last_c), &share));
        add(5, "new among the valid ones written", cell.measure(|m| m.new).map(share));
        let entropy = from_to(cell.measure(|m| m.first_entropy), cell.measure(|m| m.last_entropy), &plain(2));
        add(5, "exact entropy in nats, first and last", entropy);
        add(6, "signal-to-noise ratio of the proxy", cell.measure(|m| m.snr).map(plain(2)));
    }
    for (model, panel) in &report.pairs {
        rows.push(vec![panel.claim.to_string(), model.clone(), "two arms".into(), panel.sentence.clone()]);
    }
    rows.sort_by(|a, b| a[0].cmp(&b[0]));
    Table {
        id: "measures",
        title: "The numbers behind the claims".into(),
        note: "Means over the seeds with 95% intervals.".into(),
        head: vec!["claim", "arm", "what", "measured"],
        rows,
    }
}

fn runs(report: &Report) -> Table {
    let rows = shown(report).flat_map(|cell| {
        cell.runs.iter().map(|run| {
            let found = run.search.as_ref().map(|s| s.best_found_at.map_or("no".to_owned(), |n| format!("at {n}")));
            vec![
                cell.model.clone(),
                cell.arm.clone(),
                run.seed.to_string(),
                run.cycles.to_string(),
                run.funnel.asked.to_string(),
                run.funnel.traced.to_string(),
                run.funnel.trained.to_string(),
                run.distinct.to_string(),
                run.funnel.elite.to_string(),
                percent_of(run.mean),
                percent_of(run.best),
                found.unwrap_or_else(|| NONE.into()),
                duration(run.seconds),
            ]
        })
    });
    Table {
        id: "runs",
        title: "Runs".into(),
        note: String::new(),
        head: vec![
            "model",
            "arm",
            "seed",
            "cycles",
            "asked",
            "valid",
            "trained",
            "distinct",
            "elite",
            "mean",
            "best",
            "best cell found",
            "time",
        ],
        rows: rows.collect(),
    }
}

/// The report in Markdown.
pub fn markdown(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut text = format!("# {}\n\n{}\n\n{}\n", report.title, report.verdict, progress(report));
    for (job, message) in &report.failed {
        let _ = writeln!(text, "\nFailed: {job}: {message}");
    }
    for table in tables(report) {
        text += &crate::table::markdown(&table);
    }
    let _ = write!(text, "\n## The study\n\n```toml\n{}```\n", report.file);
    text
}

/// How much of the study there is.
pub fn progress(report: &Report) -> String {
    format!("{} of {} runs finished; eliteloop {}.", report.finished, report.planned, env!("CARGO_PKG_VERSION"))
}
