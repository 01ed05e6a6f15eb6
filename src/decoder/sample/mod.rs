//! Completions drawn from the model, under a mask or none.

pub mod generate;
pub mod mask;
pub mod sampling;
