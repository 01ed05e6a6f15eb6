//! A decoder over part of its vocabulary: the model under a mask that allows the same tokens everywhere,
//! `q(t) = e^(z_t) / sum over allowed u of e^(z_u)`. Only the allowed columns of the output projection are computed.

use candle_core::Tensor;

use super::decoder::Decoder;
use crate::error::Result;

impl Decoder {
    /// Tokens are renamed: `inputs[i]` becomes `i`, and only `0..outputs` can be said. The layers are shared.
    ///
    /// # Errors
    /// When a token is outside the vocabulary.
    pub fn restricted(&self, inputs: &[u32], outputs: usize) -> Result<Self> {
        self.check(inputs)?;
        let ids = Tensor::new(inputs, self.embedding.device())?;
        let mut config = self.config().clone();
        config.vocab = inputs.len();
        Ok(Self {
            config,
            embedding: self.embedding.index_select(&ids, 0)?,
            layers: self.layers.clone(),
            norm: self.norm.clone(),
            head: self.head.index_select(&ids.narrow(0, 0, outputs)?, 1)?.contiguous()?,
            stock: self.stock,
        })
    }
}
