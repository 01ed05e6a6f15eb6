//! How a source's network was made: what was called, and with what.

use serde::{Deserialize, Serialize};

use super::graph::Graph;

/// The class or function that was called, and the arguments it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    pub(crate) entry: String,
    /// Name and value, as Python writes it.
    pub(crate) arguments: Vec<(String, String)>,
}

impl std::fmt::Display for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arguments: Vec<String> = self.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "{}({})", self.entry, arguments.join(", "))
    }
}

/// A graph and where it is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// The network.
    pub graph: Graph,
    /// What of the source was called to make it.
    pub built: Built,
}
