//! The adapter: its matrices, the optimiser step, scoring and tuning.

pub mod adamw;
pub mod adapter;
pub mod matrices;
pub mod merge;
pub mod peft;
pub mod score;
pub mod step;
pub mod tune;
