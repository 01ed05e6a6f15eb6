//! PyTorch sources, and graphs as a store or a task holds them.

use std::path::PathBuf;

use eliteloop::tracer::canonical::Canonical;
use eliteloop::tracer::cost::cost;
use eliteloop::tracer::failure::TraceFailure;
use eliteloop::tracer::graph::Graph;
use eliteloop::tracer::trace::{TraceOptions, trace};

/// A source, in the sandbox that a run gives it: a graph or a reason, and no sandbox that breaks over it. The program
/// is what `ELITELOOP` names, as it is built for users.
pub fn source(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let program = PathBuf::from(std::env::var_os("ELITELOOP").expect("ELITELOOP is the program"));
    let options = TraceOptions { program, steps: 200_000, cpu_seconds: 10, ..TraceOptions::new([3, 32, 32], 10) };
    match trace(text, &options) {
        Ok(graph) => known(&graph),
        // What ends the interpreter ends the sandbox, which is a reason too; a sandbox that cannot be had is none.
        Err(TraceFailure::Lost(lost)) => panic!("{lost}"),
        Err(_) => {}
    }
}

/// A graph as JSON, that nobody has checked.
pub fn graph(bytes: &[u8]) {
    let Ok(graph) = serde_json::from_slice::<Graph>(bytes) else { return };
    let options = TraceOptions::new([3, 32, 32], 10);
    if graph.check(options.input, options.limits).is_ok() {
        known(&graph);
    }
}

/// All that is computed of a graph that was let in.
fn known(graph: &Graph) {
    let _ = (cost(graph), graph.parameters(), graph.needed(true), graph.needed(false));
    let canonical = Canonical::of(graph).expect("a graph that was let in has a canonical form");
    assert!(canonical.words().count() > 0);
}
