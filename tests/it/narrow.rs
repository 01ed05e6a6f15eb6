//! Frozen weights kept narrow (bf16, or a GGUF file's blocks): the numbers against f32's, forward, backward and in decoding.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use candle_core::Tensor;
use eliteloop::base::done::Done;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::step::add_gradient;
use eliteloop::decoder::model::cache::Branches;
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use eliteloop::decoder::model::memory::{Memory, longest_pass};
use eliteloop::decoder::model::pack::{Example, pack};
use eliteloop::decoder::settings::llm::{CardDtype, Dtype, LlmConfig, TuningDtype};
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::TuneConfig;
use eliteloop::policy::Learner;
use eliteloop::policy::lesson::Lesson;

use crate::models::{largest_difference, smollm, smollm_file};
use crate::program::{program, succeed};

fn open(dtype: Dtype) -> Decoder {
    Decoder::open(&smollm_file(), dtype).unwrap()
}

fn fixture(name: &str) -> ModelFile {
    ModelFile::open(&std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn adapter(decoder: &Decoder) -> Lora {
    let mut lora = Lora::new(decoder.config(), &LoraConfig::default(), 4).unwrap();
    let mut values = lora.snapshot().unwrap();
    for layer in &mut values {
        layer.iter_mut().enumerate().for_each(|(i, v)| *v += 0.01 * (0.7 * i as f32).sin());
    }
    lora.restore(&values).unwrap();
    lora
}

fn tokens(n: usize, step: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * step + 13) % 30_000).collect()
}

fn logits(decoder: &Decoder, lora: Option<&Lora>) -> Tensor {
    let hidden = decoder.hidden(&Rows::single(&tokens(40, 7919)), lora, Mode::Evaluate).unwrap();
    decoder.logits(&hidden).unwrap()
}

/// The summed NLL and its gradient.
fn gradient(decoder: &Decoder, lora: &Lora) -> (f64, Vec<f32>) {
    let example = |seed: u32, n| Example { id: seed.to_string(), prompt: tokens(24, 31), completion: tokens(n, seed) };
    let examples = [example(5, 6), example(11, 9)];
    let packs = pack(&examples, &[0, 1], 1000);
    let mut flat: Vec<Vec<f32>> = lora.snapshot().unwrap().iter().map(|l| vec![0.0; l.len()]).collect();
    (add_gradient(decoder, lora, &packs[0], |_| 1.0, 0, &mut flat).unwrap(), flat.concat())
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

fn relative(a: &[f32], b: &[f32]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| a - b)) / norm(b.iter().copied())
}

/// Mean over positions of `KL(f32 || narrow)`, in nats.
fn divergence(exact: &Tensor, narrow: &Tensor) -> f64 {
    let log_p = |x: &Tensor| candle_nn::ops::log_softmax(x, 1).unwrap();
    let (p, q) = (log_p(exact), log_p(narrow));
    let kl = (p.exp().unwrap() * (p - q).unwrap()).unwrap().sum(1).unwrap().mean_all().unwrap();
    f64::from(kl.to_scalar::<f32>().unwrap())
}

/// f32 weights are the widened blocks, so nothing but the order of sums differs.
#[test]
fn blocks_give_what_f32_weights_give() {
    needs!(Model);
    let (exact, narrow) = (smollm(), open(Dtype::Quantized));
    let lora = adapter(exact);
    let (a, b) = (logits(exact, Some(&lora)), logits(&narrow, Some(&lora)));
    let largest = largest_difference(&a, &a.zeros_like().unwrap());
    assert!(largest_difference(&a, &b) < 1e-5 * largest, "{} of {largest}", largest_difference(&a, &b));
    let (exact, narrow) = (gradient(exact, &lora), gradient(&narrow, &lora));
    assert!((exact.0 - narrow.0).abs() < 1e-5 * exact.0);
    assert!(relative(&narrow.1, &exact.1) < 1e-5, "{}", relative(&narrow.1, &exact.1));
}

/// The model is opened anew, because only tuning is to change.
#[test]
fn bf16_products_move_the_gradient_little_and_the_score_not_at_all() {
    needs!(Model);
    for dtype in [Dtype::F32, Dtype::Quantized] {
        let exact = open(dtype);
        let lora = adapter(&exact);
        let by_f32 = gradient(&exact, &lora);
        let score = logits(&exact, Some(&lora)).to_vec2::<f32>().unwrap();
        let halved = exact.with_tuning_dtype(TuningDtype::Bf16);
        let by_bf16 = gradient(&halved, &lora);
        let apart = relative(&by_bf16.1, &by_f32.1);
        assert!(apart > 1e-5 && apart < 0.03, "{dtype:?}: {apart}");
        assert!((by_bf16.0 - by_f32.0).abs() < 3e-3 * by_f32.0, "{dtype:?}: {} against {}", by_bf16.0, by_f32.0);
        assert_eq!(logits(&halved, Some(&lora)).to_vec2::<f32>().unwrap(), score);
    }
}

#[test]
fn the_setting_reaches_the_updates_of_runs() {
    needs!(Model);
    let example = Example { id: "a".into(), prompt: tokens(24, 31), completion: tokens(6, 5) };
    let [by_f32, by_bf16] = [TuningDtype::F32, TuningDtype::Bf16].map(|tuning_dtype| {
        let config = LlmConfig { adapter: "none".into(), tuning_dtype, ..LlmConfig::default() };
        let mut learner = Learner::open(&config, &LoraConfig::default(), 3).unwrap();
        let once = TuneConfig { epochs: 1, ..TuneConfig::default() };
        let update = learner
            .update(
                &Lesson { trained: std::slice::from_ref(&example), ..Lesson::default() },
                &once,
                1,
                &AtomicBool::new(false),
                &mut |_, _| (),
            )
            .unwrap();
        let Done::Finished(update) = update else { panic!("nothing stopped it") };
        update
    });
    assert_eq!(by_f32.measured.loss_before, by_bf16.measured.loss_before);
    let apart = (by_f32.steps[0].loss / by_bf16.steps[0].loss - 1.0).abs();
    assert!(apart > 0.0 && apart < 3e-3, "{apart}");
}

/// Activations are computed twice: what dropout drops has to be the same both times.
#[test]
fn activations_computed_again_are_the_same_under_dropout() {
    needs!(Model);
    let (exact, narrow) = (smollm(), open(Dtype::Quantized));
    let mut lora = Lora::new(exact.config(), &LoraConfig { rank: 4, dropout: 0.3, ..LoraConfig::default() }, 4).unwrap();
    lora.restore(&lora.snapshot().unwrap().iter().map(|l| l.iter().map(|v| v + 1e-3).collect()).collect::<Vec<_>>()).unwrap();
    let (exact, narrow) = (gradient(exact, &lora), gradient(&narrow, &lora));
    assert!((exact.0 - narrow.0).abs() < 1e-5 * exact.0);
    assert!(relative(&narrow.1, &exact.1) < 1e-4, "{}", relative(&narrow.1, &exact.1));
}

/// The cost of rounding the weights to 8 bits of mantissa.
#[test]
fn bf16_weights_stay_near_f32_ones() {
    needs!(Model);
    let (exact, narrow) = (smollm(), open(Dtype::Bf16));
    let lora = adapter(exact);
    let kl = divergence(&logits(exact, Some(&lora)), &logits(&narrow, Some(&lora)));
    assert!(kl > 0.0 && kl < 5e-3, "KL {kl} nats");
    let (exact, narrow) = (gradient(exact, &lora), gradient(&narrow, &lora));
    assert!((exact.0 - narrow.0).abs() < 1e-2 * exact.0, "{} against {}", narrow.0, exact.0);
    assert!(relative(&narrow.1, &exact.1) < 0.1, "{}", relative(&narrow.1, &exact.1));
}

#[test]
fn bf16_weights_of_a_bf16_folder_lose_nothing() {
    for name in ["tiny-qwen2", "tiny-qwen3"] {
        let file = fixture(name);
        let all: Vec<Tensor> = [Dtype::F32, Dtype::Bf16]
            .map(|dtype| {
                let decoder = Decoder::open(&file, dtype).unwrap();
                let hidden = decoder.hidden(&Rows::single(&[1, 40, 7, 300, 88, 2]), None, Mode::Evaluate).unwrap();
                decoder.logits(&hidden).unwrap()
            })
            .into();
        assert!(largest_difference(&all[0], &all[1]) < 1e-5, "{name}");
    }
}

#[test]
fn separate_heads_are_kept_narrow_too_and_a_folder_has_no_blocks() {
    let file = fixture("tiny-llama");
    let decoder = Decoder::open(&file, Dtype::Bf16).unwrap();
    let exact = Decoder::open(&file, Dtype::F32).unwrap();
    let logits = |decoder: &Decoder| decoder.logits(&decoder.hidden(&Rows::single(&[5, 6, 7]), None, Mode::Evaluate).unwrap()).unwrap();
    let (a, b) = (logits(&exact), logits(&decoder));
    let apart = largest_difference(&a, &b);
    assert!(apart > 0.0 && apart < 0.05 * largest_difference(&a, &a.zeros_like().unwrap()), "{apart}");
    let error = Decoder::open(&file, Dtype::Quantized).err().unwrap();
    assert!(error.to_string().contains("not quantised") && error.hint_text().unwrap().contains("bf16"), "{error}");
}

#[test]
fn stock_operations_agree() {
    needs!(Model);
    let narrow = open(Dtype::Quantized);
    let lora = adapter(&narrow);
    let fused = [logits(&narrow, Some(&lora)), logits(&narrow.with_adapter(&lora).unwrap(), None)];
    let (sum, gradient_of) = gradient(&narrow, &lora);
    let stock = narrow.with_stock_ops();
    for (fused, stock) in fused.iter().zip([logits(&stock, Some(&lora)), logits(&stock.with_adapter(&lora).unwrap(), None)]) {
        assert!(largest_difference(fused, &stock) < 1e-3);
    }
    let (stock_sum, stock_gradient) = gradient(&stock, &lora);
    assert!((sum - stock_sum).abs() < 1e-4 * sum);
    assert!(relative(&stock_gradient, &gradient_of) < 1e-4);
}

/// Logits of each step of `count` branches; those of branch 0, which always gets the same tokens.
fn first_branch(decoder: &Decoder, count: usize) -> Vec<f32> {
    let prefix = decoder.prefill(&tokens(33, 97), None).unwrap();
    let mut branches = Branches::new(decoder, &prefix, count, 4);
    (0..4)
        .flat_map(|i| {
            let fed: Vec<u32> = (0..count as u32).map(|b| i * 31 + b * 17 + 3).collect();
            branches.step(&fed).unwrap()[..decoder.config().vocab].to_vec()
        })
        .collect()
}

/// The adapter goes beside weights that cannot take it in.
#[test]
fn decoding_with_an_adapter_is_that_of_f32_weights_whatever_is_in_the_batch() {
    needs!(Model);
    let (exact, narrow) = (smollm(), open(Dtype::Quantized));
    let lora = adapter(exact);
    for count in [7, 16] {
        assert!(first_branch(&narrow, 1) == first_branch(&narrow, count), "{count} branches, no adapter");
    }
    let (exact, narrow) = (exact.with_adapter(&lora).unwrap(), narrow.with_adapter(&lora).unwrap());
    let (a, b) = (first_branch(&exact, 1), first_branch(&narrow, 1));
    let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-3, "{apart}");
    for count in [2, 7, 16] {
        assert!(b == first_branch(&narrow, count), "{count} branches");
    }
    let threads = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| first_branch(&narrow, 3));
    assert!(threads(1) == threads(2));
}

/// Every tensor of the file, the reordered rows of q and k among them.
#[test]
fn rows_are_those_of_the_f32_tensors() {
    needs!(Model);
    let file = smollm_file();
    let mut types = BTreeMap::new();
    for (name, shape) in file.shapes().into_iter().filter(|(name, shape)| shape.len() == 2 && name.contains(".1")) {
        let part = file.narrow(&name, Dtype::Quantized).unwrap();
        *types.entry(format!("{:?}", part.dtype)).or_insert(0) += 1;
        let rows = eliteloop::decoder::model::weight::Rows::new(vec![part]).unwrap();
        assert_eq!([rows.count(), rows.columns()], shape[..]);
        assert_eq!(rows.widen(), file.tensor(&name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), "{name}");
    }
    assert!(types.contains_key("Q4_1"), "{types:?}");
}

/// The loop's update, 16 completions of 4 prompts, in a process of its own, whose peak is its own.
#[test]
fn the_estimate_of_tunings_memory_is_above_the_truth_and_near_it() {
    needs!(Model);
    // The widest weights and the narrowest.
    for dtype in ["f32", "quantized"] {
        let mut command = program(&["bench", "tune", "--prompts", "4", "--branches", "16", "--prompt", "250", "--completion", "60"]);
        let printed = succeed(command.args(["--repeats", "1", "--json", "--dtype", dtype]));
        let row: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let (peak, estimate) = (row["peak_mib"].as_f64().unwrap(), row["estimated_mib"].as_f64().unwrap());
        assert!(estimate >= peak && estimate <= 1.3 * peak, "{dtype}: {estimate} MiB estimated, {peak} taken");
    }
}

/// Passes are as long as the memory allows, and what does not fit is refused with its size before it is loaded.
#[test]
fn passes_are_chosen_from_the_estimate() {
    needs!(Model);
    let file = smollm_file();
    let lora = LoraConfig::default();
    let pass = |mib| longest_pass(&file, &lora, Dtype::F32, 512, mib);
    assert_eq!(pass(6144).unwrap(), 2048);
    let fits = |tokens| Memory::of(&file, &lora, Dtype::F32, 512, tokens).peak();
    let shorter = pass((fits(1024) >> 20) + 1).unwrap();
    assert!((1024..2048).contains(&shorter), "{shorter}");
    let error = pass(300).unwrap_err();
    assert!(error.to_string().contains("512 tokens") && error.hint_text().unwrap().contains("quantized"), "{error}");
}

#[test]
fn a_card_holds_the_weights_once_and_recomputing_saves_most_of_the_graph() {
    needs!(Model);
    let file = smollm_file();
    let of = |dtype, recompute| Memory::on_card(file.config(), &LoraConfig::default(), dtype, 1536, 2048, 64, recompute);
    assert_eq!(of(CardDtype::Bf16, false).weights, 2 * 134_479_872);
    assert_eq!(of(CardDtype::F32, false).weights, 4 * 134_479_872);
    let (all, one) = (of(CardDtype::Bf16, false), of(CardDtype::Bf16, true));
    assert!(one.tuning * 4 < all.tuning && one.generation == all.generation && one.peak() < all.peak());
}
