//! A training on disk, between two epochs: safetensors `parameter.N` and the optimiser's `first.N` and `second.N` (N counts
//! [`Graph::tensors`]), the log as JSON in the metadata. What goes on from it is the unbroken training to the bit.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde::{Deserialize, Serialize};

use super::dataset::Split;
use super::network::Network;
use super::optimizer::Optimizer;
use super::train::{Log, Training};
use crate::base::device::Kernels;
use crate::base::error::{AtPath, Result};
use crate::base::files::write_whole;
use crate::proxy::settings::ProxyConfig;
use crate::tracer::graph::Graph;

#[derive(Serialize, Deserialize)]
struct Head {
    seed: u64,
    step: i32,
    log: Log,
}

/// The one entry of the metadata.
const HEAD: &str = "training";

impl Training<'_> {
    /// Writes the state.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save(&self, seed: u64, path: &Path) -> Result<()> {
        let (step, moments) = self.optimizer.state();
        let mut tensors: Vec<(String, &Tensor)> =
            self.network.tensors().iter().enumerate().map(|(i, tensor)| (format!("parameter.{i}"), tensor)).collect();
        for (kind, moments) in ["first", "second"].iter().zip(moments) {
            tensors.extend(moments.iter().enumerate().filter_map(|(i, m)| Some((format!("{kind}.{i}"), m.as_ref()?))));
        }
        let head = serde_json::to_string(&Head { seed, step, log: self.log.clone() })?;
        write_whole(path, &safetensors::serialize(tensors, Some(HashMap::from([(HEAD.to_owned(), head)])))?)
    }
}

/// Goes on from what [`Training::save`] wrote; None where there is no such file, or it is not whole or of another training.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn restore<'a>(
    path: &Path,
    graph: &Graph,
    split: &'a Split,
    config: &'a ProxyConfig,
    seed: u64,
) -> Result<Option<Training<'a>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).at("read", path)?;
    let Some(head) = head(&bytes).filter(|head| head.seed == seed) else { return Ok(None) };
    let Ok(mut stored) = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu) else { return Ok(None) };
    let device = config.device.open()?;
    let mut network = Network::new(graph, seed, &device, Kernels::Own)?;
    let mut optimizer = Optimizer::new(config, graph.tensors.len());
    let mut moments = [vec![None; graph.tensors.len()], vec![None; graph.tensors.len()]];
    for index in 0..graph.tensors.len() {
        let Some(tensor) = stored.remove(&format!("parameter.{index}")) else { return Ok(None) };
        let tensor = tensor.to_device(network.tensors()[index].device())?;
        if network.set(index, tensor).is_err() {
            return Ok(None);
        }
        for (kind, moments) in ["first", "second"].iter().zip(&mut moments) {
            moments[index] = stored.remove(&format!("{kind}.{index}")).map(|moment| moment.to_device(&device)).transpose()?;
        }
    }
    optimizer.set_state(head.step, moments);
    Ok(Some(Training::at(split, config, seed, network, optimizer, head.log)))
}

fn head(bytes: &[u8]) -> Option<Head> {
    let (_, metadata): (usize, Metadata) = SafeTensors::read_metadata(bytes).ok()?;
    serde_json::from_str(metadata.metadata().as_ref()?.get(HEAD)?).ok()
}
