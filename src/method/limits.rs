//! The gates as a run's settings set them up, and whether any network can pass.

use crate::base::error::{Error, Result};
use crate::config::RunConfig;
use crate::gates::Gates;
use crate::proxy::dataset::Format;
use crate::tracer::TraceFailure;
use crate::tracer::graph::Graph;

/// The gates that a run's settings set up.
pub fn gates(config: &RunConfig, images: &Format) -> Gates {
    Gates::new(config.delta.format, &config.screen, &config.proxy, images.shape, images.classes)
}

/// One layer: no network is smaller.
const SMALLEST: &str = "\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

    def forward(self, x):
        return self.layers(x)
";

/// Traces a network of one layer: limits that are too small for it are too small for every network. Gives its graph.
///
/// # Errors
/// Names the limit; or the machine has no sandbox.
pub(crate) fn check_limits(config: &RunConfig, images: &Format) -> Result<Graph> {
    let failure = match gates(config, images).trace(SMALLEST)? {
        Ok(graph) => return Ok(graph),
        Err(failure) => failure,
    };
    let key = match failure {
        TraceFailure::Steps { .. } => "screen.trace_steps",
        TraceFailure::CpuTime { .. } => "screen.trace_cpu_seconds",
        TraceFailure::Memory { .. } => "screen.trace_memory_mib",
        failure => return Err(Error::machine(format!("a network of one layer cannot be traced: {failure}"))),
    };
    Err(Error::input(format!("setting {key} is too small for any network: one of one layer ends with '{failure}'"))
        .hint(format!("raise {key}")))
}
