//! The six claims of the cross-entropy view of LLM-driven search: pure functions on records.
//!
//! Each claim has a file with the numbers it needs (plain structs), what it computes from them with confidence
//! intervals, and a [`Verdict`]. Nothing here opens a store, runs a model or smooths a curve.

use serde::{Deserialize, Serialize};

use crate::table::Cell;

pub mod ce_update;
pub mod convergence;
pub mod diversity;
pub mod early;
pub mod gate;
pub mod improvement;
pub mod reliability;
pub mod statistics;
pub mod table;
pub mod token_errors;

pub use statistics::Estimate;

/// What the records say about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Holds,
    Fails,
    /// The records do not meet what the claim supposes, or are too few, so they speak neither for nor against it.
    AssumptionNotMet,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::AssumptionNotMet => "assumption not met",
        })
    }
}

/// A claim's outcome, ready to be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// 1 to 6.
    pub claim: u8,
    pub title: String,
    pub verdict: Verdict,
    /// One sentence with the numbers behind the verdict.
    pub sentence: String,
    /// (name, value)
    pub numbers: Vec<(String, Cell)>,
    pub plot: Option<Plot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    pub x_label: String,
    pub y_label: String,
    pub series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub mark: Mark,
    pub points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// What was measured.
    Points,
    /// What a formula says.
    Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    /// The ends of its interval, where it has one.
    pub interval: Option<(f64, f64)>,
}
