//! The tables of a study: the page, the Markdown and the terminal show the same ones; data files have those behind the charts too.

use super::kinds::words;
use super::outcome::{Measures, Outcome};
use super::published;
use super::report::{Cell as Arm, Report};
use crate::base::show::percent;
use crate::compare::contest::Measured;
use crate::compare::text::measured;
use crate::compare::{curves, searches};
use crate::record::Funnel;
use crate::report::chart::Band;
use crate::theory::statistics::mean;
use crate::theory::values::{Cell, Column, Show, Table, estimate, part, seconds, value, values};
use crate::theory::{Claim, Panel, Verdict};

/// Shares and accuracies, as people see them.
const SHARE: Show = Show::Percent(2);

/// For people.
pub fn tables(report: &Report) -> Vec<Table> {
    let all = [
        arms(report),
        published_rows(),
        search(report),
        contests(report),
        funnel(report),
        verdicts(report),
        retrained(report),
        measures(report),
        pairs(report),
        runs(report),
    ];
    all.into_iter().filter(|t| !t.rows.is_empty()).collect()
}

/// Also the measures run by run, and what the charts draw.
pub fn data(report: &Report) -> Vec<Table> {
    [tables(report), vec![differences_by_seed(report), measures_by_run(report), best_so_far(report), mean_so_far(report), cycles(report)]]
        .concat()
}

/// The arms of which a run has finished.
pub(crate) fn shown(report: &Report) -> impl Iterator<Item = &Arm> {
    report.cells.iter().filter(|c| !c.runs.is_empty())
}

fn table(id: &'static str, title: &str, note: impl Into<String>, head: Vec<Column>, rows: impl Iterator<Item = Vec<Cell>>) -> Table {
    Table { id, title: title.into(), note: note.into(), head, rows: rows.collect() }
}

fn whole(mean: Option<f64>) -> Cell {
    Cell::number(mean, Show::Fixed(0))
}

fn arms(report: &Report) -> Table {
    let rows = shown(report).map(|cell| {
        vec![
            cell.model.as_str().into(),
            cell.arm.as_str().into(),
            Cell::Part(cell.runs.len() as u64, cell.planned as u64),
            whole(cell.average(|r| Some(r.funnel.asked as f64))),
            measured(cell.level.valid, SHARE),
            whole(cell.average(|r| Some(r.funnel.trained as f64))),
            whole(cell.average(|r| Some(r.distinct as f64))),
            measured(cell.level.mean, SHARE),
            measured(cell.level.best, SHARE),
            measured(cell.measure(|r| r.best), SHARE),
            Cell::number(cell.average(|r| Some(r.seconds)), Show::Duration),
            whole(cell.average(|r| r.tokens_written.map(|t| t as f64))),
            whole(cell.average(|r| r.tokens_tuned.map(|t| t as f64))),
        ]
    });
    let words = words(report.kind);
    let note = format!(
        "Means over the seeds with 95% intervals. Mean quality is of all candidates that have one; the best at the budget is after {} {}, {}.",
        report.budget, words.trials, words.best_by
    );
    let head = [
        vec![value("model"), value("arm"), part("seeds"), value("asked"), estimate("valid"), value("trained"), value("distinct")],
        vec![estimate("mean quality"), estimate("best at the budget"), estimate("best at the end")],
        vec![seconds("time of a run"), value("tokens written"), value("tokens tuned")],
    ];
    table("arms", "Models and arms", note, head.concat(), rows)
}

fn published_rows() -> Table {
    let rows = published::ROWS.iter().map(|row| {
        let figures = [row.valid, row.mean, row.best].map(|figure| Cell::number(figure, SHARE));
        [vec![row.name.into()], figures.to_vec()].concat()
    });
    table("published", "The published table", published::CAVEAT, values(["published", "valid", "mean", "best"]), rows)
}

fn search(report: &Report) -> Table {
    let rows = shown(report).filter_map(|cell| {
        let search = cell.search.as_ref()?;
        Some([vec![cell.model.as_str().into(), cell.arm.as_str().into()], search.cells()].concat())
    });
    let head = [vec![value("model"), value("arm")], searches::head()].concat();
    table("search", "The search", searches::note(), head, rows)
}

/// What the chosen best is worth where nothing was chosen.
fn retrained(report: &Report) -> Table {
    let rows = shown(report).filter_map(|cell| {
        let again =
            |r: &Outcome| r.retrained.as_ref().filter(|again| !again.valid.is_empty()).map(|again| (again.quality, mean(&again.valid)));
        let count = cell.runs.iter().filter(|r| again(r).is_some()).count();
        let row = || {
            vec![
                cell.model.as_str().into(),
                cell.arm.as_str().into(),
                Cell::Part(count as u64, cell.planned as u64),
                measured(cell.measure(|r| again(r).map(|(chosen, _)| chosen)), SHARE),
                measured(cell.measure(|r| again(r).map(|(_, again)| again)), SHARE),
                measured(cell.measure(|r| again(r).map(|(chosen, again)| again - chosen)), Show::Points),
                measured(
                    cell.measure(|r| r.retrained.as_ref().filter(|again| !again.test.is_empty()).map(|again| mean(&again.test))),
                    SHARE,
                ),
            ]
        };
        (count > 0).then(row)
    });
    let note = "The best network of each run, trained again with fresh seeds on other images of the training part, where nothing was chosen, and \
                each training tested once: means over the runs. What it loses is what its quality owed to being chosen.";
    let head = [
        vec![value("model"), value("arm"), part("runs"), estimate("quality as chosen"), estimate("on other images")],
        vec![estimate("difference"), estimate("test accuracy")],
    ];
    table("retrained", "The chosen best, trained again", note, head.concat(), rows)
}

fn contests(report: &Report) -> Table {
    let rows = report.contests.iter().filter(|c| !c.seeds.is_empty()).map(|contest| {
        let planned = report.cells.iter().find(|cell| cell.name() == contest.arm).map_or(0, |cell| cell.planned);
        vec![
            contest.arm.as_str().into(),
            contest.against.as_str().into(),
            Cell::Part(contest.seeds.len() as u64, planned as u64),
            measured(contest.mean, Show::Points),
            measured(contest.best, Show::Points),
            measured(contest.best_asked, Show::Points),
            measured(contest.best_seconds, Show::Points),
            Cell::number(contest.mean.and_then(|m| m.detectable), Show::Points),
            contest.standing().verb().into(),
        ]
    });
    let note = "At the budget that both runs of a pair have: of trials, of candidates asked for, of seconds. An arm beats another if its mean or \
                its best after as many trials is significantly higher and neither is significantly lower, and is beaten by it the other way \
                round (5% in all, Holm's correction over the two; not corrected over the rows); one seed never beats anything. Seen: the least \
                difference of means that would be found in 4 of 5 cases.";
    let head = [
        vec![value("arm"), value("against"), part("seeds"), estimate("mean quality"), estimate("best quality")],
        vec![estimate("best, equal asked"), estimate("best, equal seconds"), value("seen"), value("outcome")],
    ]
    .concat();
    table("differences", "Differences, paired by seed", note, head, rows)
}

fn differences_by_seed(report: &Report) -> Table {
    let rows = report.contests.iter().flat_map(|contest| {
        contest.pairs.iter().map(|pair| {
            let differences = [pair.mean, pair.best].map(|difference| Cell::number(difference, Show::Points));
            [vec![contest.arm.as_str().into(), contest.against.as_str().into(), pair.seed.into()], differences.to_vec()].concat()
        })
    });
    let head = values(["arm", "against", "seed", "mean quality", "best quality"]);
    table("differences-by-seed", "Differences, seed by seed", "", head, rows)
}

fn funnel(report: &Report) -> Table {
    let rows = shown(report).map(|cell| {
        let counts = cell.runs.iter().map(|r| r.funnel).sum::<Funnel>().counts();
        [vec![cell.model.as_str().into(), cell.arm.as_str().into()], counts.map(Cell::from).to_vec()].concat()
    });
    let head = [values(["model", "arm"]), values(Funnel::HEAD)].concat();
    table("funnel", "Candidates at each stage", "First tries, all runs of an arm together.", head, rows)
}

fn verdicts(report: &Report) -> Table {
    let rows = Claim::ALL.into_iter().flat_map(|claim| {
        let of = report.methods().filter_map(move |cell| Some((cell, cell.verdicts.iter().find(|v| v.claim == claim)?)));
        let own = of.map(|(cell, v)| (cell.name(), v.counts()));
        let is = |panel: &Panel| Verdict::ALL.map(|v| usize::from(panel.finding.verdict == v));
        let pairs = report.pairs.iter().filter(|(_, panel)| panel.claim == claim);
        let both = pairs.map(|(model, panel)| (format!("{model}, its two arms together"), is(panel)));
        let row = |(who, counts): (String, [usize; 4])| {
            let [holds, fails, undecided, unmet] = counts.map(Cell::from);
            vec![claim.into(), who.into(), holds, fails, undecided, unmet, published::of_claim(claim).into()]
        };
        own.chain(both).map(row).collect::<Vec<_>>()
    });
    let note = "How many seeds say what, beside what was published (arXiv 2605.30103).";
    table(
        "verdicts",
        "The six claims",
        note,
        values(["claim", "arm", "holds", "fails", "undecided", "assumption not met", "published"]),
        rows,
    )
}

/// A number behind a claim: of which claim, what it is, of one run, how people see it, and the mean of it that is one.
type Measure = (Claim, &'static str, fn(&Measures) -> Option<f64>, Show, Mean);

#[derive(Clone, Copy)]
enum Mean {
    Arithmetic,
    /// Of ratios, which are never negative and whose spread grows with them. There is none where one is 0 or infinite.
    Geometric,
}

impl Mean {
    fn of(self, values: &[f64], show: Show) -> Cell {
        match self {
            Self::Arithmetic => measured(Measured::of(values, 7), show),
            Self::Geometric if values.iter().any(|value| *value <= 0.0 || !value.is_finite()) => Cell::Unknown,
            Self::Geometric => {
                let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
                let mean = Measured::of(&logs, 7);
                mean.map(|m| Cell::estimate(m.value.exp(), m.interval.map(|(low, high)| (low.exp(), high.exp())), show)).into()
            }
        }
    }
}

const MEASURES: [Measure; 9] = [
    (Claim::Update, "share of the CE update realised, exact, median of a run", |m| m.realised, SHARE, Mean::Arithmetic),
    (
        Claim::Improvement,
        "share of the transitions in which the raw mean fell",
        |m| share_of(m.fell, m.transitions),
        SHARE,
        Mean::Arithmetic,
    ),
    (Claim::Improvement, "share of the updates by which exact E[S] fell", |m| share_of(m.exact_fell?, m.updates?), SHARE, Mean::Arithmetic),
    (Claim::Convergence, "C in the first cycle", |m| m.first_c, SHARE, Mean::Arithmetic),
    (Claim::Convergence, "C in the last cycle", |m| m.last_c, SHARE, Mean::Arithmetic),
    (Claim::Diversity, "new among the valid ones written", |m| m.new, SHARE, Mean::Arithmetic),
    (Claim::Diversity, "exact entropy in nats, first", |m| m.first_entropy, Show::Fixed(2), Mean::Arithmetic),
    (Claim::Diversity, "exact entropy in nats, last", |m| m.last_entropy, Show::Fixed(2), Mean::Arithmetic),
    (Claim::Reliability, "signal-to-noise ratio of the proxy", |m| m.snr, Show::Fixed(2), Mean::Geometric),
];

fn share_of(count: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

/// Means over the seeds of the numbers behind the verdicts.
fn measures(report: &Report) -> Table {
    let rows = MEASURES.iter().flat_map(|(claim, what, of, show, mean)| {
        report.methods().filter_map(move |cell| {
            let values: Vec<f64> = cell.runs.iter().filter_map(|r| of(&r.measures)).collect();
            if values.is_empty() {
                return None;
            }
            let each = cell.runs.iter().map(|r| Cell::number(of(&r.measures), *show).to_string());
            let seeds = each.collect::<Vec<_>>().join(", ");
            Some(vec![(*claim).into(), cell.name().into(), (*what).into(), mean.of(&values, *show), seeds.into()])
        })
    });
    let head = vec![value("claim"), value("arm"), value("what"), estimate("measured"), value("seed by seed")];
    table(
        "measures",
        "The numbers behind the claims",
        "Means over the seeds with 95% intervals; of the signal-to-noise ratio the geometric mean.",
        head,
        rows,
    )
}

fn measures_by_run(report: &Report) -> Table {
    let rows = each_run(report, |run| {
        let m = &run.measures;
        let number = |value: Option<f64>| Cell::number(value, Show::Fixed(4));
        let mut row = vec![run.seed.into(), number(m.realised), m.fell.into(), m.transitions.into(), m.exact_fell.into(), m.updates.into()];
        row.extend([m.first_c, m.last_c, m.new, m.first_entropy, m.last_entropy, m.snr].map(number));
        row
    });
    let head = [
        values(["model", "arm", "seed", "CE update realised", "mean fell", "transitions", "exact mean fell", "updates"]),
        values(["C first", "C last", "new of valid", "entropy first", "entropy last", "SNR"]),
    ];
    table("measures-by-run", "The numbers behind the claims, run by run", "", head.concat(), rows)
}

fn pairs(report: &Report) -> Table {
    let rows = report.pairs.iter().map(|(model, panel)| {
        let texts = [model.as_str(), panel.title.as_str(), &panel.finding.to_string(), panel.sentence.as_str()].map(Cell::from);
        [vec![panel.claim.into()], texts.to_vec()].concat()
    });
    table("pairs", "Claims that take two arms", "", values(["claim", "model", "title", "verdict", "sentence"]), rows)
}

/// A row a run, after its model and arm.
fn each_run<'a>(report: &'a Report, row: impl Fn(&Outcome) -> Vec<Cell> + 'a) -> impl Iterator<Item = Vec<Cell>> + 'a {
    let of = move |cell: &Arm| {
        let rows = cell.runs.iter().map(|run| [vec![cell.model.as_str().into(), cell.arm.as_str().into()], row(run)].concat());
        rows.collect::<Vec<_>>()
    };
    shown(report).flat_map(of)
}

fn runs(report: &Report) -> Table {
    let rows = each_run(report, |run| {
        let f = &run.funnel;
        let counts = [run.seed, run.cycles, f.asked, f.traced, f.novel, f.trained, run.distinct, f.elite];
        let mut row = counts.map(Cell::from).to_vec();
        row.extend([run.mean, run.best].map(|quality| Cell::number(quality, SHARE)));
        row.push(run.search.as_ref().and_then(|s| s.best_found_at).into());
        row.push(Cell::number(run.seconds, Show::Duration));
        row
    });
    let head = [
        values(["model", "arm", "seed", "cycles", "asked", "traced", "novel", "trained", "distinct", "elite", "mean", "best"]),
        vec![value("best cell found at"), seconds("time")],
    ];
    table("runs", "Runs that finished", "", head.concat(), rows)
}

/// A row a place of a curve, after its model and arm.
fn each_band(report: &Report, of: impl Fn(&Arm) -> Vec<Band>) -> Vec<Vec<Cell>> {
    let rows = shown(report).map(|cell| {
        let row = |band: Band| {
            let quartiles = [band.low, band.middle, band.high].map(|quality| Cell::number(quality, SHARE));
            [vec![cell.model.as_str().into(), cell.arm.as_str().into(), Cell::Count(band.x as u64)], quartiles.to_vec()].concat()
        };
        of(cell).into_iter().map(row).collect::<Vec<_>>()
    });
    rows.flatten().collect()
}

fn curve_head(x: &'static str) -> Vec<Column> {
    values(["model", "arm", x, "lower quartile", "median", "upper quartile"])
}

fn best_so_far(report: &Report) -> Table {
    let rows = each_band(report, |cell| curves::best(&cell.side().entries));
    table("best-so-far", "Best so far, over the seeds", "", curve_head(words(report.kind).trials), rows.into_iter())
}

fn mean_so_far(report: &Report) -> Table {
    let rows = each_band(report, |cell| curves::mean_so_far(&cell.side().entries));
    table("mean-so-far", "Mean so far, over the seeds", "", curve_head("candidates"), rows.into_iter())
}

fn cycles(report: &Report) -> Table {
    let rows = each_band(report, Arm::cycle_means);
    table("cycle-means", "Mean of each cycle, over the seeds", "", curve_head("cycle"), rows.into_iter())
}

/// The report in Markdown.
pub fn markdown(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut text = format!("# {}\n\n{}\n\n{}\n", report.title, report.verdict, progress(report));
    for line in missing(report) {
        let _ = writeln!(text, "\n{line}");
    }
    for (job, message) in &report.failed {
        let _ = writeln!(text, "\nFailed: {job}: {message}");
    }
    for table in tables(report) {
        text += &crate::theory::values::markdown(&table);
    }
    let _ = write!(text, "\n## The study\n\n```toml\n{}```\n", report.file);
    text
}

/// How much of the study there is.
pub(crate) fn progress(report: &Report) -> String {
    let share = report.finished as f64 / report.planned.max(1) as f64;
    format!("{} of {} runs finished ({}); eliteloop {}.", report.finished, report.planned, percent(share), env!("CARGO_PKG_VERSION"))
}

/// Which seeds of which arm are missing, a line an arm, and what that means for the tables.
pub(crate) fn missing(report: &Report) -> Vec<String> {
    let of = |cell: &Arm| {
        let seed = |m: &super::report::Missing| {
            let how = match (m.failed, m.cycles) {
                (true, _) => "failed".to_owned(),
                (false, 0) => "not begun".to_owned(),
                (false, cycles) => format!("{cycles} of {} cycles done", m.of),
            };
            format!("seed {} ({how})", m.seed)
        };
        let seeds: Vec<String> = cell.missing.iter().map(seed).collect();
        format!("Missing of {}: {}.", cell.name(), seeds.join(", "))
    };
    let mut lines: Vec<String> = report.cells.iter().filter(|c| !c.missing.is_empty()).map(of).collect();
    if !lines.is_empty() && report.finished > 0 {
        lines.push("Rows of an arm are of its finished seeds; differences are of the seeds that both arms have finished.".into());
    }
    lines
}

/// A share with its interval, in words for a chart.
pub(crate) fn share(m: Measured) -> String {
    measured(m, SHARE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_have_a_geometric_mean() {
        let Cell::Number { value, interval: Some((low, high)), .. } = Mean::Geometric.of(&[2.0, 8.0, 4.0], Show::Fixed(2)) else {
            panic!("no estimate")
        };
        assert!((value - 4.0).abs() < 1e-9 && low > 0.0 && (low * high - 16.0).abs() < 1e-6, "{value} [{low}, {high}]");
        assert_eq!(Mean::Geometric.of(&[0.0, 8.0], Show::Fixed(2)), Cell::Unknown);
    }
}
