//! `[screen]`: the cheap gates before training.

use serde::{Deserialize, Serialize};

use super::range::{Check, MOST_MIB, whole};
use crate::error::Result;

/// The cheap gates before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScreenConfig {
    pub max_parameters: u64,
    /// Multiply-accumulates for one image.
    pub max_macs: u64,
    /// Activations of one training step, in MiB.
    pub max_memory_mib: u64,
    /// Limits of the sandboxed trace.
    pub trace_seconds: f64,
    pub trace_memory_mib: u64,
}

impl Default for ScreenConfig {
    fn default() -> Self {
        Self { max_parameters: 1_000_000, max_macs: 40_000_000, max_memory_mib: 1024, trace_seconds: 5.0, trace_memory_mib: 512 }
    }
}

impl Check for ScreenConfig {
    fn check(&self) -> Result<()> {
        whole("screen.max_parameters", self.max_parameters, 1..=1 << 40)?;
        // An epoch of a million images of so many still fits 64 bits.
        whole("screen.max_macs", self.max_macs, 1..=1 << 40)?;
        whole("screen.max_memory_mib", self.max_memory_mib, 1..=MOST_MIB)?;
        whole("screen.trace_memory_mib", self.trace_memory_mib, 1..=MOST_MIB)
    }
}
