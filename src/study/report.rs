//! What a study shows: each model and arm over its seeds, arms against their controls, the six claims beside the published figures.

use std::path::Path;

use serde::Serialize;

use super::file::Study;
use super::job::Failure;
use super::job::{Job, State};
use super::outcome::Outcome;
use crate::base::error::Result;
use crate::compare::contest::{Contest, Level, Measured, Side, Standing};
use crate::compare::curves::band;
use crate::compare::runs::Arm;
use crate::compare::{self, searches};
use crate::record::Funnel;
use crate::record::Kind;
use crate::report::chart::Band;
use crate::theory::statistics::mean;
use crate::theory::{Claim, Panel, Verdict};

/// What a study has found so far.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether the LLM beats its controls: the first line.
    pub verdict: String,
    pub(crate) title: String,
    pub(crate) kind: Kind,
    /// The study file as it was run.
    #[serde(skip)]
    pub(crate) file: String,
    /// Runs that the study asks for.
    pub planned: usize,
    /// Runs that have finished, of those planned.
    pub finished: usize,
    /// (run, its last words)
    pub(crate) failed: Vec<(String, String)>,
    /// Trials that every run has: trained networks, or distinct cells. The best is of so many.
    pub(crate) budget: usize,
    /// One a model and arm.
    pub cells: Vec<Cell>,
    /// Each arm with a tuned LLM against each of its controls.
    pub contests: Vec<Contest>,
    /// Claims that take two arms, by model.
    pub(crate) pairs: Vec<(String, Panel)>,
}

/// One model under one arm, over its seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Its name in the study file; `no-llm` of an arm without an LLM.
    pub model: String,
    /// Its name in the study file.
    pub arm: String,
    /// The LLM tuned on its elites: what the controls are controls of.
    pub(crate) is_method: bool,
    pub(crate) planned: usize,
    pub(crate) missing: Vec<Missing>,
    /// Those that have finished.
    pub runs: Vec<Outcome>,
    /// Mean and best quality over the runs; empty until the cell stands in a report.
    pub level: Level,
    /// Over the seeds, of claim 1 to 6.
    pub(crate) verdicts: Vec<Verdicts>,
    pub(crate) search: Option<searches::Arm>,
}

/// A planned run that has not finished.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// Of the run.
    pub seed: u64,
    /// Closed cycles.
    pub cycles: u64,
    /// Cycles that are planned.
    pub of: u64,
    /// Whether it ended with an error in the call of the study that made the report.
    pub failed: bool,
}

/// How often a claim came out how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Verdicts {
    pub(crate) claim: Claim,
    pub(crate) holds: usize,
    pub(crate) fails: usize,
    pub(crate) undecided: usize,
    pub(crate) not_met: usize,
}

impl Verdicts {
    /// In the order of [`Verdict::ALL`].
    pub(crate) const fn counts(&self) -> [usize; 4] {
        [self.holds, self.fails, self.undecided, self.not_met]
    }
}

impl Cell {
    fn read(jobs: &[&Job], states: &[State], study: &Path, failures: &[Failure]) -> Result<Self> {
        let first = jobs[0];
        let (done, open): (Vec<_>, Vec<_>) = jobs.iter().zip(states).partition(|(_, state)| state.finished);
        let runs = done.iter().map(|(job, _)| job.settings.outcome(&job.folder(study))).collect::<Result<_>>()?;
        let missing = open.iter().map(|(job, state)| Missing {
            seed: job.seed,
            cycles: state.cycles,
            of: job.settings.cycles(),
            failed: failures.iter().any(|f| f.job == job.name()),
        });
        let mut cell = Self::new(&first.model, &first.arm, first.settings.is_method(), runs, missing.collect());
        cell.search = first.settings.search(cell.name(), &cell.runs);
        Ok(cell)
    }

    /// Its levels are those of a report: they take the budget of all cells.
    pub fn new(model: &str, arm: &str, is_method: bool, runs: Vec<Outcome>, missing: Vec<Missing>) -> Self {
        let counted = Claim::ALL.into_iter().filter_map(|claim| {
            let of = |verdict| runs.iter().flat_map(|r| &r.claims).filter(|c| c.claim == claim && c.finding.verdict == verdict).count();
            let [holds, fails, undecided, not_met] = Verdict::ALL.map(of);
            (holds + fails + undecided + not_met > 0).then_some(Verdicts { claim, holds, fails, undecided, not_met })
        });
        Self {
            model: model.into(),
            arm: arm.into(),
            is_method,
            planned: runs.len() + missing.len(),
            verdicts: counted.collect(),
            level: Level { mean: None, best: None, valid: None },
            search: None,
            missing,
            runs,
        }
    }

    /// `model/arm`; the arm alone where it has no LLM.
    pub fn name(&self) -> String {
        label(&self.model, &self.arm)
    }

    pub(crate) fn side(&self) -> Side {
        Side { name: self.name(), entries: self.runs.iter().map(|r| r.entry.clone()).collect() }
    }

    /// The mean quality of each cycle, over the runs that have one there.
    pub(crate) fn cycle_means(&self) -> Vec<Band> {
        let last = self.runs.iter().map(|r| r.cycles).max().unwrap_or(0);
        let of = |run: &Outcome, cycle: u64| {
            let own: Vec<f64> = run.qualities.iter().filter(|(c, _)| *c == cycle).map(|(_, quality)| *quality).collect();
            (!own.is_empty()).then(|| mean(&own))
        };
        let at = |cycle: u64| {
            let means: Vec<f64> = self.runs.iter().filter_map(|run| of(run, cycle)).collect();
            (!means.is_empty()).then(|| band(cycle as f64, &means))
        };
        (1..=last).filter_map(at).collect()
    }

    /// Of each run that asked for candidates, the share of them that got so far.
    pub(crate) fn shares(&self, reached: impl Fn(&Funnel) -> u64) -> Vec<f64> {
        let asked = self.runs.iter().map(|r| &r.funnel).filter(|funnel| funnel.asked > 0);
        asked.map(|funnel| reached(funnel) as f64 / funnel.asked as f64).collect()
    }

    /// Mean over the runs; None of none.
    pub(crate) fn average(&self, of: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.runs.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| mean(&values))
    }

    /// Mean over the runs that give it, with its interval.
    pub fn measure(&self, of: impl Fn(&Outcome) -> Option<f64>) -> Option<Measured> {
        Measured::of(&self.runs.iter().filter_map(of).collect::<Vec<_>>(), 7)
    }
}

fn label(model: &str, arm: &str) -> String {
    if model == super::file::NO_MODEL { arm.to_owned() } else { format!("{model}/{arm}") }
}

impl Report {
    /// Reads what has finished of a study.
    pub(crate) fn collect(study: &Study, jobs: &[Job], states: &[State], folder: &Path, failures: &[Failure]) -> Result<Self> {
        let mut groups: Vec<(Vec<&Job>, Vec<State>)> = Vec::new();
        for (job, state) in jobs.iter().zip(states) {
            match groups.iter_mut().find(|(of, _)| of[0].model == job.model && of[0].arm == job.arm) {
                Some((of, their)) => (of.push(job), their.push(*state)).1,
                None => groups.push((vec![job], vec![*state])),
            }
        }
        let cells = groups.iter().map(|(jobs, states)| Cell::read(jobs, states, folder, failures)).collect::<Result<Vec<_>>>()?;
        let failed = failures.iter().map(|f| (f.job.clone(), f.message.clone())).collect();
        Ok(Self::of(&study.title, study.kind, study.to_toml(), cells, failed))
    }

    /// Puts cells side by side.
    pub fn of(title: &str, kind: Kind, file: String, mut cells: Vec<Cell>, failed: Vec<(String, String)>) -> Self {
        let sides: Vec<Side> = cells.iter().map(Cell::side).collect();
        let budget = sides.iter().flat_map(|s| &s.entries).map(|e| e.best_so_far.len()).min().unwrap_or(0);
        for (cell, side) in cells.iter_mut().zip(&sides) {
            cell.level = Level::of(side, budget, &cell.shares(|funnel| funnel.traced));
        }
        let mut contests = Vec::new();
        for (method, side) in cells.iter().zip(&sides).filter(|(cell, _)| cell.is_method) {
            let controls =
                cells.iter().zip(&sides).filter(|(c, _)| !c.is_method && (c.model == method.model || c.model == super::file::NO_MODEL));
            contests.extend(controls.map(|(_, control)| Contest::hold(side, control)));
        }
        Self {
            verdict: verdict(&cells, &contests),
            title: title.into(),
            kind,
            file,
            planned: cells.iter().map(|c| c.planned).sum(),
            finished: cells.iter().map(|c| c.runs.len()).sum(),
            failed,
            budget,
            pairs: pairs(&cells),
            cells,
            contests,
        }
    }

    /// The arms whose LLM is tuned on its elites: what the others are controls of.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|c| c.is_method && !c.runs.is_empty())
    }
}

fn verdict(cells: &[Cell], contests: &[Contest]) -> String {
    if cells.iter().all(|c| c.runs.is_empty()) {
        return "No run has finished yet.".into();
    }
    let sentences: Vec<String> = cells.iter().filter(|c| c.is_method).filter_map(|method| sentence(&method.name(), contests)).collect();
    if sentences.is_empty() {
        return "The study has no arm with a tuned LLM and a control that share a finished seed, so nothing is said of the method.".into();
    }
    sentences.join(" ")
}

fn sentence(method: &str, contests: &[Contest]) -> Option<String> {
    let held: Vec<&Contest> = contests.iter().filter(|c| c.arm == method && !c.seeds.is_empty()).collect();
    let seeds = held.iter().map(|c| c.seeds.len()).max()?;
    let plural = if seeds == 1 { "" } else { "s" };
    let of = |standing: Standing| {
        let names: Vec<&str> = held.iter().filter(|c| c.standing() == standing).map(|c| c.against.as_str()).collect();
        (!names.is_empty()).then(|| format!("{} {}", standing.verb(), names.join(", ")))
    };
    let said = [Standing::Beats, Standing::IsBeaten, Standing::Open, Standing::OneSeed, Standing::NoPair].into_iter().filter_map(of);
    Some(format!("{method} {} ({seeds} paired seed{plural}).", said.collect::<Vec<_>>().join("; it ")))
}

/// Claims 4 and 5 where two arms of a model differ in the format or the filter alone.
fn pairs(cells: &[Cell]) -> Vec<(String, Panel)> {
    let mut models: Vec<&str> = cells.iter().map(|c| c.model.as_str()).collect();
    models.dedup();
    let mut found = Vec::new();
    for model in models {
        let arm = |cell: &Cell| {
            let runs: Vec<_> = cell.runs.iter().filter_map(|r| r.facts.as_deref().cloned()).collect();
            (!runs.is_empty()).then(|| Arm { name: cell.name(), runs })
        };
        let arms: Vec<Arm> = cells.iter().filter(|c| c.model == model).filter_map(arm).collect();
        found.extend(compare::panels(&arms).into_iter().map(|panel| (model.to_owned(), panel)));
    }
    found
}
