//! A graph that came out of the sandbox is believed only after this: every shape is inferred again, every index, name and
//! attribute looked at.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::graph::{Dim, Graph, Init, Node, Op, Role, TensorSpec};
use super::infer::{infer, is_too_large, show};

/// What a graph may be at most; nets beyond it are refused before anything is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub(crate) nodes: usize,
    pub(crate) tensors: usize,
    /// Elements of all tensors of the state dict together.
    pub(crate) tensor_elements: usize,
    /// Elements of all nodes together, for one image.
    pub(crate) node_elements: usize,
    /// Numbers written out in constants and computed initial values.
    pub(crate) values: usize,
}

/// Why a graph is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Beyond the limits, and possibly honest.
    TooLarge(String),
    /// It contradicts itself.
    Wrong(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(what) => write!(f, "too large: {what}"),
            Self::Wrong(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        if is_too_large(&reason) { Self::TooLarge(reason) } else { Self::Wrong(reason) }
    }
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Wrong(reason.into()))
}

fn too_large<T>(what: String) -> Result<T, Refusal> {
    Err(Refusal::TooLarge(what))
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes: 20_000, tensors: 20_000, tensor_elements: 1 << 30, node_elements: 1 << 31, values: 1 << 20 }
    }
}

impl Graph {
    /// Whether the graph is what it claims for images of `input` (channels, height, width).
    ///
    /// # Errors
    /// The first contradiction, in one line.
    pub fn check(&self, input: [usize; 3], limits: Limits) -> Result<(), Refusal> {
        self.check_tensors(limits)?;
        if self.nodes.len() > limits.nodes {
            return too_large(format!("{} operations, at most {}", self.nodes.len(), limits.nodes));
        }
        let image = [Dim::Batch(1), Dim::Fixed(input[0]), Dim::Fixed(input[1]), Dim::Fixed(input[2])];
        let Some(first) = self.nodes.first() else { return wrong("no operations") };
        if first.op != Op::Input || first.shape != image || !first.inputs.is_empty() || !first.tensors.is_empty() {
            return wrong("the first node is not the input");
        }
        if self.output >= self.nodes.len() {
            return wrong(format!("output {} of {} nodes", self.output, self.nodes.len()));
        }
        let (mut elements, mut values) = (0_usize, 0_usize);
        for (id, node) in self.nodes.iter().enumerate().skip(1) {
            let at = |message: String| format!("node {id} (line {}): {message}", node.line);
            let shape = self.infer_node(id, node).map_err(at)?;
            if shape != node.shape {
                return wrong(at(format!("claims shape {}, has {}", show(&node.shape), show(&shape))));
            }
            elements =
                shape.iter().try_fold(1_usize, |n, d| n.checked_mul(d.at(1))).and_then(|n| elements.checked_add(n)).unwrap_or(usize::MAX);
            if elements > limits.node_elements {
                return too_large(format!("more than {} activations an image", limits.node_elements));
            }
            if let Op::Constant { values: numbers, .. } = &node.op {
                values += numbers.len();
                if numbers.iter().any(|v| v.is_nan()) {
                    return wrong(at("a constant is not a number".to_owned()));
                }
            }
        }
        if values > limits.values {
            return too_large(format!("{values} constants, at most {}", limits.values));
        }
        Ok(())
    }

    fn infer_node(&self, id: usize, node: &Node) -> Result<Vec<Dim>, String> {
        let inputs = node
            .inputs
            .iter()
            .map(|&i| if i < id { Ok(self.nodes[i].shape.as_slice()) } else { Err(format!("reads node {i}, which comes later")) })
            .collect::<Result<Vec<_>, _>>()?;
        let tensors = node
            .tensors
            .iter()
            .map(|&t| self.tensors.get(t).ok_or_else(|| format!("owns tensor {t} of {}", self.tensors.len())))
            .collect::<Result<Vec<_>, _>>()?;
        check_roles(&node.op, &tensors)?;
        infer(&node.op, &inputs, &tensors)
    }

    fn check_tensors(&self, limits: Limits) -> Result<(), Refusal> {
        if self.tensors.len() > limits.tensors {
            return too_large(format!("{} tensors, at most {}", self.tensors.len(), limits.tensors));
        }
        if self.aliases.len() > limits.tensors {
            return too_large(format!("{} shared tensors, at most {}", self.aliases.len(), limits.tensors));
        }
        if let Some((name, tensor)) = self.aliases.iter().find(|(_, tensor)| *tensor >= self.tensors.len()) {
            return wrong(format!("{name:?} names tensor {tensor} of {}", self.tensors.len()));
        }
        let mut names = HashSet::new();
        for name in self.tensors.iter().map(|t| &t.name).chain(self.aliases.iter().map(|(name, _)| name)) {
            if name.is_empty() || name.len() > 512 || name.chars().any(char::is_control) {
                return wrong(format!("tensor {name:?}: not a state-dict name"));
            }
            if !names.insert(name) {
                return wrong(format!("tensor {name:?}: named twice"));
            }
        }
        let (mut total, mut values) = (0_usize, 0_usize);
        for tensor in &self.tensors {
            let at = |message: String| format!("tensor {:?}: {message}", tensor.name);
            let elements = tensor.shape.iter().try_fold(1_usize, |a, &b| a.checked_mul(b));
            total = elements.and_then(|n| total.checked_add(n)).unwrap_or(usize::MAX);
            if total > limits.tensor_elements {
                return too_large(format!("more than {} elements in the state dict", limits.tensor_elements));
            }
            check_init(tensor, &self.tensors).map_err(at)?;
            if let Init::Values(numbers) = &tensor.init {
                values += numbers.len();
            }
        }
        if values > limits.values {
            return too_large(format!("{values} computed initial values, at most {}", limits.values));
        }
        Ok(())
    }
}

fn check_init(tensor: &TensorSpec, all: &[TensorSpec]) -> Result<(), String> {
    let fine = match &tensor.init {
        Init::Constant(value) => value.is_finite(),
        Init::Uniform { low, high } => low.is_finite() && high.is_finite() && low <= high,
        Init::Normal { mean, std } => mean.is_finite() && std.is_finite() && *std >= 0.0,
        Init::TruncatedNormal { mean, std, low, high } => {
            let finite = [mean, std, low, high].iter().all(|v| v.is_finite());
            // Far out in the tail a sampler that rejects would never end.
            finite && *std >= 0.0 && low < high && (*std == 0.0 || ((high - mean) / std > -4.0 && (low - mean) / std < 4.0))
        }
        Init::Orthogonal { gain } => gain.is_finite() && tensor.shape.len() >= 2,
        Init::Norm { name, shape, init, dim } => {
            let kept = |d: usize| dim.is_some_and(|dim| dim == d);
            let left: Vec<usize> = shape.iter().enumerate().map(|(d, &n)| if kept(d) { n } else { 1 }).collect();
            let other = TensorSpec { init: (**init).clone(), ..tensor.clone() };
            // Numbers that a source computed have norms that it computed.
            !matches!(**init, Init::Norm { .. } | Init::Values(_))
                && check_init(&TensorSpec { shape: shape.clone(), ..other }, all).is_ok()
                && all.iter().any(|one| one.name == *name && one.shape == *shape)
                && dim.map_or(tensor.shape.is_empty(), |dim| dim < shape.len() && tensor.shape == left)
        }
        // A mask has infinities.
        Init::Values(values) if tensor.role == Role::Buffer => values.len() == tensor.elements() && !values.iter().any(|v| v.is_nan()),
        Init::Values(values) => values.len() == tensor.elements() && values.iter().all(|v| v.is_finite()),
    };
    if fine { Ok(()) } else { Err(format!("cannot start from {}", init_word(&tensor.init))) }
}

fn init_word(init: &Init) -> String {
    match init {
        Init::Values(values) => format!("{} computed values (wrong number, or not finite)", values.len()),
        other => format!("{other:?}"),
    }
}

/// Running statistics are never trained, weights never counters.
fn check_roles(op: &Op, tensors: &[&TensorSpec]) -> Result<(), String> {
    let statistics = match op {
        Op::BatchNorm { affine, track: true, .. } => 2 * usize::from(*affine)..tensors.len(),
        _ => 0..0,
    };
    let has_counter = statistics.len() == 3;
    for (i, tensor) in tensors.iter().enumerate() {
        let counter = *op == Op::Tensor || (has_counter && statistics.contains(&i) && i + 1 == statistics.end);
        let right = match tensor.role {
            Role::Counter => counter,
            Role::Buffer => *op == Op::Tensor || !counter,
            Role::Parameter | Role::Frozen => !statistics.contains(&i),
        };
        if !right {
            return Err(format!("tensor {:?} cannot be a {:?} here", tensor.name, tensor.role));
        }
    }
    Ok(())
}
