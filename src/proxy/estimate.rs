//! Cheap estimates of a network's quality from its fresh parameters, before any training.
//!
//! - parameters: trained elements;
//! - synflow: `ln sum |theta * dR/dtheta|` where R is the sum of the outputs for an image of ones, every parameter replaced by its
//!   absolute value and batch normalisation and dropout by the identity (Tanaka et al. 2020);
//! - nwot: `ln |det K|`, where `K[i][j]` counts the rectifiers that images i and j both open or both close (Mellor et al. 2021).

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::augment::{Normal, plain};
use super::dataset::Split;
use super::network::{Mode, Network};
use crate::base::device::Kernels;
use crate::tracer::graph::{Activation, Graph, Op, Role};

/// Images that nwot compares.
const IMAGES: usize = 32;

/// Scores of one network under one seed; `None` where a score is not defined (no rectifier, a sum that overflows).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimates {
    pub(crate) parameters: usize,
    pub(crate) synflow: Option<f64>,
    pub(crate) nwot: Option<f64>,
}

/// The estimates for the parameters that a training with this seed starts from.
pub(crate) fn estimate(graph: &Graph, split: &Split, seed: u64) -> Result<Estimates> {
    Ok(Estimates { parameters: graph.parameters(), synflow: synflow(graph, split, seed)?, nwot: nwot(graph, split, seed)? })
}

fn synflow(graph: &Graph, split: &Split, seed: u64) -> Result<Option<f64>> {
    let mut linear = graph.clone();
    for node in &mut linear.nodes {
        if matches!(node.op, Op::BatchNorm { .. } | Op::Dropout { .. }) {
            node.op = Op::Affine { scale: 1.0, shift: 0.0 };
            node.tensors.clear();
        }
    }
    let mut network = Network::new(&linear, seed, &Device::Cpu, Kernels::Own)?;
    for index in 0..graph.tensors.len() {
        if graph.tensors[index].role == Role::Parameter {
            network.set(index, network.tensors()[index].abs()?)?;
        }
    }
    let [channels, height, width] = split.format.shape;
    let ones = Tensor::ones((1, channels, height, width), candle_core::DType::F32, &Device::Cpu)?;
    let pass = network.forward(&ones, Mode::Train { dropout: 0 })?;
    let gradient = pass.output.ones_like()?;
    let gradients = network.backward(pass, gradient)?;
    let mut total = 0f64;
    for (weight, gradient) in network.tensors().iter().zip(gradients) {
        if let Some(gradient) = gradient {
            let products = (weight * gradient)?.flatten_all()?.to_vec1::<f32>()?;
            total += products.iter().map(|&p| f64::from(p).abs()).sum::<f64>();
        }
    }
    Ok(Some(total.ln()).filter(|score| score.is_finite()))
}

fn nwot(graph: &Graph, split: &Split, seed: u64) -> Result<Option<f64>> {
    let indices: Vec<u32> = (0..split.train.len().min(IMAGES) as u32).collect();
    let count = indices.len();
    let [channels, height, width] = split.format.shape;
    let pixels = plain(&split.train, &indices, &split.format, &Normal::new(&split.format));
    let images = Tensor::from_vec(pixels, (count, channels, height, width), &Device::Cpu)?;
    let mut network = Network::new(graph, seed, &Device::Cpu, Kernels::Own)?;
    let pass = network.forward(&images, Mode::Train { dropout: 0 })?;
    let mut codes: Vec<Vec<u64>> = vec![Vec::new(); count];
    let mut units = 0;
    for (id, node) in graph.nodes.iter().enumerate() {
        let (Op::Activation(kind), Some(value)) = (&node.op, pass.value(id)) else { continue };
        if !has_sign(*kind) || value.dims().first() != Some(&count) {
            continue;
        }
        let values = value.flatten_all()?.to_vec1::<f32>()?;
        let own = values.len() / count;
        for (code, values) in codes.iter_mut().zip(values.chunks_exact(own)) {
            code.extend(values.chunks(64).map(|chunk| (0..).zip(chunk).map(|(i, &v)| u64::from(v > 0.0) << i).sum::<u64>()));
        }
        units += own;
    }
    if units == 0 {
        return Ok(None);
    }
    let alike = |a: &[u64], b: &[u64]| units as f64 - a.iter().zip(b).map(|(a, b)| f64::from((a ^ b).count_ones())).sum::<f64>();
    let kernel = codes.iter().map(|a| codes.iter().map(|b| alike(a, b)).collect()).collect();
    Ok(log_determinant(kernel))
}

/// Whether the value of the activation is above 0 exactly where its input is.
fn has_sign(kind: Activation) -> bool {
    !matches!(kind, Activation::Sigmoid | Activation::Hardsigmoid | Activation::Softplus)
}

/// ln |det| by elimination with the largest pivot of each column.
fn log_determinant(mut rows: Vec<Vec<f64>>) -> Option<f64> {
    let n = rows.len();
    let mut total = 0.0;
    for column in 0..n {
        let best = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, best);
        let (above, below) = rows.split_at_mut(column + 1);
        let pivot = &above[column];
        total += pivot[column].abs().ln();
        for row in below {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    Some(total).filter(|total| total.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::dataset::{self, Part};
    use crate::tracer::graph::{Dim, Init, Node, TensorSpec};

    fn two_layers(activation: Activation) -> Graph {
        let node = |op, inputs, tensors, shape: &[usize]| {
            let shape = std::iter::once(Dim::Batch(1)).chain(shape.iter().map(|&n| Dim::Fixed(n))).collect();
            Node { op, inputs, tensors, shape, module: String::new(), line: 0 }
        };
        let tensor = |name: &str, shape: &[usize], value: f64| TensorSpec {
            name: name.into(),
            shape: shape.to_vec(),
            role: Role::Parameter,
            init: Init::Constant(value),
        };
        Graph {
            aliases: vec![],
            nodes: vec![
                node(Op::Input, vec![], vec![], &[3, 32, 32]),
                node(Op::Reshape { shape: vec![Dim::Batch(1), Dim::Fixed(3072)] }, vec![0], vec![], &[3072]),
                node(Op::Linear { out: 5, bias: false }, vec![1], vec![0], &[5]),
                node(Op::Activation(activation), vec![2], vec![], &[5]),
                node(Op::Linear { out: 10, bias: false }, vec![3], vec![1], &[10]),
            ],
            output: 4,
            tensors: vec![tensor("a", &[5, 3072], -0.5), tensor("b", &[10, 5], 0.25)],
        }
    }

    fn split() -> Split {
        Split::draw(&dataset::load("synthetic", std::path::Path::new(""), Part::Train).unwrap(), 1, 64, 16).unwrap()
    }

    #[test]
    fn synflow_of_two_linear_layers_is_twice_the_sum_of_the_outputs() {
        // R = 10 * 5 * 0.25 * 3072 * 0.5, and each layer's sum of theta * dR/dtheta is R.
        let score = estimate(&two_layers(Activation::Relu), &split(), 0).unwrap();
        assert_eq!(score.parameters, 5 * 3072 + 50);
        assert!((score.synflow.unwrap() - (2.0 * 10.0 * 5.0 * 0.25 * 3072.0 * 0.5f64).ln()).abs() < 1e-5);
    }

    #[test]
    fn nwot_is_not_defined_for_images_of_one_code_nor_without_rectifiers() {
        assert_eq!(estimate(&two_layers(Activation::Relu), &split(), 0).unwrap().nwot, None);
        assert_eq!(estimate(&two_layers(Activation::Sigmoid), &split(), 0).unwrap().nwot, None);
    }

    #[test]
    fn a_determinant_with_a_zero_pivot_is_found() {
        let value = log_determinant(vec![vec![0.0, 2.0, 1.0], vec![3.0, 1.0, 0.0], vec![1.0, 0.0, 4.0]]).unwrap();
        assert!((value - 25f64.ln()).abs() < 1e-12);
        assert_eq!(log_determinant(vec![vec![1.0, 2.0], vec![2.0, 4.0]]), None);
    }
}
