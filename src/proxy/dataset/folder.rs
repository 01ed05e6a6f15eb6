//! A folder of images, one folder a class, as a data set: PNG or JPEG, of any size.
//!
//! Of each image the largest square in its middle is taken and scaled to `size` x `size` (Catmull-Rom, antialiased). Grey becomes three
//! equal channels, what is transparent is laid on white, a camera's note how it was held is followed. Where the folder holds `train`
//! and `test` and nothing else, these are the parts; otherwise a share of each class is set aside as the test part, drawn by a seed.
//! An image that occurs twice is taken once, so none is in both parts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::picture::Picture;
use super::stored::Origin;
use super::{Format, Images};
use crate::base::error::{AtPath, Error, Result};
use crate::base::hash::Hash;
use crate::base::seed;

/// Labels are bytes.
const MOST_CLASSES: usize = 256;
/// Bytes of one decoded image.
const MOST_BYTES: usize = 1 << 29;
/// Files that a message names before it counts the rest.
const NAMED: usize = 5;

/// A folder that was read.
#[derive(Clone, Debug)]
pub struct Folder {
    pub format: Format,
    /// As it was asked for, without a share where the folder had its parts.
    pub origin: Origin,
    pub train: Images,
    pub test: Images,
    pub findings: Findings,
}

/// What an import is to tell of the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub grey: usize,
    pub transparent: usize,
    pub cropped: usize,
    /// Left out.
    pub repeated: usize,
    /// Files that lie beside the folders.
    pub beside: usize,
}

struct Image {
    /// Channel by channel.
    pixels: Vec<u8>,
    findings: Findings,
}

/// Reads the folder `origin.folder` as the set `name`.
///
/// # Errors
/// There are fewer than two classes, a class without images, a file that is no image or a broken one, or one image in two classes.
pub fn read(origin: &Origin, name: &str) -> Result<Folder> {
    let (mut folders, mut beside) = folders(&origin.folder)?;
    let names: Vec<&str> = folders.iter().map(|(name, _)| &name[..]).collect();
    let mut parts = Vec::new();
    if names == ["test", "train"] {
        for (_, folder) in &folders {
            let (classes, files) = crate::proxy::dataset::folder::folders(folder)?;
            beside += files;
            parts.push(classes);
        }
        let [test, train] = [0, 1].map(|part: usize| parts[part].iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        if let Some(odd) = test.iter().chain(&train).find(|class| !(test.contains(class) && train.contains(class))) {
            return Err(Error::input(format!("class '{odd}' is in one of the folders train and test only")));
        }
        folders.clone_from(&parts[1]);
    } else {
        parts.push(folders.clone());
    }
    let classes: Vec<String> = folders.into_iter().map(|(name, _)| name).collect();
    if !(2..=MOST_CLASSES).contains(&classes.len()) {
        return Err(Error::input(format!("{}: {} classes; 2 to {MOST_CLASSES} are wanted", origin.folder.display(), classes.len()))
            .hint("give a folder with one folder of images for each class"));
    }
    let parted = parts.len() == 2;
    let mut found = Vec::new();
    let mut findings = Findings { beside, ..Findings::default() };
    let mut known: HashMap<[u8; 32], (PathBuf, usize)> = HashMap::new();
    for part in &parts {
        // One to test with, and two to train and validate with.
        let fewest = match (parted, found.is_empty()) {
            (false, _) => 3,
            (true, true) => 1,
            (true, false) => 2,
        };
        let mut by_class = Vec::new();
        for (label, (class, folder)) in part.iter().enumerate() {
            let files = files(folder)?;
            let images = decode(&files, origin.size)?;
            let mut kept = Vec::new();
            for (path, image) in files.into_iter().zip(images) {
                let digest = Hash::of(&image.pixels).digest();
                match known.get(&digest) {
                    None => {
                        known.insert(digest, (path, label));
                        findings.add(image.findings);
                        kept.push(image.pixels);
                    }
                    Some((_, other)) if *other == label => findings.repeated += 1,
                    Some((other, _)) => {
                        return Err(Error::input(format!("{} and {} are one image in two classes", other.display(), path.display()))
                            .hint("delete one of them"));
                    }
                }
            }
            if kept.len() < fewest {
                return Err(Error::input(format!("class '{class}' has {} different images, at least {fewest} are wanted", kept.len()))
                    .hint(format!("add images to {} or delete it", folder.display())));
            }
            by_class.push(kept);
        }
        found.push(by_class);
    }
    let (train, test) = match (found.pop(), found.pop()) {
        (Some(train), Some(test)) => (train, test),
        (Some(all), None) => set_aside(all, origin),
        _ => unreachable!("there is one part at least"),
    };
    let (train, test) = (joined(train), joined(test));
    let (mean, std) = statistics(&train, origin.size);
    let format = Format {
        name: name.into(),
        shape: [3, origin.size, origin.size],
        classes: classes.len(),
        class_names: classes,
        mean,
        std,
        flip: origin.flip,
    };
    let origin = Origin { test: origin.test.filter(|_| !parted), ..origin.clone() };
    Ok(Folder { format, origin, train, test, findings })
}

impl Findings {
    fn add(&mut self, other: Self) {
        self.grey += other.grey;
        self.transparent += other.transparent;
        self.cropped += other.cropped;
    }
}

/// Name and path of each folder in `path`, sorted, and how many files lie beside them; what is hidden does not count.
fn folders(path: &Path) -> Result<(Vec<(String, PathBuf)>, usize)> {
    let (mut folders, mut files) = (Vec::new(), 0);
    for entry in entries(path)? {
        if !entry.1.is_dir() {
            files += 1;
            continue;
        }
        folders.push(entry);
    }
    Ok((folders, files))
}

/// The files of a class, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<PathBuf> = entries(folder)?.into_iter().map(|(_, path)| path).collect();
    match files.iter().find(|path| path.is_dir()) {
        None => Ok(files),
        Some(deeper) => Err(Error::input(format!("{} is a folder in the folder of a class", deeper.display()))
            .hint("give a folder with one folder of images for each class")),
    }
}

fn entries(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    let listed = std::fs::read_dir(path)
        .map_err(|e| Error::input(format!("cannot read the folder {}", path.display())).hint("give a folder of images").caused_by(e))?;
    for entry in listed {
        let entry = entry.at("read the folder", path)?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| Error::input(format!("{} is not UTF-8", name.display())).hint("rename it"))?;
        if !name.starts_with('.') {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

/// All images, or a message that names those that cannot be read.
fn decode(files: &[PathBuf], size: usize) -> Result<Vec<Image>> {
    let decoded: Vec<std::result::Result<Image, String>> = files.par_iter().map(|path| decode_one(path, size)).collect();
    let mut problems: Vec<String> = Vec::new();
    let mut images = Vec::new();
    for (path, image) in files.iter().zip(decoded) {
        match image {
            Ok(image) => images.push(image),
            Err(why) => problems.push(format!("{}: {why}", path.display())),
        }
    }
    if problems.is_empty() {
        return Ok(images);
    }
    let more = problems.len().saturating_sub(NAMED);
    problems.truncate(NAMED);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    Err(Error::input(problems.join("\n")).hint("mend these files or take them out of the folder"))
}

fn decode_one(path: &Path, size: usize) -> std::result::Result<Image, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let picture = Picture::read(&bytes, MOST_BYTES).map_err(|e| e.to_string())?;
    let findings = Findings {
        grey: usize::from(picture.grey),
        transparent: usize::from(picture.transparent),
        cropped: usize::from(picture.width != picture.height),
        ..Findings::default()
    };
    Ok(Image { pixels: picture.middle().scaled(size, size).by_channel(), findings })
}

type ByClass = Vec<Vec<Vec<u8>>>;

/// Training and test part: the share of each class rounded, at least one image, and two to train and validate with.
fn set_aside(all: ByClass, origin: &Origin) -> (ByClass, ByClass) {
    let aside = |(class, mut images): (usize, Vec<Vec<u8>>)| {
        images.shuffle(&mut seed::rng(origin.seed, "test part", &[class as u64]));
        let count = (origin.test.unwrap_or_default() * images.len() as f64).round() as usize;
        let test = images.split_off(images.len() - count.clamp(1, images.len() - 2));
        (images, test)
    };
    all.into_iter().enumerate().map(aside).unzip()
}

fn joined(by_class: ByClass) -> Images {
    let mut images = Images::default();
    for (class, of_class) in by_class.into_iter().enumerate() {
        images.labels.extend(std::iter::repeat_n(class as u8, of_class.len()));
        images.pixels.extend(of_class.concat());
    }
    images
}

/// Mean and standard deviation of each channel, of pixels from 0 to 1.
fn statistics(images: &Images, size: usize) -> (Vec<f32>, Vec<f32>) {
    let area = size * size;
    let count = (images.len() * area) as f64;
    let channel = |channel: usize| {
        let (mut sum, mut squares) = (0u64, 0u64);
        for byte in images.pixels.chunks_exact(3 * area).flat_map(|image| &image[channel * area..][..area]) {
            sum += u64::from(*byte);
            squares += u64::from(*byte) * u64::from(*byte);
        }
        let mean = sum as f64 / count;
        // One grey for all would be divided by nothing.
        let deviation = (squares as f64 / count - mean * mean).max(1.0).sqrt();
        ((mean / 255.0) as f32, (deviation / 255.0) as f32)
    };
    (0..3).map(channel).unzip()
}
