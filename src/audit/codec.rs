//! How a policy's tokens are cells: the words of all slots after a prompt, or a delta on a parent that stands in the prompt. Of
//! NAS-Bench-201:
//!
//! - full: `Cell:` is followed by ` none skip one three pool none`
//! - delta: `Cell: A none B skip C one D three E pool F none`, newline, `Change:` is followed by ` C three`
//!
//! A delta that changes nothing is no proposal.

use std::fmt;

use super::settings::CellFormat;
use crate::base::error::{Error, Result};
use crate::decoder::files::tokenizer::Tokenizer;
use crate::decoder::model::pack::Example;
use crate::oracle::{Cell, Space};

/// What asks for a delta.
const CHANGE: &str = "\nChange:";

/// A cell, and the parent it was written as a delta on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// None of a whole cell.
    pub parent: Option<Cell>,
    /// The whole cell; of a delta the parent with the change made.
    pub cell: Cell,
}

/// The parents of a cycle and how many samples each gets; whole cells have none.
pub type Parents = Vec<(Option<Cell>, usize)>;

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parent {
            Some(parent) => write!(f, "{parent} -> {}", self.cell),
            None => self.cell.fmt(f),
        }
    }
}

/// Token ids of the format's words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Codec {
    space: &'static Space,
    prompt: Vec<u32>,
    words: Vec<u32>,
    /// Where deltas are written: the slots' names, and what stands between the parent and the delta.
    delta: Option<(Vec<u32>, Vec<u32>)>,
}

impl Codec {
    /// # Errors
    /// When the prompt is empty or the tokenizer cuts a word of the format into pieces.
    pub(crate) fn new(tokenizer: &Tokenizer, prompt: &str, format: CellFormat, space: &'static Space) -> Result<Self> {
        let prompt = tokenizer.encode_plain(prompt);
        if prompt.is_empty() {
            return Err(Error::input("setting llm.prompt: a cell needs something before it"));
        }
        let delta = match format {
            CellFormat::Full => None,
            CellFormat::Delta => Some((single(tokenizer, space.slots())?, tokenizer.encode_plain(CHANGE))),
        };
        Ok(Self { space, prompt, words: single(tokenizer, space.words())?, delta })
    }

    /// The tokens that a learner restricted to this format reads (`Learner::restrict`), and how many of them (the first) it can say.
    pub(crate) fn vocabulary(&self) -> (Vec<u32>, usize) {
        let (slots, change): (&[u32], &[u32]) = self.delta.as_ref().map_or((&[], &[]), |(slots, change)| (slots, change));
        let tokens = [&self.words, slots, &self.prompt, change].concat();
        (tokens, self.words.len() + slots.len())
    }

    /// Tokens of the longest prompt and a proposal after it.
    pub(crate) fn context(&self) -> usize {
        self.prompt.len() + self.delta.as_ref().map_or(0, |(slots, change)| 2 * slots.len() + change.len()) + self.length()
    }

    /// Tokens of a proposal.
    pub(crate) fn length(&self) -> usize {
        if self.delta.is_some() { 2 } else { self.space.slots().len() }
    }

    /// What its cells are of.
    pub(crate) fn space(&self) -> &'static Space {
        self.space
    }

    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    /// The names of the slots, where deltas are written.
    pub(crate) fn slots(&self) -> Option<&[u32]> {
        self.delta.as_ref().map(|(slots, _)| &slots[..])
    }

    /// What stands before a proposal.
    pub(crate) fn prompt(&self, parent: Option<Cell>) -> Vec<u32> {
        let mut tokens = self.prompt.clone();
        if let (Some((slots, change)), Some(parent)) = (&self.delta, parent) {
            tokens.extend(slots.iter().zip(parent.words()).flat_map(|(slot, word)| [*slot, self.words[word]]));
            tokens.extend(change);
        }
        tokens
    }

    /// # Errors
    /// When the cell is not one delta away from its parent.
    pub(crate) fn example(&self, proposal: &Proposal) -> Result<Example> {
        let completion = match (&self.delta, proposal.parent) {
            (None, None) => proposal.cell.words().map(|word| self.words[word]).collect(),
            (Some((slots, _)), Some(parent)) => {
                let changes = slots.iter().zip(proposal.cell.words().zip(parent.words()));
                let changed: Vec<_> = changes.filter(|(_, (word, before))| word != before).collect();
                let [(slot, (word, _))] = changed[..] else {
                    return Err(Error::machine(format!("{} is not one delta away from {parent}", proposal.cell)));
                };
                vec![*slot, self.words[word]]
            }
            _ => return Err(Error::machine("a delta without a parent, or a parent without a delta")),
        };
        Ok(Example { id: proposal.to_string(), prompt: self.prompt(proposal.parent), completion })
    }

    /// The cell that the tokens propose; None where they do not.
    pub(crate) fn read(&self, parent: Option<Cell>, tokens: &[u32]) -> Option<Cell> {
        let word = |token: &u32| self.words.iter().position(|w| w == token);
        match (&self.delta, parent) {
            (Some((slots, _)), Some(parent)) => {
                let [slot, changed] = tokens else { return None };
                let cell = parent.with(slots.iter().position(|s| s == slot)?, word(changed)?);
                (cell != parent).then_some(cell)
            }
            _ => Cell::new(self.space, &tokens.iter().map(word).collect::<Option<Vec<usize>>>()?).ok(),
        }
    }
}

/// The token of each word with the space before it.
fn single(tokenizer: &Tokenizer, words: &[String]) -> Result<Vec<u32>> {
    let mut ids = Vec::with_capacity(words.len());
    for word in words {
        let wrong = |what: String| {
            Error::input(format!("this model's tokenizer {what}"))
                .hint("an audit needs each word of a cell as one token: take another model, or in a table of your own another word")
        };
        let [id] = tokenizer.encode_plain(&format!(" {word}"))[..] else {
            return Err(wrong(format!("cuts '{word}' into several tokens")));
        };
        // What a tokenizer does not know can be one token, too, and the same for every word.
        if let Some(same) = ids.iter().position(|known| *known == id) {
            return Err(wrong(format!("has one token for '{}' and '{word}'", words[same])));
        }
        ids.push(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::nasbench201;

    fn codec(delta: bool) -> Codec {
        let delta = delta.then(|| (vec![20, 21, 22, 23, 24, 25], vec![80, 81]));
        Codec { space: nasbench201::space(), prompt: vec![70, 71], words: vec![10, 11, 12, 13, 14], delta }
    }

    fn cell(text: &str) -> Cell {
        Cell::parse(nasbench201::space(), text).unwrap()
    }

    #[test]
    fn cells_and_deltas_come_back_from_their_tokens() {
        let (parent, child) = (cell("none skip one three pool none"), cell("none skip three three pool none"));
        let full = codec(false).example(&Proposal { parent: None, cell: child }).unwrap();
        assert_eq!((full.prompt, full.completion), (vec![70, 71], vec![10, 11, 13, 13, 14, 10]));
        let delta = codec(true).example(&Proposal { parent: Some(parent), cell: child }).unwrap();
        assert_eq!(delta.prompt, [70, 71, 20, 10, 21, 11, 22, 12, 23, 13, 24, 14, 25, 10, 80, 81]);
        assert_eq!(delta.completion, [22, 13]);
        assert_eq!(codec(true).read(Some(parent), &[22, 13]), Some(child));
        assert_eq!(codec(false).read(None, &[10, 11, 13, 13, 14, 10]), Some(child));
        for wrong in [&[22, 12][..], &[13, 22], &[22], &[22, 13, 13], &[22, 99]] {
            assert_eq!(codec(true).read(Some(parent), wrong), None, "{wrong:?}");
        }
        assert!(codec(true).example(&Proposal { parent: Some(parent), cell: parent }).is_err());
        assert!(codec(true).example(&Proposal { parent: None, cell: child }).is_err());
    }

    #[test]
    fn the_vocabulary_has_every_token_and_begins_with_those_that_are_said() {
        for delta in [false, true] {
            let codec = codec(delta);
            let (tokens, outputs) = codec.vocabulary();
            assert_eq!(outputs, if delta { 11 } else { 5 });
            let proposal =
                Proposal { parent: delta.then(|| cell("none skip one three pool none")), cell: cell("none skip one three pool three") };
            let Example { prompt, completion, .. } = codec.example(&proposal).unwrap();
            assert!(prompt.iter().all(|token| tokens.contains(token)) && completion.iter().all(|token| tokens[..outputs].contains(token)));
            assert_eq!(codec.context(), prompt.len() + completion.len());
        }
    }
}
