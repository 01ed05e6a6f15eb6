//! Models and adapters as they lie on disk.

pub mod catalogue;
pub mod chat;
pub mod folder;
pub mod gguf;
pub mod hf_writer;
pub mod hub;
pub mod import;
pub mod imported;
pub mod model_file;
pub mod provenance;
pub mod shape;
pub mod stand_in;
pub mod tokenizer;
pub mod trial;
