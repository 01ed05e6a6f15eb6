//! Which tokens of a completion are valid, for claim 4: what the grammar of its format says ([`crate::delta::grammar::label`]), and
//! what the tracer found.
//!
//! Where a delta applied and its source is no network, the tokens of the line that the tracer names are errors, if the delta wrote
//! that line. Otherwise the end token is the error: it said that the delta is done. So of the completions that ended and
//! apply, those without an error are the networks.

use crate::base::error::Result;
use crate::delta::settings::Format;
use crate::delta::{self, grammar};
use crate::gates::Stage;
use crate::policy::Learner;
use crate::record::{Candidate, LabelRow, Screened};

/// The labels of a screened candidate.
pub(crate) fn of(learner: &Learner, format: Format, parent: &str, candidate: &Candidate) -> Result<LabelRow> {
    let tokenizer = &learner.model.tokenizer;
    let pieces: Vec<Vec<u8>> = candidate.tokens.iter().map(|&token| tokenizer.token_bytes(token)).collect();
    let ended = candidate.tokens.last() == Some(&tokenizer.eos());
    let mut valid = grammar::label(format, parent, &pieces, ended);
    if let Some(screened) = candidate.screened.as_ref().filter(|s| s.stage == Stage::Applied) {
        blame(&mut valid, format, parent, &candidate.text(), screened, &pieces);
    }
    let prompt_tokens = learner.prompt(format, parent)?.len() as u64;
    Ok(LabelRow { cycle: candidate.cycle, index: candidate.index, prompt_tokens, valid })
}

/// Makes errors of the tokens that the tracer's line is to be blamed on, or else of the end token. The line is what the tracer stored, not
/// what a message says: a message may be the source's own.
fn blame(valid: &mut [bool], format: Format, parent: &str, completion: &str, screened: &Screened, pieces: &[Vec<u8>]) {
    let child = screened.source.as_deref().unwrap_or_default();
    match screened.line.and_then(|line| delta::wrote(format, parent, child, completion, line as usize)) {
        Some(line) => mark(valid, pieces, line),
        None => valid.iter_mut().next_back().into_iter().for_each(|last| *last = false),
    }
}

/// Makes errors of all tokens with a byte in line `line` (from 0), its end left out.
fn mark(valid: &mut [bool], pieces: &[Vec<u8>], line: usize) {
    let mut at = 0;
    for (valid, piece) in valid.iter_mut().zip(pieces) {
        for &byte in piece {
            if byte == b'\n' {
                at += 1;
            } else if at == line {
                *valid = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_stored_and_not_one_that_a_message_names() {
        let (parent, child, completion) = ("a\nb\nc\n", "a\nx\ny\nc\n", "2\nx\ny\n");
        let pieces: Vec<Vec<u8>> = ["2\n", "x\n", "y\n", ""].iter().map(|p| p.as_bytes().to_vec()).collect();
        let blamed = |line: Option<u32>, detail: &str| {
            let mut valid = vec![true; pieces.len()];
            let screened = Screened { line, detail: Some(detail.into()), source: Some(child.into()), ..Screened::at(Stage::Applied) };
            blame(&mut valid, Format::Edit, parent, completion, &screened, &pieces);
            valid
        };
        assert_eq!(blamed(Some(2), "line 2: ValueError: line 3: no"), [true, false, true, true]);
        assert_eq!(blamed(Some(2), "line 3: no"), [true, false, true, true]);
        assert_eq!(blamed(None, "line 3: no"), [true, true, true, false], "no line is known, whatever the source's exception says");
        assert_eq!(blamed(Some(4), "line 4: NameError: c"), [true, true, true, false], "the delta did not write that line");
    }

    #[test]
    fn the_tokens_of_a_line_are_marked_and_no_others() {
        let pieces: Vec<Vec<u8>> = ["5\n", "nn", ".X", "()\n", "6", "\n"].iter().map(|p| p.as_bytes().to_vec()).collect();
        let mut valid = vec![true; pieces.len()];
        mark(&mut valid, &pieces, 1);
        assert_eq!(valid, [true, false, false, false, true, true]);
    }
}
