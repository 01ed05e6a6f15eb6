//! The `eval` verb: short and full trainings, of sources and of a run's networks, and who looks at the test images.

use std::path::{Path, PathBuf};

use eliteloop::base::home;
use eliteloop::proxy::dataset::{self, Format, Images, Part, Split, stored};
use rand::Rng;
use serde_json::Value;

use crate::program::{self, SMALL_NETWORK, stderr, succeed, with_data};

fn here(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

fn refused(data: &Path, arguments: &[&str], word: &str) {
    let output = with_data(data, arguments).output().unwrap();
    let stderr = stderr(&output);
    assert!(output.status.code() == Some(2) && stderr.contains(word), "{arguments:?}: {stderr}");
}

/// A set of three colours under noise, `counts` images of each to train with and 8 of each to test with.
fn colours(data: &Path, counts: [usize; 3]) {
    let mut rng = eliteloop::base::seed::rng(1, "test", &[]);
    let mut draw = |counts: [usize; 3]| {
        let mut images = Images::default();
        for (class, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                images.labels.push(class as u8);
                images.pixels.extend((0..3 * 64).map(|at| if at / 64 == class { 120 } else { 60 } + rng.random_range(0..80u8)));
            }
        }
        images
    };
    let (train, test) = (draw(counts), draw([8; 3]));
    let format = Format {
        name: "colours".into(),
        shape: [3, 8, 8],
        classes: 3,
        class_names: ["red", "green", "blue"].map(String::from).to_vec(),
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        flip: true,
        fit: None,
        uneven: false,
    };
    let origin = stored::Origin {
        folder: "none".into(),
        labels: None,
        size: dataset::fit::Size::square(8),
        fit: dataset::fit::Fit::Crop,
        test: Some(0.2),
        seed: 0,
        flip: true,
        skip_broken: false,
    };
    stored::write(data, &format, &origin, &train, &test).unwrap();
}

#[test]
fn a_full_training_takes_every_image_and_reports_the_test_accuracy_over_its_seeds() {
    let data = tempfile::tempdir().unwrap();
    colours(data.path(), [40, 20, 11]);
    let source = here("src/delta/starts/plain.py");
    let weights = data.path().join("weights.safetensors");
    let run = |more: &[&str]| {
        let arguments =
            [&["eval", &source, "--dataset", "colours", "--full", "--set", "epochs=3", "--set", "batch=16", "--json"], more].concat();
        serde_json::from_str::<Value>(&succeed(with_data(data.path(), &arguments))).unwrap()
    };
    let three = run(&["--seeds", "3", "--test", "--weights", weights.to_str().unwrap()]);
    assert_eq!(three["recipe"]["epochs"], 3);
    let trainings = three["trainings"].as_array().unwrap();
    let accuracies: Vec<f64> = trainings.iter().map(|t| t["test"]["accuracy"].as_f64().unwrap()).collect();
    assert_eq!(trainings.iter().map(|t| t["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    let (mean, low) = (three["test"]["mean"].as_f64().unwrap(), three["test"]["interval"][0].as_f64().unwrap());
    assert!((mean - accuracies.iter().sum::<f64>() / 3.0).abs() < 1e-12 && low <= mean && mean > 0.5, "{three}");
    // One seed trains in the program itself, with all threads: the same to the bit as in a worker.
    let one = run(&["--test", "--seed", "0"]);
    assert_eq!(
        (&one["trainings"][0]["outcome"]["curve"], &one["trainings"][0]["test"]),
        (&trainings[0]["outcome"]["curve"], &trainings[0]["test"])
    );
    assert_eq!(one["test"]["interval"], Value::Null);
    assert!(run(&[])["test"].is_null());
    assert!(weights.is_file());

    let said =
        with_data(data.path(), &["eval", &source, "--dataset", "colours", "--full", "--set", "epochs=1", "--set", "batch=16", "--test"])
            .output()
            .unwrap();
    // 36 + 18 + 10 and 4 + 2 + 1.
    let stderr = stderr(&said);
    assert!(stderr.contains("64 training and 7 validation images") && stderr.contains("1 epochs of batches of 16"), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&said.stdout).matches("test accuracy").count(), 1);
    let all = dataset::load("colours", data.path(), Part::Train).unwrap();
    let split = Split::whole(&all, 0, 0.1).unwrap();
    let mut found: Vec<&[u8]> = [&split.train, &split.valid].into_iter().flat_map(|part| part.pixels.chunks_exact(192)).collect();
    let mut wanted: Vec<&[u8]> = all.images.pixels.chunks_exact(192).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "every image is in one of the two");
}

#[test]
fn a_short_training_tests_only_when_asked_and_mistakes_are_named() {
    let data = tempfile::tempdir().unwrap();
    colours(data.path(), [20; 3]);
    let source = here("src/delta/starts/plain.py");
    let arguments = ["eval", &source, "--dataset", "colours", "--train-images", "30", "--valid-images", "12", "--epochs", "1", "--json"];
    let run = |more: &[&str]| serde_json::from_str::<Value>(&succeed(with_data(data.path(), &[&arguments[..], more].concat()))).unwrap();
    let (plain, tested) = (run(&[]), run(&["--test"]));
    assert!(plain["validation"]["mean"].is_f64() && plain["test"].is_null());
    assert!(tested["test"]["mean"].is_f64());
    assert_eq!(plain["trainings"][0]["outcome"]["curve"], tested["trainings"][0]["outcome"]["curve"]);
    refused(data.path(), &["eval", &source, "--set", "epoch=1"], "epochs");
    refused(data.path(), &["eval", &source, "--best"], "is not a run");
    refused(data.path(), &["eval", data.path().to_str().unwrap()], "no run");
    refused(data.path(), &["eval", &source, "--full", "--train-images", "3"], "--train-images");
}

/// The CIFAR-10 of this machine without its test images.
fn untested() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("cifar10");
    std::fs::create_dir(&folder).unwrap();
    let files = std::fs::read_dir(home::data().join("cifar10")).expect("CIFAR-10 is needed: run scripts/fetch cifar10");
    for file in files {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().starts_with("test") {
            std::os::unix::fs::symlink(std::fs::canonicalize(file.path()).unwrap(), folder.join(file.file_name())).unwrap();
        }
    }
    data
}

#[test]
fn no_verb_but_eval_with_test_reads_the_test_images() {
    needs!(Cifar10);
    let data = untested();
    let base = tempfile::tempdir().unwrap();
    let [run, out] = ["run", "out"].map(|name| base.path().join(name).display().to_string());
    let settings =
        [SMALL_NETWORK, "policy=random", "cycles=1", "candidates=2", "proxy.train_images=64", "proxy.valid_images=50", "proxy.epochs=1"];
    succeed(program::run(Path::new(&run), &settings).env("ELITELOOP_DATA", data.path()));
    for verb in ["resume", "verify", "report"] {
        succeed(with_data(data.path(), &[verb, &run]));
    }
    succeed(with_data(data.path(), &["export", &run, "--out", &out]));
    let evaluation = ["eval", &run, "--candidate", "start/small", "--json"];
    let found: Value = serde_json::from_str(&succeed(with_data(data.path(), &evaluation))).unwrap();
    assert_eq!(found["network"], "start/small");
    assert_eq!(found["recipe"]["train_images"], 64, "the recipe is the run's");
    refused(data.path(), &[&evaluation[..], &["--test"]].concat(), "test_batch.png");
    let listed = succeed(with_data(data.path(), &["data", "list"]));
    assert!(listed.contains("not here: run scripts/fetch cifar10"), "{listed}");
    // The whole set is there: the same network, the same images, and now the test images too.
    let tested: Value = serde_json::from_str(&succeed(with_data(&home::data(), &[&evaluation[..], &["--test"]].concat()))).unwrap();
    assert_eq!(tested["trainings"][0]["outcome"]["curve"], found["trainings"][0]["outcome"]["curve"]);
    assert!(tested["test"]["mean"].is_f64());
}
