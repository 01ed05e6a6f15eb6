//! The pass in training and the pass in evaluation become one graph: where they part, an [`Op::Switch`] joins them.
//!
//! Operations are matched in the order in which they ran, by what they do and where in the source they stand. A match that is missed costs
//! an operation more and no correctness: each side of the graph reads what its own pass read.

use std::collections::HashMap;

use super::graph::{Graph, Node, NodeId, Op};
use super::merge::Trace;

/// How far one pass may run ahead before its operations count as different.
const AHEAD: usize = 256;

/// Whether evaluation does what training does but for dropout, which is known to do nothing then.
pub(crate) fn is_alike(training: &Trace, evaluation: &Trace) -> bool {
    let ((a, of_a), (b, of_b)) = (essence(training), essence(evaluation));
    of_a == of_b && a.len() == b.len() && {
        let same = |x: &(NodeId, Vec<NodeId>), y: &(NodeId, Vec<NodeId>)| {
            let (m, n) = (&training.nodes[x.0], &evaluation.nodes[y.0]);
            x.1 == y.1 && m.op == n.op && m.tensors == n.tensors && m.shape == n.shape
        };
        a.iter().zip(&b).all(|(x, y)| same(x, y))
    }
}

/// The operations that the output needs, without dropout: each with the places of its inputs among them; and the place of the output.
fn essence(trace: &Trace) -> (Vec<(NodeId, Vec<NodeId>)>, Option<NodeId>) {
    let count = trace.nodes.len();
    let mut needed = vec![false; count];
    if trace.output >= count {
        return (Vec::new(), None);
    }
    needed[trace.output] = true;
    for (id, node) in trace.nodes.iter().enumerate().rev() {
        if needed[id] {
            node.inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    let mut place = vec![0; count];
    let mut kept = Vec::new();
    for (id, node) in trace.nodes.iter().enumerate().filter(|(id, _)| needed[*id]) {
        if let (Op::Dropout { .. }, &[input]) = (&node.op, &node.inputs[..]) {
            place[id] = place[input];
            continue;
        }
        place[id] = kept.len();
        kept.push((id, node.inputs.iter().map(|&input| place[input]).collect()));
    }
    (kept, Some(place[trace.output]))
}

/// One graph of both. They have the same tensors, and the input as their first node.
pub(crate) fn join(training: &Graph, evaluation: &Graph) -> Graph {
    let mut joined = Joined { nodes: vec![training.nodes[0].clone()], switches: HashMap::new() };
    let (mut of_training, mut of_evaluation) = (vec![0; training.nodes.len()], vec![0; evaluation.nodes.len()]);
    let (mut i, mut j) = (1, 1);
    let same = |i: usize, j: usize| match (training.nodes.get(i), evaluation.nodes.get(j)) {
        (Some(a), Some(b)) => {
            let read = |graph: &Graph, node: &Node| node.inputs.iter().map(|&input| graph.nodes[input].shape.clone()).collect::<Vec<_>>();
            a.op == b.op
                && a.tensors == b.tensors
                && (a.line, &a.module, &a.shape) == (b.line, &b.module, &b.shape)
                && read(training, a) == read(evaluation, b)
        }
        _ => false,
    };
    while i < training.nodes.len() || j < evaluation.nodes.len() {
        let (mut only_training, mut only_evaluation) = (0, 0);
        if !same(i, j) {
            if let Some(ahead) = (1..AHEAD).find(|&ahead| same(i + ahead, j)) {
                only_training = ahead;
            } else if let Some(ahead) = (1..AHEAD).find(|&ahead| same(i, j + ahead)) {
                only_evaluation = ahead;
            } else {
                only_training = usize::from(i < training.nodes.len());
                only_evaluation = usize::from(j < evaluation.nodes.len());
            }
        }
        for _ in 0..only_training {
            of_training[i] = joined.copy(&training.nodes[i], &of_training);
            i += 1;
        }
        for _ in 0..only_evaluation {
            of_evaluation[j] = joined.copy(&evaluation.nodes[j], &of_evaluation);
            j += 1;
        }
        if same(i, j) {
            let (a, b) = (&training.nodes[i], &evaluation.nodes[j]);
            let inputs = a.inputs.iter().zip(&b.inputs).map(|(&x, &y)| joined.either(of_training[x], of_evaluation[y], a)).collect();
            let id = joined.push(Node { inputs, ..a.clone() });
            (of_training[i], of_evaluation[j]) = (id, id);
            i += 1;
            j += 1;
        }
    }
    let last = &training.nodes[training.output];
    let output = joined.either(of_training[training.output], of_evaluation[evaluation.output], last);
    Graph { nodes: joined.nodes, output, tensors: training.tensors.clone(), aliases: training.aliases.clone() }
}

struct Joined {
    nodes: Vec<Node>,
    switches: HashMap<(NodeId, NodeId), NodeId>,
}

impl Joined {
    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn copy(&mut self, node: &Node, place: &[NodeId]) -> NodeId {
        self.push(Node { inputs: node.inputs.iter().map(|&input| place[input]).collect(), ..node.clone() })
    }

    /// What is `training` in training and `evaluation` in evaluation, for an operation that stands where `reader` does.
    fn either(&mut self, training: NodeId, evaluation: NodeId, reader: &Node) -> NodeId {
        if self.in_evaluation(training) == self.in_evaluation(evaluation) {
            return training;
        }
        if let Some(&known) = self.switches.get(&(training, evaluation)) {
            return known;
        }
        let shape = self.nodes[training].shape.clone();
        let node = Node { op: Op::Switch, inputs: vec![training, evaluation], tensors: vec![], shape, ..reader.clone() };
        let id = self.push(node);
        self.switches.insert((training, evaluation), id);
        id
    }

    /// The operation whose value this one has in evaluation.
    fn in_evaluation(&self, mut id: NodeId) -> NodeId {
        loop {
            let node = &self.nodes[id];
            id = match node.op {
                Op::Dropout { .. } => node.inputs[0],
                Op::Switch => node.inputs[1],
                _ => return id,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::graph::{Binary, Dim, Law, Unary};

    fn node(op: Op, inputs: &[usize], line: u32) -> Node {
        Node { op, inputs: inputs.to_vec(), tensors: vec![], shape: vec![Dim::Batch(1), Dim::Fixed(4)], module: String::new(), line }
    }

    fn graph(nodes: Vec<Node>) -> Graph {
        Graph { output: nodes.len() - 1, nodes, tensors: vec![], aliases: vec![] }
    }

    #[test]
    fn noise_that_training_adds_is_switched_off_and_the_rest_stands_once() {
        let noise = Op::Random { law: Law::Normal { mean: 0.0, std: 1.0 }, shape: vec![Dim::Batch(1), Dim::Fixed(4)] };
        let training = graph(vec![
            node(Op::Input, &[], 0),
            node(Op::Unary(Unary::Exp), &[0], 3),
            node(noise, &[], 5),
            node(Op::Binary(Binary::Add), &[1, 2], 5),
            node(Op::Unary(Unary::Neg), &[3], 6),
        ]);
        let evaluation = graph(vec![node(Op::Input, &[], 0), node(Op::Unary(Unary::Exp), &[0], 3), node(Op::Unary(Unary::Neg), &[1], 6)]);
        let joined = join(&training, &evaluation);
        assert_eq!(joined.nodes.len(), 6);
        assert_eq!((&joined.nodes[4].op, &joined.nodes[4].inputs), (&Op::Switch, &vec![3, 1]));
        assert_eq!(joined.needed(false), [true, true, false, false, true, true]);
        assert_eq!(joined.needed(true), [true; 6]);
    }

    #[test]
    fn passes_that_end_in_other_operations_keep_both() {
        let of = |kind, line| graph(vec![node(Op::Input, &[], 0), node(Op::Unary(kind), &[0], line)]);
        let joined = join(&of(Unary::Exp, 3), &of(Unary::Sin, 4));
        assert_eq!(joined.nodes[joined.output].op, Op::Switch);
        assert_eq!(joined.nodes[joined.output].inputs, [1, 2]);
    }
}
