//! eliteloop: a locally hosted open LLM improves neural networks, and itself, by the cross-entropy method.
//!
//! [`cycle`] is the method on one screen; each module beside it is one of its nouns.

pub mod audit;
pub mod best;
mod card_errors;
mod child;
pub mod compare;
pub mod config;
pub mod cycle;
pub mod delta;
pub mod device;
pub mod doctor;
pub mod done;
pub mod elite;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod files;
pub mod gates;
pub mod halving;
pub mod hash;
pub mod home;
pub mod labels;
pub mod llm;
pub mod network;
pub mod novelty;
pub mod oracle;
pub mod parents;
pub mod policy;
pub mod printer;
pub mod progress;
pub mod propose;
pub mod proxy;
pub mod record;
pub mod report;
pub mod run;
pub mod screen;
pub mod seed;
pub mod show;
pub mod study;
pub mod summary;
pub mod table;
pub mod theory;
pub mod train;
pub mod tuning_set;
pub mod update;
pub mod verify;
