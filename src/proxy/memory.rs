//! What a training takes of a card, from the graph alone.

use crate::tracer::graph::{Graph, NodeId, Op};

/// Of a process that has a card open, before its first tensor: context, kernels, cuBLAS.
const CONTEXT: u64 = 600 << 20;

/// Bytes of a training with so many images a step, generously: every value and its gradient, the windows of convolutions and pools in both
/// passes, weights with their gradients and the optimiser's state.
#[must_use]
pub(crate) fn on_card(graph: &Graph, batch: usize) -> u64 {
    let images = batch as u64;
    let nodes = (0..graph.nodes.len()).map(|id| 4 * images * elements(graph, id).saturating_mul(4 + 3 * taps(graph, id)));
    CONTEXT + nodes.fold(0, u64::saturating_add) + 4 * 6 * graph.parameters() as u64
}

/// Elements that a node's windows hold for each element of its output.
fn taps(graph: &Graph, id: NodeId) -> u64 {
    let node = &graph.nodes[id];
    match &node.op {
        // A group's channels and taps are read once for all outputs of the group.
        Op::Conv2d { out, .. } => {
            let patch = node.tensors.first().map_or(0, |&weight| graph.tensors[weight].elements() / (*out).max(1));
            let groups = if let Op::Conv2d { groups, .. } = &node.op { *groups } else { 1 };
            (patch * groups).div_ceil((*out).max(1)) as u64
        }
        Op::MaxPool2d { kernel, .. } | Op::AvgPool2d { kernel, .. } => (kernel[0] * kernel[1]) as u64,
        _ => 1,
    }
}

fn elements(graph: &Graph, id: NodeId) -> u64 {
    graph.nodes[id].shape.iter().map(|extent| extent.at(1) as u64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::graph::{Dim, Init, Node, Role, TensorSpec};

    #[test]
    fn a_wide_convolution_takes_its_windows_and_a_bigger_batch_more() {
        let node = |op, inputs, tensors, shape: [usize; 3]| {
            let shape = std::iter::once(Dim::Batch(1)).chain(shape.map(Dim::Fixed)).collect();
            Node { op, inputs, tensors, shape, module: String::new(), line: 0 }
        };
        let conv = Op::Conv2d { out: 8, kernel: [3, 3], stride: [1, 1], padding: [1; 4], dilation: [1, 1], groups: 1, bias: false };
        let graph = Graph {
            nodes: vec![node(Op::Input, vec![], vec![], [8, 10, 10]), node(conv, vec![0], vec![0], [8, 10, 10])],
            output: 1,
            tensors: vec![TensorSpec { name: "w".into(), shape: vec![8, 8, 3, 3], role: Role::Parameter, init: Init::Constant(0.0) }],
            aliases: vec![],
        };
        let [one, many] = [1, 64].map(|batch| on_card(&graph, batch) - CONTEXT - 24 * 576);
        // 800 elements of input and 800 of output, nine windows for each of the latter.
        assert_eq!((one, many), (4 * 800 * (7 + 4 + 27), 64 * one));
    }
}
