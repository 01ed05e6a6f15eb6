//! The exact distribution of a policy over all cells, and what follows from it.
//!
//! The texts of the cells are a tree: below the prompt, the words at each of as many levels as there are slots. Walking it with a shared
//! key-value cache, every node once, gives `log p(cell) = sum over slots of log p(word | those before)` of every cell; of
//! NAS-Bench-201's 15,625 from 3,906 next-token distributions.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::codec::Parents;
use crate::base::error::{Error, Result};
use crate::decoder::model::cache::Branches;
use crate::decoder::model::decoder::Decoder;
use crate::decoder::model::prefix::Prefix;
use crate::oracle::{Cell, Space, Table};
use crate::policy::table_ce::TableCe;
use crate::theory::finite::{entropy, expected, kl, realised, smooth, tail};

/// Tokens of all branches of a subtree at most: their cache fits the memory, and they are enough rows for fast products.
const MOST_BRANCH_TOKENS: usize = 4096;

/// `log p` of every sequence of words in so many `slots` after `prompt`, in lexicographic order; `words` are their tokens.
/// `decoder` has any adapter merged in.
pub fn enumerate(decoder: &Decoder, prompt: &[u32], words: &[u32], slots: usize) -> Result<Vec<f64>> {
    let mut leaves = Vec::with_capacity(words.len().pow(slots as u32));
    below(decoder, &decoder.prefill(prompt, None)?, 0.0, words, slots, &mut leaves)?;
    Ok(leaves)
}

/// The leaves `slots` levels below a node with `log_p`: one subtree at a time.
fn below(decoder: &Decoder, node: &Prefix, log_p: f64, words: &[u32], slots: usize, leaves: &mut Vec<f64>) -> Result<()> {
    if words.len().pow(slots as u32 - 1) * (slots - 1) <= MOST_BRANCH_TOKENS {
        leaves.extend(subtree(decoder, node, log_p, words, slots)?);
        return Ok(());
    }
    let logits = node.logits().ok_or_else(|| Error::machine("a node of the tree gave no logits"))?;
    for (word, step) in words.iter().zip(next(logits, words)) {
        let mut child = node.clone();
        decoder.extend(&mut child, &[*word], None)?;
        below(decoder, &child, log_p + step, words, slots - 1, leaves)?;
    }
    Ok(())
}

/// The same, level by level.
fn subtree(decoder: &Decoder, node: &Prefix, log_p: f64, words: &[u32], slots: usize) -> Result<Vec<f64>> {
    let logits = node.logits().ok_or_else(|| Error::machine("a node of the tree gave no logits"))?;
    let mut level: Vec<f64> = next(logits, words).iter().map(|step| log_p + step).collect();
    let mut branches = Branches::new(decoder, node, 1, slots.max(2) - 1);
    for _ in 1..slots {
        let forks: Vec<usize> = (0..branches.len()).flat_map(|branch| std::iter::repeat_n(branch, words.len())).collect();
        let tokens: Vec<u32> = (0..branches.len()).flat_map(|_| words).copied().collect();
        branches.select(&forks);
        let logits = branches.step(&tokens)?;
        let steps: Vec<Vec<f64>> = logits.par_chunks(decoder.outputs()).map(|row| next(row, words)).collect();
        level = level.iter().zip(&steps).flat_map(|(log_p, steps)| steps.iter().map(move |step| log_p + step)).collect();
    }
    Ok(level)
}

/// `log p` of every delta after `prompt`, by slot and word.
pub(crate) fn deltas(decoder: &Decoder, prompt: &[u32], slots: &[u32], words: &[u32]) -> Result<Vec<Vec<f64>>> {
    let root = decoder.prefill(prompt, None)?;
    let first = next(root.logits().ok_or_else(|| Error::machine("the prompt gave no logits"))?, slots);
    let logits = Branches::new(decoder, &root, slots.len(), 1).step(slots)?;
    let rows = logits.chunks(decoder.outputs()).zip(first);
    Ok(rows.map(|(row, log_p)| next(row, words).iter().map(|step| log_p + step).collect()).collect())
}

/// `log p` of each of these as the next token.
fn next(logits: &[f32], words: &[u32]) -> Vec<f64> {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let log_sum = logits.iter().map(|&z| (f64::from(z) - most).exp()).sum::<f64>().ln();
    words.iter().map(|word| f64::from(logits[*word as usize]) - most - log_sum).collect()
}

/// A distribution over all cells of a space and everything that is no cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    space: &'static Space,
    /// Of all cells, and last of what is none.
    p: Vec<f64>,
}

impl Distribution {
    /// With nothing outside but for rounding, which is taken out.
    pub fn complete(space: &'static Space, cells: Vec<f64>) -> Self {
        assert_eq!(cells.len(), space.cells());
        let sum: f64 = cells.iter().sum();
        Self { space, p: cells.into_iter().map(|p| p / sum).chain([0.0]).collect() }
    }

    /// What the cells leave is outside.
    pub fn partial(space: &'static Space, mut cells: Vec<f64>) -> Self {
        assert_eq!(cells.len(), space.cells());
        let outside = 1.0 - cells.iter().sum::<f64>();
        cells.push(outside.max(0.0));
        Self { space, p: cells }
    }

    /// A mixture: of each parent its weight and `log p` of each delta on it. What changes nothing is outside.
    pub(crate) fn of_deltas(space: &'static Space, parents: &[(Cell, f64, Vec<Vec<f64>>)]) -> Self {
        let mut p = vec![0.0; space.cells()];
        for (parent, weight, log_p) in parents {
            for (slot, own) in parent.words().enumerate() {
                for word in (0..space.words().len()).filter(|word| *word != own) {
                    p[parent.with(slot, word).index()] += weight * log_p[slot][word].exp();
                }
            }
        }
        Self::partial(space, p)
    }

    /// The same of deltas that are uniform on each parent; a parent's weight is its share of the samples.
    pub(crate) fn of_uniform_deltas(space: &'static Space, parents: &Parents) -> Self {
        let total: usize = parents.iter().map(|(_, share)| share).sum();
        let mut p = vec![0.0; space.cells()];
        for (parent, share) in parents.iter().filter_map(|(parent, share)| Some(((*parent)?, *share))) {
            for cell in parent.neighbours() {
                p[cell.index()] += share as f64 / (total * space.neighbours()) as f64;
            }
        }
        Self::complete(space, p)
    }

    /// Of the table policy.
    pub fn of_table(space: &'static Space, table: &TableCe) -> Self {
        Self::complete(space, Cell::all(space).map(|cell| table.probability(cell.words())).collect())
    }

    /// The table policy nearest to it.
    pub(crate) fn marginals(&self) -> TableCe {
        let (slots, words) = (self.space.slots().len(), self.space.words().len());
        TableCe::marginals(slots, words, Cell::all(self.space).map(Cell::words).zip(self.inside()))
    }

    /// A cell's share of these, which may hold it several times.
    pub fn empirical(space: &'static Space, cells: &[Cell]) -> Self {
        let mut p = vec![0.0; space.cells()];
        for cell in cells {
            p[cell.index()] += 1.0;
        }
        Self::complete(space, p)
    }

    /// The probabilities of all cells, by [`Cell::index`]; with [`Self::outside`] they sum to 1.
    pub fn cells(&self) -> &[f64] {
        &self.p[..self.space.cells()]
    }

    /// Given that it is a cell.
    pub(crate) fn inside(&self) -> Vec<f64> {
        let sum: f64 = self.cells().iter().sum();
        self.cells().iter().map(|p| p / sum).collect()
    }

    /// The probability of what is no cell.
    pub fn outside(&self) -> f64 {
        self.p[self.space.cells()]
    }
}

/// Exact numbers of one distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// The probability of writing no cell.
    pub outside: f64,
    /// E\[S\] over the cells, from 0 to 1, S being the mean over training seeds.
    pub expected: f64,
    /// C = P(S >= gamma*); what is no cell does not reach it.
    pub elite: f64,
    /// E\[S\] and C of the objective in force: S as the audit's queries measure it.
    pub(crate) objective: f64,
    pub(crate) reached: f64,
    /// Of the cells, in nats; uniform is the logarithm of their number, 9.66 in NAS-Bench-201.
    pub entropy: f64,
    /// KL(p || product of its marginals): what the slots know of each other.
    pub dependence: f64,
    /// The probability of the best cell.
    pub(crate) best: f64,
}

impl Measures {
    /// `objective` is the quality in force of each cell.
    pub fn of(p: &Distribution, table: &Table, objective: &[f64], gamma_star: f64) -> Self {
        let cells = p.inside();
        Self {
            outside: p.outside(),
            expected: expected(&cells, table.means()),
            elite: tail(p.cells(), table.means(), gamma_star),
            objective: expected(&cells, objective),
            reached: tail(p.cells(), objective, gamma_star),
            entropy: entropy(&cells),
            dependence: kl(&cells, Distribution::of_table(p.space, &p.marginals()).cells()),
            best: p.cells()[table.best().index()],
        }
    }
}

/// How much of the cross-entropy update one tuning was, exactly. Infinite divergences are absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// KL(e || p) before the update, e being the elites' distribution; in nats.
    pub to_elites_before: Option<f64>,
    /// KL(e || p) after the update, in nats.
    pub to_elites_after: Option<f64>,
    /// KL(e || what the update should give): with a smoothing alpha, (1 - alpha) p + alpha e; 0 without.
    pub(crate) target: f64,
    /// 1 - after / before.
    pub share: Option<f64>,
    /// The alpha whose mixture (1 - alpha) p + alpha e is nearest to the new p.
    pub alpha: f64,
    /// KL(new p || that mixture), in nats.
    pub distance: Option<f64>,
    /// KL(p || q) after the update over the cells, q being the table policy that had the same elites.
    pub to_table: Option<f64>,
}

impl Update {
    /// `alpha` is the smoothing that was asked for, 1 for none.
    pub fn of(elites: &Distribution, old: &Distribution, new: &Distribution, table: &Distribution, alpha: f64) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let realised = realised(&elites.p, &old.p, &new.p);
        Self {
            to_elites_before: finite(realised.before),
            to_elites_after: finite(realised.after),
            target: if alpha < 1.0 { kl(&elites.p, &smooth(&elites.p, &old.p, alpha)) } else { 0.0 },
            share: finite(realised.share),
            alpha: realised.alpha,
            distance: finite(realised.distance),
            to_table: finite(kl(&new.inside(), table.cells())),
        }
    }
}
