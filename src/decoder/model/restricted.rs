//! A decoder over part of its vocabulary: the model under a mask that allows the same tokens everywhere,
//! `q(t) = e^(z_t) / sum over allowed u of e^(z_u)`. Only the allowed columns of the output projection are computed.

use std::sync::Arc;

use candle_core::Tensor;

use super::decoder::{Decoder, Embedding};
use super::repack::repack_tensor;
use super::weight::Weight;
use crate::base::error::{Error, Result};

impl Decoder {
    /// Tokens are renamed: `inputs[i]` becomes `i`, and only `0..outputs` can be said. The layers are shared; what is left of
    /// embedding and output projection is kept as f32 whatever the type of the rest.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, or more outputs than inputs are asked for.
    pub fn restricted(&self, inputs: &[u32], outputs: usize) -> Result<Self> {
        self.check(inputs)?;
        let Some(said) = inputs.get(..outputs) else {
            return Err(Error::machine(format!("{outputs} outputs of {} tokens", inputs.len())));
        };
        let mut config = self.config.clone();
        config.vocab = inputs.len();
        let embedding = Tensor::from_vec(self.embed(inputs)?, (inputs.len(), config.width), &self.device)?;
        let head = match &self.head {
            Weight::Plain(head) => head.contiguous()?.index_select(&Tensor::new(said, &self.device)?, 1)?.contiguous()?,
            Weight::FileOrder(head) => head.index_select(&Tensor::new(said, &self.device)?, 0)?.t()?.contiguous()?,
            Weight::Narrow(rows) => {
                let mut columns = vec![0.0; outputs * config.width];
                said.iter().zip(columns.chunks_mut(config.width)).for_each(|(t, column)| rows.widen_row(*t as usize, column));
                Tensor::from_vec(columns, (outputs, config.width), &self.device)?.t()?.contiguous()?
            }
        };
        let panels = if self.uses_stock_ops() { Vec::new() } else { vec![repack_tensor(&head.t()?)?] };
        Ok(Self {
            embedding: Embedding::Plain(embedding),
            layers: self.layers.clone(),
            norm: self.norm.clone(),
            head_panels: Arc::new(panels),
            head: Weight::Plain(head),
            kernels: self.kernels,
            recompute: self.recompute,
            tuning_dtype: self.tuning_dtype,
            adapter: self.adapter.clone(),
            device: self.device.clone(),
            config,
        })
    }
}
