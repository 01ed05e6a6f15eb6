//! A GGUF file written by hand.

use eliteloop::base::error::Error;
use eliteloop::decoder::files::model_file::ModelFile;

#[derive(Clone)]
pub struct Built {
    pub version: u32,
    pub keys: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

pub fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

pub fn typed(kind: u32, value: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], value].concat()
}

pub fn array(kind: u32, values: &[Vec<u8>]) -> Vec<u8> {
    [&9_u32.to_le_bytes()[..], &kind.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()[..], &values.concat()[..]].concat()
}

impl Built {
    /// A Llama of one layer: width 8, two heads over one, 260 tokens, all weights F32.
    pub fn tiny() -> Self {
        let mut built = Self { version: 3, keys: Vec::new(), tensors: Vec::new() };
        built.set("general.architecture", typed(8, &text("llama")));
        for (name, value) in [
            ("block_count", 1_u32),
            ("context_length", 64),
            ("embedding_length", 8),
            ("feed_forward_length", 12),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
        ] {
            built.set(&format!("llama.{name}"), typed(4, &value.to_le_bytes()));
        }
        built.set("llama.attention.layer_norm_rms_epsilon", typed(6, &1e-5_f32.to_le_bytes()));
        built.set("tokenizer.ggml.model", typed(8, &text("gpt2")));
        built.set("tokenizer.ggml.pre", typed(8, &text("llama-bpe")));
        let mut tokens: Vec<String> = vec!["<s>".into(), "</s>".into()];
        tokens.extend((0..=255_u32).map(|i| char::from_u32(if (33..127).contains(&i) { i } else { 0x100 + i }).unwrap().to_string()));
        tokens.extend(["12".into(), "123".into()]);
        built.set("tokenizer.ggml.tokens", array(8, &tokens.iter().map(|t| text(t)).collect::<Vec<_>>()));
        let kinds = (0..tokens.len()).map(|i| if i < 2 { 3_i32 } else { 1 }.to_le_bytes().to_vec()).collect::<Vec<_>>();
        built.set("tokenizer.ggml.token_type", array(5, &kinds));
        built.set("tokenizer.ggml.merges", array(8, &[text("1 2"), text("12 3")]));
        built.set("tokenizer.ggml.eos_token_id", typed(4, &1_u32.to_le_bytes()));
        for (name, dims) in [
            ("token_embd.weight", vec![8, 260]),
            ("output_norm.weight", vec![8]),
            ("blk.0.attn_norm.weight", vec![8]),
            ("blk.0.ffn_norm.weight", vec![8]),
            ("blk.0.attn_q.weight", vec![8, 8]),
            ("blk.0.attn_k.weight", vec![8, 4]),
            ("blk.0.attn_v.weight", vec![8, 4]),
            ("blk.0.attn_output.weight", vec![8, 8]),
            ("blk.0.ffn_gate.weight", vec![8, 12]),
            ("blk.0.ffn_up.weight", vec![8, 12]),
            ("blk.0.ffn_down.weight", vec![12, 8]),
        ] {
            let count = dims.iter().product::<u64>();
            let data = (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect();
            built.tensors.push((name.into(), dims, 0, data));
        }
        built
    }

    pub fn set(&mut self, key: &str, value: Vec<u8>) -> &mut Self {
        self.keys.retain(|(known, _)| known != key);
        self.keys.push((key.into(), value));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.keys.retain(|(key, _)| key != name);
        self.tensors.retain(|(tensor, ..)| tensor != name);
        self
    }

    pub fn tensor(&mut self, name: &str) -> &mut (String, Vec<u64>, u32, Vec<u8>) {
        self.tensors.iter_mut().find(|(known, ..)| known == name).unwrap()
    }

    pub fn header(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            out.extend([text(key), value.clone()].concat());
        }
        let mut offset = 0_u64;
        for (name, dims, kind, data) in &self.tensors {
            out.extend(text(name));
            out.extend((dims.len() as u32).to_le_bytes());
            out.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (data.len() as u64).next_multiple_of(32);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.header();
        for (.., data) in &self.tensors {
            out.extend(data);
            out.resize(out.len().next_multiple_of(32), 0);
        }
        out
    }
}

pub fn open_bytes(bytes: &[u8]) -> Result<ModelFile, Error> {
    let file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    // The open file outlives its name.
    ModelFile::open(file.path())
}
