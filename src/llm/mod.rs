//! The LLM inside the process: files, tokenizer, decoder, LoRA, generation, scoring, tuning.

pub mod catalogue;
pub mod chat;
pub mod config;
pub mod gguf;
pub mod model_file;
pub mod tokenizer;
