//! A set that needs no files: gratings of ten kinds (five directions, two widths) in random colours, under noise.
//!
//! The class is in the spatial pattern alone: phase, colour and contrast are random, so a network has to look at edges.

use rand::Rng;

use super::{Dataset, Format, Images, Part};
use crate::base::seed;

const SIDE: usize = 32;
const DIRECTIONS: usize = 5;

/// 10,000 images to train with, 2,000 to test with, always the same ones.
pub(crate) fn generate(part: Part) -> Dataset {
    let (count, purpose) = match part {
        Part::Train => (10_000, "train"),
        Part::Test => (2_000, "test"),
    };
    let mut images = Images { pixels: Vec::with_capacity(count * 3 * SIDE * SIDE), labels: Vec::with_capacity(count) };
    for index in 0..count {
        let label = index % (2 * DIRECTIONS);
        images.labels.push(label as u8);
        paint(label, &mut seed::rng(0, purpose, &[index as u64]), &mut images.pixels);
    }
    let format = Format {
        name: "synthetic".into(),
        shape: [3, SIDE, SIDE],
        classes: 2 * DIRECTIONS,
        class_names: Vec::new(),
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        flip: false,
        fit: None,
        uneven: false,
    };
    Dataset { format, images }
}

fn paint(label: usize, rng: &mut impl Rng, pixels: &mut Vec<u8>) {
    let angle = std::f32::consts::PI * ((label % DIRECTIONS) as f32 + 0.5 * (rng.random::<f32>() - 0.5)) / DIRECTIONS as f32;
    let period = if label < DIRECTIONS { 4.0 } else { 9.0 } * rng.random_range(0.85..1.15f32);
    let phase = std::f32::consts::TAU * rng.random::<f32>();
    let (across, down) = (angle.cos() / period, angle.sin() / period);
    for _ in 0..3 {
        let (level, contrast) = (rng.random_range(0.35..0.65f32), rng.random_range(-0.35..0.35f32));
        for at in 0..SIDE * SIDE {
            let (x, y) = ((at % SIDE) as f32, (at / SIDE) as f32);
            let wave = (std::f32::consts::TAU * (across * x + down * y) + phase).sin();
            let noise = rng.random::<f32>() + rng.random::<f32>() - 1.0;
            let value = level + contrast * wave + 0.5 * noise;
            pixels.push((value.clamp(0.0, 1.0) * 255.0) as u8);
        }
    }
}
