//! Decoding in candle's own operations: what [`super::cache`] does in kernels of ours. Keys and values stay on the device, the logits come back.

use candle_core::{D, Tensor};

use super::attention::Heads;
use super::decoder::{Decoder, Mode, Rows};
use super::prefix::Prefix;
use super::stock::{KeysValues, StockPass};
use crate::base::error::{Error, Result};

/// What the branches added to a prefix, in one layer: each (branches, key heads, slots, dim).
struct Tail {
    keys: Tensor,
    values: Tensor,
}

/// Sequences that share a prefix and grow by one token each a step.
pub struct StockBranches<'a> {
    decoder: &'a Decoder,
    prefix: &'a Prefix,
    capacity: usize,
    /// Of each layer; none before the first step.
    tails: Vec<Option<Tail>>,
    /// Where each branch's keys lie in the tails, until the next step puts them in order.
    places: Vec<u32>,
    /// Which slots each branch sees: a slot that was cut off stays and is hidden.
    seen: Vec<Vec<bool>>,
}

impl<'a> StockBranches<'a> {
    pub(crate) fn new(decoder: &'a Decoder, prefix: &'a Prefix, count: usize, capacity: usize) -> Self {
        let tails = (0..decoder.config().layers).map(|_| None).collect();
        Self { decoder, prefix, capacity, tails, places: (0..count as u32).collect(), seen: vec![Vec::new(); count] }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn select(&mut self, chosen: &[usize]) {
        self.places = chosen.iter().map(|&branch| self.places[branch]).collect();
        self.seen = chosen.iter().map(|&branch| self.seen[branch].clone()).collect();
    }

    pub(crate) fn truncate(&mut self, branch: usize, len: usize) {
        self.seen[branch].iter_mut().filter(|seen| **seen).skip(len).for_each(|seen| *seen = false);
    }

    fn length(&self, branch: usize) -> usize {
        self.seen[branch].iter().filter(|seen| **seen).count()
    }

    /// See [`super::cache::Branches::step`].
    pub(crate) fn step(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let (decoder, count) = (self.decoder, tokens.len());
        decoder.check(tokens)?;
        if count != self.len() || (0..count).any(|branch| self.length(branch) == self.capacity) {
            return Err(Error::machine(format!("a step of {count} tokens does not fit {} branches of {}", self.len(), self.capacity)));
        }
        let positions = (0..count).map(|branch| (self.prefix.len() + self.length(branch)) as u32).collect();
        let pass = decoder.pass(&Rows { tokens: tokens.to_vec(), positions, segments: Vec::new() }, None, None);
        let shared = StockPass::new(&pass, count, 0, decoder.device())?;
        self.seen.iter_mut().for_each(|seen| seen.push(true));
        let hidden = self.hidden()?;
        let moved = self.places.iter().enumerate().any(|(i, place)| i as u32 != *place) || self.stored()? > count;
        let order = if moved { Some(Tensor::new(self.places.as_slice(), decoder.device())?) } else { None };
        self.places = (0..count as u32).collect();
        let mut x = decoder.stock_embed(tokens)?;
        for (i, layer) in decoder.layers.iter().enumerate() {
            let parameters = decoder.stock_parameters(None, i, Mode::Evaluate)?;
            let adapter = pass.adapter.as_deref().zip(parameters.as_ref());
            let (q, fresh) = shared.project(layer, &x, adapter, None)?;
            let tail = grow(self.tails[i].as_ref(), order.as_ref(), &fresh)?;
            let attended = attend(pass.heads, &q, &self.prefix.stock()[i].cut(self.prefix.len())?, &tail, hidden.as_ref())?;
            self.tails[i] = Some(tail);
            x = shared.finish(layer, &x, &attended, adapter, None)?;
        }
        Ok(decoder.logits(&x)?.flatten_all()?.to_vec1()?)
    }

    /// Branches in the tails.
    fn stored(&self) -> Result<usize> {
        Ok(self.tails.first().and_then(Option::as_ref).map(|tail| tail.keys.dim(0)).transpose()?.unwrap_or(0))
    }

    /// Minus infinity at slots that a branch does not see, (branches, 1, 1, slots); `None` where all are seen.
    fn hidden(&self) -> Result<Option<Tensor>> {
        if self.seen.iter().flatten().all(|seen| *seen) {
            return Ok(None);
        }
        let values: Vec<f32> = self.seen.iter().flatten().map(|seen| if *seen { 0.0 } else { f32::NEG_INFINITY }).collect();
        let shape = (self.len(), 1, 1, values.len() / self.len());
        Ok(Some(Tensor::from_vec(values, shape, self.decoder.device())?))
    }
}

/// The branches in their new order, and a slot more.
fn grow(tail: Option<&Tail>, order: Option<&Tensor>, fresh: &KeysValues) -> candle_core::Result<Tail> {
    let join = |old: Option<&Tensor>, new: &Tensor| {
        let new = new.transpose(0, 1)?.unsqueeze(2)?;
        match (old, order) {
            // What candle joins along an inner dimension lies in another order, which products refuse.
            (Some(old), Some(order)) => Tensor::cat(&[&old.index_select(order, 0)?, &new], 2)?.contiguous(),
            (Some(old), None) => Tensor::cat(&[old, &new], 2)?.contiguous(),
            (None, _) => new.contiguous(),
        }
    };
    let keys = join(tail.map(|tail| &tail.keys), &fresh.keys)?;
    Ok(Tail { keys, values: join(tail.map(|tail| &tail.values), &fresh.values)? })
}

/// `q (branches, query heads, dim)` over the prefix, which all share, and each branch's tail; gives (branches, query heads * dim).
fn attend(heads: Heads, q: &Tensor, prefix: &KeysValues, tail: &Tail, hidden: Option<&Tensor>) -> candle_core::Result<Tensor> {
    let (count, group, kv, dim, shared) = (q.dim(0)?, heads.group(), heads.kv, heads.dim, prefix.keys.dim(1)?);
    let q = (q.reshape((count, kv, group, dim))? * f64::from(heads.scale()))?;
    // The prefix' product has the queries of all branches as rows.
    let to_rows = |x: &Tensor, width| x.transpose(0, 1)?.contiguous()?.reshape((kv, count * group, width));
    let to_branches = |x: Tensor, width| x.reshape((kv, count, group, width))?.transpose(0, 1)?.contiguous();
    let over_prefix = to_branches(to_rows(&q, dim)?.matmul(&prefix.keys.t()?)?, shared)?;
    let over_tail = q.matmul(&tail.keys.t()?)?;
    let over_tail = if let Some(hidden) = hidden { over_tail.broadcast_add(hidden)? } else { over_tail };
    let slots = over_tail.dim(3)?;
    let weights = candle_nn::ops::softmax(&Tensor::cat(&[over_prefix, over_tail], 3)?, D::Minus1)?;
    let of_prefix = to_rows(&weights.narrow(3, 0, shared)?, shared)?.matmul(&prefix.values)?;
    let of_tail = weights.narrow(3, shared, slots)?.contiguous()?.matmul(&tail.values)?;
    (to_branches(of_prefix, dim)? + of_tail)?.reshape((count, kv * group * dim))
}
