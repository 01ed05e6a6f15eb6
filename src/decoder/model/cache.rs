//! Keys and values kept for decoding: one [`Prefix`] computed once, and [`Branches`] that go on from it, a token each a step.
//!
//! A branch's numbers do not depend, to the last bit, on which other branches are in the batch: products ([`crate::decoder::ops::panel`])
//! have the same arithmetic for each row, and everything else is row by row.

use rayon::prelude::*;

use super::decoder::Decoder;
use super::layer::norm_heads;
use super::prefix::Prefix;
use super::stock_cache::StockBranches;
use crate::base::error::{Error, Result};
use crate::decoder::ops::matmul::{Into, Threads, View, matmul};
use crate::decoder::ops::rope::{Rope, Turn};
use crate::decoder::ops::{floats, norm, swiglu, vector};

/// Branches whose scores against the prefix are one matrix product.
const TOGETHER: usize = 8;
/// Prefix keys are padded to a multiple of this, so that the product reads them where they lie.
const KEYS: usize = 16;

/// What one branch added to the prefix: of each layer and key head, room for `capacity` keys and values.
#[derive(Clone)]
struct Tail {
    len: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// Sequences that share a prefix and grow by one token each a step.
pub enum Branches<'a> {
    /// In kernels of ours, on the processor.
    Own(OwnBranches<'a>),
    /// In candle's operations, on any device.
    Stock(StockBranches<'a>),
}

impl<'a> Branches<'a> {
    /// `count` branches, all at the end of `prefix`, of at most `capacity` tokens each. `decoder` computed the prefix; an adapter
    /// is in it ([`Decoder::with_adapter`]) or not at all.
    pub fn new(decoder: &'a Decoder, prefix: &'a Prefix, count: usize, capacity: usize) -> Self {
        if decoder.uses_stock_ops() {
            return Self::Stock(StockBranches::new(decoder, prefix, count, capacity));
        }
        Self::Own(OwnBranches::new(decoder, prefix, count, capacity))
    }

    /// How many branches there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Own(branches) => branches.tails.len(),
            Self::Stock(branches) => branches.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes on with these branches only, in this order; one named twice is forked.
    pub fn select(&mut self, chosen: &[usize]) {
        match self {
            Self::Own(branches) => branches.select(chosen),
            Self::Stock(branches) => branches.select(chosen),
        }
    }

    /// Cuts one branch back to `len` tokens after the prefix.
    pub fn truncate(&mut self, branch: usize, len: usize) {
        match self {
            Self::Own(branches) => branches.truncate(branch, len),
            Self::Stock(branches) => branches.truncate(branch, len),
        }
    }

    /// Appends one token to each branch; gives the logits after them, (branches, vocab) flat.
    pub fn step(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        match self {
            Self::Own(branches) => branches.step(tokens),
            Self::Stock(branches) => branches.step(tokens),
        }
    }
}

/// The same in our kernels.
pub struct OwnBranches<'a> {
    decoder: &'a Decoder,
    prefix: &'a Prefix,
    /// Of each layer and key head: the prefix' keys as (`head_dim`, keys padded to a multiple of [`KEYS`]).
    columns: Vec<Vec<f32>>,
    padded: usize,
    capacity: usize,
    tails: Vec<Tail>,
}

impl<'a> OwnBranches<'a> {
    fn new(decoder: &'a Decoder, prefix: &'a Prefix, count: usize, capacity: usize) -> Self {
        let (heads, layers) = (prefix.heads, decoder.config().layers);
        let padded = prefix.len.next_multiple_of(KEYS);
        let columns = prefix.keys.iter().flatten().map(|keys| {
            let mut columns = vec![0.0; heads.dim * padded];
            for (i, key) in keys.chunks(heads.dim).enumerate() {
                for (e, value) in key.iter().enumerate() {
                    columns[e * padded + i] = *value;
                }
            }
            columns
        });
        let room = layers * heads.kv * capacity * heads.dim;
        let tail = Tail { len: 0, keys: vec![0.0; room], values: vec![0.0; room] };
        Self { decoder, prefix, columns: columns.collect(), padded, capacity, tails: vec![tail; count] }
    }

    fn select(&mut self, chosen: &[usize]) {
        let mut old: Vec<Option<Tail>> = std::mem::take(&mut self.tails).into_iter().map(Some).collect();
        for (i, index) in chosen.iter().enumerate() {
            let last = !chosen[i + 1..].contains(index);
            let tail = if last { old[*index].take() } else { old[*index].clone() };
            self.tails.push(tail.expect("taken only at its last mention"));
        }
    }

    fn truncate(&mut self, branch: usize, len: usize) {
        let tail = &mut self.tails[branch];
        tail.len = tail.len.min(len);
    }

    fn step(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let decoder = self.decoder;
        decoder.check(tokens)?;
        let (count, config, heads) = (tokens.len(), decoder.config(), self.prefix.heads);
        if count != self.tails.len() || self.tails.iter().any(|t| t.len == self.capacity) {
            return Err(Error::machine(format!(
                "a step of {count} tokens does not fit {} branches of {}",
                self.tails.len(),
                self.capacity
            )));
        }
        let (stride, ffn) = (heads.stride(), config.ffn);
        let positions: Vec<u32> = self.tails.iter().map(|t| (self.prefix.len + t.len) as u32).collect();
        let rope = Rope::new(&positions, &config.rope_turns());
        let mut x = decoder.embed(tokens)?;
        let (mut qkv, mut attended) = (vec![0.0; count * stride], vec![0.0; count * heads.query * heads.dim]);
        let mut gate_up = vec![0.0; count * 2 * ffn];
        for (index, layer) in decoder.layers.iter().enumerate() {
            let h = norm::forward(&x, &floats(&layer.input_norm)?, config.rms_eps);
            layer.qkv.decode(&h, &mut qkv, Into::Overwrite)?;
            if let Some(norms) = &layer.head_norms {
                norm_heads(&mut qkv, heads, norms, config.rms_eps)?;
            }
            rope.apply(&mut qkv, stride, heads.query + heads.kv, Turn::Forward);
            self.append(index, &qkv);
            self.attend(index, &qkv, &mut attended);
            layer.o.decode(&attended, &mut x, Into::Add)?;
            let h = norm::forward(&x, &floats(&layer.mlp_norm)?, config.rms_eps);
            layer.gate_up.decode(&h, &mut gate_up, Into::Overwrite)?;
            layer.down.decode(&swiglu::forward(&gate_up, ffn), &mut x, Into::Add)?;
        }
        for tail in &mut self.tails {
            tail.len += 1;
        }
        decoder.logits_of(&x)
    }

    /// Where the keys and values of one layer and key head lie in a tail.
    fn place(&self, layer: usize, kv: usize) -> usize {
        (layer * self.prefix.heads.kv + kv) * self.capacity * self.prefix.heads.dim
    }

    fn append(&mut self, layer: usize, qkv: &[f32]) {
        let heads = self.prefix.heads;
        for kv in 0..heads.kv {
            let place = self.place(layer, kv);
            for (tail, row) in self.tails.iter_mut().zip(qkv.chunks(heads.stride())) {
                let at = place + tail.len * heads.dim;
                tail.keys[at..at + heads.dim].copy_from_slice(&row[heads.key_at(kv)..][..heads.dim]);
                tail.values[at..at + heads.dim].copy_from_slice(&row[heads.value_at(kv)..][..heads.dim]);
            }
        }
    }

    /// `out (rows, query heads * dim)`: attention of each branch's newest token over the prefix and its own tail.
    fn attend(&self, layer: usize, qkv: &[f32], out: &mut [f32]) {
        let heads = self.prefix.heads;
        let (dim, group, width) = (heads.dim, heads.group(), heads.query * heads.dim);
        let blocks = self.tails.len().div_ceil(TOGETHER);
        let done: Vec<Vec<f32>> = (0..heads.kv * blocks)
            .into_par_iter()
            .map(|task| {
                let (kv, first) = (task / blocks, task % blocks * TOGETHER);
                self.attend_block(layer, kv, first, qkv)
            })
            .collect();
        for (task, block) in done.iter().enumerate() {
            let (kv, first) = (task / blocks, task % blocks * TOGETHER);
            for (i, row) in block.chunks(group * dim).enumerate().take(self.tails.len() - first) {
                out[(first + i) * width + kv * group * dim..][..group * dim].copy_from_slice(row);
            }
        }
    }

    /// The queries of [`TOGETHER`] branches that share a key head.
    fn attend_block(&self, layer: usize, kv: usize, first: usize, qkv: &[f32]) -> Vec<f32> {
        let heads = self.prefix.heads;
        let (dim, group, shared) = (heads.dim, heads.group(), self.prefix.len);
        let rows = TOGETHER * group;
        let tails = &self.tails[first..(first + TOGETHER).min(self.tails.len())];
        let mut query = vec![0.0; rows * dim];
        for (i, query) in query.chunks_mut(group * dim).enumerate().take(tails.len()) {
            query.copy_from_slice(&qkv[(first + i) * heads.stride() + kv * group * dim..][..group * dim]);
        }
        let columns = View::new(&self.columns[layer * heads.kv + kv], dim, self.padded);
        let mut scores = vec![0.0; rows * self.padded];
        matmul(&mut scores, self.padded, Into::Overwrite, 1.0, View::new(&query, rows, dim), columns, Threads::One);
        // Softmax over the prefix and the tail together; the weights of a tail stay in `own`.
        let place = self.place(layer, kv);
        let mut own: Vec<Vec<f32>> = Vec::with_capacity(tails.len() * group);
        for (i, tail) in tails.iter().enumerate() {
            for j in 0..group {
                let row = i * group + j;
                let query = &query[row * dim..][..dim];
                let mut tail_scores: Vec<f32> =
                    tail.keys[place..].chunks(dim).take(tail.len + 1).map(|key| vector::dot(query, key)).collect();
                let seen = &mut scores[row * self.padded..][..shared];
                let shift = heads.scale() * vector::max(seen).max(vector::max(&tail_scores));
                let sum = vector::exp_sum(seen, heads.scale(), shift) + vector::exp_sum(&mut tail_scores, heads.scale(), shift);
                vector::scale(seen, 1.0 / sum);
                vector::scale(&mut tail_scores, 1.0 / sum);
                own.push(tail_scores);
            }
        }
        let mut out = vec![0.0; rows * dim];
        let values = View::new(&self.prefix.values[layer][kv], shared, dim);
        matmul(&mut out, dim, Into::Overwrite, 1.0, View::strided(&scores, rows, shared, self.padded), values, Threads::One);
        for (row, weights) in own.iter().enumerate() {
            let values = tails[row / group].values[place..].chunks(dim);
            for (weight, value) in weights.iter().zip(values) {
                vector::axpy(&mut out[row * dim..][..dim], *weight, value);
            }
        }
        out
    }
}
