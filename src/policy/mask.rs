//! The grammar of deltas as a mask over tokens.

use std::sync::Arc;

use crate::decoder::sample::mask::{ByteGrammar, Mask, TokenTrie};
use crate::delta::grammar::{Grammar, Lines, State};
use crate::delta::settings::{Format, Masking};

/// The vocabulary, with what is kept of the grammar of deltas.
pub(crate) type DeltaTrie = TokenTrie<Grammar>;
/// All deltas of a format that apply to one parent.
pub(crate) type DeltaMask = Mask<Grammar>;

impl ByteGrammar for Grammar {
    type State = State;

    fn start(&self) -> State {
        self.start()
    }

    fn step(&self, state: State, byte: u8) -> Option<State> {
        self.step(state, byte)
    }

    fn ends(&self, state: State, text: &[u8]) -> bool {
        self.ends(state, text)
    }

    fn within_line(state: State) -> Option<State> {
        Self::within_line(state)
    }
}

/// The mask that a setting asks for, if any.
#[must_use]
pub(crate) fn delta_mask(masking: Masking, tokens: &Arc<DeltaTrie>, format: Format, parent: &str) -> Option<DeltaMask> {
    let lines = match masking {
        Masking::None => return None,
        Masking::Patch => Lines::Free,
        Masking::Layers => Lines::Python,
    };
    Some(Mask::new(tokens.clone(), Grammar::new(format, parent, lines)))
}
