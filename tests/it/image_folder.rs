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
    needs!(Minutes);
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
    for line in ["1 of another shape: the middle was taken", "1 left out: hidden", "2 grey", "1 partly transparent", "1 files beside"] {
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
        ("green/notes.txt: not a PNG, JPEG, WebP, BMP, TIFF or GIF", |p| std::fs::write(p.join("green/notes.txt"), "hello").unwrap()),
        ("blue/empty.jpg: not a PNG, JPEG", |p| std::fs::write(p.join("blue/empty.jpg"), "").unwrap()),
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

/// `parts/class/NUMBER.png`, every image another one.
fn parts(layout: &[(&str, u32)]) -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    for (number, (place, count)) in (0..).zip(layout) {
        std::fs::create_dir_all(base.path().join(place)).unwrap();
        for i in 0..*count {
            picture([40 * (number % 5), 90, 7 * i as u8], (12, 12), i + 50 * u32::from(number))
                .save(base.path().join(place).join(format!("{i}.png")))
                .unwrap();
        }
    }
    base
}

#[test]
fn the_usual_layouts_of_parts_are_known_in_any_case() {
    /// Folders with their pictures, how many of them train and test, and what is said.
    type Layout = (&'static [(&'static str, u32)], [usize; 2], &'static str);
    let cases: [Layout; 5] = [
        (&[("train/a", 4), ("train/b", 4), ("val/a", 2), ("val/b", 2)], [8, 4], "val is the test part"),
        (&[("Train/a", 4), ("Train/b", 4), ("Test/a", 2), ("Test/b", 2)], [8, 4], ""),
        (&[("training/a", 4), ("training/b", 4), ("validation/a", 2), ("validation/b", 2)], [8, 4], "validation is the test part"),
        (
            &[("train/a", 4), ("train/b", 4), ("valid/a", 2), ("valid/b", 2), ("test/a", 1), ("test/b", 1)],
            [12, 2],
            "valid and train are the training part",
        ),
        // A class may be called as a part is.
        (&[("test", 5), ("control", 5)], [8, 2], ""),
    ];
    for (layout, [train, test], word) in cases {
        let (images, data) = (parts(layout), tempfile::tempdir().unwrap());
        let output = import(data.path(), images.path(), &[]);
        assert!(output.status.success() && stderr(&output).contains(word), "{layout:?}: {}", stderr(&output));
        let counts = [Part::Train, Part::Test].map(|part| dataset::load("mine", data.path(), part).unwrap().images.len());
        assert_eq!(counts, [train, test], "{layout:?}");
    }
    for (layout, word) in [
        (&[("train/a", 4), ("train/b", 4), ("val/a", 2)][..], "class 'b' is in one of the folders train and val only"),
        (&[("train/a", 4), ("train/b", 4), ("val/a", 2), ("val/b", 2), ("labels/x", 1)], "take labels out of the folder"),
        (&[("set/train/a", 4), ("set/train/b", 4)], "if the classes are in it, give"),
        (&[("train/a", 4), ("val/a", 2), ("dev/a", 1)], "the folders dev and val are the same part"),
    ] {
        let (images, data) = (parts(layout), tempfile::tempdir().unwrap());
        let output = import(data.path(), images.path(), &[]);
        assert!(output.status.code() == Some(2) && stderr(&output).contains(word), "{layout:?}: {}", stderr(&output));
    }
    let many: Vec<String> = (0..300).map(|class| format!("c{class}")).collect();
    let many: Vec<(&str, u32)> = many.iter().map(|class| (class.as_str(), 0)).collect();
    let output = import(tempfile::tempdir().unwrap().path(), parts(&many).path(), &[]);
    assert!(stderr(&output).contains("300 classes") && stderr(&output).contains("the limit is 256 classes"), "{}", stderr(&output));
}

#[test]
fn what_operating_systems_leave_is_left_out_and_counted() {
    let (images, data) = (folder(4), tempfile::tempdir().unwrap());
    let at = |name: &str| images.path().join(name);
    std::fs::create_dir_all(at("__MACOSX/red")).unwrap();
    for name in ["red/Thumbs.db", "red/.DS_Store", "blue/desktop.ini", "Desktop.ini", "__MACOSX/red/._000.png", "green/._000.png"] {
        std::fs::write(at(name), "junk").unwrap();
    }
    let output = import(data.path(), images.path(), &[]);
    assert!(output.status.success() && stderr(&output).contains("6 left out: hidden, or an operating system's"), "{}", stderr(&output));
    assert_eq!(stored::header(data.path(), "mine").unwrap().format.class_names, ["blue", "green", "red"]);
}

#[test]
fn a_table_of_labels_makes_classes() {
    let (images, data) = (parts(&[("all", 12)]), tempfile::tempdir().unwrap());
    let table = images.path().join("labels.csv");
    let import = |text: &str, folder: &str| {
        std::fs::write(&table, text).unwrap();
        let more = ["--labels", table.to_str().unwrap(), "--test", "0.3", "--force"];
        import(data.path(), &images.path().join(folder), &more)
    };
    let lines = |from: u32, head: &str, ending: &str| {
        let line = |i: u32| format!("{i}{ending},{}\r\n", ["10", "9"][i as usize % 2]);
        (from..12).map(line).fold(head.to_owned(), |all, line| all + &line)
    };
    let classes = || stored::header(data.path(), "mine").unwrap().format.class_names;
    // With the files' endings and without, with a head and without; numbers in their own order.
    for text in [lines(0, "id,label\n", ""), lines(0, "", ".png"), lines(0, "\u{feff}filename,class\r\n", ".png")] {
        let output = import(&text, "all");
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(classes(), ["9", "10"]);
        let train = dataset::load("mine", data.path(), Part::Train).unwrap();
        assert_eq!(train.images.len(), 8);
    }
    let swapped = (0..12).fold("label;file\n".to_owned(), |all, i| all + &format!("\"{}\";all/{i}.png\n", ["x, y", "z"][i % 2]));
    assert!(import(&swapped, "").status.success());
    assert_eq!(classes(), ["x, y", "z"]);
    let hint = succeed(with_data(data.path(), &["data", "fetch-hint", "mine"]));
    assert!(hint.contains("--labels") && hint.contains("--test 0.3"), "{hint}");
    for (text, word) in [
        (lines(0, "id,label\n", "") + "99,9\n", "labels.csv, line 14: there is no image 99"),
        (lines(0, "id,label\n", "") + "3,10\n", "line 14: 3 is of class '10' here, and of '9' before"),
        (lines(0, "id,label\n", "") + "3,\n", "line 14: 3 has no label"),
        ("1.png 3\n".into(), "line 1: no comma"),
        (lines(11, "id,label\n", ""), "1 classes"),
    ] {
        let output = import(&text, "all");
        assert!(output.status.code() == Some(2) && stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
    let output = self::import(tempfile::tempdir().unwrap().path(), images.path(), &[]);
    assert!(stderr(&output).contains("--labels") && stderr(&output).contains("labels.csv"), "{}", stderr(&output));
}

#[test]
fn broken_files_are_left_out_where_they_are_to_be() {
    let (images, data) = (folder(4), tempfile::tempdir().unwrap());
    let mut jpeg = std::fs::read(images.path().join("red/001.jpg")).unwrap();
    jpeg.truncate(jpeg.len() - 40);
    std::fs::write(images.path().join("red/cut.jpg"), jpeg).unwrap();
    std::fs::write(images.path().join("blue/notes.txt"), "hello").unwrap();
    let output = import(data.path(), images.path(), &[]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--skip-broken"), "{}", stderr(&output));
    std::fs::remove_file(images.path().join("blue/notes.txt")).unwrap();
    let output = import(data.path(), images.path(), &[]);
    assert!(stderr(&output).contains("red/cut.jpg: broken: it is cut off"), "{}", stderr(&output));
    let output = import(data.path(), images.path(), &["--skip-broken"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("1 left out: cannot be read") && stderr(&output).contains("red/cut.jpg"), "{}", stderr(&output));
    // What is there is replaced only where that is said, and removed with nothing else.
    let again = import(data.path(), images.path(), &["--skip-broken"]);
    assert!(stderr(&again).contains("exists already") && stderr(&again).contains("data remove mine"), "{}", stderr(&again));
    assert!(import(data.path(), images.path(), &["--skip-broken", "--force", "--size", "8"]).status.success());
    assert_eq!(stored::header(data.path(), "mine").unwrap().format.shape, [3, 8, 8]);
    std::fs::write(data.path().join("mine/notes"), "of the user").unwrap();
    succeed(with_data(data.path(), &["data", "remove", "mine"]));
    assert!(!stored::file(data.path(), "mine").exists() && data.path().join("mine/notes").exists());
    assert!(images.path().join("red/000.png").is_file());
    let output = import(data.path(), images.path(), &["--skip-broken", "--force"]);
    assert!(stderr(&output).contains("it is no set that was imported"), "{}", stderr(&output));
    for name in ["mine", "cifar10"] {
        assert_eq!(with_data(data.path(), &["data", "remove", name]).output().unwrap().status.code(), Some(2));
    }
}

#[test]
fn images_need_not_be_square() {
    let (base, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (class, shift) in [("a", 0), ("b", 100)] {
        std::fs::create_dir(base.path().join(class)).unwrap();
        for number in 0..4 {
            // Left half dark, right half light.
            let image = RgbImage::from_fn(20, 10, |x, _| Rgb([if x < 10 { 10 } else { 140 } + number, shift, 0]));
            image.save(base.path().join(class).join(format!("{number}.png"))).unwrap();
        }
    }
    let first = |arguments: &[&str]| {
        let output = import(data.path(), base.path(), &[&["--force"][..], arguments].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let train = dataset::load("mine", data.path(), Part::Train).unwrap();
        let [_, height, width] = train.format.shape;
        let image = train.images.image(0, &train.format).to_vec();
        (height, width, (0..height).map(|y| image[y * width..][..width].to_vec()).collect::<Vec<_>>())
    };
    let (height, width, rows) = first(&["--size", "8x16"]);
    assert_eq!((height, width), (8, 16));
    assert!(rows.iter().all(|row| row[2] < 40 && row[13] > 120), "the shape is the images' own: nothing is cut");
    let (_, _, rows) = first(&["--size", "16x8", "--fit", "pad"]);
    assert!(rows[..6].iter().chain(&rows[10..]).flatten().all(|&v| v == 0) && rows[8][7] > 120, "{rows:?}");
    let (_, _, rows) = first(&["--size", "16x8", "--fit", "stretch"]);
    assert!(rows.iter().all(|row| row[0] < 40 && row[7] > 120));
    let hint = succeed(with_data(data.path(), &["data", "fetch-hint", "mine"]));
    assert!(hint.contains("--size 16x8 --fit stretch"), "{hint}");
    for wrong in ["0", "8x", "8x9x10", "x", "1000x8"] {
        let output = import(data.path(), base.path(), &["--force", "--size", wrong]);
        assert!(output.status.code() == Some(2) && stderr(&output).contains("HEIGHTxWIDTH"), "{wrong}: {}", stderr(&output));
    }
}

/// 24 + 6 images, no settings but the set's name: all of them are used, in proportion, and a network that knows the large class alone is at a half.
#[test]
fn uneven_classes_are_used_whole_and_weigh_the_same() {
    needs!(Minutes);
    let (images, data) = (parts(&[("large", 30), ("small", 7)]), tempfile::tempdir().unwrap());
    let output = import(data.path(), images.path(), &["--size", "12", "--test", "0.1"]);
    assert!(stderr(&output).contains("its classes have 6 to 27 images"), "{}", stderr(&output));
    let train = dataset::load("mine", data.path(), Part::Train).unwrap();
    assert!(train.format.uneven);
    let mut proxy = eliteloop::proxy::settings::ProxyConfig { dataset: "mine".into(), ..Default::default() };
    proxy.suit(&toml::Table::new(), data.path()).unwrap();
    assert_eq!([proxy.train_images, proxy.valid_images], [22, 11]);
    let split = proxy.draw(&train, 0).unwrap();
    assert_eq!([split.train.counts(2), split.valid.counts(2)], [vec![18, 4], vec![9, 2]]);
    let seen: std::collections::HashSet<&[u8]> = split.train.pixels.chunks_exact(432).collect();
    assert!(split.valid.pixels.chunks_exact(432).all(|image| !seen.contains(image)));

    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let settings =
        ["policy=random", "cycles=1", "candidates=2", "proxy.dataset=mine", "proxy.epochs=1", "proxy.batch=8", "proxy.repeats=0"];
    succeed(program::run(&run, &settings).env("ELITELOOP_DATA", data.path()));
    let stored = std::fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(stored.contains("train_images = 22") && stored.contains("split = \"stratified\""), "{stored}");
    succeed(with_data(data.path(), &["verify", run.to_str().unwrap()]));
    // Means of ninths and halves, not elevenths.
    let store = Store::read(&run.join("run.sqlite")).unwrap();
    let accuracies: Vec<f64> = store.trainings().unwrap().iter().filter_map(|training| training.accuracy).collect();
    assert!(!accuracies.is_empty());
    assert!(accuracies.iter().all(|accuracy| (accuracy * 36.0 - (accuracy * 36.0).round()).abs() < 1e-9), "{accuracies:?}");
}
