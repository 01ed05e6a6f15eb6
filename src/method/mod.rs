//! The cross-entropy method, a step a file.

pub mod again;
pub mod changes;
pub mod check;
pub mod checkpoints;
pub mod complete;
pub mod cycle;
pub mod elite;
pub mod evaluate;
pub mod full;
pub mod labels;
pub mod limits;
pub mod parents;
pub mod propose;
pub mod run;
pub mod screen;
pub mod shortfall;
pub mod starts;
pub mod summary;
pub mod train;
pub mod tuning_set;
pub mod update;
pub mod verify;
pub mod weights;
