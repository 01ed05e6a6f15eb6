//! Goldens of the default model from PyTorch and PEFT (`scripts/goldens/decoder.py` and `lora.py`), for a decoder on any device.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use eliteloop::decoder::files::shape::DecoderConfig;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::score::score;
use eliteloop::decoder::lora::step::add_gradient;
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use eliteloop::decoder::model::pack::{Example, Pack, pack};
use eliteloop::decoder::settings::lora::LoraConfig;
use serde::Deserialize;

pub fn evaluate(decoder: &Decoder, tokens: &[u32]) -> Tensor {
    let hidden = decoder.hidden(&Rows::single(tokens), None, Mode::Evaluate).unwrap();
    decoder.logits(&hidden).unwrap()
}

pub fn row(logits: &Tensor, i: usize) -> Vec<f32> {
    logits.get(i).unwrap().to_vec1().unwrap()
}

#[derive(Deserialize)]
pub struct LogitsGolden {
    pub ids: Vec<u32>,
    pub positions: Vec<usize>,
    pub entries: Vec<usize>,
    pub logits: Vec<Vec<f32>>,
    pub argmax: Vec<u32>,
}

/// Each logit within `tolerance`, each most likely token the same.
pub fn check_logits(decoder: &Decoder, tolerance: f32) {
    let golden: LogitsGolden = serde_json::from_str(include_str!("../goldens/decoder.json")).unwrap();
    let logits = evaluate(decoder, &golden.ids);
    for (position, right) in golden.positions.iter().zip(&golden.logits) {
        let ours = row(&logits, *position);
        for (entry, right) in golden.entries.iter().zip(right) {
            assert!((ours[*entry] - right).abs() < tolerance, "position {position}, entry {entry}: {} against {right}", ours[*entry]);
        }
    }
    let argmax: Vec<u32> = logits.argmax(1).unwrap().to_vec1().unwrap();
    assert_eq!(argmax, golden.argmax);
}

pub const MODULES: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// The matrices of scripts/goldens/lora.py; `size` scales them.
pub fn by_formula(model: &DecoderConfig, config: &LoraConfig, size: f64) -> Lora {
    let mut lora = Lora::new(model, config, 1).unwrap();
    lora.fill(|name, shape| {
        let layer: f64 = name.split('.').nth(2).unwrap().parse().unwrap();
        let module = MODULES.iter().position(|m| name.contains(&format!(".{m}."))).unwrap() as f64;
        let (kind, size) = if name.contains("lora_A") { (0.0, size / (shape[1] as f64).sqrt()) } else { (1.0, 0.02 * size) };
        Ok((0..shape[0] * shape[1]).map(|j| (size * (0.7 * j as f64 + layer + 3.0 * module + 11.0 * kind).sin()) as f32).collect())
    })
    .unwrap();
    lora
}

pub fn example(prompt: &[u32], completion: &[u32]) -> Example {
    Example { id: format!("{completion:?}"), prompt: prompt.to_vec(), completion: completion.to_vec() }
}

pub fn one_pack(examples: &[Example]) -> Pack {
    let all: Vec<usize> = (0..examples.len()).collect();
    let mut packs = pack(examples, &all, 10_000);
    assert_eq!(packs.len(), 1);
    packs.remove(0)
}

/// The summed NLL of all examples and its gradient, by PEFT name.
pub fn gradient(decoder: &Decoder, lora: &Lora, examples: &[Example], seed: u64) -> (f64, BTreeMap<String, Vec<f32>>) {
    let mut flat: Vec<Vec<f32>> = lora.snapshot().unwrap().iter().map(|l| vec![0.0; l.len()]).collect();
    let sum = add_gradient(decoder, lora, &one_pack(examples), |_| 1.0, seed, &mut flat).unwrap();
    let layers: Vec<Tensor> = flat.iter().map(|l| Tensor::new(l.as_slice(), &Device::Cpu).unwrap()).collect();
    let named = lora.named(&layers).unwrap();
    (sum, named.into_iter().map(|(name, g)| (name, g.flatten_all().unwrap().to_vec1().unwrap())).collect())
}

pub fn norm(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

pub fn relative(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let apart: Vec<f32> = a.values().flatten().zip(b.values().flatten()).map(|(a, b)| a - b).collect();
    norm(&apart) / norm(&b.values().flatten().copied().collect::<Vec<_>>())
}

#[derive(Deserialize)]
pub struct Golden {
    pub lora: LoraGolden,
    pub adamw: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
pub struct LoraGolden {
    pub prompt: Vec<u32>,
    pub completions: Vec<Vec<u32>>,
    pub nll: Vec<f64>,
    pub norm: f64,
    pub gradients: BTreeMap<String, Shown>,
}

#[derive(Deserialize)]
pub struct Shown {
    pub norm: f64,
    pub at: Vec<usize>,
    pub values: Vec<f64>,
}

pub fn golden() -> Golden {
    serde_json::from_str(include_str!("../goldens/lora.json")).unwrap()
}

/// Log-probabilities and gradients of an adapter written down by a formula.
pub fn check_gradients(decoder: &Decoder) {
    let golden = golden().lora;
    let lora = by_formula(decoder.config(), &LoraConfig::default(), 1.0);
    let log_p = score(decoder, Some(&lora), &[(golden.prompt.clone(), golden.completions.clone())], 512).unwrap();
    for (ours, right) in log_p[0].iter().zip(&golden.nll) {
        assert!((ours + right).abs() < 1e-4 * right, "nll {} against {right}", -ours);
    }
    let examples: Vec<Example> = golden.completions.iter().map(|c| example(&golden.prompt, c)).collect();
    let (_, gradients) = gradient(decoder, &lora, &examples, 0);
    // Ours is of the sum over two examples, theirs of the mean.
    let all: Vec<f32> = gradients.values().flatten().copied().collect();
    assert!((norm(&all) / 2.0 / golden.norm - 1.0).abs() < 1e-4, "norm {} against {}", norm(&all) / 2.0, golden.norm);
    for (name, right) in &golden.gradients {
        let ours = &gradients[name];
        assert!((norm(ours) / 2.0 / right.norm - 1.0).abs() < 2e-4, "{name}: norm {} against {}", norm(ours) / 2.0, right.norm);
        let typical = right.norm / (ours.len() as f64).sqrt();
        for (at, right) in right.at.iter().zip(&right.values) {
            let ours = f64::from(ours[*at]) / 2.0;
            assert!((ours - right).abs() < 2e-3 * (right.abs() + typical), "{name}[{at}]: {ours} against {right}");
        }
    }
}
