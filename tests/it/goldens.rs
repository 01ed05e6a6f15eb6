//! What the scripts under `scripts/goldens` compute with too: numbers out of a hash, networks that start with them, single operations.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use eliteloop::base::device::Kernels;
use eliteloop::proxy::network::Network;
use eliteloop::tracer::graph::{Dim, Graph, Init, Node, Op, Role, TensorSpec};
use eliteloop::tracer::infer;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of `tests/goldens`.
pub fn stored<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(here("tests/goldens").join(name)).unwrap()).unwrap()
}

/// Numbers from -1 to 1: an integer hash of the name and the position.
pub fn noise(name: &str, count: usize) -> Vec<f32> {
    let mut crc = flate2::Crc::new();
    crc.update(name.as_bytes());
    let hash = |i: usize| {
        let mut h = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(crc.sum());
        for (shift, factor) in [(15, 2_246_822_519), (13, 3_266_489_917)] {
            h = (h ^ (h >> shift)).wrapping_mul(factor);
        }
        h ^ (h >> 16)
    };
    (0..count).map(|i| (f64::from(hash(i)) / 2f64.powi(31) - 1.0) as f32).collect()
}

pub fn filled(name: &str, shape: &[usize]) -> Tensor {
    Tensor::from_vec(noise(name, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

/// The network with the scripts' starting values; weights have `gain` over one by the root of their inputs.
pub fn started(graph: &Graph, kernels: Kernels, gain: f64, device: &Device) -> Network {
    let mut network = Network::new(graph, 0, device, kernels).unwrap();
    for (index, spec) in graph.tensors.iter().enumerate() {
        if spec.role == Role::Counter {
            continue;
        }
        let value = filled(&spec.name, &spec.shape);
        let last = spec.name.rsplit('.').next().unwrap();
        let value = match spec.shape.len() {
            _ if last == "running_var" => value.affine(0.5, 1.0),
            0 | 1 => value.affine(0.2, if last == "weight" { 1.0 } else { 0.0 }),
            _ => value.affine(gain / (spec.shape[1..].iter().product::<usize>() as f64).sqrt(), 0.0),
        };
        network.set(index, value.unwrap().to_device(device).unwrap()).unwrap();
    }
    network
}

/// A tensor's norm and some entries spread over it.
#[derive(Deserialize)]
pub struct Summary {
    pub norm: f64,
    pub entries: Vec<f64>,
}

impl Summary {
    /// Relative to the size of the tensor's elements; `floor` for what is nothing but rounding.
    pub fn check(&self, tensor: &Tensor, tolerance: f64, floor: f64, what: &str) {
        let values: Vec<f64> = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
        let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!((norm - self.norm).abs() <= tolerance * self.norm + floor, "{what}: norm {norm}, not {}", self.norm);
        let size = (self.norm / (values.len() as f64).sqrt()).max(self.entries.iter().fold(0.0, |m, e| e.abs().max(m)));
        for (i, expected) in self.entries.iter().enumerate() {
            let value = values[i * (values.len() - 1) / (self.entries.len() - 1)];
            assert!((value - expected).abs() <= tolerance * size + floor, "{what}: entry {i} is {value}, not {expected}");
        }
    }
}

/// One operation of `proxy_operations.json`.
#[derive(Deserialize)]
pub struct Case {
    pub label: String,
    pub op: Op,
    pub inputs: Vec<Vec<usize>>,
    pub tensors: Vec<Vec<usize>>,
    pub shape: Vec<usize>,
    pub y: Summary,
    pub gradients: Vec<Summary>,
    /// An input that is known and has no gradient.
    #[serde(default)]
    pub constant: Option<Known>,
}

/// A condition or an index: which input it is, and its values.
#[derive(Deserialize)]
pub struct Known {
    pub at: usize,
    pub values: Vec<f32>,
    pub shape: Vec<usize>,
}

pub fn cases() -> Vec<Case> {
    stored("proxy_operations.json")
}

impl Case {
    /// A network whose parameters are the inputs and tensors of the one operation, and whose output is its value.
    pub fn network(&self, kernels: Kernels, device: &Device) -> Network {
        let spec = |name: String, shape: &Vec<usize>| TensorSpec {
            init: Init::Values(noise(&name, shape.iter().product())),
            name,
            shape: shape.clone(),
            role: Role::Parameter,
        };
        let inputs = self.inputs.iter().enumerate().map(|(i, shape)| spec(format!("{}.x{i}", self.label), shape));
        let own = self.tensors.iter().enumerate().map(|(i, shape)| spec(format!("{}.w{i}", self.label), shape));
        let tensors: Vec<TensorSpec> = inputs.chain(own).collect();
        let count = self.inputs.len();
        let shapes: Vec<Vec<Dim>> = self.inputs.iter().map(|shape| shape.iter().map(|&n| Dim::Fixed(n)).collect()).collect();
        let node = |op, inputs, tensors, shape| Node { op, inputs, tensors, shape, module: String::new(), line: 0 };
        let mut nodes = vec![node(Op::Input, vec![], vec![], vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)])];
        nodes.extend((0..count).map(|i| node(Op::Tensor, vec![], vec![i], shapes[i].clone())));
        let owned: Vec<usize> = (count..tensors.len()).collect();
        let mut inputs: Vec<usize> = (1..=count).collect();
        if let Some(Known { at, values, shape }) = &self.constant {
            inputs.insert(*at, nodes.len());
            let op = Op::Constant { values: values.clone(), shape: shape.clone() };
            nodes.push(node(op, vec![], vec![], shape.iter().map(|&n| Dim::Fixed(n)).collect()));
        }
        let read: Vec<&[Dim]> = inputs.iter().map(|&input| nodes[input].shape.as_slice()).collect();
        let shape = infer(&self.op, &read, &owned.iter().map(|&t| &tensors[t]).collect::<Vec<_>>());
        nodes.push(node(self.op.clone(), inputs, owned, shape.unwrap_or_else(|e| panic!("{}: {e}", self.label))));
        let graph = Graph { output: nodes.len() - 1, nodes, tensors, aliases: vec![] };
        Network::new(&graph, 0, device, kernels).unwrap_or_else(|e| panic!("{}: {e}", self.label))
    }
}
