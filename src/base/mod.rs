//! What the rest stands on: errors, files, processes, seeds, the device. It imports nothing of ours.

pub(crate) mod card_errors;
pub(crate) mod child;
pub mod confine;
pub mod device;
pub mod done;
pub mod error;
pub mod files;
pub mod hash;
pub mod home;
pub mod printer;
pub mod processor;
pub mod progress;
pub(crate) mod range;
pub mod scratch;
pub mod seed;
pub mod show;
pub mod stop;

pub use child::announce;
