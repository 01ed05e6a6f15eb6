//! The LLM inside the process: files, tokenizer, decoder, LoRA, generation, scoring, tuning.

pub mod attention;
pub mod cache;
pub mod config;
pub mod decoder;
pub mod layer;
pub mod lora;
pub mod ops;
pub mod stock;
