//! From a `PyTorch` source to a graph that Rust owns.
//!
//! [`trace::trace`] starts a [`sandbox`] process that runs the source once against a stand-in for `torch`; [`record`] notes the
//! operations, [`merge`] and [`modes`] turn its passes into one [`graph::Graph`], [`infer`] and [`check`] verify it, [`cost`] counts.
//! [`normal_form`] rewrites a source so that its trace stays the same.

pub mod built;
mod calls;
pub mod canonical;
pub mod check;
pub mod cost;
mod extents;
pub mod failure;
pub mod graph;
pub mod infer;
pub mod merge;
mod modes;
mod names;
pub mod normal_form;
pub mod novelty;
mod numbers;
mod operation;
mod picking;
mod record;
pub mod sandbox;
pub mod settings;
mod steps;
pub mod summary;
pub mod trace;

pub use built::{Built, Traced};
pub use check::{Limits, Refusal};
pub use failure::TraceFailure;
pub use infer::infer;
pub use trace::{TraceOptions, trace, trace_built};
