//! The LLM inside the process: files, tokenizer, decoder, LoRA, generation, scoring, tuning.

pub mod files;
pub mod lora;
pub mod model;
pub mod ops;
pub mod sample;
pub mod settings;
