//! The families of networks under `tests/fixtures/networks` against `PyTorch` (`scripts/goldens/families.py`) and `fvcore`
//! (`scripts/goldens/macs.py`): state dicts, logits, gradients of the first step, multiply-accumulates.

use std::collections::BTreeMap;

use candle_core::Device;
use eliteloop::base::device::Kernels;
use eliteloop::base::hash::sha256;
use eliteloop::proxy::network::Mode;
use eliteloop::proxy::ops::loss::cross_entropy;
use eliteloop::tracer::cost::cost;
use eliteloop::tracer::graph::{Graph, Op, TensorSpec};
use eliteloop::tracer::{TraceOptions, trace};
use serde::Deserialize;

use crate::goldens::{Summary, filled, here, started, stored};

/// The scripts' weights over one by the root of the inputs.
const GAIN: f64 = 2.4;

fn traced(file: &str, entry: Option<&String>) -> (String, Graph) {
    let what = format!("{file} {}", entry.map_or("", |entry| entry));
    let source = std::fs::read_to_string(here("tests/fixtures/networks").join(format!("{file}.py"))).unwrap();
    let mut options = TraceOptions::new([3, 32, 32], 10);
    options.program = env!("CARGO_BIN_EXE_eliteloop").into();
    options.entry = entry.cloned();
    let graph = trace(&source, &options).unwrap_or_else(|e| panic!("{what}: {e}"));
    (what, graph)
}

#[derive(Deserialize)]
struct Family {
    file: String,
    entry: Option<String>,
    parameters: usize,
    tensors: usize,
    sha256: String,
    logits: Vec<f64>,
}

#[test]
#[allow(clippy::print_stderr)]
fn families_of_networks_have_the_state_dicts_and_the_logits_of_pytorch() {
    needs!(Minutes);
    let families: Vec<Family> = stored("families.json");
    assert!(families.len() >= 20);
    let images = filled("images", &[2, 3, 32, 32]);
    for family in families {
        let (what, graph) = traced(&family.file, family.entry.as_ref());
        let line = |t: &TensorSpec| format!("{} {}\n", t.name, t.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"));
        let state: String = graph.tensors.iter().map(line).collect();
        assert_eq!((graph.parameters(), graph.tensors.len()), (family.parameters, family.tensors), "{what}: {state}");
        assert_eq!(sha256(&state), family.sha256, "{what}: {state}");
        let logits =
            started(&graph, Kernels::Own, GAIN, &Device::Cpu).evaluate(&images).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let size = family.logits.iter().fold(0.0, |m: f64, v| v.abs().max(m));
        let error = logits.iter().zip(&family.logits).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        // The table of the log: cargo test --release --test families -- --nocapture
        eprintln!("{what}: {} parameters, logits differ by {:.1e} of the largest", family.parameters, error / size);
        assert!(error < 2e-5 * size, "{what}: logits differ by {error:e} of {size}");
    }
}

#[derive(Deserialize)]
struct FirstStep {
    file: String,
    entry: Option<String>,
    loss: f64,
    gradients: BTreeMap<String, Summary>,
}

#[test]
fn the_first_step_of_families_has_the_loss_and_the_gradients_of_pytorch() {
    needs!(Minutes);
    let steps: Vec<FirstStep> = stored("family_gradients.json");
    assert!(steps.len() >= 10);
    let images = filled("images", &[4, 3, 32, 32]);
    for step in steps {
        let (what, mut graph) = traced(&step.file, step.entry.as_ref());
        for node in &mut graph.nodes {
            if let Op::Dropout { p, .. } = &mut node.op {
                *p = 0.0;
            }
        }
        let mut network = started(&graph, Kernels::Own, GAIN, &Device::Cpu);
        let pass = network.forward(&images, Mode::Train { dropout: 0 }).unwrap();
        let loss = cross_entropy(&pass.output, &[3, 7, 0, 3], 0.0).unwrap();
        assert!((loss.value - step.loss).abs() < 2e-5 * step.loss, "{what}: loss {}, not {}", loss.value, step.loss);
        let gradients = network.backward(pass, loss.gradient).unwrap();
        let largest = step.gradients.values().fold(0f64, |m, g| g.norm.max(m));
        let mut seen = 0;
        for (spec, gradient) in graph.tensors.iter().zip(&gradients) {
            let Some(expected) = step.gradients.get(&spec.name) else { continue };
            let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{what}: {} has no gradient", spec.name));
            // A bias in front of a normalisation has gradient 0 but for rounding.
            expected.check(gradient, 2e-3, 1e-6 * largest, &format!("{what}, gradient of {}", spec.name));
            seen += 1;
        }
        assert_eq!(seen, step.gradients.len(), "{what}: parameters are missing");
    }
}

#[derive(Deserialize)]
struct Counted {
    file: String,
    entry: Option<String>,
    macs: u64,
}

#[test]
fn multiply_accumulates_are_those_that_fvcore_counts() {
    needs!(Minutes);
    let counts: Vec<Counted> = stored("macs.json");
    assert!(counts.len() >= 20);
    for count in counts {
        let (what, graph) = traced(&count.file, count.entry.as_ref());
        assert_eq!(cost(&graph).macs, count.macs, "{what}");
    }
}
