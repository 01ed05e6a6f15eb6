//! The gates and the stages between them: one word each, in the store, in reports and on the terminal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::error::Error;

/// What a candidate has to pass, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The completion is of its format.
    #[default]
    Parse,
    /// It fits its parent.
    Apply,
    /// The source is a network.
    Trace,
    /// The network and its training would take no more than they may.
    Budget,
    /// The network is neither known nor too like a known one.
    Novelty,
    /// Its training does not fail.
    Training,
}

/// How far a candidate got: the last gate it passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Sampled, and nothing more: the completion is not of the format.
    #[default]
    Asked,
    /// Of the format, but it does not fit its parent.
    Parsed,
    /// A new source, but no network.
    Applied,
    /// A network, but over the budget.
    Traced,
    /// Within the budget, but known already.
    #[serde(rename = "within budget")]
    WithinBudget,
    /// New, but its training failed.
    Novel,
    /// Its training went through: it has a quality.
    Trained,
}

impl Gate {
    /// All of them, in the order in which they are passed.
    pub const ALL: [Self; 6] = [Self::Parse, Self::Apply, Self::Trace, Self::Budget, Self::Novelty, Self::Training];

    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Apply => "apply",
            Self::Trace => "trace",
            Self::Budget => "budget",
            Self::Novelty => "novelty",
            Self::Training => "training",
        }
    }

    /// The stage of what got as far as this gate and not through it.
    #[must_use]
    pub const fn before(self) -> Stage {
        Stage::ALL[self as usize]
    }
}

impl Stage {
    pub(crate) const ALL: [Self; 7] =
        [Self::Asked, Self::Parsed, Self::Applied, Self::Traced, Self::WithinBudget, Self::Novel, Self::Trained];

    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Parsed => "parsed",
            Self::Applied => "applied",
            Self::Traced => "traced",
            Self::WithinBudget => "within budget",
            Self::Novel => "novel",
            Self::Trained => "trained",
        }
    }

    /// The gate that was not passed; none of a trained one.
    #[must_use]
    pub(crate) fn next(self) -> Option<Gate> {
        Gate::ALL.get(self as usize).copied()
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| Error::machine(format!("unknown stage '{text}' in the store")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gate_leads_from_one_stage_to_the_next() {
        for (gate, stages) in Gate::ALL.into_iter().zip(Stage::ALL.windows(2)) {
            assert_eq!((gate.before(), stages[0].next()), (stages[0], Some(gate)));
            assert!(stages[0] < stages[1]);
        }
        assert_eq!(Stage::Trained.next(), None);
    }

    #[test]
    fn the_words_are_the_same_in_the_store_and_in_json() {
        for stage in Stage::ALL {
            assert_eq!(stage.name().parse::<Stage>().unwrap(), stage);
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
        for gate in Gate::ALL {
            assert_eq!(serde_json::to_value(gate).unwrap(), gate.name());
        }
        assert!("affordable".parse::<Stage>().is_err());
    }
}
