//! A sequence whose keys and values were computed once, for others to go on from.

use super::attention::{Heads, Past};
use super::decoder::{Decoder, Rows};
use super::layer::Kept;
use super::stock::KeysValues;
use crate::base::error::Result;
use crate::decoder::lora::matrices::Lora;

/// Keys and values of a sequence, of each layer and key head: `len * head_dim` elements.
#[derive(Clone)]
pub struct Prefix {
    pub(super) heads: Heads,
    pub(super) len: usize,
    pub(super) keys: Vec<Vec<Vec<f32>>>,
    pub(super) values: Vec<Vec<Vec<f32>>>,
    /// In place of these two where stock operations compute; may hold more than `len` tokens.
    stock: Vec<KeysValues>,
    logits: Option<Vec<f32>>,
}

impl Prefix {
    /// How many tokens it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no token.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What follows the last token; `None` after [`Prefix::truncate`].
    pub fn logits(&self) -> Option<&[f32]> {
        self.logits.as_deref()
    }

    /// Forgets everything after the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        for head in self.keys.iter_mut().chain(&mut self.values).flatten() {
            head.truncate(len * self.heads.dim);
        }
        self.len = len;
        self.logits = None;
    }

    pub(super) fn stock(&self) -> &[KeysValues] {
        &self.stock
    }

    /// `rows` are `[key heads | value heads]`.
    fn push(&mut self, layer: usize, rows: &[f32]) {
        let Heads { kv, dim, .. } = self.heads;
        for row in rows.chunks(2 * kv * dim) {
            for (head, parts) in row.chunks(dim).enumerate() {
                let into = if head < kv { &mut self.keys[layer][head] } else { &mut self.values[layer][head - kv] };
                into.extend_from_slice(parts);
            }
        }
    }

    pub(super) fn past(&self, layer: usize) -> Option<Past<'_>> {
        (self.len > 0).then(|| Past { keys: &self.keys[layer], values: &self.values[layer], len: self.len })
    }
}

impl Decoder {
    /// Computes the keys and values of `tokens` and the logits after them.
    pub fn prefill(&self, tokens: &[u32], lora: Option<&Lora>) -> Result<Prefix> {
        let heads = self.heads();
        let empty = vec![vec![Vec::new(); heads.kv]; self.config().layers];
        let mut prefix = Prefix { heads, len: 0, keys: empty.clone(), values: empty, stock: Vec::new(), logits: None };
        self.extend(&mut prefix, tokens, lora)?;
        Ok(prefix)
    }

    /// Appends `tokens` to a prefix (computed with the same adapter).
    pub fn extend(&self, prefix: &mut Prefix, tokens: &[u32], lora: Option<&Lora>) -> Result<()> {
        self.check(tokens)?;
        if self.uses_stock_ops() {
            let past = prefix.stock.iter().map(|layer| layer.cut(prefix.len)).collect::<candle_core::Result<Vec<_>>>()?;
            let (all, last) = self.stock_extend(tokens, &past, prefix.len, lora)?;
            prefix.stock = all;
            prefix.len += tokens.len();
            prefix.logits = Some(self.logits(&last)?.flatten_all()?.to_vec1()?);
            return Ok(());
        }
        let mut rows = Rows::default();
        rows.push(tokens, prefix.len, 0..0);
        let pass = self.pass(&rows, lora, None);
        let mut fresh = Vec::with_capacity(self.layers.len());
        // Of what a layer leaves for a backward pass only keys and values: the rest is many times as much.
        let keep = |_, kept: Kept| fresh.push(keys_and_values(prefix.heads, &kept.qkv));
        let hidden = self.evaluate(&pass, tokens, lora.map(Lora::layers), |i| prefix.past(i), keep)?;
        for (layer, rows) in fresh.iter().enumerate() {
            prefix.push(layer, rows);
        }
        prefix.len += tokens.len();
        prefix.logits = Some(self.logits_of(&hidden[hidden.len() - self.config().width..])?);
        Ok(())
    }
}

fn keys_and_values(heads: Heads, qkv: &[f32]) -> Vec<f32> {
    qkv.chunks(heads.stride()).flat_map(|row| &row[heads.key_at(0)..]).copied().collect()
}
