//! The table of `eliteloop trace`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::built::Traced;
use super::cost::{cost, macs};
use super::graph::{Graph, Node, Op, TensorSpec};
use super::infer::show;

/// One line an operation, then the state dict, then the totals.
#[must_use]
pub fn table(traced: &Traced) -> String {
    let graph = &traced.graph;
    let rows: Vec<[String; 6]> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(id, node)| {
            let count = macs(graph, id);
            let inputs = node.inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let macs = if count > 0 { grouped(count) } else { String::new() };
            [id.to_string(), describe(&node.op), inputs, show(&node.shape), macs, place(node)]
        })
        .collect();
    let mut text = format!("{}\n\n", traced.built);
    text += &columns(["node", "operation", "reads", "shape", "MACs", "where"], &rows, &[0, 4]);
    text.push('\n');
    let rows: Vec<[String; 3]> =
        state_dict(graph).map(|(name, t)| [name.to_owned(), format!("{:?}", t.shape), format!("{:?}", t.role).to_lowercase()]).collect();
    text += &columns(["state dict", "shape", "role"], &rows, &[]);
    let cost = cost(graph);
    let _ = writeln!(text, "\n{} parameters, {} multiply-accumulates an image", grouped(cost.parameters), grouped(cost.macs));
    let _ = write!(text, "{:.2} MiB of activations an image", cost.activation_bytes as f64 / f64::from(1 << 20));
    text
}

/// The same as one JSON object.
#[must_use]
pub fn json(traced: &Traced) -> Value {
    let graph = &traced.graph;
    let cost = cost(graph);
    json!({
        "entry": traced.built.entry,
        "arguments": traced.built.arguments.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "activation_bytes": cost.activation_bytes,
        "output": show(&graph.nodes[graph.output].shape),
        "state_dict": state_dict(graph).map(|(name, t)| json!({ "name": name, "shape": t.shape, "role": t.role })).collect::<Vec<_>>(),
        "graph": graph,
    })
}

/// Every name of the state dict: a shared tensor stands under each of its own, the further ones last.
fn state_dict(graph: &Graph) -> impl Iterator<Item = (&str, &TensorSpec)> {
    let further = graph.aliases.iter().filter_map(|(name, tensor)| Some((&name[..], graph.tensors.get(*tensor)?)));
    graph.tensors.iter().map(|t| (&t.name[..], t)).chain(further)
}

fn place(node: &Node) -> String {
    match (node.module.is_empty(), node.line) {
        (true, 0) => String::new(),
        (true, line) => format!("line {line}"),
        (false, line) => format!("{} (line {line})", node.module),
    }
}

/// The operation's name and what matters most about it.
fn describe(op: &Op) -> String {
    match op {
        Op::Constant { shape, .. } => format!("constant {shape:?}"),
        Op::Conv2d { out, kernel, stride, groups, .. } | Op::ConvTranspose2d { out, kernel, stride, groups, .. } => {
            let transposed = if matches!(op, Op::ConvTranspose2d { .. }) { "conv_transpose2d" } else { "conv2d" };
            let mut text = format!("{transposed} {out}, {}x{}", kernel[0], kernel[1]);
            if *stride != [1, 1] {
                let _ = write!(text, " /{}", stride[0]);
            }
            if *groups > 1 {
                let _ = write!(text, " groups {groups}");
            }
            text
        }
        Op::Linear { out, .. } => format!("linear {out}"),
        Op::Activation(kind) => name(kind),
        Op::Binary(kind) => name(kind),
        Op::Unary(kind) => name(kind),
        Op::Affine { scale, shift } => format!("affine {scale} {shift:+}"),
        Op::MaxPool2d { kernel, stride, .. } => format!("max_pool2d {}x{} /{}", kernel[0], kernel[1], stride[0]),
        Op::AvgPool2d { kernel, stride, .. } => format!("avg_pool2d {}x{} /{}", kernel[0], kernel[1], stride[0]),
        Op::AdaptiveAvgPool2d { out } => format!("adaptive_avg_pool2d {}x{}", out[0], out[1]),
        Op::AdaptiveMaxPool2d { out } => format!("adaptive_max_pool2d {}x{}", out[0], out[1]),
        Op::Dropout { p, .. } => format!("dropout {p}"),
        Op::Compare(kind) => name(kind),
        Op::Index { dim } | Op::Gather { dim } | Op::CumSum { dim } => format!("{} {dim}", name(op)),
        Op::TopK { k, dim, largest } => format!("{} {k} of {dim}", if *largest { "top_k" } else { "bottom_k" }),
        Op::Random { law, .. } => format!("random {}", name(law)),
        Op::Cat { dim } => format!("cat {dim}"),
        Op::Reduce { kind, dims, .. } => format!("{} {dims:?}", name(kind)),
        other => name(other),
    }
}

/// The serde name of an enum value.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn columns<const N: usize>(head: [&str; N], rows: &[[String; N]], right: &[usize]) -> String {
    let width: [usize; N] = std::array::from_fn(|i| rows.iter().map(|r| r[i].chars().count()).chain([head[i].len()]).max().unwrap_or(0));
    let mut text = String::new();
    for row in std::iter::once(&head.map(str::to_owned)).chain(rows) {
        let cells: Vec<String> = (0..N)
            .map(|i| if right.contains(&i) { format!("{:>1$}", row[i], width[i]) } else { format!("{:<1$}", row[i], width[i]) })
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}
