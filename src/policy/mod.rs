//! What proposes: the learner (an LLM that is sampled, scored, updated and checkpointed), random mutation, regularised evolution, local search,
//! and the cross-entropy method on tables. Each is written once over what it acts on, for runs and audits.
//!
//! Imports decoder, delta, config and record; nothing of runs or audits.

pub mod evolution;
pub mod learner;
pub mod lesson;
pub mod local_search;
pub mod mask;
pub mod prompt;
pub mod random;
pub mod schooling;
pub mod table_ce;

pub use learner::Learner;
