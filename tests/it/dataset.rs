//! Data sets as they are on disk, and the split that a run draws from one.

use std::collections::HashSet;

use assert_cmd::Command;
use eliteloop::base::home;
use eliteloop::proxy::dataset::{self, Dataset, Format, Images, Part, Split};

fn cifar10(part: Part) -> Dataset {
    dataset::load("cifar10", &home::data(), part).expect("CIFAR-10 is needed: run scripts/fetch cifar10")
}

#[test]
fn cifar10_has_the_published_counts_means_and_deviations() {
    needs!(Cifar10);
    for (part, count) in [(Part::Train, 50_000), (Part::Test, 10_000)] {
        let data = cifar10(part);
        assert_eq!(data.images.len(), count);
        let mut of_class = [0; 10];
        data.images.labels.iter().for_each(|&label| of_class[usize::from(label)] += 1);
        assert!(of_class.iter().all(|&n| n == count / 10), "{of_class:?}");
        if part == Part::Test {
            continue;
        }
        let area = 32 * 32;
        for channel in 0..3 {
            let (mut sum, mut squares) = (0u64, 0u64);
            for image in data.images.pixels.chunks_exact(3 * area) {
                for &byte in &image[channel * area..(channel + 1) * area] {
                    sum += u64::from(byte);
                    squares += u64::from(byte) * u64::from(byte);
                }
            }
            let n = (count * area) as f64;
            let mean = sum as f64 / n / 255.0;
            let std = (squares as f64 / n / 255.0 / 255.0 - mean * mean).sqrt();
            assert!((mean - [0.4914, 0.4822, 0.4465][channel]).abs() < 1e-4, "mean {mean}");
            assert!((std - [0.2470, 0.2435, 0.2616][channel]).abs() < 1e-4, "deviation {std}");
        }
        assert!((f64::from(data.format.mean[0]) - 0.4914).abs() < 1e-6);
    }
}

#[test]
fn a_split_is_balanced_disjoint_and_the_same_for_the_same_seed() {
    needs!(Cifar10);
    let data = cifar10(Part::Train);
    let split = Split::draw(&data, 7, 400, 205).unwrap();
    assert_eq!((split.train.len(), split.valid.len()), (400, 205));
    let of_class = |images: &Images, class: u8| images.labels.iter().map(|&label| usize::from(label == class)).sum::<usize>();
    assert!((0..10).all(|class| of_class(&split.train, class) == 40));
    assert!((0..10).all(|class| (20..=21).contains(&of_class(&split.valid, class))));
    let size = data.format.elements();
    let seen: HashSet<&[u8]> = split.train.pixels.chunks_exact(size).collect();
    assert!(split.valid.pixels.chunks_exact(size).all(|image| !seen.contains(image)));
    assert_eq!(split.hash(), Split::draw(&data, 7, 400, 205).unwrap().hash());
    assert_ne!(split.hash(), Split::draw(&data, 8, 400, 205).unwrap().hash());
    let error = Split::draw(&data, 7, 49_000, 2_000).unwrap_err();
    assert!(error.to_string().contains("'airplane'"), "{error}");
}

#[test]
fn a_saved_split_comes_back_and_a_damaged_one_does_not() {
    let data = dataset::load("synthetic", &home::data(), Part::Train).unwrap();
    let split = Split::draw(&data, 1, 30, 20).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.bin");
    split.save(&path).unwrap();
    assert_eq!(Split::load(&path).unwrap(), split);
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 4, 20, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Split::load(&path).is_err(), "cut to {cut} bytes");
    }
    let mut changed = bytes;
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&path, changed).unwrap();
    assert!(Split::load(&path).is_err());
}

#[test]
fn synthetic_images_are_always_the_same_and_differ_between_the_parts() {
    let load = |part| dataset::load("synthetic", &home::data(), part).unwrap();
    let (train, test) = (load(Part::Train), load(Part::Test));
    assert_eq!(train, load(Part::Train));
    assert_eq!(train.format.shape, [3, 32, 32]);
    assert_eq!((train.images.len(), test.images.len()), (10_000, 2_000));
    assert_ne!(train.images.pixels[..3072], test.images.pixels[..3072]);
}

#[test]
fn missing_damaged_and_unknown_sets_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = dataset::load("cifar10", folder.path(), Part::Train).unwrap_err();
    assert_eq!(missing.hint_text(), Some("run scripts/fetch cifar10"));
    let unknown = dataset::load("cifar", folder.path(), Part::Train).unwrap_err();
    assert!(unknown.hint_text().unwrap().contains("cifar10"));
    let dir = folder.path().join("cifar10");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("test_batch.png"), b"no picture").unwrap();
    let damaged = dataset::load("cifar10", folder.path(), Part::Test).unwrap_err();
    assert!(damaged.to_string().contains("test_batch.png") && damaged.exit_code() == 2, "{damaged}");
}

#[test]
fn idx_files_are_read_compressed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("mnist");
    std::fs::create_dir(&dir).unwrap();
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &(0..12).collect::<Vec<u8>>()].concat();
    std::fs::write(dir.join("train-images-idx3-ubyte"), images).unwrap();
    let file = std::fs::File::create(dir.join("train-labels-idx1-ubyte.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    std::io::Write::write_all(&mut packed, &[0, 0, 8, 1, 0, 0, 0, 2, 3, 9]).unwrap();
    packed.finish().unwrap();
    let data = dataset::load("mnist", folder.path(), Part::Train).unwrap();
    let format: &Format = &data.format;
    assert_eq!((format.shape, format.flip), ([1, 2, 3], false));
    assert_eq!(data.images, Images { pixels: (0..12).collect(), labels: vec![3, 9] });
}

#[test]
fn data_list_and_verify_answer() {
    needs!(Cifar10);
    let program = || Command::cargo_bin("eliteloop").unwrap();
    let listed = program().args(["data", "list", "--json"]).assert().success().get_output().stdout.clone();
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed.len(), dataset::names(&home::data()).len());
    let empty = tempfile::tempdir().unwrap();
    let output = program().args(["data", "verify", "cifar10"]).env("ELITELOOP_DATA", empty.path()).assert().code(2).get_output().clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("scripts/fetch cifar10"));
    program().args(["data", "verify", "cifar10"]).env("ELITELOOP_DATA", home::data()).assert().success();
}
