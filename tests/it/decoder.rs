//! The decoder against `PyTorch`, against candle's operations, and its cache against full passes.

use candle_core::Tensor;
use eliteloop::decoder::files::shape::Family;
use eliteloop::decoder::model::cache::Branches;
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};

use crate::llm_goldens::{check_logits, evaluate, row};
use crate::models::{self, largest_difference, smollm, tiny, tiny_config};

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn tokens(n: usize, vocab: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 7919 + 13) % vocab).collect()
}

#[test]
fn logits_of_the_default_model_equal_pytorch() {
    needs!(Model);
    check_logits(smollm(), 2e-3);
}

#[test]
fn fused_and_stock_operations_agree_in_every_family() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        let config = tiny_config(family);
        let mut rows = Rows::default();
        let prompt = rows.push(&tokens(20, 97), 0, 0..0);
        rows.push(&tokens(5, 90), 20, prompt.clone());
        rows.push(&tokens(9, 80), 20, prompt);
        rows.push(&tokens(11, 70), 0, 0..0);
        let [fused, stock] = [tiny(&config, 1), tiny(&config, 1).with_stock_ops()].map(|d| d.hidden(&rows, None, Mode::Evaluate).unwrap());
        let apart = largest_difference(&fused, &stock);
        assert!(apart < 1e-4, "{family:?}: {apart}");
    }
}

#[test]
fn a_branch_equals_its_own_sequence() {
    let decoder = tiny(&tiny_config(Family::Llama), 2);
    let (prompt, branch) = (tokens(30, 97), tokens(12, 60));
    let mut rows = Rows::default();
    let parent = rows.push(&prompt, 0, 0..0);
    rows.push(&tokens(7, 50), 30, parent.clone());
    let place = rows.push(&branch, 30, parent);
    let packed = decoder.hidden(&rows, None, Mode::Evaluate).unwrap().narrow(0, place.start, 12).unwrap();
    let whole = [prompt, branch].concat();
    let alone = decoder.hidden(&Rows::single(&whole), None, Mode::Evaluate).unwrap().narrow(0, 30, 12).unwrap();
    assert!(largest_difference(&packed, &alone) < 1e-5);
}

#[test]
fn cached_decoding_equals_a_full_pass() {
    needs!(Model);
    let mut all: Vec<Decoder> = [Family::Llama, Family::Qwen2, Family::Qwen3].map(|f| tiny(&tiny_config(f), 4)).into();
    all.push(models::load_smollm());
    for decoder in &all {
        let (prompt, tails) = (tokens(37, 97), [tokens(9, 90), tokens(9, 83), tokens(9, 71)]);
        let prefix = decoder.prefill(&prompt, None).unwrap();
        let full: Vec<Tensor> = tails.iter().map(|tail| evaluate(decoder, &[&prompt[..], tail].concat())).collect();
        assert!(difference(prefix.logits().unwrap(), &row(&full[0], 36)) < 1e-4);
        let mut branches = Branches::new(decoder, &prefix, 3, 9);
        for i in 0..9 {
            let logits = branches.step(&tails.clone().map(|t| t[i])).unwrap();
            for (logits, full) in logits.chunks(decoder.config().vocab).zip(&full) {
                let apart = difference(logits, &row(full, 37 + i));
                assert!(apart < 1e-4, "{:?}, step {i}: {apart}", decoder.config().family);
            }
        }
        assert!(branches.step(&[1, 2, 3]).is_err(), "a full tail takes no more");
    }
}

#[test]
fn a_prefix_can_be_cut_back_and_go_on() {
    let decoder = tiny(&tiny_config(Family::Qwen3), 5);
    let tokens = tokens(50, 97);
    let mut prefix = decoder.prefill(&[&tokens[..30], &[1, 2, 3]].concat(), None).unwrap();
    prefix.truncate(30);
    assert!(prefix.logits().is_none());
    decoder.extend(&mut prefix, &tokens[30..], None).unwrap();
    assert_eq!(prefix.len(), 50);
    assert!(difference(prefix.logits().unwrap(), &row(&evaluate(&decoder, &tokens), 49)) < 1e-5);
}

/// Steps `count` branches whose branch 0 always gets the same tokens; gives its logits of every step.
fn first_branch(decoder: &Decoder, count: usize) -> Vec<f32> {
    let prefix = decoder.prefill(&tokens(45, 97), None).unwrap();
    let mut branches = Branches::new(decoder, &prefix, count, 8);
    let mut seen = Vec::new();
    for i in 0..8 {
        let fed: Vec<u32> = (0..count as u32).map(|b| (i * 31 + b * 17 + 3) % 97).collect();
        seen.extend_from_slice(&branches.step(&fed).unwrap()[..decoder.config().vocab]);
    }
    seen
}

#[test]
fn a_branch_does_not_depend_on_the_others_to_the_last_bit() {
    needs!(Model);
    for decoder in [&tiny(&tiny_config(Family::Qwen2), 6), smollm()] {
        let alone = first_branch(decoder, 1);
        for count in [2, 6, 7, 16, 25] {
            assert!(alone == first_branch(decoder, count), "{count} branches");
        }
    }
}

#[test]
fn selected_and_forked_branches_go_on_as_if_nothing_had_happened() {
    let decoder = tiny(&tiny_config(Family::Llama), 7);
    let prefix = decoder.prefill(&tokens(20, 97), None).unwrap();
    let vocab = decoder.config().vocab;
    let mut all = Branches::new(&decoder, &prefix, 3, 4);
    all.step(&[1, 2, 3]).unwrap();
    let whole = all.step(&[4, 5, 6]).unwrap();
    let mut some = Branches::new(&decoder, &prefix, 3, 4);
    some.step(&[1, 2, 3]).unwrap();
    some.select(&[2, 0, 2]);
    let logits = some.step(&[6, 4, 9]).unwrap();
    assert_eq!(some.len(), 3);
    assert_eq!(logits[..vocab], whole[2 * vocab..]);
    assert_eq!(logits[vocab..2 * vocab], whole[..vocab]);
    some.truncate(2, 1);
    assert_eq!(some.step(&[7, 7, 6]).unwrap()[2 * vocab..], whole[2 * vocab..]);
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    needs!(Model);
    let decoder = smollm();
    let run = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let full: Vec<f32> = evaluate(decoder, &tokens(150, 40000)).flatten_all().unwrap().to_vec1().unwrap();
            (full, first_branch(decoder, 5))
        })
    };
    assert!(run(1) == run(2));
}
