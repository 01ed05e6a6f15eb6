//! `[screen]`: the cheap gates before training.

use serde::{Deserialize, Serialize};

use crate::network::TraceOptions;

/// The cheap gates before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScreenConfig {
    pub max_parameters: u64,
    /// Multiply-accumulates for one image.
    pub max_macs: u64,
    /// Activations of one training step, in MiB.
    pub max_memory_mib: u64,
    /// Of the sandboxed trace: rounds of loops and calls, counted by the interpreter, so that the same sources end on every machine.
    pub trace_steps: u64,
    /// Seconds of processor time, for what takes no steps. No clock ends a trace.
    pub trace_cpu_seconds: u64,
    pub trace_memory_mib: u64,
}

impl Default for ScreenConfig {
    fn default() -> Self {
        Self {
            max_parameters: 1_000_000,
            max_macs: 40_000_000,
            max_memory_mib: 1024,
            trace_steps: TraceOptions::STEPS,
            trace_cpu_seconds: TraceOptions::CPU_SECONDS,
            trace_memory_mib: TraceOptions::MEMORY_MIB,
        }
    }
}
