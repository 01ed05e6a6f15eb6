//! A decoder with an adapter for good, as generation wants it: the weights are shared, the adapter lies beside them.

use std::sync::Arc;

use super::decoder::{Decoder, Placed};
use super::layer::{Beside, Layer, Projection};
use crate::base::error::Result;
use crate::decoder::lora::matrices::Lora;
use crate::decoder::ops::floats;
use crate::decoder::ops::low_rank::LowRank;

impl Decoder {
    /// This decoder with the adapter; tuning the adapter later does not change it.
    pub fn with_adapter(&self, lora: &Lora) -> Result<Self> {
        let layout = lora.layout();
        if self.uses_stock_ops() {
            // A copy: the adapter's own tensors change when it is tuned.
            let layers = lora.layers().iter().map(|layer| layer.as_detached_tensor().copy()?.to_device(&self.device));
            let placed = Placed { layout: layout.clone(), layers: layers.collect::<candle_core::Result<_>>()? };
            return Ok(self.sharing(self.layers.clone(), Some(Arc::new(placed))));
        }
        let mut layers = Vec::with_capacity(self.layers.len());
        for (layer, parameters) in self.layers.iter().zip(lora.layers()) {
            let parameters = Arc::new(floats(parameters)?.to_vec());
            let with = |projection: &Projection, low_rank: &Option<LowRank>| {
                let widths: Vec<usize> = projection.panels.iter().map(|part| part.output).collect();
                let beside = low_rank.as_ref().map(|low_rank| Beside::new(low_rank, &parameters, layout.scale, &widths));
                Projection { beside, ..projection.clone() }
            };
            layers.push(Arc::new(Layer {
                qkv: with(&layer.qkv, &layout.qkv),
                o: with(&layer.o, &layout.o),
                gate_up: with(&layer.gate_up, &layout.gate_up),
                down: with(&layer.down, &layout.down),
                ..(**layer).clone()
            }));
        }
        Ok(self.sharing(layers, None))
    }

    /// The same weights with other layers and another adapter.
    fn sharing(&self, layers: Vec<Arc<Layer>>, adapter: Option<Arc<Placed>>) -> Self {
        Self {
            config: self.config.clone(),
            embedding: self.embedding.clone(),
            layers,
            norm: self.norm.clone(),
            head: self.head.clone(),
            head_panels: self.head_panels.clone(),
            kernels: self.kernels,
            recompute: self.recompute,
            tuning_dtype: self.tuning_dtype,
            adapter,
            device: self.device.clone(),
        }
    }
}
