//! MNIST and Fashion-MNIST in IDX files, compressed with gzip or not.
//!
//! `0 0 8 rank`, then each extent as 32 bits, the highest byte first, then the bytes.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::{Dataset, Format, Images, Part, damaged, missing};
use crate::base::error::Result;
use crate::base::files::{open_file, read_file};

/// Images and labels of the training and of the test part.
pub(crate) const FILES: [[&str; 2]; 2] =
    [["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]];

/// Bytes of a file that is unpacked; the largest of these sets has 47 million.
const MOST: u64 = 64 << 20;

pub(crate) fn load(name: &str, dir: &Path, part: Part) -> Result<Dataset> {
    let [images, labels] = FILES[usize::from(part == Part::Test)];
    let (shape, pixels) = read(name, dir, images, 3)?;
    let (count, labels) = read(name, dir, labels, 1)?;
    if shape[0] != count[0] || labels.iter().any(|&label| label >= 10) {
        return Err(damaged(name, dir, "labels and images do not fit each other"));
    }
    let (mean, std) = if name == "mnist" { (0.1307, 0.3081) } else { (0.2860, 0.3530) };
    let format = Format {
        name: name.into(),
        shape: [1, shape[1], shape[2]],
        classes: 10,
        class_names: Vec::new(),
        mean: vec![mean],
        std: vec![std],
        flip: name != "mnist",
        fit: None,
        uneven: false,
    };
    Ok(Dataset { format, images: Images { pixels, labels } })
}

fn read(name: &str, dir: &Path, file: &str, rank: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let plain = dir.join(file);
    let packed = dir.join(format!("{file}.gz"));
    let (path, bytes) = if plain.is_file() {
        let bytes = read_file(&plain, "read", MOST)?;
        (plain, bytes)
    } else if packed.is_file() {
        let mut bytes = Vec::new();
        // One byte more is too long to be whole.
        GzDecoder::new(open_file(&packed, "open")?)
            .take(MOST + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| damaged(name, &packed, "cannot be unpacked").caused_by(e))?;
        (packed, bytes)
    } else {
        return Err(missing(name, &plain));
    };
    parse(&bytes, rank).ok_or_else(|| damaged(name, &path, "not a whole IDX file of bytes"))
}

fn parse(bytes: &[u8], rank: usize) -> Option<(Vec<usize>, Vec<u8>)> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    if *magic != [0, 0, 8, u8::try_from(rank).ok()?] {
        return None;
    }
    let (extents, rest) = rest.split_at_checked(4 * rank)?;
    let shape: Vec<usize> = extents.as_chunks::<4>().0.iter().map(|extent| u32::from_be_bytes(*extent) as usize).collect();
    let total = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
    (rest.len() == total).then(|| (shape, rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_files_are_read_and_others_refused() {
        let good = [&[0, 0, 8, 1, 0, 0, 0, 3][..], &[7, 8, 9]].concat();
        assert_eq!(parse(&good, 1), Some((vec![3], vec![7, 8, 9])));
        assert_eq!(parse(&good[..10], 1), None);
        assert_eq!(parse(&good, 3), None);
        assert_eq!(parse(&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], 3), None);
        assert_eq!(parse(&[], 1), None);
    }
}
