//! From a PyTorch source to a graph that Rust owns.

pub mod canonical;
pub mod graph;
