//! A byte-level BPE tokenizer, rebuilt from the vocabulary and merges that lie in the model file.
//!
//! Text is cut at special tokens (only where asked to), then by the pre-tokenizer's pattern; each piece's bytes, written one
//! character a byte, are merged by BPE. Ids are those llama.cpp gives for the same file.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeBuilder};
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl};

/// How text is cut before BPE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pre {
    /// Each digit alone, then GPT-2's pattern.
    Smollm,
    Gpt2,
    Qwen2,
    Llama3,
    /// Another pipeline of cuts, as `tokenizer.json` describes it (JSON).
    Described(Box<str>),
}

/// Words with one character before them, single digits, punctuation with the line breaks after it, runs of white space.
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with digits in groups of three.
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The names of `tokenizer.ggml.pre` under which llama.cpp cuts alike; the first is the usual one. Of Llama 3's, those from `smaug-bpe` on
/// merge a piece that is a token.
const SMOLLM_NAMES: [&str; 7] = ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"];
const GPT2_NAMES: [&str; 8] = ["gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "mellum", "a.x-4.0"];
const QWEN2_NAMES: [&str; 6] = ["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez"];
const LLAMA3_NAMES: [&str; 10] =
    ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "smaug-bpe", "dbrx"];

impl Pre {
    /// The pre-tokenizer of a name in `tokenizer.ggml.pre`, and whether a piece that is a token is taken as that token, without merging.
    #[must_use]
    pub(crate) fn from_name(name: &str) -> Option<(Self, bool)> {
        let known =
            [(Self::Smollm, &SMOLLM_NAMES[..]), (Self::Gpt2, &GPT2_NAMES), (Self::Qwen2, &QWEN2_NAMES), (Self::Llama3, &LLAMA3_NAMES)];
        let (pre, names) = known.into_iter().find(|(_, names)| names.contains(&name))?;
        let merges = pre != Self::Llama3 || names.iter().position(|known| *known == name) >= names.iter().position(|n| *n == "smaug-bpe");
        Some((pre, !merges))
    }

    /// The names that [`Pre::from_name`] knows.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        [&SMOLLM_NAMES[..], &GPT2_NAMES, &QWEN2_NAMES, &LLAMA3_NAMES].into_iter().flatten().copied()
    }

    /// The pre-tokenizer that cuts by this pattern, however the pattern writes its contractions.
    pub(super) fn from_pattern(pattern: &str) -> Option<Self> {
        const SHORT: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
        const LONG: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
        let long = pattern.replacen(SHORT, LONG, 1);
        [(QWEN2, Self::Qwen2), (LLAMA3, Self::Llama3)].into_iter().find(|(known, _)| *known == long).map(|(_, pre)| pre)
    }

    /// As `tokenizer.json` describes it.
    pub(super) fn described(&self) -> Value {
        let bytes = |cut: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cut});
        let split = |pattern: &str| json!([{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}, bytes(false)]);
        let steps = match self {
            Self::Smollm => json!([{"type": "Digits", "individual_digits": true}, bytes(true)]),
            Self::Gpt2 => json!([bytes(true)]),
            Self::Qwen2 => split(QWEN2),
            Self::Llama3 => split(LLAMA3),
            Self::Described(text) => return serde_json::from_str(text).unwrap_or_default(),
        };
        json!({"type": "Sequence", "pretokenizers": steps})
    }

    fn build(&self) -> Result<PreTokenizerWrapper, String> {
        serde_json::from_value(self.described()).map_err(|e| format!("its pre_tokenizer is not supported ({e})"))
    }
}

/// What a model file says of its tokenizer.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    /// By id, one character a byte, except where `kinds` says otherwise.
    pub(crate) tokens: Vec<String>,
    /// GGUF's token types: 1 normal, 2 unknown, 3 control, 4 user-defined (plain text, never cut), 5 unused, 6 byte.
    pub(crate) kinds: Vec<i64>,
    /// `left right`, in the order in which they are applied.
    pub(crate) merges: Vec<String>,
    pub(crate) pre: Pre,
    /// A piece that is a token is taken as that token, without merging.
    pub(crate) ignore_merges: bool,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    /// Steers the model and stands for no text.
    Special,
    /// Text that is one token whatever surrounds it.
    UserDefined,
    Unused,
}

type Bpe = TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// A model's tokenizer; every token is known by its id, from 0.
pub struct Tokenizer {
    bpe: Bpe,
    tokens: Vec<String>,
    kinds: Vec<Kind>,
    /// Tokens cut out of the text before BPE, the longest first.
    whole: Vec<(String, u32)>,
    byte_of: HashMap<char, u8>,
    /// Whether the byte is a token of its own, so that any text with it can be written.
    has_byte: [bool; 256],
    bos: Option<u32>,
    eos: u32,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("tokens", &self.tokens.len())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// # Errors
    /// Says what is inconsistent in the vocabulary.
    pub(crate) fn new(vocabulary: Vocabulary) -> Result<Self, String> {
        let Vocabulary { tokens, kinds, merges, pre, ignore_merges, bos, eos } = vocabulary;
        if tokens.is_empty() || tokens.len() != kinds.len() {
            return Err(format!("{} tokens, but types for {}", tokens.len(), kinds.len()));
        }
        let eos = eos.ok_or("the tokenizer names no end token")?;
        if let Some(id) = [bos, Some(eos)].into_iter().flatten().find(|&id| id as usize >= tokens.len()) {
            return Err(format!("the tokenizer names the token {id}, but there are {}", tokens.len()));
        }
        let kinds: Vec<Kind> = kinds
            .iter()
            .map(|kind| match kind {
                2 | 3 => Kind::Special,
                4 => Kind::UserDefined,
                5 => Kind::Unused,
                _ => Kind::Normal,
            })
            .collect();
        let mut ids = HashMap::new();
        for (id, token) in tokens.iter().enumerate() {
            if ids.insert(token.clone(), id as u32).is_some() {
                return Err(format!("the token {token:?} occurs twice"));
            }
        }
        let merges = split_merges(&merges, &ids)?;
        let byte_of = byte_of();
        let mut has_byte = [false; 256];
        for (character, byte) in &byte_of {
            has_byte[usize::from(*byte)] = ids.contains_key(character.encode_utf8(&mut [0; 4]) as &str);
        }
        let mut whole: Vec<(String, u32)> = tokens
            .iter()
            .zip(&kinds)
            .zip(0..)
            .filter(|((token, kind), _)| matches!(kind, Kind::Special | Kind::UserDefined) && !token.is_empty())
            .map(|((token, _), id)| (token.clone(), id))
            .collect();
        whole.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        let builder = BpeBuilder::new().vocab_and_merges(ids.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges);
        let model = builder.ignore_merges(ignore_merges).build().map_err(|e| e.to_string())?;
        let mut bpe = Bpe::new(model);
        bpe.with_pre_tokenizer(Some(pre.build()?));
        Ok(Self { bpe, tokens, kinds, whole, byte_of, has_byte, bos, eos })
    }

    /// Special tokens written in the text become those tokens; nothing is put before it.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.encode_marked(text, None)
    }

    /// The text as text: `<|im_end|>` written in it becomes the characters, never the token.
    #[must_use]
    pub fn encode_plain(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.cut(text, |kind| kind == Kind::UserDefined, |piece| self.push(piece, &mut ids));
        ids
    }

    /// [`Tokenizer::encode`], where a special token with `mark` inside is text; marks are left out.
    pub(super) fn encode_marked(&self, text: &str, mark: Option<char>) -> Vec<u32> {
        let mut ids = Vec::new();
        self.cut(
            text,
            |_| true,
            |piece| match (piece, mark) {
                (Piece::Text(text), Some(mark)) if text.contains(mark) => ids.extend(self.encode_plain(&text.replace(mark, ""))),
                _ => self.push(piece, &mut ids),
            },
        );
        ids
    }

    /// The first character that the vocabulary has no bytes for. Encoding leaves such characters out, as llama.cpp does; `SmolLM2`
    /// lacks six control characters and the code points from U+40000 to U+BFFFF.
    #[must_use]
    pub fn lost(&self, text: &str) -> Option<char> {
        text.chars().find(|c| c.encode_utf8(&mut [0; 4]).bytes().any(|byte| !self.has_byte[usize::from(byte)]))
    }

    /// The text of normal tokens, one after another; special ones are left out. A character whose bytes are not all there
    /// becomes U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        String::from_utf8_lossy(&self.bytes(ids)).into_owned()
    }

    /// What a completion says, without its end token: bytes that need not be UTF-8.
    #[must_use]
    pub fn completion(&self, ids: &[u32]) -> Vec<u8> {
        self.bytes(ids.strip_suffix(&[self.eos()]).unwrap_or(ids))
    }

    fn bytes(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.token_bytes(id)).collect()
    }

    /// The bytes a token adds to the text: none for a special token or an id that does not exist.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.tokens.get(id as usize) else { return Vec::new() };
        match self.kinds[id as usize] {
            Kind::Special | Kind::Unused => Vec::new(),
            Kind::UserDefined => token.as_bytes().to_vec(),
            Kind::Normal => token.chars().filter_map(|c| self.byte_of.get(&c).copied()).collect(),
        }
    }

    /// Whether the token steers the model and stands for no text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.kinds.get(id as usize) == Some(&Kind::Special)
    }

    /// The token's name in the vocabulary.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The same where answers end with another token than the vocabulary says.
    #[must_use]
    pub(super) fn ending_with(self, eos: u32) -> Self {
        Self { eos, ..self }
    }

    /// Ends an answer.
    #[must_use]
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// Begins a text; None where the model has no such token.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// All tokens, special and unused ones among them.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// The special tokens as they are written.
    pub(super) fn specials(&self) -> impl Iterator<Item = &str> {
        self.whole.iter().filter(|(_, id)| self.is_special(*id)).map(|(token, _)| token.as_str())
    }

    /// Cuts out the whole tokens of the chosen kinds, the leftmost first, of two at one place the longer.
    fn cut<'t>(&self, text: &'t str, chosen: impl Fn(Kind) -> bool, mut each: impl FnMut(Piece<'t>)) {
        let whole: Vec<_> = self.whole.iter().filter(|(_, id)| chosen(self.kinds[*id as usize])).collect();
        let mut from = 0;
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if let Some((token, id)) = whole.iter().find(|(token, _)| rest.starts_with(token.as_str())) {
                each(Piece::Text(&text[from..at]));
                each(Piece::Token(*id));
                at += token.len();
                from = at;
            } else {
                at += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
        each(Piece::Text(&text[from..]));
    }

    fn push(&self, piece: Piece<'_>, ids: &mut Vec<u32>) {
        match piece {
            Piece::Token(id) => ids.push(id),
            Piece::Text("") => {}
            Piece::Text(text) => {
                let encoding = self.bpe.encode_fast(text, false).expect("neither splitting nor merging can fail on a string");
                ids.extend(encoding.get_ids());
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Piece<'t> {
    Text(&'t str),
    Token(u32),
}

fn split_merges(merges: &[String], ids: &HashMap<String, u32>) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::with_capacity(merges.len());
    let mut seen = HashSet::new();
    for merge in merges {
        let pair = merge
            .split_once(' ')
            .filter(|(left, right)| ids.contains_key(*left) && ids.contains_key(*right) && ids.contains_key(&format!("{left}{right}")));
        let (left, right) = pair.ok_or_else(|| format!("the merge {merge:?} does not join two tokens to a third"))?;
        if seen.insert((left, right)) {
            pairs.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(pairs)
}

/// GPT-2 writes a byte as a visible character: printable Latin-1 as itself, the others as U+0100 onwards, in order.
fn byte_of() -> HashMap<char, u8> {
    let visible = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut hidden = 0x100_u32..;
    (0..=u8::MAX)
        .map(|byte| {
            let code = if visible(byte) { u32::from(byte) } else { hidden.next().expect("the range is endless") };
            (char::from_u32(code).expect("far below the surrogates"), byte)
        })
        .collect()
}
