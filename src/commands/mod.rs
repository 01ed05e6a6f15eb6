//! One verb, one file.

pub mod adapter;
pub mod audit;
pub mod bench;
mod bench_formats;
mod bench_proxy;
pub mod compare;
pub mod data;
pub mod doctor;
pub mod eval;
pub mod export;
pub mod models;
mod recorded;
pub mod report;
pub mod resume;
pub mod run;
pub mod sandbox;
pub mod school;
mod settings;
mod source;
pub mod study;
pub mod trace;
pub mod verify;
pub mod warmup;
pub mod worker;
