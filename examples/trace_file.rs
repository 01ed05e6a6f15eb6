//! A PyTorch source becomes a graph, without Python: parameters, multiply-accumulates, and the shape behind every operation.
//!
//!     cargo run --release --example trace_file -- tests/fixtures/networks/resnet.py
//!
//! The source is run in a child process, so a program that traces has to be able to be that child: its first line.
#![allow(clippy::print_stdout)]

use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::tracer::cost::cost;
use eliteloop::tracer::{TraceOptions, sandbox, trace};

fn main() -> Result<()> {
    let argument = std::env::args().nth(1).ok_or_else(|| Error::input("usage: trace_file NET.py"))?;
    if argument == "sandbox" {
        return sandbox::serve();
    }
    let path = std::path::Path::new(&argument);
    let source = std::fs::read_to_string(path).at("read", path)?;
    let graph = trace(&source, &TraceOptions::new([3, 32, 32], 10)).map_err(|why| Error::input(why.to_string()).hint(why.hint()))?;
    for node in &graph.nodes {
        println!("{:<24} {:?}", node.module, node.shape);
    }
    println!("{} parameters, {} multiply-accumulates for one image", graph.parameters(), cost(&graph).macs);
    Ok(())
}
