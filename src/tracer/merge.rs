//! Two traces of one network, at two batch sizes, become one graph: what grows with the batch is a multiple of it,
//! everything else must be equal.

use super::failure::TraceFailure;
use super::graph::{Dim, Graph, Node, NodeId, Op, TensorId, TensorSpec};
use super::infer::infer;

/// One operation of one trace; every extent is fixed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<NodeId>,
    /// The recorder's own numbers, given at first use.
    pub(crate) tensors: Vec<usize>,
    pub(crate) shape: Vec<Dim>,
    pub(crate) module: String,
    pub(crate) line: u32,
}

/// A finished trace at one batch size.
pub(crate) struct Trace {
    pub(crate) batch: usize,
    pub(crate) nodes: Vec<Recorded>,
    pub(crate) output: NodeId,
}

/// `position` maps the recorder's tensor numbers to the state dict `tensors`.
pub(crate) fn merge(
    a: &Trace,
    b: &Trace,
    tensors: Vec<TensorSpec>,
    position: impl Fn(usize) -> Option<TensorId>,
) -> Result<Graph, TraceFailure> {
    let changed = |line: u32| TraceFailure::DataDependent {
        reason: "the network did something else in a second pass with another batch size".to_owned(),
        line: (line > 0).then_some(line),
    };
    let mut nodes: Vec<Node> = Vec::with_capacity(a.nodes.len());
    for (first, second) in a.nodes.iter().zip(&b.nodes) {
        let same = first.inputs == second.inputs && first.tensors == second.tensors;
        let op = merge_op(&first.op, &second.op, a.batch, b.batch).filter(|_| same).ok_or_else(|| changed(second.line))?;
        let owned = first.tensors.iter().map(|&t| position(t)).collect::<Option<Vec<_>>>().ok_or_else(|| TraceFailure::Unsupported {
            name: "a parameter or buffer that no module of the network has registered".to_owned(),
            line: (first.line > 0).then_some(first.line),
            also: Vec::new(),
        })?;
        let shape = if op == Op::Input {
            merge_shape(&first.shape, &second.shape, a.batch, b.batch).ok_or_else(|| changed(0))?
        } else {
            let inputs: Vec<&[Dim]> = first.inputs.iter().map(|&i| nodes[i].shape.as_slice()).collect();
            let specs: Vec<&TensorSpec> = owned.iter().map(|&t| &tensors[t]).collect();
            infer(&op, &inputs, &specs)
                .map_err(|reason| TraceFailure::DataDependent { reason, line: (first.line > 0).then_some(first.line) })?
        };
        let agrees = |trace: &Recorded, batch| {
            shape.len() == trace.shape.len() && shape.iter().zip(&trace.shape).all(|(d, e)| d.at(batch) == e.at(1))
        };
        if !agrees(first, a.batch) || !agrees(second, b.batch) {
            return Err(changed(second.line));
        }
        nodes.push(Node { op, inputs: first.inputs.clone(), tensors: owned, shape, module: first.module.clone(), line: first.line });
    }
    if a.nodes.len() != b.nodes.len() || a.output != b.output || a.output >= nodes.len() {
        let longer = if a.nodes.len() > b.nodes.len() { a } else { b };
        return Err(changed(longer.nodes.get(nodes.len()).map_or(0, |n| n.line)));
    }
    Ok(prune(nodes, a.output, tensors))
}

/// Leaves out what the output does not need (the state dict stays whole); the input stays node 0.
fn prune(nodes: Vec<Node>, output: NodeId, tensors: Vec<TensorSpec>) -> Graph {
    let mut needed = vec![false; nodes.len()];
    needed[output] = true;
    for (id, node) in nodes.iter().enumerate().rev() {
        if needed[id] {
            node.inputs.iter().for_each(|&i| needed[i] = true);
        }
    }
    needed[0] = true;
    let mut position = vec![0; nodes.len()];
    let mut kept = Vec::with_capacity(nodes.len());
    for (id, mut node) in nodes.into_iter().enumerate().filter(|(id, _)| needed[*id]) {
        node.inputs.iter_mut().for_each(|i| *i = position[*i]);
        position[id] = kept.len();
        kept.push(node);
    }
    Graph { nodes: kept, output: position[output], tensors, aliases: Vec::new() }
}

fn merge_op(a: &Op, b: &Op, batch_a: usize, batch_b: usize) -> Option<Op> {
    match (a, b) {
        (Op::Reshape { shape: x }, Op::Reshape { shape: y }) => Some(Op::Reshape { shape: merge_shape(x, y, batch_a, batch_b)? }),
        (Op::Expand { shape: x }, Op::Expand { shape: y }) => Some(Op::Expand { shape: merge_shape(x, y, batch_a, batch_b)? }),
        (Op::Random { law, shape: x }, Op::Random { law: other, shape: y }) if law == other => {
            Some(Op::Random { law: *law, shape: merge_shape(x, y, batch_a, batch_b)? })
        }
        _ => (a == b).then(|| a.clone()),
    }
}

fn merge_shape(a: &[Dim], b: &[Dim], batch_a: usize, batch_b: usize) -> Option<Vec<Dim>> {
    if a.len() != b.len() {
        return None;
    }
    a.iter()
        .zip(b)
        .map(|(x, y)| match (*x, *y) {
            (x, y) if x == y => Some(x),
            (Dim::Fixed(m), Dim::Fixed(n)) if m % batch_a == 0 && m / batch_a * batch_b == n => Some(Dim::Batch(m / batch_a)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(batch: usize) -> Recorded {
        let shape = [batch, 8, 4, 4].map(Dim::Fixed).to_vec();
        Recorded { op: Op::Input, inputs: vec![], tensors: vec![], shape, module: String::new(), line: 0 }
    }

    fn reshaped(batch: usize, shape: &[usize]) -> Trace {
        let shape: Vec<Dim> = shape.iter().map(|&n| Dim::Fixed(n)).collect();
        let node =
            Recorded { op: Op::Reshape { shape: shape.clone() }, inputs: vec![0], tensors: vec![], shape, module: String::new(), line: 7 };
        Trace { batch, nodes: vec![input(batch), node], output: 1 }
    }

    #[test]
    fn an_extent_that_grows_with_the_batch_is_a_multiple_of_it() {
        let graph = merge(&reshaped(2, &[16, 16]), &reshaped(3, &[24, 16]), vec![], |_| None).unwrap();
        assert_eq!(graph.nodes[1].shape, [Dim::Batch(8), Dim::Fixed(16)]);
    }

    #[test]
    fn a_fixed_extent_that_swallows_the_batch_is_refused() {
        let failure = merge(&reshaped(2, &[4, 64]), &reshaped(3, &[6, 64]), vec![], |_| None).unwrap();
        assert_eq!(failure.nodes[1].shape, [Dim::Batch(2), Dim::Fixed(64)]);
        let failure = merge(&reshaped(2, &[2, 128]), &reshaped(3, &[2, 192]), vec![], |_| None);
        // 128 is 2 x 64 and 192 is 3 x 64: the features would grow with the batch, which is an extent like any other.
        assert_eq!(failure.unwrap().nodes[1].shape, [Dim::Fixed(2), Dim::Batch(64)]);
        let failure = merge(&reshaped(2, &[2, 128]), &reshaped(3, &[1, 384]), vec![], |_| None).unwrap_err();
        assert!(matches!(failure, TraceFailure::DataDependent { line: Some(7), .. }), "{failure}");
    }

    #[test]
    fn a_longer_second_pass_is_refused() {
        let mut second = reshaped(3, &[3, 128]);
        second.nodes.push(Recorded { line: 9, inputs: vec![1], ..second.nodes[1].clone() });
        second.output = 2;
        let failure = merge(&reshaped(2, &[2, 128]), &second, vec![], |_| None).unwrap_err();
        assert_eq!(failure.line(), Some(9));
    }
}
