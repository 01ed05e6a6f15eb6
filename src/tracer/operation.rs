//! What one node of a graph computes, with `PyTorch`'s conventions.

use serde::{Deserialize, Serialize};

/// One extent of a shape. The tracer runs a source at two batch sizes, so what scales with the batch is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dim {
    /// So many, whatever the batch size.
    Fixed(usize),
    /// This many times the batch size: 1 for an ordinary leading dimension.
    Batch(usize),
}

impl Dim {
    /// The extent in a batch of `batch` images.
    #[must_use]
    pub fn at(self, batch: usize) -> usize {
        match self {
            Self::Fixed(n) => n,
            Self::Batch(k) => k * batch,
        }
    }
}

/// Elementwise nonlinearity of one node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x where x > 0, else slope x
    LeakyRelu {
        /// Of the negative side.
        slope: f64,
    },
    /// x where x > 0, else alpha (e^x - 1)
    Elu {
        /// Its limit at minus infinity, negated.
        alpha: f64,
    },
    /// Exact (erf) form.
    Gelu,
    /// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which approximates [`Activation::Gelu`]
    GeluTanh,
    /// x sigmoid(x)
    Silu,
    /// x tanh(ln(1 + e^x))
    Mish,
    /// ln(1 + e^x)
    Softplus,
    /// x min(max(x + 3, 0), 6) / 6
    Hardswish,
    /// min(max(x + 3, 0), 6) / 6
    Hardsigmoid,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// tanh(x)
    Tanh,
}

/// Elementwise arithmetic of two nodes, with `PyTorch`'s broadcasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a * b
    Mul,
    /// a / b
    Div,
    /// max(a, b)
    Maximum,
    /// min(a, b)
    Minimum,
    /// The first to the power of the second.
    Power,
}

/// Elementwise function of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unary {
    /// -x
    Neg,
    /// e^x
    Exp,
    /// ln(x)
    Log,
    /// sqrt(x)
    Sqrt,
    /// 1 / sqrt(x)
    Rsqrt,
    /// |x|
    Abs,
    /// x^2
    Square,
    /// Square root whose gradient at 0 is 0: that of norms and standard deviations.
    Root,
    /// ln(1 + x), accurate near 0
    Log1p,
    /// e^x - 1, accurate near 0
    Expm1,
    /// sin(x), x in radians
    Sin,
    /// cos(x), x in radians
    Cos,
    /// tan(x), x in radians
    Tan,
    /// arctan(x), in radians
    Atan,
    /// (e^x - e^-x) / 2
    Sinh,
    /// (e^x + e^-x) / 2
    Cosh,
    /// The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.
    Erf,
    /// The largest whole number that is not above x.
    Floor,
    /// The smallest whole number that is not below x.
    Ceil,
    /// To the nearest, halves to the even one.
    Round,
    /// x without its fraction: towards 0
    Trunc,
    /// -1, 0 or 1
    Sign,
}

impl Unary {
    /// Flat wherever it has a slope: no gradient passes.
    #[must_use]
    pub(crate) fn is_step(self) -> bool {
        matches!(self, Self::Floor | Self::Ceil | Self::Round | Self::Trunc | Self::Sign)
    }
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// a < b
    Lt,
    /// a <= b
    Le,
    /// a > b
    Gt,
    /// a >= b
    Ge,
    /// a = b
    Eq,
    /// a != b
    Ne,
}

/// What random numbers follow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Uniform from `low` up to `high`.
    Uniform {
        /// The least value.
        low: f64,
        /// Where the values end; not below `low`.
        high: f64,
    },
    /// Normal.
    Normal {
        /// Of the distribution.
        mean: f64,
        /// Standard deviation, 0 or more.
        std: f64,
    },
    /// 1 with probability `p`, else 0.
    Bernoulli {
        /// From 0 to 1.
        p: f64,
    },
}

/// What is made of the elements that [`Op::Reduce`] takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their arithmetic mean.
    Mean,
    /// Their sum.
    Sum,
    /// The greatest; equal ones share the gradient.
    Max,
    /// The least; equal ones share the gradient.
    Min,
}

/// What fills the border of a padded map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// This value.
    Constant(f64),
    /// The map mirrored at its outermost elements, which are not repeated.
    Reflect,
    /// The nearest element of the map.
    Replicate,
    /// The map begun again from its other side.
    Circular,
}

/// An operation and its attributes. Pairs are (height, width). "Owns" lists [`Node::tensors`] in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// The images, (batch, channels, height, width). No inputs; the first node alone.
    Input,
    /// A tensor of the state dict used by itself (`nn.Parameter`, a registered buffer). Owns it. No inputs.
    Tensor,
    /// A constant the source computed (`torch.arange`, ..). No inputs.
    Constant {
        /// In row-major order, one for each element of `shape`.
        #[serde(with = "super::numbers")]
        values: Vec<f32>,
        /// The same for every batch size.
        shape: Vec<usize>,
    },
    /// Owns weight (out, in/groups, kh, kw) and, where `bias`, bias (out); where `forward` computed them they are inputs instead.
    /// `padding` is top, bottom, left, right: `'same'` with an even kernel pads unevenly.
    Conv2d {
        /// Output channels.
        out: usize,
        /// Its extents.
        kernel: [usize; 2],
        /// From one window to the next.
        stride: [usize; 2],
        /// Zeros around the map.
        padding: [usize; 4],
        /// From one tap of the kernel to the next; 1 is dense.
        dilation: [usize; 2],
        /// How many groups the channels are split into; each group of outputs reads its own group of inputs.
        groups: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// The adjoint of a convolution: each input element adds its multiple of the kernel to the output, `stride` apart; of what that
    /// gives, `padding` is cut off on all sides and `output_padding` (below the stride) put on at the bottom and the right.
    /// Owns weight (in, out/groups, kh, kw) and, where `bias`, bias (out), or reads them as `Conv2d` does.
    ConvTranspose2d {
        /// Output channels.
        out: usize,
        /// Its extents.
        kernel: [usize; 2],
        /// From one window of the output to the next.
        stride: [usize; 2],
        /// Rows cut off at top and at bottom, columns at left and at right.
        padding: [usize; 2],
        /// Rows put on at the bottom, columns at the right.
        output_padding: [usize; 2],
        /// From one tap of the kernel to the next; 1 is dense.
        dilation: [usize; 2],
        /// As in [`Op::Conv2d`].
        groups: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Over dimension 1 of a 2-, 3- or 4-dimensional input. Owns weight and bias where `affine`, then running mean, running
    /// variance and, where it is kept, counter where `track`. `momentum` is the weight of the new value (`PyTorch`'s convention).
    BatchNorm {
        /// Added to the variance.
        eps: f64,
        /// From 0 to 1.
        momentum: f64,
        /// Whether a weight and a bias for each channel follow.
        affine: bool,
        /// Whether running statistics are kept, which evaluation then uses in place of the batch's.
        track: bool,
    },
    /// Owns weight (C) and bias (C) where `affine`.
    GroupNorm {
        /// Channels are split into so many; the elements of one group in one image are normalised together.
        groups: usize,
        /// Added to the variance.
        eps: f64,
        /// Whether a weight and a bias for each channel follow.
        affine: bool,
    },
    /// Over the last `dims` dimensions. Owns weight and bias of their shape as `weight` and `bias` say.
    LayerNorm {
        /// How many, counted from the last; 1 or more.
        dims: usize,
        /// Added to the variance.
        eps: f64,
        /// Whether it is multiplied by a weight.
        weight: bool,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Over the last dimension. Owns weight (out, in) and, where `bias`, bias (out).
    Linear {
        /// Output features.
        out: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// The nonlinearity, elementwise.
    Activation(Activation),
    /// Owns weight (1) or (C), C = dimension 1.
    Prelu,
    /// exp(x) / sum exp(x) along `dim`.
    Softmax {
        /// From 0.
        dim: usize,
    },
    /// x - ln(sum exp(x)) along `dim`.
    LogSoftmax {
        /// From 0.
        dim: usize,
    },
    /// `padding` on both sides alike, filled with minus infinity.
    MaxPool2d {
        /// Extents of a window.
        kernel: [usize; 2],
        /// From one window to the next.
        stride: [usize; 2],
        /// Rows at top and bottom, columns at left and right.
        padding: [usize; 2],
        /// From one tap of a window to the next; 1 is dense.
        dilation: [usize; 2],
        /// Whether a last window that fits in part counts, so that output extents are rounded up.
        ceil: bool,
    },
    /// Mean over windows; `padding` on both sides alike, filled with zeros.
    AvgPool2d {
        /// Extents of a window.
        kernel: [usize; 2],
        /// From one window to the next.
        stride: [usize; 2],
        /// Rows at top and bottom, columns at left and right.
        padding: [usize; 2],
        /// Whether a last window that fits in part counts, so that output extents are rounded up.
        ceil: bool,
        /// Whether the elements of the padding count in what the sum is divided by.
        count_pad: bool,
        /// What the sum is divided by instead; None divides by how many elements the window has.
        divisor: Option<usize>,
    },
    /// Mean over windows from `floor(i n / out)` to `ceil((i + 1) n / out)` of an extent n.
    AdaptiveAvgPool2d {
        /// Extents of the output.
        out: [usize; 2],
    },
    /// Maximum over the windows of [`Op::AdaptiveAvgPool2d`].
    AdaptiveMaxPool2d {
        /// Extents of the output.
        out: [usize; 2],
    },
    /// Identity in evaluation; in training zeroes elements (`channels`: whole maps) with probability `p`, scales the rest by 1/(1-p).
    Dropout {
        /// From 0 to 1.
        p: f64,
        /// Whether whole maps are zeroed, not single elements.
        channels: bool,
    },
    /// Arithmetic of two inputs, elementwise; broadcasts.
    Binary(Binary),
    /// `node * scale + shift`: what arithmetic with Python numbers becomes.
    Affine {
        /// The factor.
        scale: f64,
        /// What is added after it.
        shift: f64,
    },
    /// `exponent` fixed.
    Power {
        /// Any finite number.
        exponent: f64,
    },
    /// A function of one input, elementwise.
    Unary(Unary),
    /// 1 where it holds of two inputs, else 0; broadcasts, passes no gradient.
    Compare(Comparison),
    /// The second input where the first is not 0, else the third; broadcasts.
    Where,
    /// Elements of dimension `dim` of the first input by the second, whose shape takes that dimension's place. Indices are whole numbers
    /// below the extent; negative ones count from the end. An embedding is one of dimension 0.
    Index {
        /// The dimension that is indexed, from 0; not the batch's.
        dim: usize,
    },
    /// `torch.gather`: the index, the second input, has the output's shape and that of the first input but for `dim`.
    Gather {
        /// The dimension that is indexed, from 0; not the batch's.
        dim: usize,
    },
    /// `torch.scatter`, `torch.scatter_add`: the third input put into (or added to) the first at the places of the second.
    Scatter {
        /// The dimension that is indexed, from 0; not the batch's.
        dim: usize,
        /// Whether values are added to what is there, or replace it.
        add: bool,
    },
    /// Places of the `k` largest (or smallest) along `dim`, the first of equals first; passes no gradient.
    TopK {
        /// From 1 to the extent of `dim`, whose place it takes.
        k: usize,
        /// The dimension that is searched, from 0; not the batch's.
        dim: usize,
        /// Whether the largest are wanted, or the smallest.
        largest: bool,
    },
    /// Running sums along `dim`, the element itself included.
    CumSum {
        /// From 0; not the batch's.
        dim: usize,
    },
    /// The same value; no gradient passes.
    Detach,
    /// The first input in training, the second in evaluation.
    Switch,
    /// Fresh random numbers at each step. No inputs.
    Random {
        /// What the numbers follow, each independent of the others.
        law: Law,
        /// Of the value.
        shape: Vec<Dim>,
    },
    /// min(max(x, low), high)
    Clamp {
        /// None is no bound.
        low: Option<f64>,
        /// None is no bound.
        high: Option<f64>,
    },
    /// Batched product over the last two dimensions, leading dimensions broadcast.
    MatMul,
    /// The inputs one behind the other along `dim`.
    Cat {
        /// From 0; the other extents are equal.
        dim: usize,
    },
    /// Over `dims` (each once, ascending).
    Reduce {
        /// What is made of them.
        kind: Reduction,
        /// From 0.
        dims: Vec<usize>,
        /// Whether they stay, with extent 1.
        keep: bool,
    },
    /// Unbiased where `correction` is 1.
    Variance {
        /// Over these, each once, ascending.
        dims: Vec<usize>,
        /// Whether they stay, with extent 1.
        keep: bool,
        /// Taken off the number of elements that the sum of squares is divided by: 0 or 1.
        correction: usize,
    },
    /// view, reshape, flatten, squeeze, unsqueeze: same elements in the same order.
    Reshape {
        /// Of the value.
        shape: Vec<Dim>,
    },
    /// Output dimension i is input dimension `dims[i]`.
    Permute {
        /// Each dimension of the input once.
        dims: Vec<usize>,
    },
    /// Broadcast to this shape (`expand`).
    Expand {
        /// Of the value; may have more dimensions than the input, in front.
        shape: Vec<Dim>,
    },
    /// Elements `start, start+step, ..` before `end` of one dimension (slices, chunk, split, narrow).
    Slice {
        /// From 0; not the batch's.
        dim: usize,
        /// The first element, from 0.
        start: usize,
        /// At least `start`, at most the extent.
        end: usize,
        /// At least 1.
        step: usize,
    },
    /// Last two dimensions; top, bottom, left, right.
    Pad {
        /// Rows and columns put on.
        padding: [usize; 4],
        /// What fills them.
        border: Border,
    },
    /// Nearest neighbour by whole factors.
    UpsampleNearest {
        /// Rows and columns that an element becomes.
        factor: [usize; 2],
    },
    /// To this size; `align` is `align_corners`.
    UpsampleBilinear {
        /// Extents of the output.
        out: [usize; 2],
        /// Whether the centres of corner elements keep their places, or else the outer corners of the map.
        align: bool,
    },
    /// One layer and direction of `nn.LSTM`, batch first, zero initial state, all outputs.
    /// Owns `weight_ih` (4h, in), `weight_hh` (4h, h), and where `bias` `bias_ih` (4h), `bias_hh` (4h); gate order i f g o.
    Lstm {
        /// Width of the state and of each output.
        hidden: usize,
        /// Whether biases are added.
        bias: bool,
        /// Whether it runs from the last step to the first; outputs stay in the order of the inputs.
        reverse: bool,
    },
    /// As `Lstm` with 3h and gate order r z n.
    Gru {
        /// Width of the state and of each output.
        hidden: usize,
        /// Whether biases are added.
        bias: bool,
        /// As in [`Op::Lstm`].
        reverse: bool,
    },
}

impl Op {
    /// Whether a gradient of the value is one of the inputs.
    #[must_use]
    pub(crate) fn passes_gradient(&self) -> bool {
        match self {
            Self::Compare(_) | Self::TopK { .. } | Self::Detach | Self::Random { .. } | Self::Constant { .. } => false,
            Self::Unary(kind) => !kind.is_step(),
            _ => true,
        }
    }
}
