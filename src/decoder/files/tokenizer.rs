//! A byte-level BPE tokenizer, rebuilt from the vocabulary and merges that lie in the model file.
//!
//! Text is cut at special tokens (only where asked to), then by the pre-tokenizer's pattern; each piece's bytes, written one
//! character a byte, are merged by BPE. Ids are those llama.cpp gives for the same file.

use std::collections::{HashMap, HashSet};

use tokenizers::models::bpe::{BPE, BpeBuilder};
use tokenizers::pre_tokenizers::{byte_level::ByteLevel, digits::Digits, sequence::Sequence, split::Split, split::SplitPattern};
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, TokenizerImpl};

/// How text is cut before BPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pre {
    /// Each digit alone, then GPT-2's pattern.
    Smollm,
    Qwen2,
    Llama3,
}

/// Words with one character before them, single digits, punctuation with the line breaks after it, runs of white space.
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with digits in groups of three.
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Pre {
    pub const ALL: [Self; 3] = [Self::Smollm, Self::Qwen2, Self::Llama3];

    /// The name in `tokenizer.ggml.pre`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Smollm => "smollm",
            Self::Qwen2 => "qwen2",
            Self::Llama3 => "llama-bpe",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pre| pre.name() == name)
    }

    /// The pre-tokenizer that cuts by this pattern, however the pattern writes its contractions.
    pub(super) fn from_pattern(pattern: &str) -> Option<Self> {
        const SHORT: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
        const LONG: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
        let long = pattern.replacen(SHORT, LONG, 1);
        [(QWEN2, Self::Qwen2), (LLAMA3, Self::Llama3)].into_iter().find(|(known, _)| *known == long).map(|(_, pre)| pre)
    }

    /// The pattern that cuts; none where digits and GPT-2's pattern do.
    pub(super) fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Smollm => None,
            Self::Qwen2 => Some(QWEN2),
            Self::Llama3 => Some(LLAMA3),
        }
    }

    fn build(self) -> Result<PreTokenizerWrapper, String> {
        let split = |pattern: &str| {
            Split::new(SplitPattern::Regex(pattern.into()), SplitDelimiterBehavior::Isolated, false).map_err(|e| e.to_string())
        };
        let bytes = |cut: bool| PreTokenizerWrapper::from(ByteLevel::new(false, false, cut));
        let steps = match self {
            Self::Smollm => vec![Digits::new(true).into(), bytes(true)],
            Self::Qwen2 => vec![split(QWEN2)?.into(), bytes(false)],
            Self::Llama3 => vec![split(LLAMA3)?.into(), bytes(false)],
        };
        Ok(Sequence::new(steps).into())
    }
}

/// What a model file says of its tokenizer.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// By id, one character a byte, except where `kinds` says otherwise.
    pub tokens: Vec<String>,
    /// GGUF's token types: 1 normal, 2 unknown, 3 control, 4 user-defined (plain text, never cut), 5 unused, 6 byte.
    pub kinds: Vec<i64>,
    /// `left right`, in the order in which they are applied.
    pub merges: Vec<String>,
    pub pre: Pre,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
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
    pub fn new(vocabulary: Vocabulary) -> Result<Self, String> {
        let Vocabulary { tokens, kinds, merges, pre, bos, eos } = vocabulary;
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
        // Llama 3 takes a piece that is a token as that token, without merging.
        let model = builder.ignore_merges(pre == Pre::Llama3).build().map_err(|e| e.to_string())?;
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

    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.bpe.token_to_id(token)
    }

    /// Ends an answer.
    #[must_use]
    pub fn eos(&self) -> u32 {
        self.eos
    }

    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

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
