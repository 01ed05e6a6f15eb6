//! Values and gradients of every operation and of ten whole networks against `PyTorch` (`scripts/goldens/proxy.py`) and
//! against finite differences, for our kernels and for the stock forms.

use candle_core::{Device, Tensor};
use eliteloop::base::device::Kernels;
use eliteloop::proxy::network::{Mode, Network};
use eliteloop::proxy::ops::loss::cross_entropy;
use eliteloop::tracer::graph::{Op, Role};
use eliteloop::tracer::{TraceOptions, trace};

use crate::goldens::{Case, Summary, cases, filled, here, started};
use crate::proxy_goldens::{GAIN, TRAIN, check_network, check_operations, check_steps, goldens, images, weighting};

const KERNELS: [Kernels; 2] = [Kernels::Own, Kernels::Stock];

fn loss(case: &Case, network: &mut Network) -> f64 {
    let y = network.forward(&images(1), TRAIN).unwrap().output;
    let terms = (y * weighting(case)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    terms.into_iter().map(f64::from).sum()
}

#[test]
fn every_operation_has_the_value_and_the_gradients_of_pytorch() {
    for kernels in KERNELS {
        check_operations(kernels, &Device::Cpu);
    }
}

#[test]
fn every_gradient_agrees_with_finite_differences() {
    const STEP: f32 = 2e-3;
    for case in cases() {
        let mut network = case.network(Kernels::Own, &Device::Cpu);
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

#[test]
fn ten_networks_have_the_loss_the_gradients_and_the_statistics_of_pytorch() {
    let goldens = goldens();
    assert_eq!(goldens.len(), 10);
    for (golden, graph) in goldens {
        let names: Vec<&String> = graph.tensors.iter().map(|spec| &spec.name).collect();
        assert_eq!(names, golden.keys.iter().collect::<Vec<_>>(), "{}: state-dict names", golden.name);
        for kernels in KERNELS {
            check_network(&golden, &graph, kernels, &Device::Cpu);
        }
    }
}

#[test]
fn two_optimiser_steps_go_where_pytorchs_go() {
    for (golden, graph) in goldens() {
        check_steps(&golden, &graph, Kernels::Own, &Device::Cpu);
    }
}

#[test]
fn gradients_are_the_same_bits_for_any_number_of_threads() {
    needs!(Minutes);
    let images = filled("images", &[40, 3, 16, 16]);
    let labels: Vec<u8> = (0..40).map(|i| (i * 7 % 10) as u8).collect();
    for (golden, graph) in goldens() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut network = started(&graph, Kernels::Own, GAIN, &Device::Cpu);
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
        constant: None,
    };
    for kernels in KERNELS {
        let mut network = case.network(kernels, &Device::Cpu);
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
                constant: None,
            };
            let mut network = case.network(kernels, &Device::Cpu);
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
        constant: None,
    };
    let mut network = case.network(Kernels::Own, &Device::Cpu);
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

#[test]
fn what_a_network_draws_follows_the_seed_of_the_step_and_is_off_in_evaluation() {
    let source = std::fs::read_to_string(here("tests/fixtures/operations/modes.py")).unwrap();
    let mut options = TraceOptions::new([3, 32, 32], 10);
    options.program = env!("CARGO_BIN_EXE_eliteloop").into();
    let graph = trace(&source, &options).unwrap();
    let images = filled("images", &[4, 3, 32, 32]);
    for kernels in KERNELS {
        let of = |mode: Mode| {
            let mut network = started(&graph, kernels, GAIN, &Device::Cpu);
            let pass = network.forward(&images, mode).unwrap();
            let logits = pass.output.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (logits, network, pass)
        };
        let (first, network, pass) = of(Mode::Train { dropout: 1 });
        assert_eq!(first, of(Mode::Train { dropout: 1 }).0);
        assert_ne!(first, of(Mode::Train { dropout: 2 }).0);
        assert_eq!(of(Mode::Evaluate).0, of(Mode::Evaluate).0);
        let gradients = network.backward(pass, Tensor::ones((4, 10), candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
        for (spec, gradient) in graph.tensors.iter().zip(&gradients) {
            assert_eq!(gradient.is_some(), spec.role == Role::Parameter, "{}", spec.name);
        }
    }
}
