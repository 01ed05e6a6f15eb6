//! Adapters: gradients against `PyTorch` and finite differences, PEFT's files, the optimiser.

use std::collections::BTreeMap;

use eliteloop::decoder::files::shape::{DecoderConfig, Family};
use eliteloop::decoder::lora::adamw::{AdamW, clip};
use eliteloop::decoder::lora::adapter::Precision;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::score::score;
use eliteloop::decoder::lora::step::add_gradient;
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use eliteloop::decoder::model::pack::Example;
use eliteloop::decoder::settings::lora::LoraConfig;

use crate::llm_goldens::{MODULES, by_formula, check_gradients, example, golden, gradient, norm, one_pack, relative};
use crate::models::{largest_difference, smollm, tiny, tiny_config};

fn tokens(n: usize, step: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * step + 13) % 97).collect()
}

fn examples() -> Vec<Example> {
    vec![example(&tokens(20, 7), &tokens(6, 5)), example(&tokens(20, 7), &tokens(9, 11)), example(&tokens(12, 3), &tokens(4, 2))]
}

#[test]
fn gradients_of_the_default_model_equal_peft() {
    needs!(Model);
    check_gradients(smollm());
}

#[test]
fn gradients_equal_finite_differences_in_every_family() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        let config = tiny_config(family);
        let decoder = tiny(&config, 3);
        let mut lora = by_formula(&config, &LoraConfig { rank: 3, ..LoraConfig::default() }, 1.0);
        let examples = examples();
        let mut flat: Vec<Vec<f32>> = lora.snapshot().unwrap().iter().map(|l| vec![0.0; l.len()]).collect();
        // Unequal weights, one below zero, as practice has them.
        let weights = [1.0, -0.75, 0.5];
        add_gradient(&decoder, &lora, &one_pack(&examples), |i| weights[i], 0, &mut flat).unwrap();
        let start = lora.snapshot().unwrap();
        let mut loss = |layer: usize, at: usize, by: f32| {
            let mut moved = start.clone();
            moved[layer][at] += by;
            lora.restore(&moved).unwrap();
            let items: Vec<_> = examples.iter().map(|e| (e.prompt.clone(), vec![e.completion.clone()])).collect();
            let log_p = score(&decoder, Some(&lora), &items, 1000).unwrap().concat();
            -log_p.iter().zip(weights).map(|(log_p, weight)| weight * log_p).sum::<f64>()
        };
        let typical = norm(&flat.concat()) / (flat.concat().len() as f64).sqrt();
        for layer in 0..config.layers {
            for at in (0..start[layer].len()).step_by(101) {
                let numeric = (loss(layer, at, 5e-4) - loss(layer, at, -5e-4)) / 1e-3;
                let ours = f64::from(flat[layer][at]);
                assert!((numeric - ours).abs() < 0.01 * ours.abs() + 0.03 * typical, "{family:?} {layer}/{at}: {ours} against {numeric}");
            }
        }
    }
}

#[test]
fn fused_and_stock_gradients_agree_with_dropout_too() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        for (targets, dropout) in [(&MODULES[..], 0.0), (&MODULES[..], 0.3), (&["k_proj", "v_proj", "up_proj"][..], 0.0)] {
            let config = tiny_config(family);
            let lora_config = LoraConfig { rank: 4, dropout, targets: targets.iter().map(|t| (*t).to_string()).collect(), alpha: 8.0 };
            let lora = by_formula(&config, &lora_config, 5.0);
            let [fused, stock] =
                [tiny(&config, 5), tiny(&config, 5).with_stock_ops()].map(|decoder| gradient(&decoder, &lora, &examples(), 9));
            assert!((fused.0 - stock.0).abs() < 1e-3, "{family:?} {dropout}: {} against {}", fused.0, stock.0);
            let apart = relative(&fused.1, &stock.1);
            assert!(apart < 1e-4, "{family:?} {dropout} {targets:?}: {apart}");
        }
    }
}

#[test]
fn dropout_is_drawn_from_its_seed_and_scales_what_it_keeps() {
    let config = tiny_config(Family::Llama);
    let decoder = tiny(&config, 5);
    let lora = by_formula(&config, &LoraConfig { rank: 4, dropout: 0.5, ..LoraConfig::default() }, 5.0);
    let sum = |seed| gradient(&decoder, &lora, &examples(), seed).0;
    assert_eq!(sum(1), sum(1));
    assert_ne!(sum(1), sum(2));
    let kept = eliteloop::decoder::ops::low_rank::Dropout { p: 0.25, seed: 3 }.apply(&vec![3.0; 40_000], 0);
    let zero = kept.iter().filter(|v| **v == 0.0).count();
    assert!((9_700..10_300).contains(&zero), "{zero} of 40000 dropped");
    assert!(kept.iter().all(|v| *v == 0.0 || (*v - 4.0).abs() < 1e-6));
}

#[test]
fn shared_prompts_give_the_gradient_of_separate_rows() {
    let config = tiny_config(Family::Qwen3);
    let decoder = tiny(&config, 6);
    let lora = by_formula(&config, &LoraConfig { rank: 4, ..LoraConfig::default() }, 5.0);
    let (sum, packed) = gradient(&decoder, &lora, &examples(), 0);
    let mut separate: BTreeMap<String, Vec<f32>> = packed.iter().map(|(name, g)| (name.clone(), vec![0.0; g.len()])).collect();
    let mut separate_sum = 0.0;
    for example in examples() {
        let (sum, one) = gradient(&decoder, &lora, &[example], 0);
        separate_sum += sum;
        for (total, one) in separate.values_mut().flatten().zip(one.values().flatten()) {
            *total += one;
        }
    }
    assert!((sum - separate_sum).abs() < 1e-4 * sum);
    assert!(relative(&packed, &separate) < 1e-4);
}

#[test]
fn a_fresh_adapter_changes_nothing_and_only_its_b_has_a_gradient() {
    needs!(Model);
    let decoder = smollm();
    let mut lora = Lora::new(decoder.config(), &LoraConfig::default(), 4).unwrap();
    let rows = Rows::single(&tokens(20, 5));
    let with = decoder.hidden(&rows, Some(&lora), Mode::Evaluate).unwrap();
    let without = decoder.hidden(&rows, None, Mode::Evaluate).unwrap();
    assert!(largest_difference(&with, &without) < 1e-6);
    let (_, fresh) = gradient(decoder, &lora, &examples(), 0);
    assert_eq!(fresh.len(), 30 * 14);
    for (name, g) in &fresh {
        let zero = norm(g) == 0.0;
        assert!(norm(g).is_finite() && zero == name.contains("lora_A"), "{name}: norm {}", norm(g));
    }
    let mut moved = lora.snapshot().unwrap();
    moved.iter_mut().flatten().for_each(|v| *v += 1e-3);
    lora.restore(&moved).unwrap();
    let (_, later) = gradient(decoder, &lora, &examples(), 0);
    for (name, g) in &later {
        assert!(norm(g).is_finite() && norm(g) > 0.0, "{name}: norm {}", norm(g));
    }
}

#[test]
fn merged_weights_answer_as_the_adapter_does() {
    needs!(Model);
    for decoder in [&tiny(&tiny_config(Family::Qwen2), 7), smollm()] {
        let lora = by_formula(decoder.config(), &LoraConfig::default(), 1.0);
        let rows = Rows::single(&tokens(40, 5));
        let logits = |decoder: &Decoder, lora| decoder.logits(&decoder.hidden(&rows, lora, Mode::Evaluate).unwrap()).unwrap();
        let (with, merged) = (logits(decoder, Some(&lora)), logits(&decoder.with_adapter(&lora).unwrap(), None));
        let (apart, largest) = (largest_difference(&with, &merged), largest_difference(&with, &with.zeros_like().unwrap()));
        assert!(apart < 1e-5 * largest, "{apart} apart, logits up to {largest}");
        assert!(largest_difference(&with, &logits(decoder, None)) > 1e-2, "the adapter does something");
    }
}

#[test]
fn an_adapter_saved_and_loaded_answers_identically() {
    let config = tiny_config(Family::Qwen2);
    let decoder = tiny(&config, 8);
    let folder = tempfile::tempdir().unwrap();
    let lora_config = LoraConfig { rank: 3, alpha: 5.0, dropout: 0.1, targets: vec!["v_proj".into(), "down_proj".into()] };
    let lora = by_formula(&config, &lora_config, 5.0);
    let hidden = |lora: &Lora| decoder.hidden(&Rows::single(&tokens(20, 5)), Some(lora), Mode::Evaluate).unwrap();
    lora.save(folder.path(), "tiny", Precision::F32).unwrap();
    let again = Lora::load(folder.path(), &config).unwrap();
    assert_eq!((again.config.clone(), again.hash().unwrap()), (lora.config.clone(), lora.hash().unwrap()));
    assert_eq!(largest_difference(&hidden(&lora), &hidden(&again)), 0.0);
    lora.save(folder.path(), "tiny", Precision::F16).unwrap();
    let half = Lora::load(folder.path(), &config).unwrap();
    assert_ne!(half.hash().unwrap(), lora.hash().unwrap());
    assert!(largest_difference(&hidden(&lora), &hidden(&half)) < 1e-2);
    half.save(folder.path(), "tiny", Precision::F16).unwrap();
    assert_eq!(Lora::load(folder.path(), &config).unwrap().hash().unwrap(), half.hash().unwrap());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing half-written stays: {left:?}");
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_with_the_reason() {
    let config = tiny_config(Family::Qwen2);
    let folder = tempfile::tempdir().unwrap();
    by_formula(&config, &LoraConfig::default(), 1.0).save(folder.path(), "tiny", Precision::F32).unwrap();
    let refused = |config: &DecoderConfig| Lora::load(folder.path(), config).err().expect("refused").to_string();
    assert!(refused(&DecoderConfig { ffn: 44, ..config.clone() }).contains("this model wants"));
    assert!(refused(&DecoderConfig { layers: 4, ..config.clone() }).contains("layers.3.self_attn.q_proj.lora_A.weight is missing"));
    assert!(refused(&DecoderConfig { layers: 2, ..config.clone() }).contains("14 tensors"));
    let file = folder.path().join("adapter_config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to, why) in [
        ("\"LORA\"", "\"IA3\"", "only \"LORA\""),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "bias"),
        ("\"r\": 16", "\"r\": 8", "of rank 16"),
        ("\"r\": 16", "\"use_dora\": true, \"r\": 16", "use_dora"),
        ("q_proj", "c_attn", "no adapter matrices of this model"),
        ("{", "", "a short text"),
    ] {
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        assert!(refused(&config).contains(why), "{why}: {}", refused(&config));
    }
    std::fs::write(&file, &text).unwrap();
    let weights = folder.path().join("adapter_model.safetensors");
    let data = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &data[..data.len() / 2]).unwrap();
    assert!(refused(&config).contains("not a whole safetensors file"));
}

#[test]
fn smoothing_mixes_the_weights() {
    let config = tiny_config(Family::Llama);
    let old = by_formula(&config, &LoraConfig::default(), 1.0).snapshot().unwrap();
    let mut lora = by_formula(&config, &LoraConfig::default(), 3.0);
    lora.smooth(0.25, &old).unwrap();
    for (mixed, old) in lora.snapshot().unwrap().concat().iter().zip(old.concat()) {
        assert!((mixed - 1.5 * old).abs() < 1e-6);
    }
    let before = lora.hash().unwrap();
    lora.smooth(1.0, &old).unwrap();
    assert_eq!(lora.hash().unwrap(), before, "alpha 1 is no smoothing");
    lora.smooth(0.0, &old).unwrap();
    assert_eq!(lora.snapshot().unwrap(), old);
}

#[test]
fn adamw_equals_pytorch_and_goes_on_from_its_file() {
    needs!(Model);
    let gradient =
        |step: usize| vec![(0..5).map(|i| ((1.3 * step as f64 + f64::from(i)).sin() * 10f64.powi(i - 2)) as f32).collect::<Vec<_>>()];
    let mut parameters = vec![vec![0.5, -1.0, 2.0, 0.001, 3.0]];
    let mut optimiser = AdamW::new([5]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("optimiser.safetensors");
    for (step, right) in golden().adamw.iter().enumerate() {
        optimiser.step(&mut parameters, &gradient(step), 0.01, 0.1);
        for (ours, right) in parameters[0].iter().zip(right) {
            assert!((f64::from(*ours) - right).abs() < 1e-6, "step {step}: {ours} against {right}");
        }
        optimiser.save(&file).unwrap();
        let mut loaded = AdamW::new([5]);
        loaded.load(&file).unwrap();
        assert_eq!(loaded, optimiser);
        optimiser = loaded;
    }
    assert_eq!(optimiser.steps(), 6);
    assert!(AdamW::new([4]).load(&file).is_err());
}

#[test]
fn clipping_bounds_the_joint_norm() {
    let mut gradients = vec![vec![3.0, 0.0], vec![4.0]];
    assert_eq!(clip(&mut gradients, 0.0), 5.0);
    assert_eq!(clip(&mut gradients, 10.0), 5.0);
    assert_eq!(gradients, [vec![3.0, 0.0], vec![4.0]]);
    assert_eq!(clip(&mut gradients, 1.0), 5.0);
    assert!((norm(&gradients.concat()) - 1.0).abs() < 1e-6);
}
