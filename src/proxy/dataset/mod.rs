//! Image data sets: bytes in memory, one image after the other, each channel by channel.

mod cifar10;
pub mod fit;
pub mod folder;
mod formats;
mod idx;
mod layout;
pub mod picture;
mod split;
pub mod stored;
mod synthetic;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use split::{Split, is_uneven, usable};

use fit::Fit;

use crate::base::error::{Error, Result};

/// What all images of a set have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Format {
    /// What `proxy.dataset` calls the set.
    pub name: String,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// How many there are; 256 at most, as labels are bytes.
    pub classes: usize,
    /// In the order of the labels; empty where they have no names.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Of pixels from 0 to 1, by channel.
    pub mean: Vec<f32>,
    /// Standard deviation of the same pixels, by channel.
    pub std: Vec<f32>,
    /// Whether a mirrored image is still of its class.
    pub flip: bool,
    /// How images of other shapes were brought to this one; None of published sets, which have one shape.
    #[serde(default)]
    pub fit: Option<Fit>,
    /// Whether classes are of so different sizes that each weighs the same in the accuracy, which is then the mean of the classes' own.
    #[serde(default)]
    pub uneven: bool,
}

impl Format {
    /// The name of a class, or its number where it has none.
    #[must_use]
    pub(crate) fn class(&self, label: usize) -> String {
        self.class_names.get(label).map_or_else(|| label.to_string(), |name| format!("'{name}'"))
    }

    /// Bytes of one image.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Images of one size and their classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// [`Format::elements`] bytes an image.
    pub pixels: Vec<u8>,
    /// One an image: its class, from 0.
    pub labels: Vec<u8>,
}

impl Images {
    /// How many images there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// How many there are of each class.
    #[must_use]
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    }

    /// The bytes of one image.
    #[must_use]
    pub fn image(&self, index: u32, format: &Format) -> &[u8] {
        let size = format.elements();
        &self.pixels[index as usize * size..][..size]
    }
}

/// The two parts of a published set. Search and proxies see the first only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What networks are trained and validated on.
    Train,
    /// What a chosen network may be evaluated on in the end.
    Test,
}

/// One part of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Of its set.
    pub format: Format,
    /// All of this part.
    pub images: Images,
}

/// The sets that the program knows; [`load`] reads those of the user's own too.
pub const NAMES: [&str; 4] = ["cifar10", "fashion-mnist", "mnist", "synthetic"];

/// Reads one part of a set from `dir` (see [`crate::base::home::data`]).
///
/// # Errors
/// The name is unknown, a file is missing (the hint says what brings it) or is not what it should be.
pub fn load(name: &str, dir: &Path, part: Part) -> Result<Dataset> {
    match name {
        "cifar10" => cifar10::load(&dir.join(name), part),
        "fashion-mnist" | "mnist" => idx::load(name, &dir.join(name), part),
        "synthetic" => Ok(synthetic::generate(part)),
        _ if is_name(name) && is_present(name, dir) => stored::load(dir, name, part),
        _ => Err(unknown(name, dir)),
    }
}

/// Names of all sets: those the program knows, then those of the user's own.
#[must_use]
pub fn names(dir: &Path) -> Vec<String> {
    let own = stored::names(dir).into_iter().filter(|name| !NAMES.contains(&&name[..]));
    NAMES.iter().map(|name| (*name).to_owned()).chain(own).collect()
}

/// Whether a set of the user's own may be called so: its folder is.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.starts_with('.') && !name.is_empty() && name.chars().all(plain)
}

/// The error for a name that no set has.
#[must_use]
pub fn unknown(name: &str, dir: &Path) -> Error {
    Error::input(format!("there is no data set '{name}'"))
        .hint(format!("data sets: {}; `eliteloop data import FOLDER --name NAME` adds one", names(dir).join(", ")))
}

/// Whether the files of a set are there (not whether they are right: that is [`verify`]).
#[must_use]
pub fn is_present(name: &str, dir: &Path) -> bool {
    check_present(name, dir).is_ok()
}

/// # Errors
/// The name is unknown, or a file is missing.
pub fn check_present(name: &str, dir: &Path) -> Result<()> {
    if !NAMES.contains(&name) {
        let own = is_name(name) && stored::file(dir, name).is_file();
        return if own { Ok(()) } else { Err(unknown(name, dir)) };
    }
    let absent = files(name).into_iter().find(|file| !file.candidates().any(|path| dir.join(name).join(path).is_file()));
    absent.map_or(Ok(()), |file| Err(missing(name, &dir.join(name).join(file.0))))
}

/// Checks every file of a set: the SHA-256 where one is known, else that both parts can be read whole.
///
/// # Errors
/// Names the first file that is missing or wrong.
pub fn verify(name: &str, dir: &Path) -> Result<()> {
    if name == "cifar10" {
        cifar10::verify(&dir.join(name))?;
    }
    if !NAMES.contains(&name) {
        // Each part is checked against its own SHA-256.
        return [Part::Train, Part::Test].iter().try_for_each(|&part| load(name, dir, part).map(drop));
    }
    for (part, count) in [(Part::Train, 50_000), (Part::Test, 10_000)] {
        let found = load(name, dir, part)?;
        let expected = match (name, part) {
            ("fashion-mnist" | "mnist", Part::Train) => 60_000,
            ("synthetic", _) => found.images.len(),
            _ => count,
        };
        if found.images.len() != expected {
            return Err(Error::input(format!("{name}: {} images where there should be {expected}", found.images.len()))
                .hint(format!("delete data/{name} and run scripts/fetch {name}")));
        }
    }
    Ok(())
}

/// A file that may also lie there compressed.
struct File(String, bool);

impl File {
    fn candidates(&self) -> impl Iterator<Item = String> {
        let packed = self.1.then(|| format!("{}.gz", self.0));
        std::iter::once(self.0.clone()).chain(packed)
    }
}

fn files(name: &str) -> Vec<File> {
    match name {
        "cifar10" => cifar10::FILES.iter().map(|(file, _)| File((*file).into(), false)).collect(),
        "fashion-mnist" | "mnist" => idx::FILES.iter().flatten().map(|file| File((*file).into(), true)).collect(),
        _ => Vec::new(),
    }
}

fn missing(name: &str, file: &Path) -> Error {
    Error::input(format!("data set '{name}' is not here: {} is missing", file.display())).hint(format!("run scripts/fetch {name}"))
}

fn damaged(name: &str, file: &Path, why: &str) -> Error {
    Error::input(format!("{}: {why}", file.display())).hint(format!("delete it and run scripts/fetch {name}"))
}
