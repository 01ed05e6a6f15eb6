//! Labels for the Markov model of token errors: which tokens of any completion, also of one drawn without a mask, are valid.
//!
//! A token is an error from the first byte that the grammar does not allow. What follows is an error too, up to the end of the line;
//! the next line is read as if the bad one were not there (a hunk may then go on at any later place of the parent). Given
//! lines, and a full source, are held to [`Lines::Python`].

use super::{Grammar, Lines};
use crate::delta::settings::Format;

/// Whether each token is valid. `pieces` are the bytes of each token; of a token that stands for no text, none. With `ended` the
/// last one is the end token: valid where the delta may end, and, if all before it was valid, applies.
#[must_use]
pub fn label(format: Format, parent: &str, pieces: &[Vec<u8>], ended: bool) -> Vec<bool> {
    let grammar = Grammar::new(format, parent, Lines::Python);
    let (text, end) = pieces.split_at(pieces.len() - usize::from(ended && !pieces.is_empty()));
    let mut line_start = grammar.start();
    let mut state = Some(line_start);
    let mut labels = Vec::with_capacity(pieces.len());
    for piece in text {
        let mut valid = state.is_some() && !piece.is_empty();
        for &byte in piece {
            state = state.and_then(|state| grammar.step(state, byte));
            valid &= state.is_some();
            if byte == b'\n' {
                line_start = state.unwrap_or_else(|| Grammar::resume(line_start));
                state = Some(line_start);
            }
        }
        labels.push(valid);
    }
    if !end.is_empty() {
        let whole = text.concat();
        let is_clean = labels.iter().all(|valid| *valid);
        labels.push(state.is_some_and(|state| if is_clean { grammar.ends(state, &whole) } else { grammar.is_complete(state) }));
    }
    labels
}
