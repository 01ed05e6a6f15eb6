//! What a network costs: trained parameters, multiply-accumulates and activation memory of one image.
//!
//! Multiply-accumulates are counted for convolutions, linear and recurrent layers and matrix products (biases, normalisation
//! and elementwise work are not counted); FLOPs in the usual sense are twice that.

use serde::{Deserialize, Serialize};

use super::graph::{Graph, NodeId, Op};

/// What a network takes, counted from its graph alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Trained elements of the state dict.
    pub parameters: u64,
    /// Multiply-accumulates of one image's forward pass.
    pub macs: u64,
    /// Bytes of every operation's output for one image, f32: what a backward pass that frees nothing keeps.
    pub activation_bytes: u64,
}

impl Cost {
    /// Multiply-accumulates of a training with so many images an epoch: a step computes the outputs, the gradients of the inputs and those
    /// of the weights, each about once the forward pass; a validation image takes the forward pass.
    #[must_use]
    pub(crate) fn of_training(&self, train_images: usize, valid_images: usize, epochs: usize) -> u64 {
        let passes = 3_u64.saturating_mul(train_images as u64).saturating_add(valid_images as u64).saturating_mul(epochs as u64);
        self.macs.saturating_mul(passes)
    }
}

/// Of the training pass. The graph must have passed [`Graph::check`].
#[must_use]
pub fn cost(graph: &Graph) -> Cost {
    let needed = graph.needed(true);
    let sum = |of: &dyn Fn(NodeId) -> u64| (0..graph.nodes.len()).filter(|&id| needed[id] || id == 0).map(of).fold(0, u64::saturating_add);
    Cost { parameters: graph.parameters() as u64, macs: sum(&|id| macs(graph, id)), activation_bytes: sum(&|id| 4 * elements(graph, id)) }
}

/// Multiply-accumulates of one node for one image.
#[must_use]
pub(crate) fn macs(graph: &Graph, id: NodeId) -> u64 {
    let node = &graph.nodes[id];
    let extent = |input: usize, from_end: usize| {
        let shape = &graph.nodes[node.inputs[input]].shape;
        shape[shape.len() - from_end].at(1) as u64
    };
    let weight = |i: usize| match (node.tensors.get(i), node.inputs.get(i + 1)) {
        (Some(&tensor), _) => graph.tensors[tensor].elements() as u64,
        // A pattern of constants (the adjoint of cutting windows) is no weight.
        (None, Some(&input)) if !matches!(graph.nodes[input].op, Op::Constant { .. }) => elements(graph, input),
        _ => 0,
    };
    match &node.op {
        Op::Conv2d { out, .. } | Op::Linear { out, .. } => (elements(graph, id) / (*out as u64).max(1)).saturating_mul(weight(0)),
        // Each element of the input meets the whole kernel.
        Op::ConvTranspose2d { .. } => extent(0, 1).saturating_mul(extent(0, 2)).saturating_mul(weight(0)),
        Op::MatMul => elements(graph, id).saturating_mul(extent(0, 1)),
        Op::Lstm { hidden, .. } | Op::Gru { hidden, .. } => {
            (elements(graph, id) / (*hidden as u64).max(1)).saturating_mul(weight(0) + weight(1))
        }
        _ => 0,
    }
}

fn elements(graph: &Graph, id: NodeId) -> u64 {
    graph.nodes[id].shape.iter().map(|d| d.at(1) as u64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_takes_three_passes_an_image_and_validation_one() {
        let cost = Cost { parameters: 1, macs: 7, activation_bytes: 4 };
        assert_eq!(cost.of_training(100, 50, 2), 7 * (3 * 100 + 50) * 2);
        assert_eq!(Cost { macs: u64::MAX / 2, ..cost }.of_training(100, 50, 2), u64::MAX);
    }
}
