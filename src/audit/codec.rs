//! How a policy's tokens are cells: all six operations after a prompt, or a delta on a parent that stands in the prompt.
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
use crate::oracle::cell::{Cell, EDGES, WORDS};

/// The names of the edges in a delta, and what asks for one.
const NAMES: [&str; EDGES] = ["A", "B", "C", "D", "E", "F"];
const CHANGE: &str = "\nChange:";

/// A cell, and the parent it was written as a delta on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    pub parent: Option<Cell>,
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
pub struct Codec {
    prompt: Vec<u32>,
    words: [u32; WORDS.len()],
    /// Where deltas are written: the edges' names, and what stands between the parent and the delta.
    delta: Option<([u32; EDGES], Vec<u32>)>,
}

impl Codec {
    /// # Errors
    /// When the prompt is empty or the tokenizer cuts a word of the format into pieces.
    pub fn new(tokenizer: &Tokenizer, prompt: &str, format: CellFormat) -> Result<Self> {
        let prompt = tokenizer.encode_plain(prompt);
        if prompt.is_empty() {
            return Err(Error::input("setting llm.prompt: a cell needs something before it"));
        }
        let delta = match format {
            CellFormat::Full => None,
            CellFormat::Delta => Some((single(tokenizer, &NAMES)?, tokenizer.encode_plain(CHANGE))),
        };
        Ok(Self { prompt, words: single(tokenizer, &WORDS)?, delta })
    }

    /// The tokens that a learner restricted to this format reads (`Learner::restrict`), and how many of them (the first) it can say.
    pub fn vocabulary(&self) -> (Vec<u32>, usize) {
        let (edges, change): (&[u32], &[u32]) = self.delta.as_ref().map_or((&[], &[]), |(edges, change)| (edges, change));
        let tokens = [&self.words, edges, &self.prompt, change].concat();
        (tokens, WORDS.len() + edges.len())
    }

    /// Tokens of the longest prompt and a proposal after it.
    pub fn context(&self) -> usize {
        self.prompt.len() + self.delta.as_ref().map_or(0, |(edges, change)| 2 * edges.len() + change.len()) + self.length()
    }

    /// Tokens of a proposal.
    pub fn length(&self) -> usize {
        if self.delta.is_some() { 2 } else { EDGES }
    }

    pub fn words(&self) -> &[u32; WORDS.len()] {
        &self.words
    }

    /// The names of the edges, where deltas are written.
    pub fn edges(&self) -> Option<&[u32; EDGES]> {
        self.delta.as_ref().map(|(edges, _)| edges)
    }

    /// What stands before a proposal.
    pub fn prompt(&self, parent: Option<Cell>) -> Vec<u32> {
        let mut tokens = self.prompt.clone();
        if let (Some((edges, change)), Some(parent)) = (&self.delta, parent) {
            tokens.extend(edges.iter().zip(parent.operations()).flat_map(|(edge, operation)| [*edge, self.words[operation]]));
            tokens.extend(change);
        }
        tokens
    }

    /// # Errors
    /// When the cell is not one delta away from its parent.
    pub fn example(&self, proposal: &Proposal) -> Result<Example> {
        let operations = proposal.cell.operations();
        let completion = match (&self.delta, proposal.parent) {
            (None, None) => operations.map(|o| self.words[o]).to_vec(),
            (Some((edges, _)), Some(parent)) => {
                let changed: Vec<usize> = (0..EDGES).filter(|&edge| operations[edge] != parent.operations()[edge]).collect();
                let [edge] = changed[..] else {
                    return Err(Error::machine(format!("{} is not one delta away from {parent}", proposal.cell)));
                };
                vec![edges[edge], self.words[operations[edge]]]
            }
            _ => return Err(Error::machine("a delta without a parent, or a parent without a delta")),
        };
        Ok(Example { id: proposal.to_string(), prompt: self.prompt(proposal.parent), completion })
    }

    /// The cell that the tokens propose; None where they do not.
    pub fn read(&self, parent: Option<Cell>, tokens: &[u32]) -> Option<Cell> {
        let word = |token: &u32| self.words.iter().position(|w| w == token);
        match (&self.delta, parent) {
            (Some((edges, _)), Some(parent)) => {
                let [edge, operation] = tokens else { return None };
                let cell = parent.with(edges.iter().position(|e| e == edge)?, word(operation)?);
                (cell != parent).then_some(cell)
            }
            _ => Cell::new(&tokens.iter().map(word).collect::<Option<Vec<usize>>>()?).ok(),
        }
    }
}

/// The token of each word with the space before it.
fn single<const N: usize>(tokenizer: &Tokenizer, words: &[&str; N]) -> Result<[u32; N]> {
    let mut ids = [0; N];
    for (id, word) in ids.iter_mut().zip(words) {
        let [one] = tokenizer.encode_plain(&format!(" {word}"))[..] else {
            return Err(Error::input(format!("this model's tokenizer cuts '{word}' into several tokens"))
                .hint("the exact audit needs a model that has each word of a cell as one token"));
        };
        *id = one;
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(delta: bool) -> Codec {
        Codec { prompt: vec![70, 71], words: [10, 11, 12, 13, 14], delta: delta.then(|| ([20, 21, 22, 23, 24, 25], vec![80, 81])) }
    }

    fn cell(text: &str) -> Cell {
        text.parse().unwrap()
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
