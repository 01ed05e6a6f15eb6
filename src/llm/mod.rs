//! The LLM inside the process: files, tokenizer, decoder, LoRA, generation, scoring, tuning.

pub mod config;
