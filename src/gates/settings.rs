//! `[screen]`: the cheap gates before training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::range::{Check, MOST_MIB, whole};
use crate::tracer::TraceOptions;

/// The cheap gates before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScreenConfig {
    /// Parameters of a network.
    pub(crate) max_parameters: u64,
    /// Multiply-accumulates for one image.
    pub(crate) max_macs: u64,
    /// Activations of one training step, in MiB.
    pub(crate) max_memory_mib: u64,
    /// Of the sandboxed trace: rounds of loops and calls, counted by the interpreter, so that the same sources end on every machine.
    pub(crate) trace_steps: u64,
    /// Seconds of processor time, for what takes no steps. No clock ends a trace.
    pub(crate) trace_cpu_seconds: u64,
    /// Memory of the sandbox, in MiB.
    pub(crate) trace_memory_mib: u64,
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

impl Check for ScreenConfig {
    fn check(&self) -> Result<()> {
        whole("screen.max_parameters", self.max_parameters, 1..=1 << 40)?;
        // An epoch of a million images of so many still fits 64 bits.
        whole("screen.max_macs", self.max_macs, 1..=1 << 40)?;
        whole("screen.max_memory_mib", self.max_memory_mib, 1..=MOST_MIB)?;
        // What the interpreter counts, and the seconds that every system can be handed.
        whole("screen.trace_steps", self.trace_steps, 1..=1 << 53)?;
        whole("screen.trace_cpu_seconds", self.trace_cpu_seconds, 1..=1 << 30)?;
        whole("screen.trace_memory_mib", self.trace_memory_mib, 1..=MOST_MIB)
    }
}
