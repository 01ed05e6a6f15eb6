//! What came out of one run of a study, an audit or a real one alike.

use std::path::Path;

use serde::Serialize;

use super::job::{Job, Settings};
use crate::audit;
use crate::audit::compare::Search;
use crate::audit::record::Cycle;
use crate::audit::settings::AuditConfig;
use crate::compare::contest::Entry;
use crate::compare::runs::RunFacts;
use crate::error::{Error, Result};
use crate::home;
use crate::oracle::Table;
use crate::report::data::Funnel;
use crate::theory::statistics::{mean, quantile};
use crate::theory::{Panel, Verdict, reliability};

#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub seed: u64,
    pub cycles: u64,
    pub funnel: Funnel,
    /// Networks (cells) among the candidates that the run had not seen before.
    pub distinct: u64,
    /// Of the qualities as measured.
    pub mean: Option<f64>,
    /// The highest quality; of an audit the true accuracy (mean over the table's seeds) of the best cell queried.
    pub best: Option<f64>,
    pub seconds: f64,
    /// Of a run with an LLM; an audit does not count them.
    pub tokens_written: Option<u64>,
    pub tokens_tuned: Option<u64>,
    pub claims: Vec<Claim>,
    pub measures: Measures,
    /// Of an audit.
    pub search: Option<Search>,
    /// (cycle, quality)
    #[serde(skip)]
    pub qualities: Vec<(u64, f64)>,
    #[serde(skip)]
    pub entry: Entry,
    /// Of a real run.
    #[serde(skip)]
    pub facts: Option<Box<RunFacts>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    pub claim: u8,
    pub verdict: Verdict,
    pub sentence: String,
}

impl From<Panel> for Claim {
    fn from(panel: Panel) -> Self {
        Self { claim: panel.claim, verdict: panel.verdict, sentence: panel.sentence }
    }
}

/// The numbers that stand beside the published ones; None where the run does not give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// Claim 1, exact: median over the updates of the share of KL(e||p) that was closed.
    pub realised: Option<f64>,
    /// Claim 2: transitions in which the raw mean fell, of how many.
    pub fell: usize,
    pub transitions: usize,
    /// Claim 2, exact: updates by which E\[S\] fell, of how many.
    pub exact_fell: Option<usize>,
    pub updates: Option<usize>,
    /// Claim 3: share of the candidates that reach gamma* in the first cycle and in the last (exact of audits that compute it).
    pub first_c: Option<f64>,
    pub last_c: Option<f64>,
    /// Claim 5: share of the networks written that were new, and where it is exact the entropy in nats.
    pub new: Option<f64>,
    pub first_entropy: Option<f64>,
    pub last_entropy: Option<f64>,
    /// Claim 6.
    pub snr: Option<f64>,
}

impl Outcome {
    /// Reads a finished run.
    pub fn read(job: &Job, study: &Path) -> Result<Self> {
        let folder = job.folder(study);
        match &job.settings {
            Settings::Audit(config) => Self::of_audit(&folder, config),
            Settings::Run(_) => Ok(Self::of_run(RunFacts::read(&folder)?)),
        }
    }

    fn of_audit(folder: &Path, config: &AuditConfig) -> Result<Self> {
        let table = Table::load(&config.dataset, &home::data())?;
        let cycles = audit::record::cycles(folder)?;
        let Some(inputs) = audit::record::inputs(folder)? else {
            return Err(Error::input(format!("{} has no inputs.json", folder.display())).hint("delete the folder: the study runs it again"));
        };
        let (search, curve) = Search::with_curve(config.seed, &cycles, &table);
        let qualities: Vec<(u64, f64)> =
            cycles.iter().flat_map(|c| c.samples.iter().filter_map(|s| Some((c.cycle, s.quality? / 100.0)))).collect();
        let entry = Entry {
            seed: config.seed,
            qualities: qualities.iter().map(|(_, q)| *q).collect(),
            best_so_far: curve.iter().map(|accuracy| accuracy / 100.0).collect(),
        };
        let funnel: Funnel = cycles.iter().map(audit::report::funnel).sum();
        let distinct = search.distinct as u64;
        Ok(Self {
            seed: config.seed,
            cycles: cycles.len() as u64,
            funnel,
            distinct,
            mean: entry.mean(),
            best: entry.best_of(usize::MAX),
            seconds: audit::record::seconds(folder)?.iter().map(|s| s.sample + s.tune + s.audit).sum(),
            tokens_written: None,
            tokens_tuned: None,
            claims: audit::report::panels(config, &inputs, &cycles).into_iter().map(Claim::from).collect(),
            measures: Measures {
                new: (funnel.traced > 0).then(|| distinct as f64 / funnel.traced as f64),
                ..exact(&cycles, inputs.gamma_star, &qualities)
            },
            search: Some(search),
            qualities,
            entry,
            facts: None,
        })
    }

    fn of_run(facts: RunFacts) -> Self {
        let entry = facts.entry();
        let evidence = &facts.evidence;
        let (valid, unique) = evidence.diversity.cycles.iter().fold((0, 0), |(v, u), c| (v + c.valid, u + c.unique));
        let reached = |c: Option<&crate::theory::convergence::Count>| c.map(|c| c.reached as f64 / c.asked.max(1) as f64);
        let measures = Measures {
            first_c: reached(evidence.counts.first()),
            last_c: reached(evidence.counts.last()),
            new: (valid > 0).then(|| unique as f64 / valid as f64),
            snr: reliability::components(&evidence.repeated).map(|c| c.snr.value),
            ..falls(&facts.qualities)
        };
        Self {
            seed: facts.seed,
            cycles: facts.cycles,
            funnel: facts.funnel,
            distinct: unique,
            mean: entry.mean(),
            best: entry.best_of(usize::MAX),
            seconds: facts.total_seconds(),
            tokens_written: Some(facts.tokens_written),
            tokens_tuned: Some(facts.tokens_tuned),
            claims: evidence.panels(None, None).into_iter().map(Claim::from).collect(),
            measures,
            search: None,
            qualities: facts.qualities.clone(),
            entry,
            facts: Some(Box::new(facts)),
        }
    }
}

/// Transitions in which the raw mean fell.
fn falls(qualities: &[(u64, f64)]) -> Measures {
    let of = |own: &[(u64, f64)]| mean(&own.iter().map(|(_, q)| *q).collect::<Vec<_>>());
    let means: Vec<f64> = qualities.chunk_by(|a, b| a.0 == b.0).map(of).collect();
    let fell = means.windows(2).filter(|pair| pair[1] < pair[0]).count();
    Measures { fell, transitions: means.len().saturating_sub(1), ..Measures::default() }
}

fn exact(cycles: &[Cycle], gamma_star: f64, qualities: &[(u64, f64)]) -> Measures {
    let known: Vec<_> = cycles.iter().filter_map(|c| c.exact.as_ref()).collect();
    let updates: Vec<_> = known.iter().filter_map(|e| Some((e, e.update?))).collect();
    let shares: Vec<f64> = updates.iter().filter_map(|(_, u)| u.share).collect();
    let reached = |c: Option<&Cycle>| {
        let c = c?;
        let reached = c.samples.iter().filter(|s| s.quality.is_some_and(|q| q >= gamma_star)).count();
        Some(reached as f64 / c.samples.len().max(1) as f64)
    };
    Measures {
        realised: (!shares.is_empty()).then(|| quantile(&shares, 0.5)),
        exact_fell: (!updates.is_empty()).then(|| updates.iter().filter(|(e, _)| e.after.expected < e.before.expected).count()),
        updates: (!updates.is_empty()).then_some(updates.len()),
        first_c: known.first().map(|e| e.before.elite).or_else(|| reached(cycles.first())),
        last_c: known.last().map(|e| e.before.elite).or_else(|| reached(cycles.last())),
        first_entropy: known.first().map(|e| e.before.entropy),
        last_entropy: known.last().map(|e| e.after.entropy),
        ..falls(qualities)
    }
}
