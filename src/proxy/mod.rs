//! Proxy training: from a graph to a validation accuracy.
//!
//! [`dataset`] gives a [`dataset::Split`], [`network`] makes a graph trainable, [`train`] is the recipe, and [`pool`] runs it
//! in worker processes, where a candidate that fails fails alone; [`engine`] is the seam behind which these may be other machines'.

pub mod allocator;
pub mod augment;
pub mod dataset;
pub mod engine;
pub mod estimate;
pub mod halving;
pub mod init;
pub mod memory;
pub mod network;
mod noise;
mod operation;
pub mod ops;
pub mod optimizer;
pub mod outcome;
pub mod pool;
pub mod schedule;
pub mod settings;
pub mod state;
pub mod stock;
pub mod train;
pub mod worker;

pub use outcome::{Epoch, Failure, Outcome};
