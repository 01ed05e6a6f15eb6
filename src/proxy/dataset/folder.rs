//! A folder of images as a data set: files of the usual kinds, of any size.
//!
//! Which file is of which class and part is [`layout`](super::layout)'s. Each image is brought to one shape (cut, with black around it, or
//! stretched) and scaled to `size` (Catmull-Rom, antialiased). Grey becomes three equal channels, what is transparent is laid on white, a
//! camera's note how it was held is followed. Where the folder has no test part, a share of each class is set aside as one, drawn by a seed.
//! An image that occurs twice is taken once, so none is in both parts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::fit::Size;
use super::is_uneven;
use super::layout::{Classes, Layout};
use super::picture::Picture;
use super::stored::Origin;
use super::{Format, Images};
use crate::base::error::{Error, Result};
use crate::base::files::read_file;
use crate::base::hash::Hash;
use crate::base::seed;

/// Labels are bytes.
const MOST_CLASSES: usize = 256;
/// Bytes of a file.
const MOST_FILE: u64 = 1 << 29;
/// Bytes of one decoded image.
const MOST_BYTES: usize = 1 << 29;
/// Files that a message names before it counts the rest.
const NAMED: usize = 5;

/// A folder that was read.
#[derive(Clone, Debug)]
pub struct Folder {
    /// What its images are brought to, and its classes.
    pub format: Format,
    /// As it was asked for, without a share where the folder had its parts.
    pub origin: Origin,
    /// Ordered by class, as the test part is.
    pub train: Images,
    /// The folder's own test part, or the share that was set aside.
    pub test: Images,
    /// Counts over both parts.
    pub findings: Findings,
    /// What to say of the parts.
    pub notes: Vec<String>,
    /// Files that could not be read and were left out, each with the reason.
    pub broken: Vec<String>,
}

/// What an import is to tell of the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Grey images, which get three equal channels.
    pub grey: usize,
    /// Images that are transparent in part, which are laid on white.
    pub transparent: usize,
    /// Not of the shape that is wanted.
    pub fitted: usize,
    /// Left out.
    pub repeated: usize,
    /// Files that lie beside the folders.
    pub beside: usize,
    /// Hidden files and those of operating systems.
    pub left_out: usize,
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
    let layout = match &origin.labels {
        None => Layout::of(&origin.folder)?,
        Some(table) => Layout::labelled(&origin.folder, table)?,
    };
    let classes: Vec<String> = layout.train.iter().map(|(class, _)| class.clone()).collect();
    check_classes(classes.len(), origin)?;
    let parts: Vec<&Classes> = layout.test.iter().chain([&layout.train]).collect();
    let parted = parts.len() == 2;
    let mut found = Vec::new();
    let mut findings = Findings { beside: layout.beside, left_out: layout.left_out, ..Findings::default() };
    let mut broken = Vec::new();
    let mut known: HashMap<[u8; 32], (PathBuf, usize)> = HashMap::new();
    for part in parts {
        // One to test with, and two to train and validate with.
        let fewest = match (parted, found.is_empty()) {
            (false, _) => 3,
            (true, true) => 1,
            (true, false) => 2,
        };
        let mut by_class = Vec::new();
        for (label, (class, files)) in part.iter().enumerate() {
            let mut kept = Vec::new();
            for (path, image) in decode(files, origin, &mut broken)? {
                let digest = Hash::of(&image.pixels).digest();
                match known.get(&digest) {
                    None => {
                        known.insert(digest, (path.clone(), label));
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
                    .hint(format!("add images of '{class}', or take the class out")));
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
    let Size { height, width } = origin.size;
    let (mean, std) = statistics(&train, height * width);
    let format = Format {
        name: name.into(),
        shape: [3, height, width],
        classes: classes.len(),
        class_names: classes,
        mean,
        std,
        flip: origin.flip,
        fit: Some(origin.fit),
        uneven: is_uneven(&train.counts(layout.train.len())),
    };
    let origin = Origin { test: origin.test.filter(|_| !parted), ..origin.clone() };
    Ok(Folder { format, origin, train, test, findings, notes: layout.notes, broken })
}

fn check_classes(count: usize, origin: &Origin) -> Result<()> {
    if (2..=MOST_CLASSES).contains(&count) {
        return Ok(());
    }
    let error = Error::input(format!("{}: {count} classes; 2 to {MOST_CLASSES} are wanted", origin.folder.display()));
    if count > MOST_CLASSES {
        return Err(error.hint(format!("the limit is {MOST_CLASSES} classes: import a part of them, or join some that are alike")));
    }
    let tables = origin.folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let table = tables.filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"))).min();
    Err(match table.filter(|_| origin.labels.is_none()) {
        Some(table) => error.hint(format!("if the labels stand in a table: --labels {}", table.display())),
        None => error.hint("give a folder with one folder of images for each class, or a table of FILE,LABEL by --labels"),
    })
}

impl Findings {
    fn add(&mut self, other: Self) {
        self.grey += other.grey;
        self.transparent += other.transparent;
        self.fitted += other.fitted;
    }
}

/// All images with their paths, or a message that names those that cannot be read; where these are to be left out, they get into `broken`.
fn decode<'a>(files: &'a [PathBuf], origin: &Origin, broken: &mut Vec<String>) -> Result<Vec<(&'a PathBuf, Image)>> {
    let decoded: Vec<std::result::Result<Image, String>> = files.par_iter().map(|path| decode_one(path, origin)).collect();
    let mut problems: Vec<String> = Vec::new();
    let mut images = Vec::new();
    for (path, image) in files.iter().zip(decoded) {
        match image {
            Ok(image) => images.push((path, image)),
            Err(why) => problems.push(format!("{}: {why}", path.display())),
        }
    }
    if problems.is_empty() || origin.skip_broken {
        broken.extend(problems);
        return Ok(images);
    }
    Err(Error::input(named(&problems)).hint("mend these files, take them out of the folder, or leave them out by --skip-broken"))
}

/// The first few, and how many more.
#[must_use]
pub fn named(problems: &[String]) -> String {
    let more = problems.len().saturating_sub(NAMED);
    let mut lines: Vec<String> = problems.iter().take(NAMED).cloned().collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

fn decode_one(path: &Path, origin: &Origin) -> std::result::Result<Image, String> {
    let bytes = read_file(path, "read", MOST_FILE).map_err(|e| e.to_string())?;
    let picture = Picture::read(&bytes, MOST_BYTES).map_err(|e| e.to_string())?;
    let findings = Findings {
        grey: usize::from(picture.grey),
        transparent: usize::from(picture.transparent),
        fitted: usize::from(picture.width * origin.size.height != picture.height * origin.size.width),
        ..Findings::default()
    };
    Ok(Image { pixels: picture.fitted(origin.size, origin.fit).by_channel(), findings })
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
fn statistics(images: &Images, area: usize) -> (Vec<f32>, Vec<f32>) {
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
