//! The six claims of the cross-entropy view of LLM-driven search: pure functions on records.
//!
//! Each claim has a file with the numbers it needs (plain structs), what it computes from them with confidence
//! intervals, and a [`Finding`]. Nothing here opens a store, runs a model or smooths a curve.

pub mod ce_update;
pub mod change;
pub mod convergence;
pub mod diversity;
pub mod early;
pub mod finite;
pub mod gate;
pub mod growth;
pub mod improvement;
pub mod ranking;
pub mod reliability;
pub mod statistics;
pub mod token_errors;
pub mod values;
pub mod verdict;

use serde::{Deserialize, Serialize};

use crate::theory::values::Cell;

pub use statistics::Estimate;
pub use verdict::{Assumption, Effect, Finding, Verdict};

/// The six claims, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Claim {
    /// Fine-tuning on the elites is the cross-entropy update.
    Update = 1,
    /// Expected quality does not decrease.
    Improvement,
    /// The probability of an elite converges to 1 geometrically.
    Convergence,
    /// Of deltas, beside that of full code.
    Validity,
    /// The novelty filter prevents mode collapse.
    Diversity,
    /// How well the proxy tells networks apart, in closed form.
    Reliability,
}

impl Claim {
    /// By number.
    pub const ALL: [Self; 6] = [Self::Update, Self::Improvement, Self::Convergence, Self::Validity, Self::Diversity, Self::Reliability];

    /// From 1 to 6.
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Update => "Fine-tuning on the elite set is the cross-entropy update",
            Self::Improvement => "Expected quality does not decrease",
            Self::Convergence => "Elite probability converges geometrically",
            Self::Validity => "Deltas beat full code under a first-order Markov model of token errors",
            Self::Diversity => "The MinHash-Jaccard filter prevents mode collapse",
            Self::Reliability => "Proxy reliability in closed form",
        }
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl From<Claim> for u8 {
    fn from(claim: Claim) -> Self {
        claim.number()
    }
}

impl TryFrom<u8> for Claim {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Self::ALL.into_iter().find(|claim| claim.number() == number).ok_or_else(|| format!("there is no claim {number}"))
    }
}

impl From<Claim> for Cell {
    fn from(claim: Claim) -> Self {
        Self::Count(claim.number().into())
    }
}

/// A claim's outcome, ready to be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Which one.
    pub claim: Claim,
    /// The claim in words.
    pub title: String,
    /// The verdict and the effect behind it.
    pub finding: Finding,
    /// One sentence with the numbers behind the verdict.
    pub sentence: String,
    /// (name, value)
    pub numbers: Vec<(String, Cell)>,
    /// None where there is nothing to draw.
    pub plot: Option<Plot>,
}

/// Series over one pair of axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) mark: Mark,
    pub(crate) points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mark {
    /// What was measured.
    Points,
    /// What a formula says.
    Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// The ends of its interval, where it has one.
    pub(crate) interval: Option<(f64, f64)>,
}
