//! The decoder's passes in candle's own operations, on whatever device its weights are: see [`super::stock`] for one layer.

use std::sync::Arc;

use candle_core::{DType, Tensor, Var};

use super::decoder::{Decoder, Embedding, Mode, Rows};
use super::layer::Pass;
use super::pack::Pack;
use super::stock::{KeysValues, StockPass};
use crate::base::error::{Error, Result};
use crate::decoder::lora::matrices::Lora;
use crate::decoder::ops::low_rank::Dropout;

/// What the gradient of one pass is made of.
pub(crate) struct Gradients {
    /// Of each predicted token.
    pub(crate) nll: Vec<f32>,
    /// Of each layer's adapter, on the processor.
    pub(crate) layers: Vec<Tensor>,
}

impl Decoder {
    /// (n, width) as f32.
    pub(super) fn stock_embed(&self, tokens: &[u32]) -> Result<Tensor> {
        Ok(match &self.embedding {
            Embedding::Plain(table) => table.index_select(&Tensor::new(tokens, &self.device)?, 0)?.to_dtype(DType::F32)?,
            Embedding::Narrow(_) => Tensor::from_vec(self.embed(tokens)?, (tokens.len(), self.config.width), &self.device)?,
        })
    }

    /// The parameters of a layer on the decoder's device, differentiable in `lora` or not; or those of the adapter for good.
    pub(super) fn stock_parameters(&self, lora: Option<&Lora>, layer: usize, mode: Mode) -> Result<Option<Tensor>> {
        let Some(lora) = lora else { return Ok(self.adapter.as_ref().map(|adapter| adapter.layers[layer].clone())) };
        let own = &lora.layers()[layer];
        let parameters = if mode == Mode::Evaluate { own.as_detached_tensor() } else { own.as_tensor().clone() };
        Ok(Some(parameters.to_device(&self.device)?))
    }

    /// See [`Decoder::hidden`].
    pub(super) fn stock_hidden(&self, rows: &Rows, pass: &Pass, lora: Option<&Lora>, mode: Mode) -> Result<Tensor> {
        let shared = StockPass::new(pass, rows.len(), 0, &self.device)?;
        let mut x = self.stock_embed(&rows.tokens)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let parameters = self.stock_parameters(lora, i, mode)?;
            x = shared.layer(layer, &x, parameters.as_ref(), None, pass.dropout_of(i))?.0;
        }
        Ok(if mode == Mode::Evaluate { x.detach() } else { x })
    }

    /// The keys and values that `tokens` add to those of `past` in each layer, and the residual stream of the last token.
    pub(super) fn stock_extend(
        &self,
        tokens: &[u32],
        past: &[KeysValues],
        len: usize,
        lora: Option<&Lora>,
    ) -> Result<(Vec<KeysValues>, Tensor)> {
        let mut rows = Rows::default();
        rows.push(tokens, len, 0..0);
        let pass = self.pass(&rows, lora, None);
        let shared = StockPass::new(&pass, tokens.len(), len, &self.device)?;
        let (mut x, mut all) = (self.stock_embed(tokens)?, Vec::with_capacity(self.layers.len()));
        for (i, layer) in self.layers.iter().enumerate() {
            let parameters = self.stock_parameters(lora, i, Mode::Evaluate)?;
            let (y, fresh) = shared.layer(layer, &x, parameters.as_ref(), past.get(i), None)?;
            all.push(match past.get(i) {
                Some(past) => past.join(&fresh)?,
                None => fresh,
            });
            x = y;
        }
        Ok((all, x.narrow(0, tokens.len() - 1, 1)?))
    }

    /// The gradient of `sum_i weights_i nll_i`, with the graph of one layer at a time in memory: each layer's input is kept, and backward runs
    /// the layer once more.
    pub(crate) fn stock_gradients(&self, pack: &Pack, lora: &Lora, weights: &[f32], dropout_seed: u64) -> Result<Gradients> {
        let dropout = (lora.config.dropout > 0.0).then_some(Dropout { p: lora.config.dropout, seed: dropout_seed });
        let pass = Arc::new(self.pass(&pack.rows, Some(lora), dropout));
        let shared = StockPass::new(&pass, pack.rows.len(), 0, &self.device)?;
        let (mut x, mut inputs) = (self.stock_embed(&pack.rows.tokens)?, Vec::with_capacity(self.layers.len()));
        for (i, layer) in self.layers.iter().enumerate() {
            let parameters = self.stock_parameters(Some(lora), i, Mode::Evaluate)?;
            let y = shared.layer(layer, &x, parameters.as_ref(), None, pass.dropout_of(i))?.0;
            inputs.push(std::mem::replace(&mut x, y));
        }
        let lost = || Error::machine("a layer got no gradient");
        let top = Var::from_tensor(&x)?;
        let nll = self.nll(&top, &pack.at, &pack.targets)?;
        let values = nll.to_vec1()?;
        let loss = (nll * Tensor::new(weights, &self.device)?)?.sum_all()?;
        let mut g = loss.backward()?.remove(&top).ok_or_else(lost)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for (i, (layer, input)) in self.layers.iter().zip(inputs).enumerate().rev() {
            let input = Var::from_tensor(&input)?;
            let parameters = Var::from_tensor(&lora.layers()[i].as_detached_tensor().to_device(&self.device)?)?;
            let y = shared.layer(layer, &input, Some(&parameters), None, pass.dropout_of(i))?.0;
            let mut gradients = (y * &g)?.sum_all()?.backward()?;
            layers.push(gradients.remove(&parameters).ok_or_else(lost)?.to_device(&candle_core::Device::Cpu)?);
            g = gradients.remove(&input).ok_or_else(lost)?;
        }
        layers.reverse();
        Ok(Gradients { nll: values, layers })
    }
}
