//! Which tokens a grammar of bytes allows next: a walk over the trie of the vocabulary.
//!
//! The grammar is whatever implements [`ByteGrammar`]. Of a state inside a given line, what tokens without a line feed may follow depends neither on what came before the line nor on the
//! parent, so it is kept for all parents; the few tokens with a line feed are walked for each state. The end token is allowed where the
//! grammar says that the text is whole.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use toktrie::{Recognizer, SimpleVob, TokRxInfo, TokTrie};

use crate::decoder::files::tokenizer::Tokenizer;

/// An automaton over the bytes of a completion.
pub trait ByteGrammar: Sync {
    /// Where in a completion it is; small, since sets of tokens are kept for each.
    type State: Copy + Debug + Eq + Hash + Send + Sync;

    /// The state before the first byte.
    fn start(&self) -> Self::State;

    /// The state after one more byte; none where no completion goes on so.
    fn step(&self, state: Self::State, byte: u8) -> Option<Self::State>;

    /// Whether `text`, which led from the start to `state`, is a whole completion.
    fn ends(&self, state: Self::State, text: &[u8]) -> bool;

    /// Inside a line, the same place without what came before the line: what other bytes than the line's end may follow depends on it
    /// alone, under whatever grammar of this type. None elsewhere.
    fn within_line(state: Self::State) -> Option<Self::State>;

    /// The state after more bytes.
    fn advance(&self, state: Self::State, bytes: &[u8]) -> Option<Self::State> {
        bytes.iter().try_fold(state, |state, &byte| self.step(state, byte))
    }
}

/// The grammar of whoever samples without one: there is no value of it.
impl ByteGrammar for Infallible {
    type State = ();

    fn start(&self) {
        match *self {}
    }

    fn step(&self, (): (), _: u8) -> Option<()> {
        match *self {}
    }

    fn ends(&self, (): (), _: &[u8]) -> bool {
        match *self {}
    }

    fn within_line((): ()) -> Option<()> {
        None
    }
}

/// Sets of tokens kept for one parent, and for all; each has a bit for each token.
const KEPT: usize = 2048;

/// The vocabulary as two tries: tokens with a line feed and those without. Special tokens are in neither.
pub struct TokenTrie<G: ByteGrammar> {
    within: TokTrie,
    across: TokTrie,
    bytes: Vec<Vec<u8>>,
    end: u32,
    /// Tokens without a line feed, by [`ByteGrammar::within_line`].
    given: Mutex<HashMap<G::State, Arc<SimpleVob>>>,
}

impl<G: ByteGrammar> TokenTrie<G> {
    /// The tries of a tokenizer's vocabulary.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let bytes: Vec<Vec<u8>> = (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.token_bytes(id)).collect();
        let info = TokRxInfo::new(bytes.len() as u32, tokenizer.eos());
        let trie = |feed: bool| {
            let chosen: Vec<Vec<u8>> = bytes.iter().map(|b| if b.contains(&b'\n') == feed { b.clone() } else { Vec::new() }).collect();
            TokTrie::from(&info, &chosen)
        };
        Self { within: trie(false), across: trie(true), end: tokenizer.eos(), bytes, given: Mutex::default() }
    }
}

/// A grammar over tokens.
pub struct Mask<G: ByteGrammar> {
    tokens: Arc<TokenTrie<G>>,
    grammar: G,
    all: Mutex<HashMap<G::State, Arc<SimpleVob>>>,
    nanoseconds: AtomicU64,
}

/// A completion as far as it goes.
#[derive(Clone, Debug)]
pub struct Cursor<S> {
    /// None after a token that the grammar does not allow.
    state: Option<S>,
    text: Vec<u8>,
}

/// The tokens that may come next.
#[derive(Clone)]
pub struct Allowed {
    tokens: Arc<SimpleVob>,
    end: Option<u32>,
}

impl Allowed {
    /// Whether this token, which may be the end token, is one of them.
    #[must_use]
    pub fn contains(&self, token: u32) -> bool {
        self.end == Some(token) || self.tokens.get(token as usize)
    }

    /// All of them that are below `vocab`.
    pub(crate) fn tokens(&self, vocab: usize) -> impl Iterator<Item = usize> + '_ {
        self.tokens.iter().chain(self.end).map(|token| token as usize).filter(move |&token| token < vocab)
    }
}

/// The states of the bytes from a token's start to where the walk is.
struct Walk<'a, G: ByteGrammar> {
    grammar: &'a G,
    states: Vec<G::State>,
}

impl<G: ByteGrammar> Recognizer for Walk<'_, G> {
    fn pop_bytes(&mut self, num: usize) {
        self.states.truncate(self.states.len() - num);
    }

    fn collapse(&mut self) {
        self.states.drain(..self.states.len() - 1);
    }

    fn trie_finished(&mut self) {
        self.states.truncate(1);
    }

    fn try_push_byte(&mut self, byte: u8) -> bool {
        let next = self.states.last().and_then(|state| self.grammar.step(*state, byte));
        self.states.extend(next);
        next.is_some()
    }
}

impl<G: ByteGrammar> Mask<G> {
    /// What `grammar` allows, in the tokens of a vocabulary.
    #[must_use]
    pub fn new(tokens: Arc<TokenTrie<G>>, grammar: G) -> Self {
        Self { tokens, grammar, all: Mutex::default(), nanoseconds: AtomicU64::new(0) }
    }

    /// Time spent on [`Mask::allowed`] so far, over all threads.
    #[must_use]
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// At the start of a completion.
    #[must_use]
    pub fn start(&self) -> Cursor<G::State> {
        Cursor { state: Some(self.grammar.start()), text: Vec::new() }
    }

    /// What may follow; no token where nothing does.
    #[must_use]
    pub fn allowed(&self, cursor: &Cursor<G::State>) -> Allowed {
        let Some(state) = cursor.state else {
            return Allowed { tokens: Arc::new(self.tokens.within.alloc_token_set()), end: None };
        };
        let begun = Instant::now();
        let end = self.grammar.ends(state, &cursor.text).then_some(self.tokens.end);
        let tokens = kept(&self.all, state, || {
            let mut tokens = self.walk(&self.tokens.across, state);
            match G::within_line(state) {
                Some(inside) => tokens.or(&kept(&self.tokens.given, inside, || self.walk(&self.tokens.within, inside))),
                None => tokens.or(&self.walk(&self.tokens.within, state)),
            }
            tokens
        });
        self.nanoseconds.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        Allowed { tokens, end }
    }

    /// Appends a token, allowed or not.
    pub fn advance(&self, cursor: &mut Cursor<G::State>, token: u32) {
        let bytes = self.tokens.bytes.get(token as usize).map_or(&[][..], Vec::as_slice);
        // A token without text is the end, or one that no grammar allows.
        let stays = token == self.tokens.end;
        cursor.state = cursor.state.filter(|_| stays || !bytes.is_empty()).and_then(|state| self.grammar.advance(state, bytes));
        cursor.text.extend(bytes);
    }

    fn walk(&self, trie: &TokTrie, state: G::State) -> SimpleVob {
        let mut tokens = trie.alloc_token_set();
        trie.add_bias(&mut Walk { grammar: &self.grammar, states: vec![state] }, &mut tokens, &[]);
        tokens
    }
}

/// The set kept for `state`; two threads may both make it, to the same bits.
fn kept<S: Copy + Eq + Hash>(sets: &Mutex<HashMap<S, Arc<SimpleVob>>>, state: S, make: impl FnOnce() -> SimpleVob) -> Arc<SimpleVob> {
    let lock = || sets.lock().unwrap_or_else(PoisonError::into_inner);
    let found = lock().get(&state).cloned();
    found.unwrap_or_else(|| {
        let made = Arc::new(make());
        let mut sets = lock();
        if sets.len() >= KEPT {
            sets.clear();
        }
        sets.insert(state, made.clone());
        made
    })
}
