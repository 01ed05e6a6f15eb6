//! How a prior is made: examples of the corpus first, then practice, then school on what runs have measured.

pub mod estimate;
pub mod practice;
mod rehearsal;
pub mod school;
pub mod trial;
pub mod warmup;
