//! A folder of images as a data set: what is taken from it, what is refused, and that every verb works with it.

use std::path::Path;
use std::process::Output;

use eliteloop::proxy::dataset::{self, Part, stored};
use eliteloop::record::Store;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, ImageEncoder, Luma, Rgb, RgbImage, Rgba, RgbaImage};

use crate::program::{self, stderr, succeed, with_data};

/// Noise around a colour, so that no two images are the same.
fn picture(colour: [u8; 3], size: (u32, u32), number: u32) -> RgbImage {
    RgbImage::from_fn(size.0, size.1, |x, y| {
        let noise = (x * 7 + y * 13 + number * 29) % 23;
        Rgb(colour.map(|c| c.saturating_add(noise as u8)))
    })
}

/// Three classes of `count` images of several sizes.
fn folder(count: u32) -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    for (class, colour) in [("blue", [10, 20, 200]), ("green", [10, 200, 20]), ("red", [200, 20, 10])] {
        std::fs::create_dir(base.path().join(class)).unwrap();
        for number in 0..count {
            let image = picture(colour, [(32, 32), (40, 25), (17, 50)][number as usize % 3], number);
            image.save(base.path().join(class).join(format!("{number:03}.{}", ["png", "jpg"][number as usize % 2]))).unwrap();
        }
    }
    base
}

fn import(data: &Path, folder: &Path, more: &[&str]) -> Output {
    with_data(data, &[&["data", "import", folder.to_str().unwrap(), "--name", "mine"][..], more].concat()).output().unwrap()
}

#[test]
fn a_folder_becomes_a_set_that_run_eval_and_export_take() {
    let (images, data) = (folder(20), tempfile::tempdir().unwrap());
    let said = import(data.path(), images.path(), &["--size", "16"]);
    assert!(said.status.success(), "{}", stderr(&said));
    let listed = succeed(with_data(data.path(), &["data", "list"]));
    assert!(listed.contains("3 classes, 48 + 12 images of 16 x 16"), "{listed}");
    let listed: Vec<serde_json::Value> = serde_json::from_str(&succeed(with_data(data.path(), &["data", "list", "--json"]))).unwrap();
    assert!(listed.iter().any(|entry| entry["name"] == "mine" && entry["here"] == true), "{listed:?}");
    assert!(succeed(with_data(data.path(), &["data", "verify"])).contains("mine: as it should be"));
    let hint = succeed(with_data(data.path(), &["data", "fetch-hint", "mine"]));
    assert!(hint.contains(images.path().to_str().unwrap()) && hint.contains("--size 16 --test 0.2 --seed 0"), "{hint}");
    assert_eq!(succeed(with_data(data.path(), &["data", "fetch-hint", "mnist"])).trim(), "scripts/fetch mnist");

    let base = tempfile::tempdir().unwrap();
    let (run, out) = (base.path().join("run"), base.path().join("out"));
    let (run, out) = (run.to_str().unwrap(), out.to_str().unwrap());
    let settings = ["policy=random", "cycles=1", "candidates=3", "proxy.dataset=mine", "proxy.train_images=36", "proxy.valid_images=12"];
    let more = ["proxy.epochs=2", "proxy.batch=12", "proxy.repeats=0"];
    succeed(program::run(Path::new(run), &[&settings[..], &more].concat()).env("ELITELOOP_DATA", data.path()));
    succeed(with_data(data.path(), &["verify", run]));
    let store = Store::read(&Path::new(run).join("run.sqlite")).unwrap();
    assert!(store.meta("dataset").unwrap().is_some_and(|hash| hash.len() == 64));
    let network = store.networks().unwrap().remove(0);
    let last: Vec<usize> = network.graph.nodes[network.graph.output].shape.iter().map(|dim| dim.at(5)).collect();
    assert_eq!(last, [5, 3]);
    succeed(with_data(data.path(), &["export", run, "--out", out]));
    let card = std::fs::read_to_string(Path::new(out).join("card.md")).unwrap();
    assert!(card.contains("mine, 3 classes, images of 3 x 16 x 16") && card.contains("blue, green, red"), "{card}");

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/delta/starts/plain.py");
    let evaluated = succeed(with_data(
        data.path(),
        &[
            "eval",
            source.to_str().unwrap(),
            "--dataset",
            "mine",
            "--train-images",
            "36",
            "--valid-images",
            "12",
            "--epochs",
            "4",
            "--set",
            "batch=12",
            "--test",
        ],
    ));
    assert!(evaluated.contains("test accuracy"), "{evaluated}");
}

#[test]
fn pixels_are_taken_from_the_middle_upright_grey_in_three_channels_and_on_white() {
    let (base, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for part in ["train", "test"] {
        for class in ["a", "b"] {
            std::fs::create_dir_all(base.path().join(part).join(class)).unwrap();
        }
    }
    let at = |name: &str| base.path().join(name);
    // Red, then 8 x 8 of blue, then green: the blue square is the middle.
    let wide = RgbImage::from_fn(24, 8, |x, _| {
        if x < 8 { Rgb([250, 0, 0]) } else { Rgb([0, if x < 16 { 0 } else { 250 }, if x < 16 { 250 } else { 0 }]) }
    });
    wide.save(at("train/a/wide.png")).unwrap();
    GrayImage::from_pixel(16, 16, Luma([77])).save(at("train/a/grey.png")).unwrap();
    RgbaImage::from_pixel(8, 8, Rgba([255, 0, 0, 51])).save(at("train/b/pale.png")).unwrap();
    DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(8, 8, Luma([0x4321u16]))).save(at("train/b/deep.png")).unwrap();
    RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])).save(at("test/a/one.png")).unwrap();
    // The left half black; turned clockwise by a quarter it is the upper half.
    let mut encoder = JpegEncoder::new_with_quality(std::fs::File::create(at("test/b/turned.jpg")).unwrap(), 100);
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    encoder.set_exif_metadata(exif).unwrap();
    let halves = RgbImage::from_fn(8, 8, |x, _| Rgb([if x < 4 { 0 } else { 255 }; 3]));
    encoder.write_image(&halves, 8, 8, image::ExtendedColorType::Rgb8).unwrap();
    std::fs::write(at("train/.hidden"), "").unwrap();
    std::fs::write(at("train/readme.txt"), "").unwrap();

    let said = import(data.path(), base.path(), &["--size", "8", "--no-flip"]);
    let stderr = stderr(&said);
    for line in ["1 not square", "2 grey", "1 partly transparent", "1 files beside"] {
        assert!(stderr.contains(line), "no '{line}' in {stderr}");
    }
    let train = dataset::load("mine", data.path(), Part::Train).unwrap();
    assert_eq!(
        (train.format.shape, train.format.flip, &train.format.class_names[..]),
        ([3, 8, 8], false, &["a".to_owned(), "b".into()][..])
    );
    assert_eq!(train.images.labels, [0, 0, 1, 1]);
    let colours: Vec<[u8; 3]> = (0..4)
        .map(|index| {
            let image = train.images.image(index, &train.format);
            let channel = |c: usize| {
                assert!(image[c * 64..][..64].iter().all(|&v| v == image[c * 64]), "image {index} is not of one colour");
                image[c * 64]
            };
            [channel(0), channel(1), channel(2)]
        })
        .collect();
    assert_eq!(colours, [[77; 3], [0, 0, 250], [0x43; 3], [255, 204, 204]]);
    let mean = [77.0 + 0.0 + 67.0 + 255.0, 77.0 + 0.0 + 67.0 + 204.0, 77.0 + 250.0 + 67.0 + 204.0].map(|sum: f32| sum / 4.0 / 255.0);
    assert!(train.format.mean.iter().zip(mean).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", train.format.mean);
    let test = dataset::load("mine", data.path(), Part::Test).unwrap();
    let turned = test.images.image(1, &test.format);
    assert!(turned[..32].iter().all(|&v| v < 40) && turned[32..64].iter().all(|&v| v > 215), "{:?}", &turned[..64]);
    assert!(stored::header(data.path(), "mine").unwrap().origin.test.is_none());
}

#[test]
fn the_seed_decides_what_is_set_aside_and_no_image_is_in_both_parts() {
    let images = folder(15);
    std::fs::copy(images.path().join("red/000.png"), images.path().join("red/again.png")).unwrap();
    let bytes = |seed: &str| {
        let data = tempfile::tempdir().unwrap();
        let said = import(data.path(), images.path(), &["--seed", seed]);
        assert!(stderr(&said).contains("1 left out"));
        let [train, test] = [Part::Train, Part::Test].map(|part| dataset::load("mine", data.path(), part).unwrap().images);
        assert_eq!((train.len(), test.len()), (36, 9));
        let mut labels = test.labels.clone();
        labels.sort_unstable();
        assert_eq!(labels, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
        let seen: std::collections::HashSet<&[u8]> = train.pixels.chunks_exact(3072).collect();
        assert!(test.pixels.chunks_exact(3072).all(|image| !seen.contains(image)));
        std::fs::read(stored::file(data.path(), "mine")).unwrap()
    };
    let first = bytes("4");
    assert!(first == bytes("4"), "the same seed gives another file");
    assert!(first != bytes("5"), "another seed gives the same parts");
}

#[test]
fn the_training_part_is_read_without_the_test_part_and_changes_are_found() {
    let (images, data) = (folder(6), tempfile::tempdir().unwrap());
    assert!(import(data.path(), images.path(), &[]).status.success());
    let path = stored::file(data.path(), "mine");
    let whole = std::fs::read(&path).unwrap();
    let load = |part| dataset::load("mine", data.path(), part);
    let train = load(Part::Train).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert_eq!(load(Part::Train).unwrap(), train, "the training part does not depend on the test part");
    assert!(load(Part::Test).unwrap_err().to_string().contains("changed"));
    let output = with_data(data.path(), &["data", "verify", "mine"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    for cut in [0, 4, 15, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(load(Part::Train).is_err(), "cut to {cut} bytes");
    }
    std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(load(Part::Train).is_err());
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    type Change = fn(&Path);
    let cases: [(&str, Change); 8] = [
        ("'empty' has 0", |p| std::fs::create_dir(p.join("empty")).unwrap()),
        ("red/broken.png: broken", |p| {
            let mut bytes = std::fs::read(p.join("red/000.png")).unwrap();
            bytes.truncate(bytes.len() / 2);
            std::fs::write(p.join("red/broken.png"), bytes).unwrap();
        }),
        ("green/notes.txt: not a PNG or JPEG", |p| std::fs::write(p.join("green/notes.txt"), "hello").unwrap()),
        ("blue/empty.jpg: not a PNG or JPEG", |p| std::fs::write(p.join("blue/empty.jpg"), "").unwrap()),
        ("1 classes", |p| ["blue", "green"].iter().for_each(|class| std::fs::remove_dir_all(p.join(class)).unwrap())),
        ("one image in two classes", |p| std::fs::copy(p.join("red/000.png"), p.join("blue/900.png")).map(drop).unwrap()),
        ("folder in the folder of a class", |p| std::fs::create_dir(p.join("red/deeper")).unwrap()),
        ("'few' has 1 different", |p| {
            std::fs::create_dir(p.join("few")).unwrap();
            for name in ["a", "b"] {
                GrayImage::new(4, 4).save(p.join("few").join(name).with_extension("png")).unwrap();
            }
        }),
    ];
    for (word, change) in cases {
        let (images, data) = (folder(3), tempfile::tempdir().unwrap());
        change(images.path());
        let output = import(data.path(), images.path(), &[]);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{word}: {stderr}");
        assert!(stderr.contains(word) && stderr.contains("hint"), "{word}: {stderr}");
        assert!(!data.path().join("mine").exists(), "{word} left something");
    }
    let (images, data) = (folder(3), tempfile::tempdir().unwrap());
    for (arguments, word) in [
        (&["--name", "mnist"][..], "knows"),
        (&["--name", "../up"], "no name"),
        (&["--name", "a", "--test", "1.5"], "--test"),
        (&["--name", "a", "--size", "1"], "--size"),
    ] {
        let output = with_data(data.path(), &[&["data", "import", images.path().to_str().unwrap()], arguments].concat()).output().unwrap();
        let stderr = stderr(&output);
        assert!(output.status.code() == Some(2) && stderr.contains(word), "{arguments:?}: {stderr}");
    }
    assert!(import(data.path(), images.path(), &[]).status.success());
    let again = import(data.path(), images.path(), &[]);
    assert!(stderr(&again).contains("exists already"));
    let split = dataset::Split::draw(&dataset::load("mine", data.path(), Part::Train).unwrap(), 0, 3, 30).unwrap_err();
    assert!(split.to_string().contains("class 'blue' has 2 images"), "{split}");
    let missing = with_data(data.path(), &["data", "verify", "other"]).output().unwrap();
    assert!(stderr(&missing).contains("mine"));
}
