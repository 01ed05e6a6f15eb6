//! The images that proxies are trained on and those that give the quality: drawn once per run from the training part.

use std::io::Write;
use std::path::Path;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Dataset, Format, Images};
use crate::base::error::{AtPath, Error, Result};
use crate::base::hash::Hash;
use crate::base::seed;

/// Training and validation images: balanced by class, disjoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub format: Format,
    pub train: Images,
    pub valid: Images,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: Format,
    train: usize,
    valid: usize,
    hash: String,
}

const MAGIC: &[u8; 8] = b"elsplit1";

impl Split {
    /// Draws `train` and `valid` images of `dataset`, which is the training part of a set.
    ///
    /// # Errors
    /// A class has too few images.
    pub fn draw(dataset: &Dataset, run: u64, train: usize, valid: usize) -> Result<Self> {
        let classes = dataset.format.classes;
        let share = |total: usize, class: usize| total / classes + usize::from(class < total % classes);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for class in 0..classes {
            let mut of_class = of_class(dataset, class);
            let (trained, validated) = (share(train, class), share(valid, class));
            if of_class.len() < trained + validated {
                let (have, name, class) = (of_class.len(), &dataset.format.name, dataset.format.class(class));
                let most = have.saturating_sub(1) * classes;
                return Err(Error::input(format!("{name}: class {class} has {have} images, {trained} + {validated} are wanted")).hint(
                    format!("lower proxy.train_images or proxy.valid_images: this class lets them be {most} together, shared out evenly"),
                ));
            }
            of_class.shuffle(&mut seed::rng(run, "split", &[class as u64]));
            first.extend_from_slice(&of_class[..trained]);
            second.extend_from_slice(&of_class[trained..trained + validated]);
        }
        Ok(Self::gathered(dataset, run, first, second))
    }

    /// All images of `dataset`, which is the training part of a set: of each class the share `valid` to validate with, one image at
    /// least, and the others to train with.
    ///
    /// # Errors
    /// A class has fewer than two images.
    pub fn whole(dataset: &Dataset, run: u64, valid: f64) -> Result<Self> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for class in 0..dataset.format.classes {
            let mut of_class = of_class(dataset, class);
            if of_class.len() < 2 {
                let (name, class) = (&dataset.format.name, dataset.format.class(class));
                return Err(Error::input(format!("{name}: class {class} has {} images, at least 2 are wanted", of_class.len())));
            }
            of_class.shuffle(&mut seed::rng(run, "split", &[class as u64]));
            let count = (valid * of_class.len() as f64).round() as usize;
            second.extend(of_class.split_off(of_class.len() - count.clamp(1, of_class.len() - 1)));
            first.extend(of_class);
        }
        Ok(Self::gathered(dataset, run, first, second))
    }

    fn gathered(dataset: &Dataset, run: u64, mut first: Vec<u32>, mut second: Vec<u32>) -> Self {
        first.shuffle(&mut seed::rng(run, "split order", &[0]));
        second.shuffle(&mut seed::rng(run, "split order", &[1]));
        let take = |indices: &[u32]| Images {
            pixels: indices.iter().flat_map(|&i| dataset.images.image(i, &dataset.format)).copied().collect(),
            labels: indices.iter().map(|&i| dataset.images.labels[i as usize]).collect(),
        };
        Self { format: dataset.format.clone(), train: take(&first), valid: take(&second) }
    }

    /// SHA-256 of all images and labels, in their order.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Hash::default();
        for images in [&self.train, &self.valid] {
            hash.update((images.len() as u64).to_le_bytes());
            hash.update(&images.labels);
            hash.update(&images.pixels);
        }
        hash.hex()
    }

    /// Writes the split for worker processes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = Header { format: self.format.clone(), train: self.train.len(), valid: self.valid.len(), hash: self.hash() };
        let header = serde_json::to_vec(&header)?;
        let part = path.with_extension("part");
        let write = || -> std::io::Result<()> {
            let mut file = std::io::BufWriter::new(std::fs::File::create(&part)?);
            file.write_all(MAGIC)?;
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            for images in [&self.train, &self.valid] {
                file.write_all(&images.labels)?;
                file.write_all(&images.pixels)?;
            }
            file.flush()?;
            std::fs::rename(&part, path)
        };
        write().at("write the images of the run to", path)
    }

    /// Reads what [`Split::save`] wrote.
    ///
    /// # Errors
    /// The file is missing, cut off or changed.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).at("read the images of the run from", path)?;
        let split = Self::parse(&bytes);
        split.ok_or_else(|| Error::machine(format!("{}: not a whole file of images", path.display())))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (header, mut rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let header: Header = serde_json::from_slice(header).ok().filter(|_| magic == MAGIC)?;
        let mut take = |count: usize| -> Option<Images> {
            let (labels, after) = rest.split_at_checked(count)?;
            let (pixels, after) = after.split_at_checked(count.checked_mul(header.format.elements())?)?;
            rest = after;
            Some(Images { pixels: pixels.to_vec(), labels: labels.to_vec() })
        };
        let (train, valid) = (take(header.train)?, take(header.valid)?);
        let complete = rest.is_empty();
        let split = Self { format: header.format, train, valid };
        (complete && split.hash() == header.hash).then_some(split)
    }
}

fn of_class(dataset: &Dataset, class: usize) -> Vec<u32> {
    (0..dataset.images.len() as u32).filter(|&i| usize::from(dataset.images.labels[i as usize]) == class).collect()
}
