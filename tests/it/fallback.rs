//! What runs on a card, forced on the processor: candle's own operations in place of our kernels, weights as a card has them. The goldens and
//! tolerances are those of the kernels.

use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor};
use eliteloop::base::device::Kernels;
use eliteloop::decoder::files::shape::Family;
use eliteloop::decoder::lora::adamw::AdamW;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::score::log_p;
use eliteloop::decoder::lora::tune::{Plan, Schedule, TuneLog, tune};
use eliteloop::decoder::model::cache::Branches;
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use eliteloop::decoder::sample::generate::{Request, Sample, generate};
use eliteloop::decoder::sample::sampling::Sampling;
use eliteloop::decoder::settings::llm::CardDtype;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::TuneConfig;

use crate::goldens;
use crate::llm_goldens::{by_formula, check_gradients, check_logits, evaluate, example, gradient, norm, relative};
use crate::models::{largest_difference, smollm, smollm_file, tiny, tiny_config, weights};
use crate::proxy_goldens;

const FAMILIES: [Family; 3] = [Family::Llama, Family::Qwen2, Family::Qwen3];

/// The default model as a card would have it.
fn smollm_as_on_a_card(dtype: CardDtype, recompute: bool) -> Decoder {
    Decoder::open_on(&smollm_file(), dtype, &Device::Cpu, recompute).unwrap()
}

fn tiny_as_on_a_card(family: Family, seed: u64, dtype: CardDtype) -> Decoder {
    let config = tiny_config(family);
    let weights = weights(&config, seed);
    Decoder::new_on(&config, |name| Ok(weights[name].clone()), dtype, &Device::Cpu).unwrap()
}

fn tokens(n: usize, step: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * step + 13) % 97).collect()
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_and_gradients_of_the_default_model_equal_pytorch_and_peft() {
    needs!(Model);
    for recompute in [true, false] {
        let decoder = smollm_as_on_a_card(CardDtype::F32, recompute);
        if recompute {
            check_logits(&decoder, 2e-3);
        }
        check_gradients(&decoder);
    }
}

#[test]
fn one_layer_at_a_time_gives_the_gradients_of_the_whole_graph_and_of_our_kernels() {
    for family in FAMILIES {
        let config = tiny_config(family);
        for dropout in [0.0, 0.3] {
            let lora = by_formula(&config, &LoraConfig { rank: 3, dropout, ..LoraConfig::default() }, 1.0);
            let examples =
                [example(&tokens(20, 7), &tokens(6, 5)), example(&tokens(20, 7), &tokens(9, 11)), example(&tokens(12, 3), &tokens(4, 2))];
            let (nll, own) = gradient(&tiny(&config, 3), &lora, &examples, 11);
            for recompute in [false, true] {
                let decoder = tiny_as_on_a_card(family, 3, CardDtype::F32).with_recompute(recompute);
                let (stock_nll, stock) = gradient(&decoder, &lora, &examples, 11);
                assert!((stock_nll / nll - 1.0).abs() < 1e-5, "{family:?}: {stock_nll} against {nll}");
                assert!(relative(&stock, &own) < 1e-4, "{family:?}, dropout {dropout}, recompute {recompute}: {}", relative(&stock, &own));
            }
        }
    }
}

#[test]
fn narrow_weights_change_little_and_the_adapter_stays_exact() {
    for family in FAMILIES {
        let (exact, narrow) = (tiny_as_on_a_card(family, 4, CardDtype::F32), tiny_as_on_a_card(family, 4, CardDtype::Bf16));
        let logits = [&exact, &narrow].map(|decoder| evaluate(decoder, &tokens(30, 7)));
        let spread = logits[0].abs().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap();
        let off = largest_difference(&logits[0], &logits[1]);
        assert!(off > 0.0 && off < 0.2 * spread, "{family:?}: {off} of {spread}");
        let lora = by_formula(exact.config(), &LoraConfig { rank: 3, ..LoraConfig::default() }, 1.0);
        let examples = [example(&tokens(20, 7), &tokens(6, 5))];
        let [a, b] = [&exact, &narrow].map(|decoder| gradient(decoder, &lora, &examples, 0).1);
        assert!(relative(&b, &a) < 0.1, "{family:?}: {}", relative(&b, &a));
        assert!(norm(&a.into_values().flatten().collect::<Vec<_>>()) > 0.0);
    }
}

#[test]
fn decoding_equals_full_passes_and_branches_can_be_cut_forked_and_moved() {
    for family in FAMILIES {
        let decoder = tiny_as_on_a_card(family, 5, CardDtype::F32);
        let lora = by_formula(decoder.config(), &LoraConfig { rank: 3, ..LoraConfig::default() }, 1.0);
        let decoder = decoder.with_adapter(&lora).unwrap();
        let vocab = decoder.config().vocab;
        let full = |sequence: &[u32]| -> Vec<f32> { evaluate(&decoder, sequence).get(sequence.len() - 1).unwrap().to_vec1().unwrap() };
        // The adapter for good equals the adapter given.
        let own = tiny(decoder.config(), 5);
        let hidden = own.hidden(&Rows::single(&tokens(20, 7)), Some(&lora), Mode::Evaluate).unwrap();
        assert!(largest_difference(&own.logits(&hidden).unwrap(), &evaluate(&decoder, &tokens(20, 7))) < 1e-4);
        // A prefix that was cut back and went on.
        let prompt = tokens(20, 7);
        let mut prefix = decoder.prefill(&[&prompt[..12], &[1, 2, 3]].concat(), None).unwrap();
        prefix.truncate(12);
        decoder.extend(&mut prefix, &prompt[12..], None).unwrap();
        assert!(apart(prefix.logits().unwrap(), &full(&prompt)) < 1e-4);
        prefix.truncate(19);
        let shared = &prompt[..19];

        let mut branches = Branches::new(&decoder, &prefix, 3, 4);
        let mut texts = vec![shared.to_vec(); 3];
        let step = |branches: &mut Branches, texts: &mut Vec<Vec<u32>>, tokens: &[u32]| {
            let logits = branches.step(tokens).unwrap();
            for ((text, token), logits) in texts.iter_mut().zip(tokens).zip(logits.chunks(vocab)) {
                text.push(*token);
                assert!(apart(logits, &full(text)) < 1e-4, "{family:?} {text:?}");
            }
        };
        step(&mut branches, &mut texts, &[1, 2, 3]);
        step(&mut branches, &mut texts, &[4, 5, 6]);
        branches.select(&[2, 0, 2]);
        branches.select(&[1, 0, 2, 1]);
        texts = [0, 2, 2, 0].map(|i| texts[i].clone()).to_vec();
        step(&mut branches, &mut texts, &[7, 8, 9, 10]);
        branches.truncate(1, 1);
        texts[1].truncate(20);
        step(&mut branches, &mut texts, &[11, 12, 13, 14]);
        assert!(branches.step(&[1, 2, 3, 4]).is_err(), "a full branch takes no more");
        branches.select(&[1]);
        texts = vec![texts[1].clone()];
        step(&mut branches, &mut texts, &[15]);
    }
}

fn sample(decoder: &Decoder) -> Vec<Sample> {
    let requests = [Request { prompt: tokens(40, 7), seeds: vec![1, 2, 3] }];
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 12, end: 2 };
    generate(decoder, &requests, &sampling, &mut |_| Ok(())).unwrap().remove(0)
}

#[test]
fn the_default_model_writes_the_same_and_scores_it_the_same() {
    needs!(Model);
    let stock = smollm_as_on_a_card(CardDtype::F32, false);
    let (own, stock_samples) = (sample(smollm()), sample(&stock));
    for (own, stock) in own.iter().zip(&stock_samples) {
        assert_eq!(own.tokens, stock.tokens);
        assert!((own.log_p - stock.log_p).abs() < 1e-4 * own.log_p.abs(), "{} against {}", own.log_p, stock.log_p);
    }
    let examples: Vec<_> = stock_samples.iter().map(|sample| example(&tokens(40, 7), &sample.tokens)).collect();
    for (again, sample) in log_p(&stock, None, &examples, 512).unwrap().iter().zip(&stock_samples) {
        assert!((again - sample.log_p).abs() < 1e-4 * again.abs());
    }
}

fn tuned(decoder: &Decoder) -> (Vec<Vec<f32>>, TuneLog) {
    let mut lora = Lora::new(decoder.config(), &LoraConfig::default(), 2).unwrap();
    let mut optimiser = AdamW::new(lora.layers().iter().map(|l| l.elem_count()));
    let config = TuneConfig { epochs: 2, warmup_steps: 0, ..TuneConfig::default() };
    let plan = Plan {
        config: &config,
        batch: None,
        schedule: Schedule::Constant,
        budget: 512,
        seed: 5,
        abort: &AtomicBool::new(false),
        weights: &[],
        reference: None,
    };
    let examples =
        [example(&tokens(30, 7), &tokens(9, 5)), example(&tokens(30, 7), &tokens(7, 11)), example(&tokens(12, 3), &tokens(5, 2))];
    let log = tune(decoder, &mut lora, &mut optimiser, &examples, &plan, |_, _, _| ()).unwrap();
    (lora.snapshot().unwrap(), log)
}

#[test]
fn two_tuning_steps_go_where_our_kernels_go() {
    needs!(Model);
    let (own, log) = tuned(smollm());
    for recompute in [false, true] {
        let (stock, stock_log) = tuned(&smollm_as_on_a_card(CardDtype::F32, recompute));
        for (a, b) in log.steps.iter().zip(&stock_log.steps) {
            assert!((a.loss / b.loss - 1.0).abs() < 1e-4 && (a.gradient_norm / b.gradient_norm - 1.0).abs() < 1e-3, "{a:?} against {b:?}");
        }
        assert!((log.loss_after / stock_log.loss_after - 1.0).abs() < 1e-3, "{} against {}", log.loss_after, stock_log.loss_after);
        // AdamW's first steps are signs of gradients, so those near zero may go either way.
        let moved: Vec<f32> = own.concat().iter().zip(stock.concat()).map(|(a, b)| a - b).collect();
        let start = Lora::new(smollm().config(), &LoraConfig::default(), 2).unwrap().snapshot().unwrap().concat();
        let way: Vec<f32> = own.concat().iter().zip(start).map(|(a, b)| a - b).collect();
        assert!(norm(&moved) < 0.1 * norm(&way), "{} of {}", norm(&moved), norm(&way));
    }
}

#[test]
fn a_part_of_the_vocabulary_is_that_part_of_the_logits() {
    let own = tiny(&tiny_config(Family::Llama), 6);
    let stock = tiny_as_on_a_card(Family::Llama, 6, CardDtype::F32);
    let inputs: Vec<u32> = vec![5, 90, 17, 3, 44, 8];
    let [own, stock] = [own.restricted(&inputs, 4).unwrap(), stock.restricted(&inputs, 4).unwrap()].map(|d| evaluate(&d, &[0, 3, 5, 2, 1]));
    assert!(stock.dims() == [5, 4] && largest_difference(&own, &stock) < 1e-4);
}

#[test]
fn operations_networks_and_optimiser_steps_of_proxies_equal_pytorch() {
    needs!(Minutes);
    proxy_goldens::check_operations(Kernels::Stock, &Device::Cpu);
    for (golden, graph) in proxy_goldens::goldens() {
        proxy_goldens::check_network(&golden, &graph, Kernels::Stock, &Device::Cpu);
        proxy_goldens::check_steps(&golden, &graph, Kernels::Stock, &Device::Cpu);
    }
}

/// Strides, paddings, dilations and groups that the goldens do not have, forward and backward, against our kernels.
#[test]
fn convolutions_and_pools_of_odd_shapes_equal_our_kernels() {
    use eliteloop::proxy::network::{Mode, Network};
    use eliteloop::tracer::graph::{Graph, Init, Node, Op, Role, TensorSpec};
    let conv = |out, kernel, stride, padding, dilation, groups| Op::Conv2d { out, kernel, stride, padding, dilation, groups, bias: false };
    let cases = [
        (conv(6, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 1), vec![6, 4, 3, 3]),
        (conv(4, [3, 3], [2, 2], [1, 1, 1, 1], [1, 1], 4), vec![4, 1, 3, 3]),
        (conv(8, [3, 3], [1, 2], [0, 2, 1, 0], [2, 1], 2), vec![8, 2, 3, 3]),
        (conv(8, [1, 1], [3, 2], [0, 0, 0, 0], [1, 1], 1), vec![8, 4, 1, 1]),
        (conv(4, [5, 2], [3, 3], [2, 1, 0, 3], [1, 3], 2), vec![4, 2, 5, 2]),
        (Op::MaxPool2d { kernel: [3, 2], stride: [2, 3], padding: [1, 0], dilation: [1, 2], ceil: true }, vec![]),
        (Op::AvgPool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ceil: true, count_pad: true, divisor: None }, vec![]),
        (Op::AdaptiveAvgPool2d { out: [3, 4] }, vec![]),
        (Op::AdaptiveMaxPool2d { out: [1, 1] }, vec![]),
    ];
    for (op, weight) in cases {
        let spec = |name: &str, shape: Vec<usize>| TensorSpec {
            name: name.into(),
            init: Init::Values(goldens::noise(name, shape.iter().product())),
            shape,
            role: Role::Parameter,
        };
        let node = |op, inputs, tensors| Node { op, inputs, tensors, shape: Vec::new(), module: String::new(), line: 0 };
        let has_weight = !weight.is_empty();
        let mut tensors = vec![spec("x", vec![2, 4, 11, 10])];
        if has_weight {
            tensors.push(spec("w", weight));
        }
        let nodes = vec![
            node(Op::Input, vec![], vec![]),
            node(Op::Tensor, vec![], vec![0]),
            node(op.clone(), vec![1], if has_weight { vec![1] } else { vec![] }),
        ];
        let graph = Graph { nodes, output: 2, tensors, aliases: vec![] };
        let [own, stock] = [Kernels::Own, Kernels::Stock].map(|kernels| -> Vec<Tensor> {
            let mut network = Network::new(&graph, 0, &Device::Cpu, kernels).unwrap();
            let pass = network.forward(&proxy_goldens::images(1), Mode::Train { dropout: 0 }).unwrap();
            let output = pass.output.clone();
            let gradients = network.backward(pass, goldens::filled("dy", output.dims())).unwrap();
            std::iter::once(output).chain(gradients.into_iter().flatten()).collect()
        });
        assert_eq!(own.len(), stock.len());
        for (a, b) in own.iter().zip(&stock) {
            assert!(largest_difference(a, b) < 1e-5, "{op:?}: {}", largest_difference(a, b));
        }
    }
}
