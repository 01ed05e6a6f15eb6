//! A network as the tracer saw it: operations in the order they ran, with shapes, and the tensors they own.
//!
//! The graph is plain data (serde). The sandboxed child process sends it; the parent trusts nothing in it and infers
//! every shape again ([`super::infer`]) before anything is built from it. Layouts and conventions are `PyTorch`'s:
//! images are N x C x H x W, linear weights are out x in, tensor names are state-dict names.

use serde::{Deserialize, Serialize};

pub use super::operation::{Activation, Binary, Border, Comparison, Dim, Law, Op, Reduction, Unary};

pub(crate) type NodeId = usize;
pub(crate) type TensorId = usize;

/// One traced network. `nodes[0]` is the input; inputs of a node always come before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// In the order they ran.
    pub nodes: Vec<Node>,
    /// The node whose value the network gives, in [`Graph::nodes`].
    pub output: NodeId,
    /// Parameters and buffers in state-dict order, each name once; a shared tensor is one entry with several users.
    pub tensors: Vec<TensorSpec>,
    /// The other names of shared tensors: `PyTorch`'s state dict has each of them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<(String, TensorId)>,
}

/// One operation: what it does, what it reads, which tensors it owns, and the shape of what it gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// The nodes it reads, all before it, in the order of the operation's operands.
    pub inputs: Vec<NodeId>,
    /// In the order the operation's documentation gives (see [`Op`]).
    pub tensors: Vec<TensorId>,
    /// Of its value.
    pub shape: Vec<Dim>,
    /// Path of the module that ran it, e.g. `features.3`; empty for operations in the network's own `forward`.
    pub module: String,
    /// Line of the candidate's source that ran it, from 1; 0 where unknown.
    pub line: u32,
}

/// A parameter or buffer of the state dict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// In the state dict, e.g. `features.3.weight`.
    pub name: String,
    /// Outermost extent first; empty for a single number.
    pub shape: Vec<usize>,
    /// What training does with it.
    pub role: Role,
    /// What it starts as.
    pub init: Init,
}

impl TensorSpec {
    #[must_use]
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What training does with a tensor of the state dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Trained.
    Parameter,
    /// A parameter with `requires_grad=False`.
    Frozen,
    /// Saved, never trained (running statistics, registered buffers).
    Buffer,
    /// A buffer of 64-bit integers (`num_batches_tracked`, a table of indices).
    Counter,
}

/// How a tensor starts. The same distributions as `PyTorch`'s; the values come from our own seeded stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// The same value everywhere.
    Constant(f64),
    /// Uniform from `low` up to `high`.
    Uniform {
        /// The least value.
        low: f64,
        /// Where the values end.
        high: f64,
    },
    /// Independent normal values.
    Normal {
        /// Of the distribution.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Normal cut off at `low` and `high` (absolute values, not multiples of `std`).
    TruncatedNormal {
        /// Of the normal before the cut.
        mean: f64,
        /// Standard deviation before the cut.
        std: f64,
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
    /// Rows (or columns) orthonormal, times `gain`.
    Orthogonal {
        /// Norm of each of the orthogonal vectors.
        gain: f64,
    },
    /// Euclidean norms of another tensor as it starts, over all its dimensions but one: what `weight_norm` begins with.
    Norm {
        /// The other tensor's name in the state dict, of which its numbers are drawn.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How it starts.
        init: Box<Init>,
        /// The dimension that is left; None for the norm of the whole.
        dim: Option<usize>,
    },
    /// Values that the source computed itself.
    Values(#[serde(with = "super::numbers")] Vec<f32>),
}

impl Node {
    /// What the value is computed from, in training or in evaluation.
    #[must_use]
    pub(crate) fn read(&self, training: bool) -> &[NodeId] {
        match (&self.op, training) {
            (Op::Switch, true) => &self.inputs[..1],
            (Op::Switch, false) => &self.inputs[1..],
            _ => &self.inputs,
        }
    }
}

impl Graph {
    /// Whether the output needs each node, in training or in evaluation.
    #[must_use]
    pub fn needed(&self, training: bool) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        needed[self.output] = true;
        for (id, node) in self.nodes.iter().enumerate().rev() {
            if needed[id] {
                node.read(training).iter().for_each(|&input| needed[input] = true);
            }
        }
        needed
    }

    /// Number of trained elements.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.tensors.iter().filter(|t| t.role == Role::Parameter).map(TensorSpec::elements).sum()
    }
}
