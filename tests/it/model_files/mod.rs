//! Model files: what is refused and with which words, and that models are read as llama.cpp and transformers read them.

mod built;
mod catalogue;
mod chats;
mod folders;
mod imports;
mod malformed;
#[cfg(feature = "hub")]
mod pull;
mod tokens;
mod variants;
mod weights;

use std::path::PathBuf;

use eliteloop::decoder::files::catalogue::find;
use eliteloop::decoder::files::model_file::ModelFile;
use serde_json::Value;

#[cfg(not(feature = "hub"))]
#[test]
fn models_are_pulled_from_a_hub() {
    crate::needs::skipped("built without the feature hub, which downloads models");
}

fn real() -> ModelFile {
    let path = find("smollm2-135m-instruct").unwrap_or_else(|e| panic!("{e}; {}", e.hint_text().unwrap_or_default()));
    ModelFile::open(&path).unwrap()
}

fn golden(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}
