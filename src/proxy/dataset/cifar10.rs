//! CIFAR-10 as PNG files of 1024 x 10000 pixels: each row is one image, 32 x 32 pixels in row order.

use std::path::Path;

use rayon::prelude::*;

use super::picture::Picture;
use super::{Dataset, Format, Images, Part, damaged, missing};
use crate::base::error::{AtPath, Result};
use crate::base::hash::sha256_file;

/// The files and their SHA-256.
pub(crate) const FILES: [(&str, &str); 8] = [
    ("data_batch_1.png", "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc"),
    ("data_batch_2.png", "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f"),
    ("data_batch_3.png", "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10"),
    ("data_batch_4.png", "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5"),
    ("data_batch_5.png", "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144"),
    ("test_batch.png", "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09"),
    ("train_lables.json", "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45"),
    ("test_lables.json", "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6"),
];

const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// Bytes of the pixels of a file, with a fourth channel if it has one.
const MOST_BYTES: usize = 4 * PIXELS * 10_000;

pub(crate) fn load(dir: &Path, part: Part) -> Result<Dataset> {
    let (batches, labels): (&[_], _) = match part {
        Part::Train => (&FILES[..5], "train_lables.json"),
        Part::Test => (&FILES[5..6], "test_lables.json"),
    };
    let decoded: Vec<Vec<u8>> = batches.par_iter().map(|(file, _)| decode(&dir.join(file))).collect::<Result<_>>()?;
    let pixels = decoded.concat();
    let path = dir.join(labels);
    if !path.is_file() {
        return Err(missing("cifar10", &path));
    }
    let labels: Vec<u8> = serde_json::from_slice(&std::fs::read(&path).at("read", &path)?)
        .map_err(|e| damaged("cifar10", &path, "not a JSON list of classes").caused_by(e))?;
    if labels.len() * 3 * PIXELS != pixels.len() || labels.iter().any(|&label| label >= 10) {
        return Err(damaged("cifar10", &path, "the labels do not fit the images"));
    }
    let format = Format {
        name: "cifar10".into(),
        shape: [3, SIDE, SIDE],
        classes: 10,
        class_names: CLASSES.map(String::from).to_vec(),
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.2470, 0.2435, 0.2616],
        flip: true,
        fit: None,
        uneven: false,
    };
    Ok(Dataset { format, images: Images { pixels, labels } })
}

/// The images of a file, each channel by channel.
fn decode(path: &Path) -> Result<Vec<u8>> {
    if !path.is_file() {
        return Err(missing("cifar10", path));
    }
    let bytes = std::fs::read(path).at("read", path)?;
    let picture = Picture::read(&bytes, MOST_BYTES).map_err(|e| damaged("cifar10", path, "not a readable PNG file").caused_by(e))?;
    if picture.width != PIXELS {
        return Err(damaged("cifar10", path, "its rows are not images of 32 x 32 pixels"));
    }
    let mut pixels = vec![0; 3 * picture.pixels.len()];
    for (from, to) in picture.pixels.chunks_exact(PIXELS).zip(pixels.chunks_exact_mut(3 * PIXELS)) {
        for (i, pixel) in from.iter().enumerate() {
            for (channel, &byte) in pixel.iter().enumerate() {
                to[channel * PIXELS + i] = byte;
            }
        }
    }
    Ok(pixels)
}

pub(crate) fn verify(dir: &Path) -> Result<()> {
    FILES.par_iter().try_for_each(|(file, expected)| {
        let path = dir.join(file);
        if !path.is_file() {
            return Err(missing("cifar10", &path));
        }
        if sha256_file(&path)? == *expected { Ok(()) } else { Err(damaged("cifar10", &path, "its SHA-256 is not the published file's")) }
    })
}
