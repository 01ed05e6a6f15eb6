//! The LLM inside the process: files, tokenizer, decoder, LoRA, generation, scoring, tuning.

pub mod adamw;
pub mod adapter;
pub mod attention;
pub mod blocks;
pub mod cache;
pub mod catalogue;
pub mod chat;
pub mod config;
pub mod decoder;
pub mod folder;
pub mod generate;
pub mod gguf;
pub mod hf_writer;
pub mod hosted;
pub mod hub;
pub mod imported;
pub mod layer;
pub mod lora;
pub mod mask;
pub mod memory;
pub mod merge;
pub mod model_file;
pub mod ops;
pub mod pack;
pub mod provenance;
pub mod repack;
pub mod restricted;
pub mod sampling;
pub mod score;
pub mod stock;
mod stock_cache;
mod stock_decoder;
pub mod tokenizer;
pub mod tune;
pub mod weight;

pub use hosted::Llm;
