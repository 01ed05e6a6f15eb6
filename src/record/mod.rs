//! A run or an audit on disk: `run.toml`, `run.sqlite`, a folder a cycle for the adapter, `best/` of a run, `report.html`.

pub(crate) mod absent;
pub mod best;
mod candidates;
pub mod chain;
pub mod deltas;
mod faults;
pub mod folder;
mod full_training;
mod funnel;
mod rows;
pub mod store;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::error::Error;

pub use full_training::FullTraining;
pub use funnel::Funnel;
pub use rows::{
    Candidate, Change, CycleRow, EliteRow, GateAction, GateRecord, LabelRow, NetworkRow, Rescored, Screened, Training, TunedOn, Tuning,
    TuningStep,
};
pub use store::Store;

/// What is recorded in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Real networks, trained on images.
    Run,
    /// A table of known accuracies, every probability exact.
    Audit,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Run, Self::Audit];

    /// The verb that begins one.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Audit => "audit",
        }
    }

    /// With its article.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Audit => "an audit",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| Error::machine(format!("unknown kind '{text}' in the store")))
    }
}

/// The name of a network within a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum NetworkId {
    /// A start network, by its name; written `start/NAME`.
    Start(String),
    /// A candidate; written `CYCLE/INDEX`.
    Candidate {
        /// From 1.
        cycle: u64,
        /// Among the samples of its cycle, from 0.
        index: u64,
    },
}

impl NetworkId {
    /// The cycle that trained it first; start networks are trained in cycle 0.
    pub(crate) const fn cycle(&self) -> u64 {
        match self {
            Self::Start(_) => 0,
            Self::Candidate { cycle, .. } => *cycle,
        }
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(name) => write!(f, "start/{name}"),
            Self::Candidate { cycle, index } => write!(f, "{cycle}/{index}"),
        }
    }
}

impl FromStr for NetworkId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once('/').and_then(|(left, right)| match left {
            "start" => Some(Self::Start(right.into())),
            _ => Some(Self::Candidate { cycle: left.parse().ok()?, index: right.parse().ok()? }),
        });
        parsed.ok_or_else(|| Error::input(format!("'{text}' names no network")).hint("write CYCLE/INDEX or start/NAME"))
    }
}

impl From<NetworkId> for String {
    fn from(id: NetworkId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for NetworkId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_names_round_trip() {
        for id in [NetworkId::Start("plain".into()), NetworkId::Candidate { cycle: 3, index: 11 }] {
            assert_eq!(id.to_string().parse::<NetworkId>().unwrap(), id);
        }
        assert!("7".parse::<NetworkId>().is_err());
        assert!("a/b".parse::<NetworkId>().is_err());
    }
}
