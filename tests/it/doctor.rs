//! `doctor`, and `--device`, on a machine whose program was built for the processor alone or has no card.

use std::process::Output;

use eliteloop::decoder::model::memory::PROGRAM;
use serde_json::Value;

use crate::program::{program, stderr};

fn output(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

#[test]
fn the_machine_the_model_the_data_and_the_needs_are_told() {
    needs!(Model);
    let told = output(&["doctor", "--device", "cpu", "--set", "proxy.dataset=synthetic", "--json"]);
    assert!(told.status.success(), "{}", stderr(&told));
    let found: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&found["device"]["place"], &found["device"]["kernels"]), (&"cpu".into(), &"own".into()));
    assert!(found["device"]["built_with"].as_array().unwrap().contains(&"cpu".into()));
    assert!(found["processor"]["threads"].as_u64().unwrap() >= 1);
    assert_eq!((&found["model"]["hashed"], &found["model"]["trouble"]), (&true.into(), &Value::Null));
    assert!(found["disk"][0]["free"].as_u64().unwrap() > 0);
    let needs = &found["needs"];
    let of = |key: &str| needs["llm"][key].as_u64().unwrap();
    assert!(of("weights") > 500 << 20 && of("generation") > 0 && of("tuning") > 0);
    let turns = of("generation").max(of("tuning")).max(of("loading"));
    assert_eq!(needs["peak"].as_u64().unwrap(), PROGRAM + of("weights") + of("adapter") + turns);

    let text = output(&["doctor", "--device", "cpu", "--set", "proxy.dataset=synthetic", "--quick"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for word in ["processor", "threads", "not hashed", "synthetic: built in", "free in", "weights", "propose", "tune", "train"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
}

#[test]
fn what_is_missing_is_told_with_what_to_do_and_fails() {
    needs!(Model, Cifar10);
    let empty = tempfile::tempdir().unwrap();
    for (variable, word) in [("ELITELOOP_MODELS", "scripts/fetch model"), ("ELITELOOP_DATA", "scripts/fetch cifar10")] {
        let told = program(&["doctor", "--device", "cpu", "--quick", "--json"]).env(variable, empty.path()).output().unwrap();
        assert_eq!(told.status.code(), Some(2), "{}", stderr(&told));
        assert!(stderr(&told).contains(word), "{}", stderr(&told));
        let found: Value = serde_json::from_slice(&told.stdout).unwrap();
        let part = if variable == "ELITELOOP_MODELS" { "model" } else { "data" };
        assert!(found[part]["hint"].as_str().unwrap().contains(word), "{found}");
    }
}

#[test]
fn a_model_that_the_settings_refuse_is_told() {
    needs!(Model);
    let told =
        output(&["doctor", "--device", "cpu", "--quick", "--set", "proxy.dataset=synthetic", "--set", "llm.memory_mib=100", "--json"]);
    assert_eq!(told.status.code(), Some(2), "{}", stderr(&told));
    assert!(stderr(&told).contains("llm.memory_mib allows 100"), "{}", stderr(&told));
    let found: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(found["needs"]["peak"].as_u64().unwrap() > 100 << 20);
}

#[test]
fn a_word_that_names_no_device_is_refused() {
    for verb in [&["run", "--out", "never"][..], &["doctor"], &["bench", "proxy"], &["audit", "--out", "never"]] {
        let refused = program(verb).args(["--device", "gpu"]).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains("cuda:0"), "{}", stderr(&refused));
    }
}

#[cfg(not(any(feature = "cuda", feature = "metal")))]
#[test]
fn a_card_that_the_program_was_not_built_for_is_refused_and_auto_says_why_it_takes_the_processor() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("run");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/delta/starts/plain.py");
    let verbs: [&[&str]; 4] = [
        &["run", "--out", out.to_str().unwrap(), "--set", "proxy.dataset=synthetic"],
        &["doctor", "--quick", "--set", "proxy.dataset=synthetic"],
        &["eval", source, "--dataset", "synthetic", "--train-images", "64", "--valid-images", "50", "--epochs", "1"],
        &["bench", "proxy", "--network", "linear", "--repeats", "1", "--batch", "4"],
    ];
    for verb in verbs {
        for (device, how) in [("cuda:0", "scripts/build-cuda"), ("metal:0", "--features metal")] {
            let refused = program(verb).args(["--device", device]).output().unwrap();
            assert_eq!(refused.status.code(), Some(2), "{verb:?}: {}", stderr(&refused));
            assert!(stderr(&refused).contains("built without") && stderr(&refused).contains(how), "{verb:?}: {}", stderr(&refused));
        }
    }
    assert!(!out.exists());
    for verb in &verbs[1..] {
        let done = program(verb).args(["--device", "auto"]).output().unwrap();
        assert!(done.status.success(), "{verb:?}: {}", stderr(&done));
        let why = stderr(&done).lines().filter(|line| line.contains("device auto: computing on the processor")).count();
        assert_eq!(why, 1, "{verb:?}: {}", stderr(&done));
    }
}
