//! eliteloop: a locally hosted open LLM improves neural networks, and itself, by the cross-entropy method.
//!
//! [`method::cycle`] is the method on one screen. The modules are wings of one house, here from the ground up: each imports only those above
//! it. ARCHITECTURE.md has the map, and `tests/it/walls.rs` holds the walls.

pub mod audit;
pub mod base;
pub mod compare;
pub mod config;
pub mod decoder;
pub mod delta;
pub mod doctor;
pub mod export;
pub mod gates;
pub mod method;
pub mod oracle;
pub mod policy;
pub mod proxy;
pub mod record;
pub mod report;
pub mod study;
pub mod theory;
pub mod tracer;
pub mod watch;
