//! Token ids and round trips.

use std::path::Path;

use eliteloop::decoder::files::catalogue::find;
use eliteloop::decoder::files::chat::Message;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::tokenizer::Tokenizer;

use super::built::{text, typed};
use super::{golden, ids, real};
use crate::needs::Need;

#[test]
fn tokens_equal_llama_cpp_s() {
    needs!(Model);
    let tokenizer = real().tokenizer().unwrap();
    let cases = golden("tokenizer.json");
    let cases = cases["smollm"].as_array().unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text), ids(&case["special"]), "{text:?} with special tokens");
        assert_eq!(tokenizer.encode_plain(text), ids(&case["plain"]), "{text:?} plain");
    }
}

/// The vocabulary of the one model we have, cut by the patterns of the other families, as llama.cpp cuts it when told to.
#[test]
fn other_pre_tokenizers_equal_llama_cpp_s() {
    needs!(Model);
    let cases = golden("tokenizer.json");
    let folder = tempfile::tempdir().unwrap();
    for pre in ["qwen2", "llama-bpe"] {
        let tokenizer = with_pre_tokenizer(folder.path(), pre);
        for case in cases[pre].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode_plain(text), ids(&case["plain"]), "{pre}: {text:?}");
            assert_eq!(tokenizer.encode(text), ids(&case["special"]), "{pre}: {text:?}");
        }
    }
}

/// The real file with another value of `tokenizer.ggml.pre`; what it adds in length comes off the general name.
fn with_pre_tokenizer(folder: &Path, pre: &str) -> Tokenizer {
    let mut bytes = std::fs::read(find("smollm2-135m-instruct").unwrap()).unwrap();
    let (old_pre, old_name) = ([text("tokenizer.ggml.pre"), typed(8, &text("smollm"))].concat(), "Smollm2 135M 8k Lc100K Mix1 Ep2");
    let old_name = [text("general.name"), typed(8, &text(old_name))].concat();
    let new_pre = [text("tokenizer.ggml.pre"), typed(8, &text(pre))].concat();
    let length = "Smollm2 135M 8k Lc100K Mix1 Ep2".len() + "smollm".len() - pre.len();
    let new_name = [text("general.name"), typed(8, &text(&"x".repeat(length)))].concat();
    for (old, new) in [(old_name, new_name), (old_pre, new_pre)] {
        let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
        bytes.splice(at..at + old.len(), new);
    }
    let path = folder.join(format!("{pre}.gguf"));
    std::fs::write(&path, bytes).unwrap();
    ModelFile::open(&path).unwrap().tokenizer().unwrap()
}

#[test]
fn text_survives_the_round_trip() {
    needs!(Model);
    let tokenizer = real().tokenizer().unwrap();
    let source = include_str!("tokens.rs");
    for text in ["", "def f(x):\n\treturn x  # 12\r\n", "héllo 你好 🚀\u{200b}", "   x = 5\n    y = 66\n", "<|im_end|>", source] {
        assert_eq!(tokenizer.decode(&tokenizer.encode_plain(text)), text);
    }
    let ids = tokenizer.encode("a<|im_end|>b");
    assert_eq!(tokenizer.decode(&ids), "ab", "special tokens stand for no text");
    assert!(tokenizer.is_special(ids[1]) && ids[1] == tokenizer.eos() && tokenizer.token_bytes(ids[1]).is_empty());
    assert!(tokenizer.encode_plain("a<|im_end|>b").iter().all(|&id| !tokenizer.is_special(id)));
    assert_eq!(tokenizer.decode(&[tokenizer.vocab_size() as u32]), "", "an id that does not exist");
}

#[test]
fn half_a_character_decodes_to_the_replacement_character() {
    needs!(Model);
    let tokenizer = real().tokenizer().unwrap();
    let ids: Vec<u32> = tokenizer.encode_plain("\u{10ffff}");
    assert!(ids.len() > 1);
    assert_eq!(ids.iter().flat_map(|&id| tokenizer.token_bytes(id)).collect::<Vec<_>>(), "\u{10ffff}".as_bytes());
    assert_eq!(tokenizer.decode(&ids[..1]), "\u{fffd}");
}

/// `SmolLM2` has no token for the byte of U+0004, nor for the first byte of U+40000; llama.cpp leaves them out as well.
#[test]
fn characters_outside_the_vocabulary_are_named() {
    needs!(Model);
    let model = real();
    let (template, tokenizer) = (model.chat_template().unwrap().unwrap(), model.tokenizer().unwrap());
    assert_eq!(tokenizer.lost("a\tb\u{4}c"), Some('\u{4}'));
    assert_eq!(tokenizer.lost("\u{40000}"), Some('\u{40000}'));
    assert_eq!(tokenizer.lost("héllo 你好 🚀\r\n"), None);
    let error = template.encode(&tokenizer, &[Message::user("x\u{4}")], true).unwrap_err();
    assert!(error.to_string().contains("U+0004"), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_text_survives_the_round_trip(text in proptest::collection::vec(proptest::prelude::any::<char>(), 0..200)) {
        if !Need::Model.met() {
            return Ok(());
        }
        thread_local!(static TOKENIZER: Tokenizer = real().tokenizer().unwrap());
        let text: String = TOKENIZER.with(|t| text.into_iter().filter(|c| t.lost(c.encode_utf8(&mut [0; 4])).is_none()).collect());
        TOKENIZER.with(|tokenizer| {
            let ids = tokenizer.encode_plain(&text);
            assert!(ids.iter().all(|&id| !tokenizer.is_special(id)));
            assert_eq!(tokenizer.decode(&ids), text);
        });
    }
}
