//! The gates between a completion and its training, the cheapest first: parse, apply, trace, budget, novelty.
//!
//! Whoever judges candidates goes through these: the screen of a run, the practice of a warm-up, `bench formats`. First try or not at
//! all: nothing is repaired or asked again, so a funnel counts what the policy really wrote. In goes what it wrote, as bytes; out comes how
//! far it got and why no further, as values. The words for people are made of them where they are read.
//!
//! This wing knows no store, no run and no LLM.

mod budget;
mod reason;
pub mod settings;
mod stage;

use rayon::prelude::*;

use crate::base::error;
use crate::delta;
use crate::delta::settings::Format;
use crate::gates::settings::ScreenConfig;
use crate::proxy::settings::ProxyConfig;
use crate::tracer::cost::{Cost, cost};
use crate::tracer::graph::Graph;
use crate::tracer::novelty::{Filter, Finding};
use crate::tracer::{TraceFailure, TraceOptions, trace};

pub(crate) use budget::{OverBudget, over_training};
pub use reason::Reason;
pub use stage::{Gate, Stage};

/// The images of the data sets that the corpus's networks are for: channels, height, width.
const CORPUS_INPUT: [usize; 3] = [3, 32, 32];
const CORPUS_CLASSES: usize = 10;

/// What candidates have to pass, but for the networks that they may not repeat.
#[derive(Clone, Debug)]
pub struct Gates {
    pub(crate) format: Format,
    /// How sources are traced: images, classes and the limits of a sandbox.
    pub trace: TraceOptions,
    pub(crate) limits: ScreenConfig,
    /// How what passes would be trained.
    pub(crate) proxy: ProxyConfig,
    pub(crate) history: History,
}

/// Which of the networks judged may not be repeated by later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// Those that passed all gates: the others are not trained, so nothing is known of them.
    Passed,
    /// All of them, as it takes to count the different ones.
    Traced,
}

/// A candidate as the policy wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    /// What those that repeat it are told.
    pub(crate) id: String,
    pub(crate) parent: &'a str,
    /// None where the parent is no network: nothing is then the same as it.
    pub(crate) parent_graph: Option<&'a Graph>,
    /// Without the end token.
    pub(crate) completion: &'a [u8],
    /// Whether the end token came.
    pub(crate) ended: bool,
}

/// What the gates found.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Why it got no further; none of one that passed all gates.
    pub reason: Option<Reason>,
    /// Where the delta applied.
    pub source: Option<String>,
    /// Where the source is a network.
    pub network: Option<Traced>,
}

/// A network, what it costs and what it resembles, whether or not that is within the budget.
#[derive(Clone, Debug)]
pub struct Traced {
    /// As the tracer saw it, checked.
    pub graph: Graph,
    pub(crate) cost: Cost,
    /// What the novelty filter found.
    pub finding: Finding,
}

impl Judged {
    /// The last gate passed; of those the gates here know, [`Stage::Novel`] is the last.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.reason.as_ref().map_or(Stage::Novel, |reason| reason.gate().before())
    }
}

impl Gates {
    /// Those of a run; `input` is the shape of an image (channels, height, width).
    #[must_use]
    pub(crate) fn new(format: Format, limits: &ScreenConfig, proxy: &ProxyConfig, input: [usize; 3], classes: usize) -> Self {
        let options = TraceOptions::new(input, classes);
        let trace = TraceOptions {
            steps: limits.trace_steps,
            cpu_seconds: limits.trace_cpu_seconds,
            memory_mib: limits.trace_memory_mib,
            ..options
        };
        Self { format, trace, limits: limits.clone(), proxy: proxy.clone(), history: History::Passed }
    }

    /// Those for deltas of the corpus's networks: the limits of a run by default, and no network counts twice.
    #[must_use]
    pub fn of_corpus(format: Format) -> Self {
        let limits = Self::new(format, &ScreenConfig::default(), &ProxyConfig::default(), CORPUS_INPUT, CORPUS_CLASSES);
        Self { history: History::Traced, ..limits }
    }

    /// Judges candidates in their order: what one may not repeat is in `filter`, and depends on those before.
    ///
    /// # Errors
    /// The machine's, which say nothing of a candidate.
    pub(crate) fn judge(&self, asked: &[Asked], filter: &mut Filter) -> error::Result<Vec<Judged>> {
        // Patching and tracing depend on one candidate alone, so they run side by side.
        let built = asked.par_iter().map(|a| self.build(a)).collect::<error::Result<Vec<Built>>>()?;
        Ok(asked.iter().zip(built).map(|(a, built)| self.compare(a, built, filter)).collect())
    }

    /// The graph of a source, or why it has none.
    ///
    /// # Errors
    /// The machine's.
    pub(crate) fn trace(&self, source: &str) -> error::Result<Result<Graph, TraceFailure>> {
        trace(source, &self.trace).map(Ok).or_else(|failure| failure.of_source().map(Err))
    }

    /// What a network of this cost would take beyond the budget.
    #[must_use]
    pub(crate) fn over_budget(&self, cost: &Cost) -> Option<OverBudget> {
        budget::over(cost, &self.limits, &self.proxy)
    }

    fn build(&self, asked: &Asked) -> error::Result<Built> {
        let source = match delta::apply_completion(self.format, asked.parent, asked.completion, asked.ended) {
            Ok(source) => source,
            Err(failure) => return Ok(Built { source: None, graph: Err(Reason::Delta(failure)) }),
        };
        let graph = self.trace(&source)?.map_err(Reason::Trace);
        Ok(Built { source: Some(source), graph })
    }

    fn compare(&self, asked: &Asked, built: Built, filter: &mut Filter) -> Judged {
        let graph = match built.graph {
            Ok(graph) => graph,
            Err(reason) => return Judged { reason: Some(reason), source: built.source, network: None },
        };
        let (cost, finding) = (cost(&graph), filter.check(&graph, asked.parent_graph));
        let over = self.over_budget(&cost).map(Reason::OverBudget);
        let reason = over.or_else(|| finding.verdict.clone().err().map(Reason::NotNovel));
        if (reason.is_none() || self.history == History::Traced)
            && let Some(fingerprint) = &finding.fingerprint
        {
            filter.admit(asked.id.clone(), fingerprint.clone());
        }
        Judged { reason, source: built.source, network: Some(Traced { graph, cost, finding }) }
    }
}

/// What patching and tracing gave.
struct Built {
    source: Option<String>,
    graph: Result<Graph, Reason>,
}
