//! A set of the user's own as one file, `data/NAME/images.bin`: `elimage1`, the length of the header (64 bits, lowest byte
//! first), the header (JSON), then labels and pixels of the training part, then those of the test part.
//!
//! Each part has a hash of its own, so to read one part is never to look at the other.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fit::{Fit, Size};
use super::{Dataset, Format, Images, Part};
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::{open_file, write_whole};
use crate::base::hash::Hash;

const MAGIC: &[u8; 8] = b"elimage1";
/// A longer header is none of ours.
const MOST_HEADER: u64 = 1 << 24;

/// How a set was imported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Where the images lay.
    pub folder: PathBuf,
    /// The table of labels, where the folders are no classes.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// What every image was brought to.
    pub size: Size,
    /// How images of another shape were brought to it.
    #[serde(default)]
    pub fit: Fit,
    /// Share of the images set aside as the test part; None where the folder had one.
    pub test: Option<f64>,
    /// Decides which images were set aside.
    pub seed: u64,
    /// Whether a mirrored image is still of its class.
    pub flip: bool,
    /// Whether files that could not be read were left out; else they end an import.
    #[serde(default)]
    pub skip_broken: bool,
}

/// What the file says of itself, before its images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// What all its images have in common.
    pub format: Format,
    /// How it was imported.
    pub origin: Origin,
    /// First in the file.
    pub train: Section,
    /// After the training part, to the end of the file.
    pub test: Section,
}

/// One part in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// How many there are.
    pub images: usize,
    /// Of labels and pixels.
    pub(crate) sha256: String,
}

impl Section {
    fn of(images: &Images) -> Self {
        Self { images: images.len(), sha256: hash(&images.labels, &images.pixels) }
    }
}

fn hash(labels: &[u8], pixels: &[u8]) -> String {
    let mut hash = Hash::of(labels);
    hash.update(pixels);
    hash.hex()
}

/// The file of a set.
pub fn file(data: &Path, name: &str) -> PathBuf {
    data.join(name).join("images.bin")
}

/// Names of the stored sets, sorted.
pub(crate) fn names(data: &Path) -> Vec<String> {
    let folders = std::fs::read_dir(data).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        folders.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| file(data, name).is_file()).collect();
    names.sort();
    names
}

/// Writes the file of a new set.
pub fn write(data: &Path, format: &Format, origin: &Origin, train: &Images, test: &Images) -> Result<()> {
    let header = Header { format: format.clone(), origin: origin.clone(), train: Section::of(train), test: Section::of(test) };
    let header = serde_json::to_vec(&header)?;
    let mut bytes = [&MAGIC[..], &(header.len() as u64).to_le_bytes(), &header].concat();
    for images in [train, test] {
        bytes.extend_from_slice(&images.labels);
        bytes.extend_from_slice(&images.pixels);
    }
    let path = file(data, &format.name);
    let folder = data.join(&format.name);
    std::fs::create_dir_all(&folder).at("make the folder", &folder)?;
    write_whole(&path, &bytes)
}

/// The header of a stored set; nothing of its images is read.
///
/// # Errors
/// Where the file is missing or damaged.
pub fn header(data: &Path, name: &str) -> Result<Header> {
    let path = file(data, name);
    open(&path).map(|opened| opened.1)
}

/// The open file at its first part, and the header.
fn open(path: &Path) -> Result<(File, Header)> {
    let damaged = || damaged(path, "is not a whole data set");
    let mut file = open_file(path, "read")?;
    let mut start = [0; 16];
    file.read_exact(&mut start).map_err(|_| damaged())?;
    let length = u64::from_le_bytes(start[8..].try_into().expect("eight bytes"));
    if start[..8] != *MAGIC || length > MOST_HEADER {
        return Err(damaged());
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(|_| damaged())?;
    let mut header: Header = serde_json::from_slice(&header).map_err(|e| damaged().caused_by(e))?;
    // Sets of before there was a choice.
    header.format.fit.get_or_insert(Fit::Crop);
    Ok((file, header))
}

/// How many images of each class the training part has.
///
/// # Errors
/// Where the file cannot be read or is damaged.
pub(crate) fn counts(data: &Path, name: &str) -> Result<Vec<usize>> {
    let path = file(data, name);
    let (mut file, Header { format, train, .. }) = open(&path)?;
    // Before memory is taken for what a header says.
    if train.images as u64 > file.metadata().at("read", &path)?.len() {
        return Err(damaged(&path, "is not as long as it should be"));
    }
    let mut labels = vec![0; train.images];
    file.read_exact(&mut labels).at("read", &path)?;
    if labels.iter().any(|&label| usize::from(label) >= format.classes) {
        return Err(damaged(&path, "was changed after it was written"));
    }
    Ok(Images { pixels: Vec::new(), labels }.counts(format.classes))
}

/// Deletes a set.
///
/// # Errors
/// Where it cannot be deleted.
pub fn remove(data: &Path, name: &str) -> Result<()> {
    let folder = data.join(name);
    std::fs::remove_file(file(data, name)).at("delete", &folder)?;
    // Only where nothing of the user's lies in it too.
    let _ = std::fs::remove_dir(&folder);
    Ok(())
}

pub(crate) fn load(data: &Path, name: &str, part: Part) -> Result<Dataset> {
    let path = file(data, name);
    let (mut file, Header { format, train, test, .. }) = open(&path)?;
    let length = |section: &Section| section.images.checked_mul(format.elements().checked_add(1)?);
    let (Some(first), Some(second)) = (length(&train), length(&test)) else { return Err(damaged(&path, "has no sensible header")) };
    let whole = file.stream_position()?.checked_add(first as u64).and_then(|end| end.checked_add(second as u64));
    if whole != Some(file.metadata().at("read", &path)?.len()) {
        return Err(damaged(&path, "is not as long as it should be"));
    }
    let (section, length) = match part {
        Part::Train => (train, first),
        Part::Test => {
            file.seek(SeekFrom::Current(first as i64))?;
            (test, second)
        }
    };
    let mut labels = vec![0; length];
    file.read_exact(&mut labels).at("read", &path)?;
    let pixels = labels.split_off(section.images);
    if hash(&labels, &pixels) != section.sha256 || labels.iter().any(|&label| usize::from(label) >= format.classes) {
        return Err(damaged(&path, "was changed after it was written"));
    }
    Ok(Dataset { format, images: Images { pixels, labels } })
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::input(format!("{}: {why}", path.display())).hint("delete it and import the folder again")
}
