//! Why a candidate got no further.

use std::fmt;

use super::{Gate, OverBudget};
use crate::delta;
use crate::tracer::TraceFailure;
use crate::tracer::novelty::NotNovel;

/// Why a candidate did not pass a gate.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The completion is no delta, or none of its parent.
    Delta(delta::Failure),
    /// The source is no network.
    Trace(TraceFailure),
    /// The network, or its training, would take more than it may.
    OverBudget(OverBudget),
    /// The network is known already, too like a known one, or cannot be compared.
    NotNovel(NotNovel),
}

impl Reason {
    /// The gate that was not passed.
    #[must_use]
    pub fn gate(&self) -> Gate {
        match self {
            Self::Delta(failure) if failure.is_of_format() => Gate::Apply,
            Self::Delta(_) => Gate::Parse,
            Self::Trace(_) => Gate::Trace,
            Self::OverBudget(_) => Gate::Budget,
            Self::NotNovel(_) => Gate::Novelty,
        }
    }

    /// The name of the kind, for counting; [`fmt::Display`] has the particulars.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delta(failure) => failure.reason(),
            Self::Trace(failure) => failure.word(),
            Self::OverBudget(_) => "over-budget",
            Self::NotNovel(why) => why.word(),
        }
    }

    /// The line of the candidate's source that the tracer names, from 1.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Trace(failure) => failure.line(),
            Self::Delta(_) | Self::OverBudget(_) | Self::NotNovel(_) => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delta(failure) => failure.fmt(f),
            Self::Trace(failure) => failure.fmt(f),
            Self::OverBudget(over) => over.fmt(f),
            Self::NotNovel(why) => why.fmt(f),
        }
    }
}
