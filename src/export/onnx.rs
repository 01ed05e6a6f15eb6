//! A trained network as an ONNX model for inference: running statistics, no dropout, any batch size.
//!
//! Operators are of opset 20. What ONNX has no operator for is put together from simpler ones; windows of uneven size become
//! products with constant matrices or slices, because runtimes disagree on the rounding modes of their pooling operators.

use super::builder::{Builder, INPUT, OUTPUT};
use super::choice;
use super::proto::{self, Attribute, Entry, Extent, FLOAT, Model, OperatorSet, Shape, TensorType, Type, ValueInfo};
use crate::base::error::{Error, Result};
use crate::proxy::network::Network;
use crate::proxy::ops::pool::{self, Axis};
use crate::tracer::graph::{Activation, Binary, Border, Dim, Graph, Node, NodeId, Op, Reduction, TensorId, Unary};

const OPSET: i64 = 20;
/// The format version that came with this opset.
const IR: i64 = 9;

/// The model, with `metadata` as its properties.
///
/// # Errors
/// An operation has no ONNX form.
pub fn model(network: &Network, metadata: &[(&str, String)]) -> Result<Model> {
    let graph = network.graph();
    let mut builder = Builder::new(network);
    let mut values: Vec<String> = Vec::with_capacity(graph.nodes.len());
    let needed = graph.needed(false);
    for (id, node) in graph.nodes.iter().enumerate() {
        if !needed[id] && id > 0 {
            values.push(String::new());
            continue;
        }
        builder.module = &node.module;
        let inputs: Vec<&str> = node.inputs.iter().map(|&input| values[input].as_str()).collect();
        values.push(operation(&mut builder, graph, id, &inputs)?);
    }
    builder.module = "";
    builder.push("Identity", &[&values[graph.output]], OUTPUT, vec![]);
    let Builder { nodes, initializers, .. } = builder;
    let entry = |(key, value): &(&str, String)| Entry { key: (*key).to_owned(), value: value.clone() };
    Ok(Model {
        ir_version: Some(IR),
        producer_name: "eliteloop".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: metadata.iter().map(entry).collect(),
        graph: Some(proto::Graph {
            node: nodes,
            name: "network".into(),
            initializer: initializers,
            input: vec![info(INPUT, &graph.nodes[0].shape)],
            output: vec![info(OUTPUT, &graph.nodes[graph.output].shape)],
        }),
    })
}

fn info(name: &str, shape: &[Dim]) -> ValueInfo {
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(n) => Extent { value: Some(*n as i64), name: None },
        Dim::Batch(1) => Extent { value: None, name: Some("batch".into()) },
        Dim::Batch(k) => Extent { value: None, name: Some(format!("{k}*batch")) },
    };
    let shape = Shape { dim: shape.iter().map(extent).collect() };
    ValueInfo { name: name.into(), kind: Some(Type { tensor: Some(TensorType { element: Some(FLOAT), shape: Some(shape) }) }) }
}

fn none<T>(node: &Node, what: &str) -> Result<T> {
    Err(Error::input(format!("{what} (line {} of the source) has no ONNX form here", node.line)).hint("choose another network"))
}

/// Adds what computes a node; gives the name of its value.
fn operation(b: &mut Builder, graph: &Graph, id: NodeId, inputs: &[&str]) -> Result<String> {
    let node = &graph.nodes[id];
    let x = inputs.first().copied().unwrap_or_default();
    let from = node.inputs.first().map_or(&[][..], |&input| &graph.nodes[input].shape[..]);
    let int = Attribute::int;
    Ok(match &node.op {
        Op::Input => INPUT.to_owned(),
        Op::Tensor => b.own(node.tensors[0])?,
        Op::Constant { values, shape } => b.floats(shape, values),
        Op::Conv2d { kernel, stride, padding: [top, bottom, left, right], dilation, groups, .. } => {
            let tensors = node.tensors.iter().map(|&t| b.own(t)).collect::<Result<Vec<_>>>()?;
            let read: Vec<&str> = inputs.iter().copied().chain(tensors.iter().map(String::as_str)).collect();
            let attributes = vec![
                Attribute::ints("kernel_shape", kernel),
                Attribute::ints("strides", stride),
                Attribute::ints("pads", &[*top, *left, *bottom, *right]),
                Attribute::ints("dilations", dilation),
                int("group", *groups as i64),
            ];
            b.emit("Conv", &read, attributes)
        }
        Op::ConvTranspose2d { kernel, stride, padding: [rows, columns], output_padding, dilation, groups, .. } => {
            let tensors = node.tensors.iter().map(|&t| b.own(t)).collect::<Result<Vec<_>>>()?;
            let read: Vec<&str> = inputs.iter().copied().chain(tensors.iter().map(String::as_str)).collect();
            let attributes = vec![
                Attribute::ints("kernel_shape", kernel),
                Attribute::ints("strides", stride),
                Attribute::ints("pads", &[*rows, *columns, *rows, *columns]),
                Attribute::ints("output_padding", output_padding),
                Attribute::ints("dilations", dilation),
                int("group", *groups as i64),
            ];
            b.emit("ConvTranspose", &read, attributes)
        }
        Op::BatchNorm { eps, affine, track, .. } => batch_norm(b, x, from, &node.tensors, *eps, *affine, *track)?,
        Op::GroupNorm { groups, eps, affine } => {
            let to = b.integers(&[0, *groups as i64, -1]);
            let grouped = b.emit("Reshape", &[x, &to], vec![]);
            let (one, zero) = (b.floats(&[*groups], &vec![1.0; *groups]), b.floats(&[*groups], &vec![0.0; *groups]));
            let y = b.emit("InstanceNormalization", &[&grouped, &one, &zero], vec![Attribute::float("epsilon", *eps)]);
            let y = b.reshape(&y, &node.shape);
            if *affine { scale_and_shift(b, &y, &node.tensors, from.len())? } else { y }
        }
        Op::LayerNorm { dims, eps, weight, bias } => {
            let shape: Vec<usize> = from[from.len() - dims..].iter().map(|d| d.at(1)).collect();
            let ones = vec![1.0; shape.iter().product()];
            let scale = if *weight { b.own(node.tensors[0])? } else { b.floats(&shape, &ones) };
            let shift = if *bias { Some(b.own(node.tensors[usize::from(*weight)])?) } else { None };
            let read: Vec<&str> = [x, &scale].into_iter().chain(shift.as_deref()).collect();
            let attributes = vec![int("axis", (from.len() - dims) as i64), Attribute::float("epsilon", *eps)];
            b.emit("LayerNormalization", &read, attributes)
        }
        Op::Linear { bias, .. } => {
            let weight = b.own(node.tensors[0])?;
            let shift = if *bias { Some(b.own(node.tensors[1])?) } else { None };
            if from.len() == 2 {
                let read: Vec<&str> = [x, &weight].into_iter().chain(shift.as_deref()).collect();
                b.emit("Gemm", &read, vec![int("transB", 1)])
            } else {
                let weight = b.emit("Transpose", &[&weight], vec![Attribute::ints("perm", &[1, 0])]);
                let y = b.emit("MatMul", &[x, &weight], vec![]);
                shift.map_or(y.clone(), |shift| b.emit("Add", &[&y, &shift], vec![]))
            }
        }
        Op::Activation(kind) => activation(b, x, *kind),
        Op::Prelu => {
            let slope = b.own(node.tensors[0])?;
            let mut shape = vec![1; from.len().max(2) - 1];
            shape[0] = -1;
            let shape = b.integers(&shape);
            let slope = b.emit("Reshape", &[&slope, &shape], vec![]);
            b.emit("PRelu", &[x, &slope], vec![])
        }
        Op::Softmax { dim } => b.emit("Softmax", &[x], vec![int("axis", *dim as i64)]),
        Op::LogSoftmax { dim } => b.emit("LogSoftmax", &[x], vec![int("axis", *dim as i64)]),
        Op::MaxPool2d { kernel, stride, padding, dilation, ceil } => {
            let mut attributes =
                vec![Attribute::ints("kernel_shape", kernel), Attribute::ints("strides", stride), Attribute::ints("dilations", dilation)];
            if *ceil {
                let sides = sides(from, &node.shape, *kernel, *stride, *padding, *dilation);
                let x = pad(b, x, sides, "constant", Some(f64::NEG_INFINITY));
                b.emit("MaxPool", &[&x], attributes)
            } else {
                attributes.push(Attribute::ints("pads", &[padding[0], padding[1], padding[0], padding[1]]));
                b.emit("MaxPool", &[x], attributes)
            }
        }
        Op::AvgPool2d { kernel, stride, padding, ceil, count_pad, divisor } => {
            let mut attributes = vec![Attribute::ints("kernel_shape", kernel), Attribute::ints("strides", stride)];
            if *ceil || divisor.is_some() {
                let sides = sides(from, &node.shape, *kernel, *stride, *padding, [1, 1]);
                let x = pad(b, x, sides, "constant", Some(0.0));
                let means = b.emit("AveragePool", &[&x], attributes);
                let rows = Axis::sliding(from[2].at(1), kernel[0], stride[0], padding[0], 1, *ceil)?;
                let columns = Axis::sliding(from[3].at(1), kernel[1], stride[1], padding[1], 1, *ceil)?;
                let taps = (kernel[0] * kernel[1]) as f32;
                let factors: Vec<f32> = pool::divisors(&rows, &columns, *count_pad, *divisor).iter().map(|d| taps / d).collect();
                let factors = b.floats(&[1, 1, node.shape[2].at(1), node.shape[3].at(1)], &factors);
                b.emit("Mul", &[&means, &factors], vec![])
            } else {
                attributes.push(Attribute::ints("pads", &[padding[0], padding[1], padding[0], padding[1]]));
                attributes.push(int("count_include_pad", i64::from(*count_pad)));
                b.emit("AveragePool", &[x], attributes)
            }
        }
        Op::AdaptiveAvgPool2d { out } => adaptive_mean(b, x, [from[2].at(1), from[3].at(1)], *out),
        Op::AdaptiveMaxPool2d { out } => adaptive_max(b, x, [from[2].at(1), from[3].at(1)], *out),
        // Inference.
        Op::Dropout { .. } | Op::Detach => x.to_owned(),
        Op::Switch => inputs[1].to_owned(),
        Op::Random { .. } => return none(node, "a random number that evaluation draws too"),
        Op::Compare(_) | Op::Where | Op::Index { .. } | Op::Gather { .. } | Op::Scatter { .. } | Op::TopK { .. } | Op::CumSum { .. } => {
            choice::operation(b, &node.op, inputs)
        }
        Op::Binary(kind) => {
            let name = match kind {
                Binary::Add => "Add",
                Binary::Sub => "Sub",
                Binary::Mul => "Mul",
                Binary::Div => "Div",
                Binary::Maximum => "Max",
                Binary::Minimum => "Min",
                Binary::Power => "Pow",
            };
            b.emit(name, inputs, vec![])
        }
        Op::Affine { scale, shift } => affine(b, x, *scale, *shift),
        Op::Power { exponent } => {
            let exponent = b.scalar(*exponent);
            b.emit("Pow", &[x, &exponent], vec![])
        }
        Op::Unary(kind) => unary(b, x, *kind),
        Op::Clamp { low, high } => clip(b, x, *low, *high),
        Op::MatMul => b.emit("MatMul", inputs, vec![]),
        Op::Cat { dim } => b.emit("Concat", inputs, vec![int("axis", *dim as i64)]),
        Op::Reduce { kind, dims, keep } => match kind {
            Reduction::Mean => reduce(b, "ReduceMean", x, dims, *keep),
            Reduction::Sum => reduce(b, "ReduceSum", x, dims, *keep),
            Reduction::Max => reduce(b, "ReduceMax", x, dims, *keep),
            Reduction::Min => reduce(b, "ReduceMin", x, dims, *keep),
        },
        Op::Variance { dims, keep, correction } => {
            let grows = dims.iter().any(|&d| matches!(from[d], Dim::Batch(_)));
            if grows && *correction > 0 {
                return none(node, "an unbiased variance over the batch");
            }
            let count: f64 = dims.iter().map(|&d| from[d].at(1) as f64).product();
            let mean = reduce(b, "ReduceMean", x, dims, true);
            let centred = b.emit("Sub", &[x, &mean], vec![]);
            let squares = b.emit("Mul", &[&centred, &centred], vec![]);
            let biased = reduce(b, "ReduceMean", &squares, dims, *keep);
            if *correction == 0 { biased } else { affine(b, &biased, count / (count - *correction as f64), 0.0) }
        }
        Op::Reshape { shape } => b.reshape(x, shape),
        Op::Permute { dims } => b.emit("Transpose", &[x], vec![Attribute::ints("perm", dims)]),
        Op::Expand { shape } => {
            let shape = b.shape(shape);
            b.emit("Expand", &[x, &shape], vec![])
        }
        Op::Slice { dim, start, end, step } => slice(b, x, *dim, [*start, *end, *step]),
        Op::Pad { padding, border } => match border {
            Border::Constant(value) => pad(b, x, *padding, "constant", Some(*value)),
            Border::Reflect => pad(b, x, *padding, "reflect", None),
            Border::Replicate => pad(b, x, *padding, "edge", None),
            Border::Circular => pad(b, x, *padding, "wrap", None),
        },
        Op::UpsampleNearest { factor } => {
            let scales = b.floats(&[4], &[1.0, 1.0, factor[0] as f32, factor[1] as f32]);
            let attributes = vec![
                Attribute::text("mode", "nearest"),
                Attribute::text("coordinate_transformation_mode", "asymmetric"),
                Attribute::text("nearest_mode", "floor"),
            ];
            b.emit("Resize", &[x, "", &scales], attributes)
        }
        Op::UpsampleBilinear { out, align } => {
            let sizes = b.integers(&[out[0] as i64, out[1] as i64]);
            let attributes = vec![
                Attribute::text("mode", "linear"),
                Attribute::text("coordinate_transformation_mode", if *align { "align_corners" } else { "half_pixel" }),
                Attribute::ints("axes", &[2, 3]),
            ];
            b.emit("Resize", &[x, "", "", &sizes], attributes)
        }
        // ONNX orders the gates i o f c and z r h.
        Op::Lstm { hidden, bias, reverse } => recurrent(b, "LSTM", x, node, *hidden, *bias, *reverse, &[0, 3, 1, 2])?,
        Op::Gru { hidden, bias, reverse } => recurrent(b, "GRU", x, node, *hidden, *bias, *reverse, &[1, 0, 2])?,
    })
}

fn unary(b: &mut Builder, x: &str, kind: Unary) -> String {
    let name = match kind {
        Unary::Neg => "Neg",
        Unary::Exp => "Exp",
        Unary::Log => "Log",
        Unary::Sqrt | Unary::Root => "Sqrt",
        Unary::Abs => "Abs",
        Unary::Sin => "Sin",
        Unary::Cos => "Cos",
        Unary::Tan => "Tan",
        Unary::Atan => "Atan",
        Unary::Sinh => "Sinh",
        Unary::Cosh => "Cosh",
        Unary::Erf => "Erf",
        Unary::Floor => "Floor",
        Unary::Ceil => "Ceil",
        Unary::Round => "Round",
        Unary::Sign => "Sign",
        Unary::Square => return b.emit("Mul", &[x, x], vec![]),
        Unary::Rsqrt => {
            let root = b.emit("Sqrt", &[x], vec![]);
            return b.emit("Reciprocal", &[&root], vec![]);
        }
        Unary::Log1p => {
            let shifted = affine(b, x, 1.0, 1.0);
            return b.emit("Log", &[&shifted], vec![]);
        }
        Unary::Expm1 => {
            let power = b.emit("Exp", &[x], vec![]);
            return affine(b, &power, 1.0, -1.0);
        }
        Unary::Trunc => {
            let (sign, size) = (b.emit("Sign", &[x], vec![]), b.emit("Abs", &[x], vec![]));
            let size = b.emit("Floor", &[&size], vec![]);
            return b.emit("Mul", &[&sign, &size], vec![]);
        }
    };
    b.emit(name, &[x], vec![])
}

fn activation(b: &mut Builder, x: &str, kind: Activation) -> String {
    let float = Attribute::float;
    match kind {
        Activation::Relu => b.emit("Relu", &[x], vec![]),
        Activation::Relu6 => clip(b, x, Some(0.0), Some(6.0)),
        Activation::LeakyRelu { slope } => b.emit("LeakyRelu", &[x], vec![float("alpha", slope)]),
        Activation::Elu { alpha } => b.emit("Elu", &[x], vec![float("alpha", alpha)]),
        Activation::Gelu => b.emit("Gelu", &[x], vec![]),
        Activation::GeluTanh => b.emit("Gelu", &[x], vec![Attribute::text("approximate", "tanh")]),
        Activation::Silu => {
            let gate = b.emit("Sigmoid", &[x], vec![]);
            b.emit("Mul", &[x, &gate], vec![])
        }
        Activation::Mish => b.emit("Mish", &[x], vec![]),
        Activation::Softplus => b.emit("Softplus", &[x], vec![]),
        Activation::Hardswish => b.emit("HardSwish", &[x], vec![]),
        Activation::Hardsigmoid => b.emit("HardSigmoid", &[x], vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)]),
        Activation::Sigmoid => b.emit("Sigmoid", &[x], vec![]),
        Activation::Tanh => b.emit("Tanh", &[x], vec![]),
    }
}

fn batch_norm(b: &mut Builder, x: &str, from: &[Dim], tensors: &[TensorId], eps: f64, affine: bool, track: bool) -> Result<String> {
    if !track {
        // The statistics of the batch itself.
        let dims: Vec<usize> = (0..from.len()).filter(|&d| d != 1).collect();
        let mean = reduce(b, "ReduceMean", x, &dims, true);
        let centred = b.emit("Sub", &[x, &mean], vec![]);
        let squares = b.emit("Mul", &[&centred, &centred], vec![]);
        let variance = reduce(b, "ReduceMean", &squares, &dims, true);
        let variance = crate::export::onnx::affine(b, &variance, 1.0, eps);
        let deviation = b.emit("Sqrt", &[&variance], vec![]);
        let y = b.emit("Div", &[&centred, &deviation], vec![]);
        return if affine { scale_and_shift(b, &y, tensors, from.len()) } else { Ok(y) };
    }
    let channels = from[1].at(1);
    let (scale, shift) = if affine {
        (b.own(tensors[0])?, b.own(tensors[1])?)
    } else {
        (b.floats(&[channels], &vec![1.0; channels]), b.floats(&[channels], &vec![0.0; channels]))
    };
    let first = if affine { 2 } else { 0 };
    let (mean, variance) = (b.own(tensors[first])?, b.own(tensors[first + 1])?);
    Ok(b.emit("BatchNormalization", &[x, &scale, &shift, &mean, &variance], vec![Attribute::float("epsilon", eps)]))
}

/// Weight and bias of one number a channel (dimension 1 of `rank`).
fn scale_and_shift(b: &mut Builder, x: &str, tensors: &[TensorId], rank: usize) -> Result<String> {
    let mut y = x.to_owned();
    for (op, &tensor) in ["Mul", "Add"].into_iter().zip(tensors) {
        let mut shape = vec![1; rank - 1];
        shape[0] = -1;
        let (own, shape) = (b.own(tensor)?, b.integers(&shape));
        let own = b.emit("Reshape", &[&own, &shape], vec![]);
        y = b.emit(op, &[&y, &own], vec![]);
    }
    Ok(y)
}

fn affine(b: &mut Builder, x: &str, scale: f64, shift: f64) -> String {
    let mut y = x.to_owned();
    if scale != 1.0 {
        let scale = b.scalar(scale);
        y = b.emit("Mul", &[&y, &scale], vec![]);
    }
    if shift != 0.0 {
        let shift = b.scalar(shift);
        y = b.emit("Add", &[&y, &shift], vec![]);
    }
    y
}

/// As `PyTorch`, the upper limit wins where they cross.
fn clip(b: &mut Builder, x: &str, low: Option<f64>, high: Option<f64>) -> String {
    let low = low.map(|low| b.scalar(high.map_or(low, |high| low.min(high)))).unwrap_or_default();
    let high = high.map(|high| b.scalar(high)).unwrap_or_default();
    b.emit("Clip", &[x, &low, &high], vec![])
}

fn reduce(b: &mut Builder, op: &str, x: &str, dims: &[usize], keep: bool) -> String {
    let axes: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
    let axes = b.integers(&axes);
    b.emit(op, &[x, &axes], vec![Attribute::int("keepdims", i64::from(keep)), Attribute::int("noop_with_empty_axes", 1)])
}

fn slice(b: &mut Builder, x: &str, dim: usize, [start, end, step]: [usize; 3]) -> String {
    let of = [start, end, dim, step].map(|n| b.integers(&[n as i64]));
    b.emit("Slice", &[x, &of[0], &of[1], &of[2], &of[3]], vec![])
}

/// Borders of the last two dimensions: top, bottom, left, right.
fn pad(b: &mut Builder, x: &str, [top, bottom, left, right]: [usize; 4], mode: &str, value: Option<f64>) -> String {
    let pads = b.integers(&[top as i64, left as i64, bottom as i64, right as i64]);
    let value = value.map(|value| b.scalar(value)).unwrap_or_default();
    let axes = b.integers(&[-2, -1]);
    b.emit("Pad", &[x, &pads, &value, &axes], vec![Attribute::text("mode", mode)])
}

/// Borders with which whole windows give the shape `to`: top, bottom, left, right.
fn sides(from: &[Dim], to: &[Dim], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2]) -> [usize; 4] {
    let after = |i: usize| {
        let reach = (to[i + 2].at(1) - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1;
        reach.saturating_sub(from[i + 2].at(1) + padding[i])
    };
    [padding[0], after(0), padding[1], after(1)]
}

/// Kernel and stride where adaptive windows are all alike.
fn even(size: [usize; 2], out: [usize; 2]) -> Option<Vec<Attribute>> {
    let even = size[0].is_multiple_of(out[0]) && size[1].is_multiple_of(out[1]);
    let kernel = [size[0] / out[0], size[1] / out[1]];
    even.then(|| vec![Attribute::ints("kernel_shape", &kernel), Attribute::ints("strides", &kernel)])
}

fn adaptive_mean(b: &mut Builder, x: &str, size: [usize; 2], out: [usize; 2]) -> String {
    if out == [1, 1] {
        return b.emit("GlobalAveragePool", &[x], vec![]);
    }
    if let Some(attributes) = even(size, out) {
        return b.emit("AveragePool", &[x], attributes);
    }
    let weight = |axis: &Axis, window: usize, place: usize| {
        let w = &axis.windows[window];
        if (w.start..w.end).contains(&place) { 1.0 / (w.end - w.start) as f32 } else { 0.0 }
    };
    let (rows, columns) = (Axis::adaptive(size[0], out[0]), Axis::adaptive(size[1], out[1]));
    let above: Vec<f32> = (0..out[0]).flat_map(|i| (0..size[0]).map(move |p| (i, p))).map(|(i, p)| weight(&rows, i, p)).collect();
    let beside: Vec<f32> = (0..size[1]).flat_map(|p| (0..out[1]).map(move |i| (i, p))).map(|(i, p)| weight(&columns, i, p)).collect();
    let (above, beside) = (b.floats(&[out[0], size[0]], &above), b.floats(&[size[1], out[1]], &beside));
    let y = b.emit("MatMul", &[x, &beside], vec![]);
    b.emit("MatMul", &[&above, &y], vec![])
}

fn adaptive_max(b: &mut Builder, x: &str, size: [usize; 2], out: [usize; 2]) -> String {
    if out == [1, 1] {
        return b.emit("GlobalMaxPool", &[x], vec![]);
    }
    if let Some(attributes) = even(size, out) {
        return b.emit("MaxPool", &[x], attributes);
    }
    let mut y = x.to_owned();
    for i in 0..2 {
        let mut parts = Vec::new();
        for window in &Axis::adaptive(size[i], out[i]).windows {
            let part = slice(b, &y, i + 2, [window.start, window.end, 1]);
            parts.push(reduce(b, "ReduceMax", &part, &[i + 2], true));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        y = b.emit("Concat", &parts, vec![Attribute::int("axis", i as i64 + 2)]);
    }
    y
}

/// One layer and direction over (batch, steps, features); `order` gives ONNX's gates as positions among `PyTorch`'s.
#[allow(clippy::too_many_arguments)]
fn recurrent(b: &mut Builder, op: &str, x: &str, node: &Node, hidden: usize, bias: bool, reverse: bool, order: &[usize]) -> Result<String> {
    let ordered = |values: &[f32]| -> Vec<f32> {
        let gate = values.len() / order.len();
        order.iter().flat_map(|&i| &values[i * gate..(i + 1) * gate]).copied().collect()
    };
    let rows = order.len() * hidden;
    let mut read = vec![b.emit("Transpose", &[x], vec![Attribute::ints("perm", &[1, 0, 2])])];
    for &tensor in &node.tensors[..2] {
        let values = ordered(&b.values(tensor)?);
        read.push(b.floats(&[1, rows, values.len() / rows], &values));
    }
    if bias {
        let mut values = ordered(&b.values(node.tensors[2])?);
        values.extend(ordered(&b.values(node.tensors[3])?));
        read.push(b.floats(&[1, values.len()], &values));
    }
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    let mut attributes =
        vec![Attribute::int("hidden_size", hidden as i64), Attribute::text("direction", if reverse { "reverse" } else { "forward" })];
    if op == "GRU" {
        // The reset gate acts on the product, as in PyTorch.
        attributes.push(Attribute::int("linear_before_reset", 1));
    }
    let y = b.emit(op, &read, attributes);
    let axis = b.integers(&[1]);
    let y = b.emit("Squeeze", &[&y, &axis], vec![]);
    Ok(b.emit("Transpose", &[&y], vec![Attribute::ints("perm", &[1, 0, 2])]))
}
