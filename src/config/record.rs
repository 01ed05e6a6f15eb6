//! `[record]`: what a run keeps on disk of its adapters. It changes no result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::range::{Check, MANY, whole};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// The last checkpoints that keep the optimiser's state, where `tune.moments` has one: what a resumed run goes on from.
    pub(crate) keep: usize,
    /// The last checkpoints that are kept at all. `verify` scores the samples of a cycle under the adapter they were drawn from where it is
    /// kept, and says which it could not.
    pub(crate) keep_adapters: usize,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { keep: 2, keep_adapters: 6 }
    }
}

impl RecordConfig {
    /// Whether the checkpoint of a cycle is kept when `last` is closed, and whether its optimiser's state is.
    pub(crate) fn keeps(&self, cycle: u64, last: u64) -> (bool, bool) {
        let age = last.saturating_sub(cycle);
        let adapter = age < self.keep_adapters as u64;
        (adapter, adapter && age < self.keep as u64)
    }
}

impl Check for RecordConfig {
    fn check(&self) -> Result<()> {
        whole("record.keep", self.keep, 1..=MANY)?;
        whole("record.keep_adapters", self.keep_adapters, 1..=MANY)
    }
}
