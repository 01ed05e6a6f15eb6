//! What came out of one run of a study, an audit or a real one alike.

use serde::Serialize;

use super::retrain::Retrained;
use crate::compare::contest::Entry;
use crate::compare::runs::RunFacts;
use crate::compare::searches::Search;
use crate::record::Funnel;
use crate::theory::statistics::mean;
use crate::theory::{Claim, Finding, Panel};

/// The results of one finished run or audit.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Of the run.
    pub seed: u64,
    /// Closed cycles.
    pub cycles: u64,
    /// How many candidates of all cycles got how far.
    pub funnel: Funnel,
    /// Networks (cells) among the candidates that the run had not seen before.
    pub distinct: u64,
    /// Of the qualities as measured.
    pub mean: Option<f64>,
    /// The highest quality; of an audit the true accuracy (mean over the table's seeds) of the best cell queried.
    pub best: Option<f64>,
    /// Wall seconds of all its phases together.
    pub seconds: f64,
    /// Tokens that the policy wrote; None of an audit without an LLM.
    pub tokens_written: Option<u64>,
    /// Tokens that went through the decoder in tuning; None of an audit without an LLM.
    pub tokens_tuned: Option<u64>,
    /// One a claim that its records speak to.
    pub claims: Vec<Claimed>,
    /// The numbers that stand beside the published ones.
    pub measures: Measures,
    /// Of an audit.
    pub search: Option<Search>,
    /// Of a real run whose study asks for it.
    pub retrained: Option<Retrained>,
    /// (cycle, quality)
    #[serde(skip)]
    pub qualities: Vec<(u64, f64)>,
    /// The run as the contests of its arm see it.
    #[serde(skip)]
    pub entry: Entry,
    /// Of a real run.
    #[serde(skip)]
    pub facts: Option<Box<RunFacts>>,
}

/// What a run says of one claim.
#[derive(Clone, Debug, Serialize)]
pub struct Claimed {
    /// Which one.
    pub claim: Claim,
    /// The verdict and the effect behind it.
    pub finding: Finding,
    /// The finding in words, with the numbers behind it.
    pub sentence: String,
}

impl From<Panel> for Claimed {
    fn from(panel: Panel) -> Self {
        Self { claim: panel.claim, finding: panel.finding, sentence: panel.sentence }
    }
}

/// The numbers that stand beside the published ones; None where the run does not give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// Claim 1, exact: median over the updates of the share of KL(e||p) that was closed.
    pub realised: Option<f64>,
    /// Claim 2: of `transitions`, those in which the raw mean fell.
    pub fell: usize,
    /// Claim 2: pairs of successive cycles that have qualities.
    pub transitions: usize,
    /// Claim 2, exact: of `updates`, those by which E\[S\] fell.
    pub exact_fell: Option<usize>,
    /// Claim 2, exact: updates whose E\[S\] is known before and after; None where none is.
    pub updates: Option<usize>,
    /// Claim 3: share of the candidates that reach gamma* in the first cycle (exact of audits that compute it).
    pub first_c: Option<f64>,
    /// Claim 3: the same in the last cycle.
    pub last_c: Option<f64>,
    /// Claim 5: share of the networks written that were new.
    pub new: Option<f64>,
    /// Claim 5: exact entropy over the cells, in nats, before the update of the first cycle that was measured; None of a run.
    pub first_entropy: Option<f64>,
    /// The same after the update of the last cycle that was measured.
    pub last_entropy: Option<f64>,
    /// Claim 6.
    pub snr: Option<f64>,
}

/// Transitions in which the raw mean fell.
pub(super) fn falls(qualities: &[(u64, f64)]) -> Measures {
    let of = |own: &[(u64, f64)]| mean(&own.iter().map(|(_, q)| *q).collect::<Vec<_>>());
    let means: Vec<f64> = qualities.chunk_by(|a, b| a.0 == b.0).map(of).collect();
    let fell = means.windows(2).filter(|pair| pair[1] < pair[0]).count();
    Measures { fell, transitions: means.len().saturating_sub(1), ..Measures::default() }
}
