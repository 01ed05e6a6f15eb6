//! The canonical form of a network: equal for networks that are the same up to names.
//!
//! Module names, source lines, the order of independent branches, operations that do nothing and operations whose result
//! nobody reads are all gone. What stays is a list of operations in one fixed order, and from it
//!
//! - [`Canonical::hash`]: SHA-256 of the whole form. Equal hashes mean isomorphic networks, since nothing that could tell
//!   two networks apart is left out (tensor shapes, roles, initialisation and sharing are in).
//! - [`Canonical::words`]: one word an operation, with its own attributes and no shapes, so that an edit changes one word.
//! - [`Canonical::shingles`]: the words of every path of w operations along the edges. Paths, not windows over the list,
//!   so that a branch is a neighbour of what it is joined to wherever it stands in the list.
//!
//! The order comes from colour refinement (Weisfeiler and Leman): the colour of an operation is a hash of what it does;
//! it is hashed again with the colours of its inputs, its readers and its tensors until no more operations are told
//! apart. Operations that are still alike (twin branches) are told apart by marking one of them and refining again.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::graph::{Binary, Comparison, Dim, Graph, Init, Node, NodeId, Op, TensorSpec};
use crate::base::error::{Error, Result};
use crate::base::hash::{Hash, sha256};

/// More paths than any sane network has; a dense one would need gigabytes otherwise.
const MAX_SHINGLES: usize = 200_000;

/// A network reduced to what it computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    operations: Vec<Operation>,
    /// Shape, role and initialisation of the tensors in order of first use.
    tensors: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Operation {
    word: String,
    shape: String,
    inputs: Vec<usize>,
    tensors: Vec<usize>,
}

/// SHA-256, in hex, of the canonical form.
///
/// # Errors
/// See [`Canonical::of`].
pub fn hash(graph: &Graph) -> Result<String> {
    Ok(Canonical::of(graph)?.hash())
}

/// The operations in canonical order, one word each.
///
/// # Errors
/// See [`Canonical::of`].
pub fn tokens(graph: &Graph) -> Result<Vec<String>> {
    Ok(Canonical::of(graph)?.words().map(String::from).collect())
}

impl Canonical {
    /// # Errors
    /// Where the graph refers to a node or a tensor it does not have, or not yet.
    pub fn of(graph: &Graph) -> Result<Self> {
        check(graph)?;
        let reduced = Reduced::of(graph);
        let order = reduced.order();
        let place: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, &node)| (node, i)).collect();
        let mut tensor_place = HashMap::new();
        let mut tensors = Vec::new();
        let mut operations = Vec::with_capacity(order.len());
        for &id in &order {
            let node = &graph.nodes[id];
            let mut inputs: Vec<usize> = reduced.inputs[id].iter().map(|input| place[input]).collect();
            if commutes(&node.op) {
                inputs.sort_unstable();
            }
            let own = node.tensors.iter().map(|&tensor| {
                *tensor_place.entry(tensor).or_insert_with(|| {
                    tensors.push(tensor_text(&graph.tensors[tensor]));
                    tensors.len() - 1
                })
            });
            operations.push(Operation { tensors: own.collect(), word: reduced.word(id), shape: shape_text(&node.shape), inputs });
        }
        Ok(Self { operations, tensors })
    }

    pub(crate) fn hash(&self) -> String {
        let mut sha = Hash::default();
        for operation in &self.operations {
            let Operation { word, shape, inputs, tensors } = operation;
            sha.update(format!("{word} -> {shape} reads {inputs:?} owns {tensors:?}\n"));
        }
        for tensor in &self.tensors {
            sha.update(tensor);
            sha.update("\n");
        }
        sha.hex()
    }

    /// One word an operation, in canonical order: its name and its attributes, no shapes.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().map(|operation| operation.word.as_str())
    }

    /// Every path of `width` operations that ends at an operation, as sorted 64-bit hashes without repeats. A path that
    /// reaches the input earlier is filled up in front, so a chain of n operations has n shingles. The k-th path with the
    /// same words counts as a shingle of its own: a block more of the same kind makes a difference.
    ///
    /// # Errors
    /// Where there are too many paths to list.
    pub(crate) fn shingles(&self, width: usize) -> Result<Vec<u64>> {
        let mut paths = Vec::new();
        for end in 0..self.operations.len() {
            if self.operations[end].word != INPUT {
                self.paths(end, width, &mut Vec::new(), &mut paths)?;
            }
        }
        paths.sort_unstable();
        let mut repeat = 0u64;
        let mut hashes = Vec::with_capacity(paths.len());
        for (i, path) in paths.iter().enumerate() {
            repeat = if i > 0 && paths[i - 1] == *path { repeat + 1 } else { 0 };
            let mut sha = Hash::of(repeat.to_le_bytes());
            sha.update(path);
            hashes.push(sha.number());
        }
        hashes.sort_unstable();
        hashes.dedup();
        Ok(hashes)
    }

    /// Walks upstream from `node`, the words so far in `behind` (last first).
    fn paths<'a>(&'a self, node: usize, width: usize, behind: &mut Vec<&'a str>, found: &mut Vec<String>) -> Result<()> {
        behind.push(&self.operations[node].word);
        let inputs = &self.operations[node].inputs;
        if behind.len() == width || inputs.is_empty() {
            if found.len() == MAX_SHINGLES {
                return Err(Error::input(format!("the network has more than {MAX_SHINGLES} paths of {width} operations")));
            }
            let mut path = "^\n".repeat(width - behind.len());
            for word in behind.iter().rev() {
                path.push_str(word);
                path.push('\n');
            }
            found.push(path);
        } else {
            for &input in inputs {
                self.paths(input, width, behind, found)?;
            }
        }
        behind.pop();
        Ok(())
    }
}

const INPUT: &str = "\"input\"";

/// The live nodes of a graph, their inputs led past operations that do nothing.
struct Reduced<'a> {
    graph: &'a Graph,
    /// Per node of the graph; meaningless for dead ones.
    inputs: Vec<Vec<NodeId>>,
    live: Vec<NodeId>,
    output: NodeId,
    /// Uses of each tensor by live nodes: (node, position in its list).
    users: Vec<Vec<(NodeId, usize)>>,
}

impl<'a> Reduced<'a> {
    fn of(graph: &'a Graph) -> Self {
        let mut stands_for: Vec<NodeId> = (0..graph.nodes.len()).collect();
        let mut inputs: Vec<Vec<NodeId>> = Vec::with_capacity(graph.nodes.len());
        for (id, node) in graph.nodes.iter().enumerate() {
            let mut own: Vec<NodeId> = node.inputs.iter().map(|&input| stands_for[input]).collect();
            // Of reshapes in a row only the last shape matters.
            if let (Op::Reshape { .. }, [before]) = (&node.op, own.as_slice())
                && matches!(graph.nodes[*before].op, Op::Reshape { .. })
            {
                own.clone_from(&inputs[*before]);
            }
            if let [before] = own.as_slice()
                && does_nothing(node, &graph.nodes[*before])
            {
                stands_for[id] = *before;
            }
            inputs.push(own);
        }
        let output = stands_for[graph.output];
        let mut is_live = vec![false; graph.nodes.len()];
        let mut stack = vec![output];
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut is_live[id], true) {
                stack.extend(&inputs[id]);
            }
        }
        let live: Vec<NodeId> = (0..graph.nodes.len()).filter(|&id| is_live[id]).collect();
        let mut users = vec![Vec::new(); graph.tensors.len()];
        for &id in &live {
            for (position, &tensor) in graph.nodes[id].tensors.iter().enumerate() {
                users[tensor].push((id, position));
            }
        }
        Self { graph, inputs, live, output, users }
    }

    /// The operation with its attributes; `shared` where another operation uses one of its tensors too.
    fn word(&self, id: NodeId) -> String {
        let node = &self.graph.nodes[id];
        let mut word = match &node.op {
            Op::Constant { values, shape } => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
                format!("{{\"constant\":{{\"sha256\":\"{}\",\"shape\":{shape:?}}}}}", sha256(bytes))
            }
            op => serde_json::to_string(op).expect("an operation is plain data"),
        };
        if node.tensors.iter().any(|&tensor| self.users[tensor].len() > 1) {
            word.push_str(" shared");
        }
        word
    }

    /// The live nodes, inputs before readers: depth first from the output, inputs of a commutative operation by colour.
    fn order(&self) -> Vec<NodeId> {
        let colors = self.discrete_colors();
        let mut order = Vec::with_capacity(self.live.len());
        let mut seen = vec![false; self.graph.nodes.len()];
        let mut stack = vec![(self.output, false)];
        while let Some((id, inputs_done)) = stack.pop() {
            if inputs_done {
                order.push(id);
            } else if !std::mem::replace(&mut seen[id], true) {
                stack.push((id, true));
                let mut inputs = self.inputs[id].clone();
                if commutes(&self.graph.nodes[id].op) {
                    inputs.sort_by_key(|&input| colors[input]);
                }
                stack.extend(inputs.into_iter().rev().map(|input| (input, false)));
            }
        }
        order
    }

    /// A colour for each live node that no other live node has.
    fn discrete_colors(&self) -> Vec<u64> {
        let mut nodes = vec![0; self.graph.nodes.len()];
        for &id in &self.live {
            let text = format!("{} {}", self.word(id), shape_text(&self.graph.nodes[id].shape));
            nodes[id] = mix(text_hash(&text), u64::from(id == self.output));
        }
        let mut tensors: Vec<u64> = self.graph.tensors.iter().map(|tensor| text_hash(&tensor_text(tensor))).collect();
        let mut marks = 0;
        loop {
            self.refine(&mut nodes, &mut tensors);
            let mut by_color: Vec<(u64, NodeId)> = self.live.iter().map(|&id| (nodes[id], id)).collect();
            by_color.sort_unstable();
            let Some(twin) = by_color.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].1) else {
                return nodes;
            };
            marks += 1;
            nodes[twin] = mix(nodes[twin], marks);
        }
    }

    /// Hashes every colour with those around it until no more nodes or tensors are told apart.
    fn refine(&self, nodes: &mut Vec<u64>, tensors: &mut Vec<u64>) {
        let mut classes = 0;
        loop {
            let now = self.classes(nodes, tensors);
            if now == classes {
                return;
            }
            classes = now;
            let mut readers: Vec<Vec<u64>> = vec![Vec::new(); nodes.len()];
            for &id in &self.live {
                let commutes = commutes(&self.graph.nodes[id].op);
                for (position, &input) in self.inputs[id].iter().enumerate() {
                    readers[input].push(mix(nodes[id], if commutes { 0 } else { position as u64 }));
                }
            }
            let mut next = nodes.clone();
            for &id in &self.live {
                let node = &self.graph.nodes[id];
                let mut inputs: Vec<u64> = self.inputs[id].iter().map(|&input| nodes[input]).collect();
                if commutes(&node.op) {
                    inputs.sort_unstable();
                }
                readers[id].sort_unstable();
                let own = node.tensors.iter().map(|&tensor| tensors[tensor]);
                let parts = inputs.into_iter().chain([1]).chain(readers[id].iter().copied()).chain([2]).chain(own);
                next[id] = parts.fold(nodes[id], mix);
            }
            let next_tensors = tensors.iter().zip(&self.users).map(|(&color, users)| {
                let mut users: Vec<u64> = users.iter().map(|&(id, position)| mix(nodes[id], position as u64)).collect();
                users.sort_unstable();
                users.into_iter().fold(color, mix)
            });
            *tensors = next_tensors.collect();
            *nodes = next;
        }
    }

    /// Number of different colours, of nodes and of tensors.
    fn classes(&self, nodes: &[u64], tensors: &[u64]) -> usize {
        let distinct = |mut colors: Vec<u64>| {
            colors.sort_unstable();
            colors.dedup();
            colors.len()
        };
        distinct(self.live.iter().map(|&id| nodes[id]).collect()) + distinct(tensors.to_vec())
    }
}

fn check(graph: &Graph) -> Result<()> {
    let broken = |what: String| Err(Error::machine(format!("not a network graph: {what}")));
    if graph.output >= graph.nodes.len() {
        return broken(format!("its output is node {} of {}", graph.output, graph.nodes.len()));
    }
    for (id, node) in graph.nodes.iter().enumerate() {
        if let Some(input) = node.inputs.iter().find(|&&input| input >= id) {
            return broken(format!("node {id} reads node {input}"));
        }
        if let Some(tensor) = node.tensors.iter().find(|&&tensor| tensor >= graph.tensors.len()) {
            return broken(format!("node {id} owns tensor {tensor} of {}", graph.tensors.len()));
        }
    }
    Ok(())
}

fn commutes(op: &Op) -> bool {
    matches!(op, Op::Binary(Binary::Add | Binary::Mul | Binary::Maximum | Binary::Minimum) | Op::Compare(Comparison::Eq | Comparison::Ne))
}

/// Whether a node with one input gives that input back.
fn does_nothing(node: &Node, input: &Node) -> bool {
    match &node.op {
        Op::Dropout { p, .. } => *p == 0.0,
        Op::Affine { scale, shift } => *scale == 1.0 && *shift == 0.0,
        Op::Power { exponent } => *exponent == 1.0,
        Op::Clamp { low, high } => low.is_none() && high.is_none(),
        Op::Cat { .. } => true,
        Op::Permute { dims } => dims.iter().enumerate().all(|(i, &dim)| i == dim),
        Op::Pad { padding, .. } => padding == &[0; 4],
        Op::UpsampleNearest { factor } => factor == &[1, 1],
        Op::Reshape { .. } | Op::Expand { .. } => node.shape == input.shape,
        Op::Slice { step, .. } => *step == 1 && node.shape == input.shape,
        _ => false,
    }
}

fn shape_text(shape: &[Dim]) -> String {
    let mut text = String::new();
    for dim in shape {
        match dim {
            Dim::Fixed(n) => write!(text, "{n} "),
            Dim::Batch(k) => write!(text, "{k}B "),
        }
        .expect("a String takes any text");
    }
    text
}

fn tensor_text(tensor: &TensorSpec) -> String {
    let mut text = format!("{:?} {:?} ", tensor.shape, tensor.role);
    match &tensor.init {
        Init::Values(values) => {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
            text.push_str(&sha256(bytes));
        }
        // Not by the other's name.
        Init::Norm { name: _, shape, init, dim } => {
            write!(text, "norm {shape:?} {init:?} {dim:?}").expect("a String takes any text");
        }
        other => write!(text, "{other:?}").expect("a String takes any text"),
    }
    text
}

fn text_hash(text: &str) -> u64 {
    Hash::of(text).number()
}

/// Folds `next` into `state` (the finalizer of splitmix64 over both).
fn mix(state: u64, next: u64) -> u64 {
    let mut z = state.rotate_left(23) ^ next.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
