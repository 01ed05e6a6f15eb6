//! How a prior is made: examples of the corpus first, then practice.

pub mod estimate;
pub mod practice;
pub mod trial;
pub mod warmup;
