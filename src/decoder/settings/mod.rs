//! What a run says of its LLM: the model, a new adapter, the update.

pub mod llm;
pub mod lora;
pub mod tune;
