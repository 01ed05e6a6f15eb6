//! A network as the tracer saw it: operations in the order they ran, with shapes, and the tensors they own.
//!
//! The graph is plain data (serde). The sandboxed child process sends it; the parent trusts nothing in it and infers
//! every shape again ([`super::infer`]) before anything is built from it. Layouts and conventions are `PyTorch`'s:
//! images are N x C x H x W, linear weights are out x in, tensor names are state-dict names.

use serde::{Deserialize, Serialize};

pub type NodeId = usize;
pub type TensorId = usize;

/// One traced network. `nodes[0]` is the input; inputs of a node always come before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    pub nodes: Vec<Node>,
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
    pub op: Op,
    pub inputs: Vec<NodeId>,
    /// In the order the operation's documentation gives (see [`Op`]).
    pub tensors: Vec<TensorId>,
    pub shape: Vec<Dim>,
    /// Path of the module that ran it, e.g. `features.3`; empty for operations in the network's own `forward`.
    pub module: String,
    /// Line of the candidate's source that ran it, from 1; 0 where unknown.
    pub line: u32,
}

/// One extent of a shape. The tracer runs a source at two batch sizes, so what scales with the batch is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dim {
    Fixed(usize),
    /// This many times the batch size: 1 for an ordinary leading dimension.
    Batch(usize),
}

impl Dim {
    #[must_use]
    pub fn at(self, batch: usize) -> usize {
        match self {
            Self::Fixed(n) => n,
            Self::Batch(k) => k * batch,
        }
    }
}

/// A parameter or buffer of the state dict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
    pub role: Role,
    pub init: Init,
}

impl TensorSpec {
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

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
    Constant(f64),
    Uniform {
        low: f64,
        high: f64,
    },
    Normal {
        mean: f64,
        std: f64,
    },
    /// Normal cut off at `low` and `high` (absolute values, not multiples of `std`).
    TruncatedNormal {
        mean: f64,
        std: f64,
        low: f64,
        high: f64,
    },
    /// Rows (or columns) orthonormal, times `gain`.
    Orthogonal {
        gain: f64,
    },
    /// Values that the source computed itself.
    Values(#[serde(with = "super::numbers")] Vec<f32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Relu,
    Relu6,
    LeakyRelu {
        slope: f64,
    },
    Elu {
        alpha: f64,
    },
    /// Exact (erf) form.
    Gelu,
    GeluTanh,
    Silu,
    Mish,
    Softplus,
    Hardswish,
    Hardsigmoid,
    Sigmoid,
    Tanh,
}

/// Elementwise arithmetic of two nodes, with `PyTorch`'s broadcasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Maximum,
    Minimum,
    /// The first to the power of the second.
    Power,
}

/// Elementwise function of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unary {
    Neg,
    Exp,
    Log,
    Sqrt,
    Rsqrt,
    Abs,
    Square,
    /// Square root whose gradient at 0 is 0: that of norms and standard deviations.
    Root,
    Log1p,
    Expm1,
    Sin,
    Cos,
    Tan,
    Atan,
    Sinh,
    Cosh,
    Erf,
    Floor,
    Ceil,
    /// To the nearest, halves to the even one.
    Round,
    Trunc,
    Sign,
}

impl Unary {
    /// Flat wherever it has a slope: no gradient passes.
    #[must_use]
    pub fn is_step(self) -> bool {
        matches!(self, Self::Floor | Self::Ceil | Self::Round | Self::Trunc | Self::Sign)
    }
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
}

/// What random numbers follow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    Uniform {
        low: f64,
        high: f64,
    },
    Normal {
        mean: f64,
        std: f64,
    },
    /// 1 with probability `p`, else 0.
    Bernoulli {
        p: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    Mean,
    Sum,
    Max,
    Min,
}

/// What fills the border of a padded map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    Constant(f64),
    Reflect,
    Replicate,
    Circular,
}

/// An operation and its attributes. Pairs are (height, width). "Owns" lists [`Node::tensors`] in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Input,
    /// A tensor of the state dict used by itself (`nn.Parameter`, a registered buffer). Owns it. No inputs.
    Tensor,
    /// A constant the source computed (`torch.arange`, ..). No inputs.
    Constant {
        #[serde(with = "super::numbers")]
        values: Vec<f32>,
        shape: Vec<usize>,
    },
    /// Owns weight (out, in/groups, kh, kw) and, where `bias`, bias (out); where `forward` computed them they are inputs instead.
    /// `padding` is top, bottom, left, right: `'same'` with an even kernel pads unevenly.
    Conv2d {
        out: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        dilation: [usize; 2],
        groups: usize,
        bias: bool,
    },
    /// The adjoint of a convolution: each input element adds its multiple of the kernel to the output, `stride` apart; of what that
    /// gives, `padding` is cut off on all sides and `output_padding` (below the stride) put on at the bottom and the right.
    /// Owns weight (in, out/groups, kh, kw) and, where `bias`, bias (out), or reads them as `Conv2d` does.
    ConvTranspose2d {
        out: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        output_padding: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        bias: bool,
    },
    /// Over dimension 1 of a 2-, 3- or 4-dimensional input. Owns weight and bias where `affine`, then running mean, running
    /// variance and counter where `track`. `momentum` is the weight of the new value (`PyTorch`'s convention).
    BatchNorm {
        eps: f64,
        momentum: f64,
        affine: bool,
        track: bool,
    },
    /// Owns weight (C) and bias (C) where `affine`.
    GroupNorm {
        groups: usize,
        eps: f64,
        affine: bool,
    },
    /// Over the last `dims` dimensions. Owns weight and bias of their shape as `weight` and `bias` say.
    LayerNorm {
        dims: usize,
        eps: f64,
        weight: bool,
        bias: bool,
    },
    /// Over the last dimension. Owns weight (out, in) and, where `bias`, bias (out).
    Linear {
        out: usize,
        bias: bool,
    },
    Activation(Activation),
    /// Owns weight (1) or (C), C = dimension 1.
    Prelu,
    Softmax {
        dim: usize,
    },
    LogSoftmax {
        dim: usize,
    },
    /// `padding` on both sides alike, filled with minus infinity.
    MaxPool2d {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        ceil: bool,
    },
    AvgPool2d {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        ceil: bool,
        count_pad: bool,
        divisor: Option<usize>,
    },
    AdaptiveAvgPool2d {
        out: [usize; 2],
    },
    AdaptiveMaxPool2d {
        out: [usize; 2],
    },
    /// Identity in evaluation; in training zeroes elements (`channels`: whole maps) with probability `p`, scales the rest by 1/(1-p).
    Dropout {
        p: f64,
        channels: bool,
    },
    Binary(Binary),
    /// `node * scale + shift`: what arithmetic with Python numbers becomes.
    Affine {
        scale: f64,
        shift: f64,
    },
    /// `exponent` fixed.
    Power {
        exponent: f64,
    },
    Unary(Unary),
    /// 1 where it holds of two inputs, else 0; broadcasts, passes no gradient.
    Compare(Comparison),
    /// The second input where the first is not 0, else the third; broadcasts.
    Where,
    /// Elements of dimension `dim` of the first input by the second, whose shape takes that dimension's place. Indices are whole numbers
    /// below the extent; negative ones count from the end. An embedding is one of dimension 0.
    Index {
        dim: usize,
    },
    /// `torch.gather`: the index, the second input, has the output's shape and that of the first input but for `dim`.
    Gather {
        dim: usize,
    },
    /// `torch.scatter`, `torch.scatter_add`: the third input put into (or added to) the first at the places of the second.
    Scatter {
        dim: usize,
        add: bool,
    },
    /// Places of the `k` largest (or smallest) along `dim`, the first of equals first; passes no gradient.
    TopK {
        k: usize,
        dim: usize,
        largest: bool,
    },
    CumSum {
        dim: usize,
    },
    /// The same value; no gradient passes.
    Detach,
    /// The first input in training, the second in evaluation.
    Switch,
    /// Fresh random numbers at each step. No inputs.
    Random {
        law: Law,
        shape: Vec<Dim>,
    },
    Clamp {
        low: Option<f64>,
        high: Option<f64>,
    },
    /// Batched product over the last two dimensions, leading dimensions broadcast.
    MatMul,
    Cat {
        dim: usize,
    },
    /// Over `dims` (each once, ascending).
    Reduce {
        kind: Reduction,
        dims: Vec<usize>,
        keep: bool,
    },
    /// Unbiased where `correction` is 1.
    Variance {
        dims: Vec<usize>,
        keep: bool,
        correction: usize,
    },
    /// view, reshape, flatten, squeeze, unsqueeze: same elements in the same order.
    Reshape {
        shape: Vec<Dim>,
    },
    /// Output dimension i is input dimension `dims[i]`.
    Permute {
        dims: Vec<usize>,
    },
    /// Broadcast to this shape (`expand`).
    Expand {
        shape: Vec<Dim>,
    },
    /// Elements `start, start+step, ..` before `end` of one dimension (slices, chunk, split, narrow).
    Slice {
        dim: usize,
        start: usize,
        end: usize,
        step: usize,
    },
    /// Last two dimensions; top, bottom, left, right.
    Pad {
        padding: [usize; 4],
        border: Border,
    },
    /// Nearest neighbour by whole factors.
    UpsampleNearest {
        factor: [usize; 2],
    },
    /// To this size; `align` is `align_corners`.
    UpsampleBilinear {
        out: [usize; 2],
        align: bool,
    },
    /// One layer and direction of `nn.LSTM`, batch first, zero initial state, all outputs.
    /// Owns `weight_ih` (4h, in), `weight_hh` (4h, h), and where `bias` `bias_ih` (4h), `bias_hh` (4h); gate order i f g o.
    Lstm {
        hidden: usize,
        bias: bool,
        reverse: bool,
    },
    /// As `Lstm` with 3h and gate order r z n.
    Gru {
        hidden: usize,
        bias: bool,
        reverse: bool,
    },
}

impl Op {
    /// Whether a gradient of the value is one of the inputs.
    #[must_use]
    pub fn passes_gradient(&self) -> bool {
        match self {
            Self::Compare(_) | Self::TopK { .. } | Self::Detach | Self::Random { .. } | Self::Constant { .. } => false,
            Self::Unary(kind) => !kind.is_step(),
            _ => true,
        }
    }
}

impl Node {
    /// What the value is computed from, in training or in evaluation.
    #[must_use]
    pub fn read(&self, training: bool) -> &[NodeId] {
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
