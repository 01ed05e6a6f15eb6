//! The goldens of `scripts/goldens/proxy.py`, for any kernels on any device.
#![allow(dead_code)]

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use eliteloop::config::{self, ProxyConfig};
use eliteloop::network::graph::{Graph, Init, Node, Op, Role, TensorSpec};
use eliteloop::network::{TraceOptions, trace};
use eliteloop::proxy::network::{Kernels, Mode, Network};
use eliteloop::proxy::ops::loss::cross_entropy;
use eliteloop::proxy::optimizer::Optimizer;
use serde::Deserialize;

pub const TRAIN: Mode = Mode::Train { dropout: 0 };

pub fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn crc32(text: &str) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !text.bytes().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// The same numbers from -1 to 1 as the script's.
pub fn noise(name: &str, count: usize) -> Vec<f32> {
    let start = crc32(name);
    let hash = |i: usize| {
        let mut h = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(start);
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
            let value = values[i * (values.len() - 1) / 7];
            assert!((value - expected).abs() <= tolerance * size + floor, "{what}: entry {i} is {value}, not {expected}");
        }
    }
}

#[derive(Deserialize)]
pub struct Case {
    pub label: String,
    pub op: Op,
    pub inputs: Vec<Vec<usize>>,
    pub tensors: Vec<Vec<usize>>,
    pub shape: Vec<usize>,
    pub y: Summary,
    pub gradients: Vec<Summary>,
}

impl Case {
    /// A network whose parameters are the inputs and tensors of the one operation.
    pub fn network(&self, kernels: Kernels, device: &Device) -> Network {
        let spec = |name: String, shape: &Vec<usize>| TensorSpec {
            init: Init::Values(noise(&name, shape.iter().product())),
            name,
            shape: shape.clone(),
            role: Role::Parameter,
        };
        let inputs = self.inputs.iter().enumerate().map(|(i, shape)| spec(format!("{}.x{i}", self.label), shape));
        let tensors = self.tensors.iter().enumerate().map(|(i, shape)| spec(format!("{}.w{i}", self.label), shape));
        let node = |op: Op, inputs: Vec<usize>, tensors: Vec<usize>| Node {
            op,
            inputs,
            tensors,
            shape: Vec::new(),
            module: String::new(),
            line: 0,
        };
        let count = self.inputs.len();
        let mut nodes = vec![node(Op::Input, Vec::new(), Vec::new())];
        nodes.extend((0..count).map(|i| node(Op::Tensor, Vec::new(), vec![i])));
        nodes.push(node(self.op.clone(), (1..=count).collect(), (count..count + self.tensors.len()).collect()));
        let graph = Graph { output: nodes.len() - 1, nodes, tensors: inputs.chain(tensors).collect(), aliases: vec![] };
        Network::new(&graph, 0, device, kernels).unwrap_or_else(|e| panic!("{}: {e}", self.label))
    }

    pub fn weighting(&self) -> Tensor {
        filled(&format!("{}.dy", self.label), &self.shape)
    }

    pub fn loss(&self, network: &mut Network) -> f64 {
        let y = network.forward(&images(1), TRAIN).unwrap().output;
        let terms = (y * self.weighting()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        terms.into_iter().map(f64::from).sum()
    }
}

pub fn images(batch: usize) -> Tensor {
    Tensor::zeros((batch, 1, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap()
}

pub fn cases() -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(here("tests/goldens/proxy_operations.json")).unwrap()).unwrap()
}

#[derive(Deserialize)]
pub struct Golden {
    pub name: String,
    pub keys: Vec<String>,
    pub evaluation: Summary,
    pub loss: f64,
    pub gradients: std::collections::BTreeMap<String, Summary>,
    pub buffers: std::collections::BTreeMap<String, Summary>,
    pub sgd: std::collections::BTreeMap<String, Summary>,
    pub adamw: std::collections::BTreeMap<String, Summary>,
}

pub fn goldens() -> Vec<(Golden, Graph)> {
    let goldens: Vec<Golden> = serde_json::from_slice(&std::fs::read(here("tests/goldens/proxy_networks.json")).unwrap()).unwrap();
    let traced = |golden: Golden| {
        let source = std::fs::read_to_string(here("tests/fixtures/proxy").join(format!("{}.py", golden.name))).unwrap();
        let mut options = TraceOptions::new([3, 16, 16], 10);
        options.program = env!("CARGO_BIN_EXE_eliteloop").into();
        let graph = trace(&source, &options).unwrap_or_else(|e| panic!("{}: {e}", golden.name));
        (golden, graph)
    };
    goldens.into_iter().map(traced).collect()
}

/// The network with the script's starting values.
pub fn started(graph: &Graph, kernels: Kernels, device: &Device) -> Network {
    started_at(graph, kernels, device, 1.5)
}

/// `scale` is that of the weights before the division by the root of the fan-in.
pub fn started_at(graph: &Graph, kernels: Kernels, device: &Device, scale: f64) -> Network {
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
            _ => value.affine(scale / (spec.shape[1..].iter().product::<usize>() as f64).sqrt(), 0.0),
        };
        network.set(index, value.unwrap().to_device(device).unwrap()).unwrap();
    }
    network
}

pub const LABELS: [u8; 6] = [0, 7, 4, 1, 8, 5];

/// Every operation by itself: its value and its gradients.
pub fn check_operations(kernels: Kernels, device: &Device) {
    for case in cases() {
        let mut network = case.network(kernels, device);
        let what = format!("{} ({kernels:?})", case.label);
        let nothing = images(1).to_device(device).unwrap();
        let pass = network.forward(&nothing, TRAIN).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(pass.output.dims(), case.shape, "{what}");
        case.y.check(&pass.output, 1e-5, 1e-6, &what);
        let weighting = case.weighting().to_device(device).unwrap();
        let gradients = network.backward(pass, weighting).unwrap_or_else(|e| panic!("{what}: {e}"));
        for (i, (gradient, expected)) in gradients.iter().zip(&case.gradients).enumerate() {
            let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{what}: no gradient {i}"));
            expected.check(gradient, 1e-4, 2e-6, &format!("{what}, gradient {i}"));
        }
    }
}

/// Loss, gradients and running statistics of a network.
pub fn check_network(golden: &Golden, graph: &Graph, kernels: Kernels, device: &Device) {
    let what = format!("{} ({kernels:?})", golden.name);
    let images = filled("images", &[6, 3, 16, 16]).to_device(device).unwrap();
    let mut network = started(graph, kernels, device);
    golden.evaluation.check(&network.evaluate(&images).unwrap(), 1e-4, 1e-6, &format!("{what}, evaluation"));
    let pass = network.forward(&images, TRAIN).unwrap();
    let loss = cross_entropy(&pass.output, &LABELS, 0.1).unwrap();
    assert!((loss.value - golden.loss).abs() < 1e-5 * golden.loss, "{what}: loss {}, not {}", loss.value, golden.loss);
    let gradients = network.backward(pass, loss.gradient).unwrap();
    let largest = golden.gradients.values().fold(0f64, |m, g| g.norm.max(m));
    for (spec, gradient) in graph.tensors.iter().zip(&gradients) {
        if let Some(expected) = golden.gradients.get(&spec.name) {
            let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{what}: {} has no gradient", spec.name));
            // A bias in front of a normalisation has gradient 0 but for rounding.
            expected.check(gradient, 1e-3, 1e-6 * largest, &format!("{what}, gradient of {}", spec.name));
        }
    }
    for (spec, tensor) in graph.tensors.iter().zip(network.tensors()) {
        if let Some(expected) = golden.buffers.get(&spec.name) {
            let tensor = tensor.to_dtype(candle_core::DType::F32).unwrap();
            expected.check(&tensor, 1e-5, 1e-6, &format!("{what}, {}", spec.name));
        }
    }
}

/// Two steps of each optimiser.
pub fn check_steps(golden: &Golden, graph: &Graph, kernels: Kernels, device: &Device) {
    let images = filled("images", &[6, 3, 16, 16]).to_device(device).unwrap();
    for (kind, lr, weight_decay, expected) in
        [(config::Optimizer::Sgd, 0.05, 5e-4, &golden.sgd), (config::Optimizer::Adamw, 0.002, 0.02, &golden.adamw)]
    {
        let config = ProxyConfig { optimizer: kind, momentum: 0.9, weight_decay, clip: 1.0, ..ProxyConfig::default() };
        let mut network = started(graph, kernels, device);
        let mut optimizer = Optimizer::new(&config, graph.tensors.len());
        for _ in 0..2 {
            let pass = network.forward(&images, TRAIN).unwrap();
            let loss = cross_entropy(&pass.output, &LABELS, 0.0).unwrap();
            let gradients = network.backward(pass, loss.gradient).unwrap();
            optimizer.step(&mut network, &gradients, lr).unwrap();
        }
        for (spec, tensor) in graph.tensors.iter().zip(network.tensors()) {
            // AdamW turns a gradient that is rounding alone into a step of full size: such a bias goes anywhere.
            // So does that of attention's keys, which a softmax does not see; there our kernels happen to round as PyTorch does.
            let keys = kind == config::Optimizer::Adamw && spec.name.ends_with("qkv.bias") && kernels.on(device) == Kernels::Stock;
            let rounding = keys || golden.gradients.get(&spec.name).is_none_or(|g| g.norm < 1e-5);
            if let Some(expected) = expected.get(&spec.name).filter(|_| !rounding) {
                expected.check(tensor, 1e-3, 1e-6, &format!("{} {kind:?}, {}", golden.name, spec.name));
            }
        }
    }
}
