//! Damaged, hostile and unknown GGUF files.

use candle_core::IndexOp;
use eliteloop::decoder::files::model_file::ModelFile;

use super::built::{Built, array, open_bytes, text, typed};

#[track_caller]
fn refused(built: &Built, expected: &str) {
    refused_bytes(&built.bytes(), expected);
}

#[track_caller]
fn refused_bytes(bytes: &[u8], expected: &str) {
    let error = open_bytes(bytes).expect_err("it should not open");
    assert!(error.to_string().contains(expected), "'{error}' does not say '{expected}'");
    assert_eq!(error.exit_code(), 2, "{error}");
}

#[test]
fn a_small_file_opens() {
    let model = open_bytes(&Built::tiny().bytes()).unwrap();
    let config = model.config();
    assert_eq!((config.vocab, config.width, config.head_dim, config.rope_base), (260, 8, 4, 10_000.0));
    assert_eq!(config.rms_eps, 1e-5);
    assert!(config.tied && !config.qkv_bias && !model.has_tensor("lm_head.weight"));
    assert_eq!(model.chat_template().unwrap().map(|t| t.hash()), None);
    // Two heads of four rows; the file has each head's rows as 0 2 1 3 of the layout we want.
    let q = model.tensor("model.layers.0.self_attn.q_proj.weight").unwrap();
    let first: Vec<f32> = q.i((.., 0)).unwrap().to_vec1().unwrap();
    assert_eq!(first, [0.0, 16.0, 8.0, 24.0, 32.0, 48.0, 40.0, 56.0]);
    let v = model.tensor("model.layers.0.self_attn.v_proj.weight").unwrap();
    assert_eq!(v.i((.., 0)).unwrap().to_vec1::<f32>().unwrap(), [0.0, 8.0, 16.0, 24.0]);
    let tokenizer = model.tokenizer().unwrap();
    let pieces: Vec<_> = tokenizer.encode_plain("1234").iter().map(|&id| tokenizer.decode(&[id])).collect();
    assert_eq!(pieces, ["123", "4"], "digits go in groups of three");
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let bytes = Built::tiny().bytes();
    let header = Built::tiny().header().len();
    let points = (0..header).step_by(7).chain([header - 1, header, header + 5, bytes.len() - 32]);
    for at in points {
        let error = open_bytes(&bytes[..at]).expect_err("it is cut off");
        assert_eq!(error.exit_code(), 2, "cut at {at}: {error}");
        assert!(error.hint_text().is_some(), "cut at {at}: {error}");
    }
    refused_bytes(&bytes[..header + 5], "is cut off");
}

#[test]
fn a_file_of_another_kind_is_refused() {
    refused_bytes(b"", "is empty");
    refused_bytes(b"PK\x03\x04 something zipped", "is not a GGUF file");
    refused_bytes(&[0; 4096], "is not a GGUF file");
    refused(&Built { version: 1, ..Built::tiny() }, "GGUF version 1 is not supported");
    refused(&Built { version: 4, ..Built::tiny() }, "GGUF version 4 is not supported");
    refused(&Built { version: 3_u32.swap_bytes(), ..Built::tiny() }, "big-endian");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ModelFile::open(&folder.path().join("no.gguf")).unwrap_err().exit_code(), 2);
}

/// None of these may allocate what it announces: the whole test needs a few megabytes.
#[test]
fn hostile_lengths_are_refused() {
    let with_counts = |tensors: u64, keys: u64| [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &keys.to_le_bytes(), &[0; 64]].concat();
    refused_bytes(&with_counts(u64::MAX, 0), "announces");
    refused_bytes(&with_counts(0, 1 << 40), "announces");
    let mut huge_key = b"GGUF\x03\0\0\0".to_vec();
    huge_key.extend([0_u64.to_le_bytes(), 1_u64.to_le_bytes(), (1_u64 << 62).to_le_bytes()].concat());
    refused_bytes(&huge_key, "a text of 4611686018427387904 bytes");
    for (kind, length) in [(4_u32, 1_u64 << 61), (8, 1 << 29), (0, u64::MAX), (12, 1 << 61)] {
        let mut built = Built::tiny();
        built.set("x", [&9_u32.to_le_bytes()[..], &kind.to_le_bytes()[..], &length.to_le_bytes()[..]].concat());
        refused(&built, "the key x announces");
    }
    let mut nested = Built::tiny();
    nested.set("x", array(9, &[vec![0; 12]]));
    refused(&nested, "an array of the unknown type 9");
    let mut unknown = Built::tiny();
    unknown.set("x", typed(77, &[0; 8]));
    refused(&unknown, "the unknown type 77");
    for (dims, expected) in [
        (vec![1 << 32, 1 << 32], "has the dimensions"),
        (vec![u64::MAX, u64::MAX, u64::MAX], "has the dimensions"),
        (vec![0, 8], "has the dimensions"),
        (vec![], "has 0 dimensions"),
        (vec![1; 5], "has 5 dimensions"),
        (vec![1 << 40, 260], "past the end"),
    ] {
        let mut built = Built::tiny();
        built.tensor("token_embd.weight").1 = dims;
        refused(&built, expected);
    }
    for alignment in [0_u32, 3, u32::MAX] {
        let mut built = Built::tiny();
        built.set("general.alignment", typed(4, &alignment.to_le_bytes()));
        refused(&built, "general.alignment");
    }
}

#[test]
fn a_model_that_cannot_be_run_is_refused() {
    for key in ["llama.block_count", "llama.embedding_length", "llama.attention.head_count", "general.architecture"] {
        refused(&Built::tiny().without(key), &format!("the key {key} is missing"));
    }
    for tensor in ["token_embd.weight", "blk.0.ffn_up.weight", "output_norm.weight"] {
        refused(&Built::tiny().without(tensor), &format!("the tensor {tensor} is missing"));
    }
    let changed = |key: &str, value: Vec<u8>| {
        let mut built = Built::tiny();
        built.set(key, value);
        built
    };
    refused(&changed("general.architecture", typed(8, &text("mamba"))), "the architecture 'mamba'");
    refused(&changed("llama.block_count", typed(8, &text("one"))), "is not a count");
    refused(&changed("llama.attention.head_count", typed(4, &0_u32.to_le_bytes())), "make no model");
    refused(&changed("llama.embedding_length", typed(4, &16_u32.to_le_bytes())), "has the shape");
    refused(&changed("llama.block_count", typed(4, &2_u32.to_le_bytes())), "blk.1.attn_norm.weight is missing");
    refused(&changed("llama.rope.scaling.type", typed(8, &text("yarn"))), "scaled");
    refused(&changed("llama.rope.dimension_count", typed(4, &2_u32.to_le_bytes())), "a part of each head");
    refused(&changed("llama.expert_count", typed(4, &8_u32.to_le_bytes())), "mixtures of experts");
    let mut more = Built::tiny();
    more.tensors.push(("blk.0.attn_output.bias".into(), vec![8], 0, vec![0; 32]));
    refused(&more, "blk.0.attn_output.bias, which a llama decoder does not have");
    let mut quantised = Built::tiny();
    quantised.tensor("token_embd.weight").2 = 23;
    refused(&quantised, "not supported (23)");
    let mut twice = Built::tiny();
    let tensor = twice.tensors[0].clone();
    twice.tensors.push(tensor);
    refused(&twice, "occurs twice");
}

#[test]
fn a_tokenizer_that_cannot_be_rebuilt_is_refused() {
    for (key, value, expected) in [
        ("tokenizer.ggml.model", typed(8, &text("llama")), "of the kind 'llama'"),
        ("tokenizer.ggml.pre", typed(8, &text("tekken")), "'tekken' is not supported"),
        ("tokenizer.ggml.merges", array(8, &[text("1 9")]), "does not join two tokens"),
        ("tokenizer.ggml.tokens", array(8, &[text("a"), text("b")]), "types for"),
        ("tokenizer.ggml.eos_token_id", typed(4, &999_u32.to_le_bytes()), "names the token 999"),
    ] {
        let mut built = Built::tiny();
        built.set(key, value);
        let error = open_bytes(&built.bytes()).unwrap().tokenizer().expect_err(expected);
        assert!(error.to_string().contains(expected), "'{error}' does not say '{expected}'");
    }
    let error = open_bytes(&Built::tiny().without("tokenizer.ggml.merges").bytes()).unwrap().tokenizer().unwrap_err();
    assert!(error.to_string().contains("tokenizer.ggml.merges is missing"), "{error}");
}
