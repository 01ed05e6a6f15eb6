//! The catalogue and the command that shows it.

use eliteloop::base::home;
use eliteloop::decoder::files::catalogue;
use serde_json::Value;

use super::built::Built;
use super::real;

#[test]
fn the_catalogue_knows_the_real_model() {
    needs!(Model);
    let checked = catalogue::verify("smollm2-135m-instruct").unwrap();
    assert_eq!(checked.known.as_deref(), Some("smollm2-135m-instruct"));
    assert_eq!(checked.sha256, real().sha256().unwrap());
    assert!(checked.path.starts_with(home::models()));
}

#[test]
fn a_wrong_name_or_file_is_refused_with_a_hint() {
    needs!(Model);
    let hint = |spec: &str| catalogue::find(spec).unwrap_err().hint_text().unwrap().to_owned();
    assert!(hint("smollm2-135m").contains("did you mean 'smollm2-135m-instruct'?"));
    assert!(hint("zzz").contains("eliteloop models list"));
    assert!(hint("some/where.gguf").contains("eliteloop models list"));
    let folder = tempfile::tempdir().unwrap();
    let entry = catalogue::entry("smollm2-135m-instruct").unwrap();
    let path = folder.path().join(entry.file);
    std::fs::write(&path, Built::tiny().bytes()).unwrap();
    let error = catalogue::verify(path.to_str().unwrap()).unwrap_err();
    assert!(error.to_string().contains("bytes, but smollm2-135m-instruct has 98362432"), "{error}");
    assert!(error.hint_text().unwrap().contains("scripts/fetch model"));
    let mut bytes = std::fs::read(entry.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(catalogue::verify(path.to_str().unwrap()).unwrap_err().to_string().contains("is damaged"));
}

#[test]
fn a_file_of_the_user_s_own_is_checked_by_opening_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.gguf");
    std::fs::write(&path, Built::tiny().bytes()).unwrap();
    assert_eq!(catalogue::verify(path.to_str().unwrap()).unwrap().known, None);
    std::fs::write(&path, &Built::tiny().bytes()[..100]).unwrap();
    assert_eq!(catalogue::verify(path.to_str().unwrap()).unwrap_err().exit_code(), 2);
}

fn eliteloop(arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("eliteloop"));
    command.args(arguments);
    command
}

#[test]
fn the_command_lists_and_checks_models() {
    needs!(Model);
    let output = eliteloop(&["models", "list", "--json"]).assert().success().get_output().stdout.clone();
    let rows: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(rows[0]["name"], "smollm2-135m-instruct");
    assert_eq!((&rows[0]["here"], &rows[0]["family"]), (&Value::Bool(true), &Value::from("llama")));
    let output = eliteloop(&["models", "verify", "smollm2-135m-instruct", "--json"]).assert().success().get_output().stdout.clone();
    let rows: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(rows[0]["sha256"], real().sha256().unwrap());
}

#[test]
fn the_command_says_how_to_bring_a_missing_model() {
    needs!(Model);
    let empty = tempfile::tempdir().unwrap();
    for arguments in [&["models", "verify"][..], &["models", "verify", "smollm2-135m-instruct"]] {
        let failed = eliteloop(arguments).env("ELITELOOP_MODELS", empty.path()).assert().code(2);
        let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
        assert!(said.contains("hint: run `scripts/fetch model`"), "{said}");
    }
    let cut = empty.path().join("SmolLM2-135M-Instruct.Q4_1.gguf");
    std::fs::write(&cut, &std::fs::read(catalogue::find("smollm2-135m-instruct").unwrap()).unwrap()[..1 << 20]).unwrap();
    let failed = eliteloop(&["models", "verify", cut.to_str().unwrap()]).assert().code(2);
    assert!(String::from_utf8_lossy(&failed.get_output().stderr).contains("has 1048576 bytes"));
}
