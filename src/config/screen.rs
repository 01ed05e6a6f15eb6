//! `[screen]`: the cheap gates before training.

use serde::{Deserialize, Serialize};

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
