//! A trainable network from a graph: parameters, forward, and a reverse pass of its own.
//!
//! The graph is known, so nothing is recorded while it runs: `forward` keeps each node's value and what its kernel saved,
//! `backward` walks the nodes in reverse, hands each gradient on, and frees what is no longer read. A node without a
//! kernel runs in stock operations on a tape of its own, which candle differentiates.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::operation::{Saved, Step};
use super::ops::{arithmetic, conv, norm, pool};
use super::{init, noise, operation, stock};
pub(crate) use crate::base::device::Kernels;
use crate::base::files::write_whole;
use crate::base::seed;
use crate::tracer::graph::{Activation, Graph, Node, NodeId, Op, Role, TensorSpec};

/// What a forward is for.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Batch statistics, dropout from the stream of this seed; values are kept for [`Network::backward`].
    Train {
        /// Each step has its own.
        dropout: u64,
    },
    /// Running statistics, no dropout; values are freed after their last reader.
    Evaluate,
}

/// A graph with its parameters and buffers, on one device.
pub struct Network {
    graph: Graph,
    /// One for each [`Graph::tensors`] entry.
    tensors: Vec<Tensor>,
    device: Device,
    kernels: Kernels,
    /// For a batch normalisation that a `ReLU` alone reads: that `ReLU`, which it computes too.
    fused: Vec<Option<NodeId>>,
    /// Whether a trained tensor is at or above the node.
    differentiable: Vec<bool>,
    /// What each mode computes: training, evaluation.
    training: Plan,
    evaluation: Plan,
}

/// The nodes that a mode needs, and how often it reads each.
struct Plan {
    needed: Vec<bool>,
    reads: Vec<usize>,
}

impl Plan {
    fn of(graph: &Graph, training: bool) -> Self {
        let needed = graph.needed(training);
        let mut reads = vec![0; graph.nodes.len()];
        for node in graph.nodes.iter().zip(&needed).filter_map(|(node, needed)| needed.then_some(node)) {
            node.read(training).iter().for_each(|&input| reads[input] += 1);
        }
        reads[graph.output] += 1;
        Self { needed, reads }
    }
}

/// What a forward leaves behind.
pub struct Pass {
    values: Vec<Option<Tensor>>,
    saved: Vec<Saved>,
    /// Value of the graph's output, of a classifier the logits (n, classes).
    pub output: Tensor,
}

impl Pass {
    /// The value of a node; `None` where a normalisation computed it together with the rectifier behind it.
    pub(crate) fn value(&self, node: NodeId) -> Option<&Tensor> {
        self.values[node].as_ref()
    }
}

impl Network {
    /// A network with fresh parameters drawn from the stream of `seed`.
    pub fn new(graph: &Graph, seed: u64, device: &Device, kernels: Kernels) -> Result<Self> {
        // Counters stay on the processor, so that a step waits for no card to count.
        let place = |spec: &TensorSpec| if spec.role == Role::Counter { &Device::Cpu } else { device };
        let tensors = graph.tensors.iter().map(|spec| init::draw(spec, seed, place(spec))).collect::<Result<Vec<_>>>()?;
        let count = graph.nodes.len();
        let kernels = kernels.on(device);
        let mut readers = vec![0; count];
        let mut differentiable = vec![false; count];
        for (id, node) in graph.nodes.iter().enumerate() {
            let inputs_first = node.inputs.iter().all(|&input| input < id);
            if !inputs_first || node.tensors.iter().any(|&tensor| tensor >= tensors.len()) {
                candle_core::bail!("node {id} reads what is not there");
            }
            node.inputs.iter().for_each(|&input| readers[input] += 1);
            let owns = node.tensors.iter().any(|&tensor| graph.tensors[tensor].role == Role::Parameter);
            differentiable[id] = node.op.passes_gradient() && (owns || node.read(true).iter().any(|&input| differentiable[input]));
        }
        if graph.output >= count {
            candle_core::bail!("the output is not a node");
        }
        readers[graph.output] += 1;
        let mut fused = vec![None; count];
        for (id, node) in graph.nodes.iter().enumerate() {
            if let (Op::Activation(Activation::Relu), &[input]) = (&node.op, &node.inputs[..])
                && kernels == Kernels::Own
                && matches!(graph.nodes[input].op, Op::BatchNorm { .. })
                && readers[input] == 1
            {
                fused[input] = Some(id);
            }
        }
        let (training, evaluation) = (Plan::of(graph, true), Plan::of(graph, false));
        Ok(Self { graph: graph.clone(), tensors, device: device.clone(), kernels, fused, differentiable, training, evaluation })
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Parameters and buffers, one for each entry of [`Graph::tensors`].
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Replaces a tensor by one of the same shape.
    pub fn set(&mut self, index: usize, tensor: Tensor) -> Result<()> {
        if self.tensors[index].shape() != tensor.shape() || self.tensors[index].dtype() != tensor.dtype() {
            candle_core::bail!("{} cannot become {:?}", self.graph.tensors[index].name, tensor.shape());
        }
        self.tensors[index] = tensor;
        Ok(())
    }

    /// Saves the state dict: `PyTorch`'s names and shapes, shared tensors under each name, counters as 64-bit integers.
    pub fn save(&self, path: &Path) -> crate::base::error::Result<()> {
        let mut named: BTreeMap<&str, &Tensor> = self.graph.tensors.iter().map(|spec| &spec.name[..]).zip(&self.tensors).collect();
        named.extend(self.graph.aliases.iter().map(|(name, tensor)| (&name[..], &self.tensors[*tensor])));
        write_whole(path, &safetensors::serialize(named, None)?)
    }

    /// Loads what [`Network::save`] wrote, or `PyTorch` for the same source; every tensor has to be there.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let stored = candle_core::safetensors::load(path, &Device::Cpu)?;
        for index in 0..self.tensors.len() {
            let name = &self.graph.tensors[index].name;
            let Some(tensor) = stored.get(name) else {
                candle_core::bail!("{} has no tensor '{name}'", path.display());
            };
            // PyTorch stores a mask as truth values.
            let tensor = tensor.to_dtype(self.tensors[index].dtype())?.to_device(self.tensors[index].device())?;
            self.set(index, tensor)?;
        }
        Ok(())
    }

    /// Logits of a batch of images (n, c, h, w).
    pub fn evaluate(&mut self, images: &Tensor) -> Result<Tensor> {
        Ok(self.forward(images, Mode::Evaluate)?.output)
    }

    /// Runs the graph. In training, running statistics move on.
    pub fn forward(&mut self, images: &Tensor, mode: Mode) -> Result<Pass> {
        let count = self.graph.nodes.len();
        let batch = images.dim(0)?;
        let mut values: Vec<Option<Tensor>> = vec![None; count];
        let mut saved: Vec<Saved> = (0..count).map(|_| Saved::Nothing).collect();
        let training = matches!(mode, Mode::Train { .. });
        let plan = if training { &self.training } else { &self.evaluation };
        let (needed, mut left) = (plan.needed.clone(), plan.reads.clone());
        for id in 0..count {
            if values[id].is_some() || !needed[id] {
                continue;
            }
            let node = self.graph.nodes[id].clone();
            let inputs: Vec<Tensor> = node
                .read(training)
                .iter()
                .map(|&input| values[input].clone().ok_or_else(|| candle_core::Error::Msg(format!("node {id} reads a freed value"))))
                .collect::<Result<_>>()?;
            let (value, keep) = match &node.op {
                Op::Input => (images.contiguous()?, Saved::Nothing),
                Op::BatchNorm { .. } => self.batch_norm(id, &node, &inputs[0], training)?,
                Op::Switch => (inputs[0].clone(), Saved::Nothing),
                _ => self.node(id, &node, &inputs, batch, mode)?,
            };
            let at = self.fused[id].unwrap_or(id);
            values[at] = Some(value);
            saved[id] = keep;
            if !training {
                for &input in node.read(training) {
                    left[input] -= 1;
                    if left[input] == 0 {
                        values[input] = None;
                    }
                }
            }
        }
        let output = values[self.graph.output].clone().ok_or_else(|| candle_core::Error::Msg("the output was not computed".into()))?;
        Ok(Pass { values, saved, output })
    }

    fn node(&self, id: NodeId, node: &Node, inputs: &[Tensor], batch: usize, mode: Mode) -> Result<(Tensor, Saved)> {
        if let Op::Dropout { p, channels } = node.op {
            return match mode {
                Mode::Train { dropout } if p > 0.0 => {
                    let mask = noise::dropout(inputs[0].dims(), p, channels, seed::derive(dropout, "dropout", &[id as u64]), &self.device)?;
                    Ok((inputs[0].broadcast_mul(&mask)?, Saved::Mask(mask)))
                }
                _ => Ok((inputs[0].clone(), Saved::Nothing)),
            };
        }
        if let Op::Random { law, shape } = &node.op {
            let stream = match mode {
                Mode::Train { dropout } => seed::derive(dropout, "random", &[id as u64]),
                // PyTorch draws here too, each time anew; ours are the same each time.
                Mode::Evaluate => seed::derive(id as u64, "random in evaluation", &[]),
            };
            let shape: Vec<usize> = shape.iter().map(|d| d.at(batch)).collect();
            return Ok((noise::draw(*law, &shape, stream, &self.device)?, Saved::Nothing));
        }
        let tensors: Vec<Tensor> = node.tensors.iter().map(|&tensor| self.tensors[tensor].clone()).collect();
        if self.kernels == Kernels::Own
            && let Some(done) = operation::forward(&node.op, inputs, &tensors)?
        {
            return Ok(done);
        }
        let recorded = matches!(mode, Mode::Train { .. }) && self.differentiable[id] && !operation::has_formula(&node.op);
        if !recorded {
            let value = stock::apply(&node.op, inputs, &tensors, batch, &self.device)?.contiguous()?;
            return Ok((value, Saved::Nothing));
        }
        let (inputs, tensors) = (variables(inputs)?, variables(&tensors)?);
        let output = stock::apply(&node.op, &inputs, &tensors, batch, &self.device)?.contiguous()?;
        Ok((output.detach(), Saved::Tape { inputs, tensors, output }))
    }

    fn batch_norm(&mut self, id: NodeId, node: &Node, x: &Tensor, training: bool) -> Result<(Tensor, Saved)> {
        let &Op::BatchNorm { eps, momentum, affine, track } = &node.op else { unreachable!("called for batch normalisation only") };
        let relu = self.fused[id].is_some();
        let own = |i: usize| &self.tensors[node.tensors[i]];
        let weights: norm::Affine = affine.then(|| (own(0).clone(), own(1).clone()));
        let first = if affine { 2 } else { 0 };
        if !training && track {
            let (mean, variance) = (own(first), own(first + 1));
            let y = match self.kernels {
                Kernels::Own => norm::forward_with(x, &weights, mean, variance, eps, relu)?,
                Kernels::Stock => stock::batch_norm(x, weights.as_ref().map(|(w, b)| (w, b)), Some((mean, variance)), eps)?,
            };
            return Ok((y, Saved::Nothing));
        }
        let (y, saved, mean, variance) = match self.kernels {
            Kernels::Own => {
                let (y, saved) = norm::forward(x, &weights, eps, relu)?;
                let channels = saved.mean.len();
                let mean = Tensor::from_slice(&saved.mean, channels, &self.device)?;
                let variance = Tensor::from_slice(&saved.variance, channels, &self.device)?;
                (y, Saved::Norm(saved), mean, variance)
            }
            Kernels::Stock => {
                let inputs = variables(std::slice::from_ref(x))?;
                let tensors = match &weights {
                    Some((weight, bias)) => variables(&[weight.clone(), bias.clone()])?,
                    None => Vec::new(),
                };
                let pair = affine.then(|| (&tensors[0], &tensors[1]));
                let output = stock::batch_norm(&inputs[0], pair, None, eps)?.contiguous()?;
                let (mean, variance) = stock::channel_statistics(x)?;
                (output.detach(), Saved::Tape { inputs, tensors, output }, mean.flatten_all()?, variance.flatten_all()?)
            }
        };
        if training && track {
            let count = (x.elem_count() / x.dim(1)?) as f64;
            let (old_mean, old_variance) = (own(first).clone(), own(first + 1).clone());
            let counter = node.tensors.get(first + 2).map(|&place| (place, self.tensors[place].clone()));
            let moved = |old: &Tensor, new: &Tensor, scale: f64| old.affine(1.0 - momentum, 0.0)? + new.affine(momentum * scale, 0.0)?;
            let (mean, variance) = (moved(&old_mean, &mean, 1.0)?, moved(&old_variance, &variance, count / (count - 1.0))?);
            self.set(node.tensors[first], mean)?;
            self.set(node.tensors[first + 1], variance)?;
            if let Some((place, counter)) = counter {
                let counted = counter.flatten_all()?.to_vec1::<i64>()?[0] + 1;
                self.set(place, Tensor::from_vec(vec![counted], counter.shape(), &Device::Cpu)?)?;
            }
        }
        Ok((y, saved))
    }

    /// Gradients of the trained tensors, in the order of [`Graph::tensors`]; `None` for the rest and for what has no influence.
    pub fn backward(&self, pass: Pass, output_gradient: Tensor) -> Result<Vec<Option<Tensor>>> {
        let Pass { mut values, mut saved, .. } = pass;
        let mut gradients: Vec<Option<Tensor>> = vec![None; self.tensors.len()];
        let mut flowing: Vec<Option<Tensor>> = vec![None; self.graph.nodes.len()];
        flowing[self.graph.output] = Some(output_gradient);
        for (id, node) in self.graph.nodes.iter().enumerate().rev() {
            let (Some(dy), true) = (flowing[id].take(), self.differentiable[id]) else {
                values[id] = None;
                continue;
            };
            let keep = std::mem::replace(&mut saved[id], Saved::Nothing);
            if let (Op::Activation(_), Some(&input)) = (&node.op, node.inputs.first())
                && self.fused[input] == Some(id)
            {
                // The normalisation below it does both, and reads this value for it.
                flowing[input] = Some(dy);
                continue;
            }
            if node.op == Op::Switch {
                values[id] = None;
                accumulate(&mut flowing[node.inputs[0]], dy)?;
                continue;
            }
            let inputs: Vec<&Tensor> = node
                .inputs
                .iter()
                .map(|&input| values[self.fused[input].unwrap_or(input)].as_ref())
                .map(|value| value.ok_or_else(|| candle_core::Error::Msg(format!("node {id} reads a freed value"))))
                .collect::<Result<_>>()?;
            let value = values[self.fused[id].unwrap_or(id)].as_ref();
            let step = self.node_backward(id, node, &inputs, value, keep, &dy)?;
            values[id] = None;
            if let Some(relu) = self.fused[id] {
                values[relu] = None;
            }
            for (&input, gradient) in node.inputs.iter().zip(step.inputs) {
                if let Some(gradient) = gradient.filter(|_| self.differentiable[input]) {
                    accumulate(&mut flowing[input], gradient)?;
                }
            }
            for (&tensor, gradient) in node.tensors.iter().zip(step.tensors) {
                if let Some(gradient) = gradient.filter(|_| self.graph.tensors[tensor].role == Role::Parameter) {
                    accumulate(&mut gradients[tensor], gradient)?;
                }
            }
        }
        Ok(gradients)
    }

    fn node_backward(
        &self,
        id: NodeId,
        node: &Node,
        inputs: &[&Tensor],
        value: Option<&Tensor>,
        saved: Saved,
        dy: &Tensor,
    ) -> Result<Step> {
        match saved {
            Saved::Tape { inputs, tensors, output } => {
                let grads = (output * dy)?.sum_all()?.backward()?;
                let of =
                    |list: &[Tensor]| list.iter().map(|t| grads.get(t).map(Tensor::contiguous).transpose()).collect::<Result<Vec<_>>>();
                return Ok(Step { inputs: of(&inputs)?, tensors: of(&tensors)? });
            }
            Saved::Mask(mask) => return Ok(Step::of_input(dy.broadcast_mul(&mask)?)),
            Saved::Norm(saved) => {
                let affine = matches!(node.op, Op::BatchNorm { affine: true, .. });
                let weights = affine.then(|| (self.tensors[node.tensors[0]].clone(), self.tensors[node.tensors[1]].clone()));
                let y = if self.fused[id].is_some() { value } else { None };
                let (dx, dweight, dbias) = norm::backward(inputs[0], y, &weights, &saved, dy)?;
                let tensors = if affine { vec![Some(dweight), Some(dbias)] } else { Vec::new() };
                return Ok(Step { inputs: vec![Some(dx)], tensors });
            }
            Saved::Places(places) => return Ok(Step::of_input(pool::max_backward(inputs[0].dims(), &places, dy)?)),
            Saved::Nothing => {}
        }
        let tensors: Vec<&Tensor> = node.tensors.iter().map(|&tensor| &self.tensors[tensor]).collect();
        let wanted = |i: usize| node.inputs.get(i).is_some_and(|&input| self.differentiable[input]);
        let trained = |i: usize| match node.tensors.get(i) {
            Some(&tensor) => self.graph.tensors[tensor].role == Role::Parameter,
            None => wanted(i + 1),
        };
        let needs = conv::Needs { x: wanted(0), weight: trained(0), bias: trained(1) };
        operation::backward(&node.op, inputs, &tensors, dy, needs)
    }
}

fn accumulate(into: &mut Option<Tensor>, gradient: Tensor) -> Result<()> {
    *into = Some(match into.take() {
        Some(sum) => arithmetic::add(&sum, &gradient)?,
        None => gradient,
    });
    Ok(())
}

/// Leaves of a tape.
fn variables(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    tensors.iter().map(|t| if t.dtype() == DType::F32 { Ok(Var::from_tensor(t)?.into_inner()) } else { Ok(t.clone()) }).collect()
}
