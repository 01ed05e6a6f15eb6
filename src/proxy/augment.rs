//! Batches of normalised images, in training flipped and cropped at random.
//!
//! `value = (pixel / 255 - mean) / std` by channel. A crop is taken at a random place from the image with 4 black pixels
//! around it; a flip is left to right, with probability one half, and not where it would change the class (digits).

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::dataset::{Format, Images};

/// Width of the black border that crops are taken from.
const BORDER: usize = 4;

/// The normalised value of each byte in each channel.
pub(crate) struct Normal(Vec<[f32; 256]>);

impl Normal {
    pub(crate) fn new(format: &Format) -> Self {
        let channel = |(mean, std): (&f32, &f32)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std);
        Self(format.mean.iter().zip(&format.std).map(channel).collect())
    }
}

/// The images of these indices, one after the other, as they are.
pub(crate) fn plain(images: &Images, indices: &[u32], format: &Format, normal: &Normal) -> Vec<f32> {
    let area = format.shape[1] * format.shape[2];
    let mut batch = Vec::with_capacity(indices.len() * format.elements());
    for &index in indices {
        for (map, table) in images.image(index, format).chunks_exact(area).zip(&normal.0) {
            batch.extend(map.iter().map(|&byte| table[usize::from(byte)]));
        }
    }
    batch
}

/// The images of these indices, each cropped and (where `format.flip`) perhaps flipped.
pub(crate) fn varied(images: &Images, indices: &[u32], format: &Format, normal: &Normal, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let [_, height, width] = format.shape;
    let mut batch = Vec::with_capacity(indices.len() * format.elements());
    for &index in indices {
        let (down, right) = (rng.random_range(0..=2 * BORDER), rng.random_range(0..=2 * BORDER));
        let flip = rng.random::<bool>() && format.flip;
        for (map, table) in images.image(index, format).chunks_exact(height * width).zip(&normal.0) {
            for y in 0..height {
                let row = (y + down).checked_sub(BORDER).filter(|&row| row < height);
                let start = batch.len();
                match row {
                    None => batch.extend(std::iter::repeat_n(table[0], width)),
                    Some(row) => batch.extend((0..width).map(|x| {
                        let column = (x + right).checked_sub(BORDER).filter(|&column| column < width);
                        column.map_or(table[0], |column| table[usize::from(map[row * width + column])])
                    })),
                }
                if flip {
                    batch[start..].reverse();
                }
            }
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed;

    fn one_image() -> (Images, Format) {
        let format = Format {
            name: "t".into(),
            shape: [1, 6, 6],
            classes: 2,
            class_names: Vec::new(),
            mean: vec![0.0],
            std: vec![1.0],
            flip: true,
            fit: None,
            uneven: false,
        };
        (Images { pixels: (1..=36).collect(), labels: vec![0] }, format)
    }

    #[test]
    fn a_varied_image_is_a_shift_and_perhaps_a_mirror_with_black_outside() {
        let (images, format) = one_image();
        let normal = Normal::new(&format);
        let mut seen_flip = [false; 2];
        for stream in 0..40 {
            let mut rng = seed::rng(1, "test", &[stream]);
            let value = varied(&images, &[0], &format, &normal, &mut rng);
            let bytes: Vec<usize> = value.iter().map(|v| (v * 255.0).round() as usize).collect();
            let explains = |down: usize, right: usize, flip: bool| {
                (0..36).all(|at| {
                    let (y, x) = (at / 6, if flip { 5 - at % 6 } else { at % 6 });
                    let inside = (4..10).contains(&(y + down)) && (4..10).contains(&(x + right));
                    bytes[at] == if inside { (y + down - 4) * 6 + x + right - 4 + 1 } else { 0 }
                })
            };
            let found = (0..162).find(|&i| explains(i / 2 / 9, i / 2 % 9, i % 2 == 1)).expect("a crop explains it");
            seen_flip[found % 2] = true;
        }
        assert_eq!(seen_flip, [true, true]);
    }

    #[test]
    fn the_same_stream_gives_the_same_batch() {
        let (images, format) = one_image();
        let normal = Normal::new(&format);
        let draw = || varied(&images, &[0, 0, 0], &format, &normal, &mut seed::rng(5, "test", &[]));
        assert_eq!(draw(), draw());
    }
}
