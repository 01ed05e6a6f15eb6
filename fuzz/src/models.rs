//! Models, adapters, tokenizers, chat templates.

use eliteloop::decoder::files::chat::{ChatTemplate, Message};
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::lora::matrices::Lora;
use std::sync::OnceLock;

use super::{file, files, scratch};

/// All that a run reads of a model.
fn read(model: &ModelFile) {
    let _ = (model.name(), model.files());
    if let Ok(tokenizer) = model.tokenizer() {
        let text = "class Net(nn.Module):\n\tx = 1  # \u{e4}\u{1f642}\n";
        // Ids of a text give a text, whatever the vocabulary.
        let _ = tokenizer.decode(&tokenizer.encode(text));
        let _ = tokenizer.decode(&tokenizer.encode_plain(text));
    }
    let _ = model.chat_template();
    for name in ["token_embd.weight", "model.embed_tokens.weight", "output_norm.weight"] {
        let _ = model.tensor(name);
    }
}

/// A GGUF file.
pub fn gguf(bytes: &[u8]) {
    if let Ok(model) = ModelFile::open(&file("model.gguf", bytes)) {
        read(&model);
    }
}

/// A folder of Hugging Face's: settings, tokenizer, its settings, weights.
pub fn folder(bytes: &[u8]) {
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
    for (name, bytes) in names.iter().zip(files::<4>(bytes)) {
        file(&format!("model/{name}"), bytes);
    }
    if let Ok(model) = ModelFile::open(&scratch().join("model")) {
        read(&model);
    }
}

/// The tokenizer of a model that is right otherwise, and a text: settings of it, what is cut up.
pub fn tokenizer(bytes: &[u8]) {
    let [json, text] = files::<2>(bytes);
    let model = scratch().join("tokens");
    if !model.is_dir() {
        copy_fixture("tiny-llama", "tokens");
    }
    file("tokens/tokenizer.json", json);
    let Ok(model) = ModelFile::open(&model) else { return };
    let Ok(tokenizer) = model.tokenizer() else { return };
    let text = String::from_utf8_lossy(text);
    for ids in [tokenizer.encode(&text), tokenizer.encode_plain(&text)] {
        let _ = tokenizer.decode(&ids);
        for id in ids {
            let _ = (tokenizer.token(id), tokenizer.is_special(id));
        }
    }
    let _ = tokenizer.lost(&text);
}

fn copy_fixture(from: &str, to: &str) {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/").to_owned() + from;
    for entry in std::fs::read_dir(&fixture).expect("the fixture is there").flatten() {
        let bytes = std::fs::read(entry.path()).expect("the fixture can be read");
        file(&format!("{to}/{}", entry.file_name().to_string_lossy()), &bytes);
    }
}

/// An adapter as PEFT writes it, for the small model of the tests: settings, matrices.
pub fn adapter(bytes: &[u8]) {
    static MODEL: OnceLock<ModelFile> = OnceLock::new();
    let model = MODEL.get_or_init(|| {
        copy_fixture("tiny-llama", "base");
        ModelFile::open(&scratch().join("base")).expect("the fixture is a model")
    });
    for (name, bytes) in ["adapter_config.json", "adapter_model.safetensors"].iter().zip(files::<2>(bytes)) {
        file(&format!("adapter/{name}"), bytes);
    }
    let _ = Lora::load(&scratch().join("adapter"), model.config());
}

/// A chat template.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = ChatTemplate::new(text, "<s>", "</s>") else { return };
    let _ = template.check();
    let _ = template.render(&[Message::system("Be brief."), Message::user("</s>[INST] {{ 1 }} <|im_end|>")], true);
}
