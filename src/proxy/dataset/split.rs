//! The images that proxies are trained on and those that give the quality: drawn once per run from the training part.

use std::io::Write;
use std::path::Path;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Dataset, Format, Images};
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::read_file;
use crate::base::hash::Hash;
use crate::base::scratch::Scratch;
use crate::base::seed;

/// Training and validation images: balanced by class, disjoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Of the set it was drawn from; `uneven` also where it was drawn stratified.
    pub format: Format,
    /// What networks are trained on.
    pub train: Images,
    /// What gives the quality.
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

    /// Draws `train` and `valid` images of `dataset`, of each class in the proportion it has there, one at least of each. Accuracies are then
    /// means of the classes' own.
    ///
    /// # Errors
    /// There are too few images.
    pub(crate) fn stratified(dataset: &Dataset, run: u64, train: usize, valid: usize) -> Result<Self> {
        let Dataset { format, images } = dataset;
        let counts = images.counts(format.classes);
        let shares = apportion(valid, &counts, 1).and_then(|valid| {
            let left: Vec<usize> = counts.iter().zip(&valid).map(|(have, valid)| have - valid).collect();
            Some((apportion(train, &left, 0)?, valid))
        });
        let Some((trained, validated)) = shares else {
            let what = format!(
                "{}: {train} + {valid} images are wanted, at least one of each of {} classes; it has {}",
                format.name,
                format.classes,
                images.len()
            );
            return Err(Error::input(what).hint("lower proxy.train_images or proxy.valid_images"));
        };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for class in 0..format.classes {
            let mut of_class = of_class(dataset, class);
            of_class.shuffle(&mut seed::rng(run, "split", &[class as u64]));
            first.extend_from_slice(&of_class[..trained[class]]);
            second.extend_from_slice(&of_class[trained[class]..][..validated[class]]);
        }
        let mut split = Self::gathered(dataset, run, first, second);
        split.format.uneven = true;
        Ok(split)
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
        let part = path.with_extension("part");
        let write = || -> std::io::Result<()> {
            self.write(&mut std::fs::File::create(&part)?)?;
            std::fs::rename(&part, path)
        };
        write().at("write the images of the run to", path)
    }

    /// The same into a file of which nothing stays.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        Scratch::new(|file| self.write(file))
    }

    fn write(&self, file: &mut std::fs::File) -> std::io::Result<()> {
        let header = Header { format: self.format.clone(), train: self.train.len(), valid: self.valid.len(), hash: self.hash() };
        let header = serde_json::to_vec(&header)?;
        let mut file = std::io::BufWriter::new(file);
        file.write_all(MAGIC)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for images in [&self.train, &self.valid] {
            file.write_all(&images.labels)?;
            file.write_all(&images.pixels)?;
        }
        file.flush()
    }

    /// Reads what [`Split::save`] wrote.
    ///
    /// # Errors
    /// The file is missing, cut off or changed.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = read_file(path, "read the images of the run from", u64::MAX - 1)?;
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

/// Whether classes of these sizes would leave more than a tenth of the images out of a balanced split.
#[must_use]
pub fn is_uneven(counts: &[usize]) -> bool {
    let fewest = counts.iter().min().copied().unwrap_or_default();
    10 * fewest * counts.len() < 9 * counts.iter().sum::<usize>()
}

/// Training and validation images that make use of a training part of these classes: those that are given, and for the others two thirds
/// and one, no more than `most` of both.
#[must_use]
pub fn usable(counts: &[usize], given: [Option<usize>; 2], most: [usize; 2]) -> [usize; 2] {
    let classes = counts.len();
    let fewest = counts.iter().min().copied().unwrap_or_default();
    let (all, least) = if is_uneven(counts) { (counts.iter().sum(), classes) } else { (fewest * classes, classes) };
    // A balanced split takes the same of each class.
    let whole = |images: usize| if is_uneven(counts) { images } else { images / classes.max(1) * classes };
    let left = |taken: usize, most: usize| whole(all.saturating_sub(taken).min(most.max(least)));
    let [train, valid] = given;
    let third = whole((all / 3).clamp(least, most[1].max(least)));
    let valid = valid.unwrap_or_else(|| train.map_or(third, |train| left(train, third)));
    [train.unwrap_or_else(|| left(valid, most[0])), valid]
}

/// `total` shared out in proportion to `counts`, at least 1 each, and leaving `rest` of each; what is left over goes where most is missing.
/// None where that cannot be.
fn apportion(total: usize, counts: &[usize], rest: usize) -> Option<Vec<usize>> {
    let sum: usize = counts.iter().sum();
    let most: Vec<usize> = counts.iter().map(|count| count.saturating_sub(rest)).collect();
    if most.contains(&0) || total < counts.len() || total > most.iter().sum::<usize>() {
        return None;
    }
    let quota = |class: usize| total as f64 * counts[class] as f64 / sum as f64;
    let mut shares: Vec<usize> = (0..counts.len()).map(|class| (quota(class) as usize).clamp(1, most[class])).collect();
    loop {
        let given: usize = shares.iter().sum();
        let missing = |class: &usize| quota(*class) - shares[*class] as f64;
        let by = |a: &usize, b: &usize| missing(a).total_cmp(&missing(b)).then(b.cmp(a));
        let class = match given.cmp(&total) {
            std::cmp::Ordering::Equal => return Some(shares),
            std::cmp::Ordering::Less => (0..counts.len()).filter(|&class| shares[class] < most[class]).max_by(by)?,
            std::cmp::Ordering::Greater => (0..counts.len()).filter(|&class| shares[class] > 1).min_by(by)?,
        };
        shares[class] = if given < total { shares[class] + 1 } else { shares[class] - 1 };
    }
}

fn of_class(dataset: &Dataset, class: usize) -> Vec<u32> {
    (0..dataset.images.len() as u32).filter(|&i| usize::from(dataset.images.labels[i as usize]) == class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_in_proportion_and_sum_up() {
        assert_eq!(apportion(25, &[96, 4], 1), Some(vec![24, 1]));
        assert_eq!(apportion(10, &[50, 30, 20], 1), Some(vec![5, 3, 2]));
        assert_eq!(apportion(3, &[1000, 2, 2], 1), Some(vec![1, 1, 1]));
        assert_eq!(apportion(100, &[98, 2], 0), Some(vec![98, 2]));
        assert_eq!(apportion(1, &[5, 5], 0), None);
        assert_eq!(apportion(9, &[5, 5], 1), None);
        assert_eq!(apportion(2, &[5, 1], 1), None);
        for (total, counts) in [(7, vec![3, 3, 3]), (50, vec![40, 9, 9, 1]), (11, vec![100, 1, 1])] {
            let shares = apportion(total, &counts, 0).unwrap();
            assert_eq!(shares.iter().sum::<usize>(), total);
            assert!(shares.iter().zip(&counts).all(|(share, count)| (1..=*count).contains(share)), "{shares:?}");
        }
    }

    #[test]
    fn what_a_set_lets_one_use_is_within_it() {
        let none = [None, None];
        assert_eq!(usable(&[96, 4], none, [4000, 2000]), [67, 33]);
        assert_eq!(usable(&[16, 16, 16], none, [4000, 2000]), [33, 15]);
        assert_eq!(usable(&[5000; 10], none, [4000, 2000]), [4000, 2000]);
        assert_eq!(usable(&[2, 2], none, [4000, 2000]), [2, 2]);
        // One of both given leaves the other what there is.
        assert_eq!(usable(&[16, 16, 16], [Some(42), None], [4000, 2000]), [42, 6]);
        assert_eq!(usable(&[16, 16, 16], [Some(9), None], [4000, 2000]), [9, 15]);
        assert_eq!(usable(&[16, 16, 16], [None, Some(30)], [4000, 2000]), [18, 30]);
        assert_eq!(usable(&[96, 4], [None, Some(90)], [4000, 2000]), [10, 90]);
        assert_eq!(usable(&[90_000, 10_000], none, [4000, 2000]), [4000, 2000]);
        for counts in [vec![2, 3], vec![2; 256], vec![1000, 2, 2], vec![7, 9, 8]] {
            let [train, valid] = usable(&counts, none, [4000, 2000]);
            let left: Vec<usize> = if is_uneven(&counts) {
                let valid = apportion(valid, &counts, 1).unwrap();
                counts.iter().zip(valid).map(|(have, valid)| have - valid).collect()
            } else {
                counts.iter().map(|have| have - valid.div_ceil(counts.len())).collect()
            };
            assert!(apportion(train, &left, 0).is_some(), "{counts:?}: {train} + {valid}");
        }
    }
}
