//! The adapter: its matrices, the optimiser step, scoring and tuning.

pub mod adamw;
pub mod adapter;
pub mod divergence;
mod gguf;
pub mod matrices;
pub mod merge;
pub mod natural;
pub mod objective;
pub mod peft;
pub mod score;
pub mod step;
pub mod tune;
pub mod walk;
