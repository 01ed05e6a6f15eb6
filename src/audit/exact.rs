//! The exact distribution of a policy over all cells, and what follows from it.
//!
//! The texts of the cells are a tree: below the prompt, five operations at each of six levels. Walking it with a shared
//! key-value cache, every node once, gives `log p(cell) = sum over edges of log p(operation | those before)` of all 15,625 cells
//! from 3,906 next-token distributions.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::codec::Parents;
use crate::base::error::{Error, Result};
use crate::decoder::model::cache::Branches;
use crate::decoder::model::decoder::Decoder;
use crate::decoder::model::prefix::Prefix;
use crate::oracle::cell::{CELLS, Cell, EDGES, NEIGHBOURS, WORDS};
use crate::oracle::nasbench201::Table;
use crate::policy::table_ce::TableCe;
use crate::theory::finite::{entropy, expected, kl, realised, smooth, tail};

/// `log p` of every sequence of `edges` operations after `prompt`, in lexicographic order; `words` are the operations' tokens.
/// `decoder` has any adapter merged in.
pub fn enumerate(decoder: &Decoder, prompt: &[u32], words: &[u32; WORDS.len()], edges: usize) -> Result<Vec<f64>> {
    let root = decoder.prefill(prompt, None)?;
    let first = next(root.logits().ok_or_else(|| Error::machine("the prompt gave no logits"))?, words);
    if edges == 1 {
        return Ok(first.to_vec());
    }
    // One subtree at a time: a cache of its branches fits the memory, and they are enough rows for fast products.
    let mut leaves = Vec::with_capacity(WORDS.len().pow(edges as u32));
    for (word, log_p) in words.iter().zip(first) {
        let mut prefix: Prefix = root.clone();
        decoder.extend(&mut prefix, &[*word], None)?;
        leaves.extend(subtree(decoder, &prefix, log_p, words, edges - 1)?);
    }
    Ok(leaves)
}

/// The leaves `edges` levels below a node with `log_p`, level by level.
fn subtree(decoder: &Decoder, node: &Prefix, log_p: f64, words: &[u32; WORDS.len()], edges: usize) -> Result<Vec<f64>> {
    let logits = node.logits().ok_or_else(|| Error::machine("a node of the tree gave no logits"))?;
    let mut level: Vec<f64> = next(logits, words).iter().map(|step| log_p + step).collect();
    let mut branches = Branches::new(decoder, node, 1, edges.max(2) - 1);
    for _ in 1..edges {
        let forks: Vec<usize> = (0..branches.len()).flat_map(|branch| [branch; WORDS.len()]).collect();
        let tokens: Vec<u32> = (0..branches.len()).flat_map(|_| *words).collect();
        branches.select(&forks);
        let logits = branches.step(&tokens)?;
        let steps: Vec<[f64; WORDS.len()]> = logits.par_chunks(decoder.outputs()).map(|row| next(row, words)).collect();
        level = level.iter().zip(&steps).flat_map(|(log_p, steps)| steps.map(|step| log_p + step)).collect();
    }
    Ok(level)
}

/// `log p` of every delta after `prompt`, by edge and operation.
pub fn deltas(decoder: &Decoder, prompt: &[u32], edges: &[u32; EDGES], words: &[u32; WORDS.len()]) -> Result<[[f64; WORDS.len()]; EDGES]> {
    let root = decoder.prefill(prompt, None)?;
    let first = next(root.logits().ok_or_else(|| Error::machine("the prompt gave no logits"))?, edges);
    let logits = Branches::new(decoder, &root, EDGES, 1).step(edges)?;
    let mut rows = logits.chunks(decoder.outputs()).zip(first);
    Ok(std::array::from_fn(|_| {
        let (row, log_p) = rows.next().expect("a row an edge");
        next(row, words).map(|step| log_p + step)
    }))
}

/// `log p` of each of these as the next token.
fn next<const N: usize>(logits: &[f32], words: &[u32; N]) -> [f64; N] {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let log_sum = logits.iter().map(|&z| (f64::from(z) - most).exp()).sum::<f64>().ln();
    words.map(|word| f64::from(logits[word as usize]) - most - log_sum)
}

/// A distribution over all cells and, last, everything that is no cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution(Vec<f64>);

impl Distribution {
    /// With nothing outside but for rounding, which is taken out.
    pub fn complete(cells: Vec<f64>) -> Self {
        assert_eq!(cells.len(), CELLS);
        let sum: f64 = cells.iter().sum();
        Self(cells.into_iter().map(|p| p / sum).chain([0.0]).collect())
    }

    /// What the cells leave is outside.
    pub fn partial(mut cells: Vec<f64>) -> Self {
        assert_eq!(cells.len(), CELLS);
        let outside = 1.0 - cells.iter().sum::<f64>();
        cells.push(outside.max(0.0));
        Self(cells)
    }

    /// A mixture: of each parent its weight and `log p` of each delta on it. What changes nothing is outside.
    pub fn of_deltas(parents: &[(Cell, f64, [[f64; WORDS.len()]; EDGES])]) -> Self {
        let mut p = vec![0.0; CELLS];
        for (parent, weight, log_p) in parents {
            for (edge, own) in parent.operations().into_iter().enumerate() {
                for operation in (0..WORDS.len()).filter(|o| *o != own) {
                    p[parent.with(edge, operation).index()] += weight * log_p[edge][operation].exp();
                }
            }
        }
        Self::partial(p)
    }

    /// The same of deltas that are uniform on each parent; a parent's weight is its share of the samples.
    pub fn of_uniform_deltas(parents: &Parents) -> Self {
        let total: usize = parents.iter().map(|(_, share)| share).sum();
        let mut p = vec![0.0; CELLS];
        for (parent, share) in parents.iter().filter_map(|(parent, share)| Some(((*parent)?, *share))) {
            for cell in parent.neighbours() {
                p[cell.index()] += share as f64 / (total * NEIGHBOURS) as f64;
            }
        }
        Self::complete(p)
    }

    /// Of the table policy.
    pub fn of_table(table: &TableCe<EDGES>) -> Self {
        Self::complete(Cell::all().map(|cell| table.probability(cell.operations())).collect())
    }

    /// The table policy nearest to it.
    pub fn marginals(&self) -> TableCe<EDGES> {
        TableCe::marginals(WORDS.len(), Cell::all().map(Cell::operations).zip(self.inside()))
    }

    /// A cell's share of these, which may hold it several times.
    pub fn empirical(cells: &[Cell]) -> Self {
        let mut p = vec![0.0; CELLS];
        for cell in cells {
            p[cell.index()] += 1.0;
        }
        Self::complete(p)
    }

    pub fn cells(&self) -> &[f64] {
        &self.0[..CELLS]
    }

    /// Given that it is a cell.
    pub fn inside(&self) -> Vec<f64> {
        let sum: f64 = self.cells().iter().sum();
        self.cells().iter().map(|p| p / sum).collect()
    }

    pub fn outside(&self) -> f64 {
        self.0[CELLS]
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
    pub objective: f64,
    pub reached: f64,
    /// Of the cells, in nats; uniform is 9.66.
    pub entropy: f64,
    /// KL(p || product of its marginals): what the edges know of each other.
    pub dependence: f64,
    /// The probability of the best cell.
    pub best: f64,
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
            dependence: kl(&cells, Distribution::of_table(&p.marginals()).cells()),
            best: p.cells()[table.best().index()],
        }
    }
}

/// How much of the cross-entropy update one tuning was, exactly. Infinite divergences are absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// KL(e || p) before and after, e being the elites' distribution.
    pub to_elites_before: Option<f64>,
    pub to_elites_after: Option<f64>,
    /// KL(e || what the update should give): with a smoothing alpha, (1 - alpha) p + alpha e; 0 without.
    pub target: f64,
    /// 1 - after / before.
    pub share: Option<f64>,
    /// The alpha whose mixture (1 - alpha) p + alpha e is nearest to the new p, and KL(new p || mixture).
    pub alpha: f64,
    pub distance: Option<f64>,
    /// KL(p || q) after the update over the cells, q being the table policy that had the same elites.
    pub to_table: Option<f64>,
}

impl Update {
    /// `alpha` is the smoothing that was asked for, 1 for none.
    pub fn of(elites: &Distribution, old: &Distribution, new: &Distribution, table: &Distribution, alpha: f64) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let realised = realised(&elites.0, &old.0, &new.0);
        Self {
            to_elites_before: finite(realised.before),
            to_elites_after: finite(realised.after),
            target: if alpha < 1.0 { kl(&elites.0, &smooth(&elites.0, &old.0, alpha)) } else { 0.0 },
            share: finite(realised.share),
            alpha: realised.alpha,
            distance: finite(realised.distance),
            to_table: finite(kl(&new.inside(), table.cells())),
        }
    }
}
