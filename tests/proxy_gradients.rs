//! Values and gradients of every operation and of ten whole networks against `PyTorch` (`scripts/goldens/proxy.py`) and
//! against finite differences, for our kernels and for the stock forms.

mod goldens;

use candle_core::{Device, Tensor};
use eliteloop::config::{self, ProxyConfig};
use eliteloop::network::graph::{Graph, Op};
use eliteloop::network::{TraceOptions, trace};
use eliteloop::proxy::network::{Kernels, Mode, Network};
use eliteloop::proxy::ops::loss::cross_entropy;
use eliteloop::proxy::optimizer::Optimizer;
use goldens::{Case, Summary, cases, filled, here, started, stored};
use serde::Deserialize;

const KERNELS: [Kernels; 2] = [Kernels::Own, Kernels::Stock];
const TRAIN: Mode = Mode::Train { dropout: 0 };

fn weighting(case: &Case) -> Tensor {
    filled(&format!("{}.dy", case.label), &case.shape)
}

fn loss(case: &Case, network: &mut Network) -> f64 {
    let y = network.forward(&images(1), TRAIN).unwrap().output;
    let terms = (y * weighting(case)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    terms.into_iter().map(f64::from).sum()
}

fn images(batch: usize) -> Tensor {
    Tensor::zeros((batch, 1, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn every_operation_has_the_value_and_the_gradients_of_pytorch() {
    for kernels in KERNELS {
        for case in cases() {
            let mut network = case.network(kernels);
            let what = format!("{} ({kernels:?})", case.label);
            let pass = network.forward(&images(1), TRAIN).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(pass.output.dims(), case.shape, "{what}");
            case.y.check(&pass.output, 1e-5, 1e-6, &what);
            let gradients = network.backward(pass, weighting(&case)).unwrap_or_else(|e| panic!("{what}: {e}"));
            for (i, (gradient, expected)) in gradients.iter().zip(&case.gradients).enumerate() {
                let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{what}: no gradient {i}"));
                expected.check(gradient, 1e-4, 2e-6, &format!("{what}, gradient {i}"));
            }
        }
    }
}

#[test]
fn every_gradient_agrees_with_finite_differences() {
    const STEP: f32 = 2e-3;
    for case in cases() {
        let mut network = case.network(Kernels::Own);
        let pass = network.forward(&images(1), TRAIN).unwrap();
        let gradients = network.backward(pass, weighting(&case)).unwrap();
        for (index, gradient) in gradients.into_iter().enumerate() {
            let gradient = gradient.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let start = network.tensors()[index].clone();
            let values = start.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let scale = gradient.iter().fold(0f32, |m, g| g.abs().max(m)).max(0.1);
            let (mut checked, mut kinks) = (0, 0);
            for at in (0..values.len()).step_by((values.len() / 9).max(1)) {
                let mut moved = |by: f32| {
                    let mut values = values.clone();
                    values[at] += by;
                    network.set(index, Tensor::from_vec(values, start.shape(), &Device::Cpu).unwrap()).unwrap();
                    loss(&case, &mut network)
                };
                let (up, middle, down) = (moved(STEP), moved(0.0), moved(-STEP));
                let (right, left) = ((up - middle) / f64::from(STEP), (middle - down) / f64::from(STEP));
                checked += 1;
                if (right - left).abs() > 0.05 * f64::from(scale) {
                    // A kink (or strong curvature) lies within the step: a difference says nothing there.
                    kinks += 1;
                    continue;
                }
                let slope = 0.5 * (right + left);
                let error = (slope - f64::from(gradient[at])).abs();
                assert!(error < 0.02 * f64::from(scale), "{}: tensor {index}, element {at}: {} is not {slope}", case.label, gradient[at]);
            }
            network.set(index, start).unwrap();
            assert!(kinks * 2 <= checked, "{}: tensor {index}: {kinks} of {checked} at kinks", case.label);
        }
    }
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    keys: Vec<String>,
    evaluation: Summary,
    loss: f64,
    gradients: std::collections::BTreeMap<String, Summary>,
    buffers: std::collections::BTreeMap<String, Summary>,
    sgd: std::collections::BTreeMap<String, Summary>,
    adamw: std::collections::BTreeMap<String, Summary>,
}

fn goldens() -> Vec<(Golden, Graph)> {
    let goldens: Vec<Golden> = stored("proxy_networks.json");
    let traced = |golden: Golden| {
        let source = std::fs::read_to_string(here("tests/fixtures/proxy").join(format!("{}.py", golden.name))).unwrap();
        let mut options = TraceOptions::new([3, 16, 16], 10);
        options.program = env!("CARGO_BIN_EXE_eliteloop").into();
        let graph = trace(&source, &options).unwrap_or_else(|e| panic!("{}: {e}", golden.name));
        (golden, graph)
    };
    goldens.into_iter().map(traced).collect()
}

/// The script's weights over one by the root of the inputs.
const GAIN: f64 = 1.5;

const LABELS: [u8; 6] = [0, 7, 4, 1, 8, 5];

#[test]
fn ten_networks_have_the_loss_the_gradients_and_the_statistics_of_pytorch() {
    let goldens = goldens();
    assert_eq!(goldens.len(), 10);
    let images = filled("images", &[6, 3, 16, 16]);
    for (golden, graph) in goldens {
        let names: Vec<&String> = graph.tensors.iter().map(|spec| &spec.name).collect();
        assert_eq!(names, golden.keys.iter().collect::<Vec<_>>(), "{}: state-dict names", golden.name);
        for kernels in KERNELS {
            let what = format!("{} ({kernels:?})", golden.name);
            let mut network = started(&graph, kernels, GAIN);
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
    }
}

#[test]
fn two_optimiser_steps_go_where_pytorchs_go() {
    let images = filled("images", &[6, 3, 16, 16]);
    for (golden, graph) in goldens() {
        for (kind, lr, weight_decay, expected) in
            [(config::Optimizer::Sgd, 0.05, 5e-4, &golden.sgd), (config::Optimizer::Adamw, 0.002, 0.02, &golden.adamw)]
        {
            let config = ProxyConfig { optimizer: kind, momentum: 0.9, weight_decay, clip: 1.0, ..ProxyConfig::default() };
            let mut network = started(&graph, Kernels::Own, GAIN);
            let mut optimizer = Optimizer::new(&config, graph.tensors.len());
            for _ in 0..2 {
                let pass = network.forward(&images, TRAIN).unwrap();
                let loss = cross_entropy(&pass.output, &LABELS, 0.0).unwrap();
                let gradients = network.backward(pass, loss.gradient).unwrap();
                optimizer.step(&mut network, &gradients, lr).unwrap();
            }
            for (spec, tensor) in graph.tensors.iter().zip(network.tensors()) {
                // AdamW turns a gradient that is rounding alone into a step of full size: such a bias goes anywhere.
                let rounding = golden.gradients.get(&spec.name).is_none_or(|g| g.norm < 1e-5);
                if let Some(expected) = expected.get(&spec.name).filter(|_| !rounding) {
                    expected.check(tensor, 1e-3, 1e-6, &format!("{} {kind:?}, {}", golden.name, spec.name));
                }
            }
        }
    }
}

#[test]
fn gradients_are_the_same_bits_for_any_number_of_threads() {
    let images = filled("images", &[40, 3, 16, 16]);
    let labels: Vec<u8> = (0..40).map(|i| (i * 7 % 10) as u8).collect();
    for (golden, graph) in goldens() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut network = started(&graph, Kernels::Own, GAIN);
                let pass = network.forward(&images, TRAIN).unwrap();
                let loss = cross_entropy(&pass.output, &labels, 0.0).unwrap();
                let gradients = network.backward(pass, loss.gradient).unwrap();
                let bits =
                    |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
                gradients.iter().flatten().map(bits).collect::<Vec<_>>()
            })
        };
        let one = run(1);
        assert_eq!(one, run(2), "{}", golden.name);
        assert_eq!(one, run(3), "{}", golden.name);
    }
}

#[test]
fn a_maximum_that_occurs_twice_sends_its_gradient_to_the_first() {
    let case = Case {
        label: "ties".into(),
        op: serde_json::from_str(r#"{"max_pool2d":{"kernel":[2,2],"stride":[2,2],"padding":[0,0],"dilation":[1,1],"ceil":false}}"#)
            .unwrap(),
        inputs: vec![vec![1, 1, 2, 4]],
        tensors: Vec::new(),
        shape: vec![1, 1, 1, 2],
        y: Summary { norm: 0.0, entries: Vec::new() },
        gradients: Vec::new(),
    };
    for kernels in KERNELS {
        let mut network = case.network(kernels);
        network.set(0, Tensor::new(&[[[[1f32, 1., 0., 2.], [1., 0., 2., 2.]]]], &Device::Cpu).unwrap()).unwrap();
        let pass = network.forward(&images(1), TRAIN).unwrap();
        let gradients = network.backward(pass, Tensor::new(&[[[[3f32, 5.]]]], &Device::Cpu).unwrap()).unwrap();
        let gradient = gradients[0].as_ref().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(gradient, [3., 0., 0., 5., 0., 0., 0., 0.], "{kernels:?}");
    }
}

#[test]
fn rectifiers_pass_nothing_at_zero() {
    for kind in ["relu", "relu6"] {
        for kernels in KERNELS {
            let case = Case {
                label: "zero".into(),
                op: serde_json::from_str(&format!(r#"{{"activation":"{kind}"}}"#)).unwrap(),
                inputs: vec![vec![3]],
                tensors: Vec::new(),
                shape: vec![3],
                y: Summary { norm: 0.0, entries: Vec::new() },
                gradients: Vec::new(),
            };
            let mut network = case.network(kernels);
            network.set(0, Tensor::new(&[-1f32, 0.0, 1.0], &Device::Cpu).unwrap()).unwrap();
            let pass = network.forward(&images(1), TRAIN).unwrap();
            let gradients = network.backward(pass, Tensor::new(&[7f32, 7., 7.], &Device::Cpu).unwrap()).unwrap();
            assert_eq!(gradients[0].as_ref().unwrap().to_vec1::<f32>().unwrap(), [0., 0., 7.], "{kind} {kernels:?}");
        }
    }
}

#[test]
fn dropout_keeps_the_mean_and_its_backward_uses_the_same_mask() {
    let case = Case {
        label: "dropout".into(),
        op: Op::Dropout { p: 0.25, channels: false },
        inputs: vec![vec![100, 100]],
        tensors: Vec::new(),
        shape: vec![100, 100],
        y: Summary { norm: 0.0, entries: Vec::new() },
        gradients: Vec::new(),
    };
    let mut network = case.network(Kernels::Own);
    let ones = Tensor::ones((100, 100), candle_core::DType::F32, &Device::Cpu).unwrap();
    network.set(0, ones.clone()).unwrap();
    let pass = network.forward(&images(1), Mode::Train { dropout: 5 }).unwrap();
    let y = pass.output.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mean = y.iter().sum::<f32>() / 1e4;
    assert!((mean - 1.0).abs() < 0.03 && y.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6), "{mean}");
    let gradient = network.backward(pass, ones).unwrap()[0].as_ref().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(gradient, y);
    let again = network.forward(&images(1), Mode::Train { dropout: 6 }).unwrap().output.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_ne!(again, y);
    let evaluated = network.evaluate(&images(1)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(evaluated.iter().all(|&v| v == 1.0));
}
