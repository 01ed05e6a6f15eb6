//! Models the user brings: imported by name, and found in a Hugging Face cache without the network.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use assert_cmd::assert::Assert;
use eliteloop::decoder::files::model_file::ModelFile;
use serde_json::Value;

use super::built::{Built, text, typed};
use super::folders::fixture;

/// The program with a folder of models and a Hugging Face cache of its own.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn command(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("eliteloop"));
        command.arg("models").args(arguments).env("ELITELOOP_MODELS", self.at("models")).env("HF_HOME", self.at("hf"));
        command.env_remove("HF_HUB_CACHE").env_remove("HUGGINGFACE_HUB_CACHE").env_remove("HF_HUB_OFFLINE");
        command
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    }

    /// Files as Hugging Face's libraries keep them: links from a snapshot to blobs.
    fn cache(&self, repo: &str, files: &[(&str, PathBuf)]) -> PathBuf {
        let folder = self.at("hf/hub").join(format!("models--{}", repo.replace('/', "--")));
        let snapshot = folder.join("snapshots/0123abcd");
        for part in ["blobs", "refs", "snapshots/0123abcd"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        std::fs::write(folder.join("refs/main"), "0123abcd").unwrap();
        for (i, (name, from)) in files.iter().enumerate() {
            std::fs::copy(from, folder.join(format!("blobs/{i}"))).unwrap();
            symlink(format!("../../blobs/{i}"), snapshot.join(name)).unwrap();
        }
        snapshot
    }

    fn cache_fixture(&self, repo: &str, name: &str) -> PathBuf {
        let files: Vec<PathBuf> = fixture(name).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        let files: Vec<(&str, PathBuf)> = files.iter().map(|file| (file.file_name().unwrap().to_str().unwrap(), file.clone())).collect();
        self.cache(repo, &files)
    }
}

pub fn said(assert: &Assert) -> String {
    assert_eq!(assert.get_output().status.code(), Some(2));
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

pub fn path_of(rows: &Value) -> PathBuf {
    rows[0]["path"].as_str().unwrap().into()
}

#[test]
fn a_model_in_the_hugging_face_cache_is_found_by_its_name() {
    let home = Home::new();
    let snapshot = home.cache_fixture("tiny/llama3", "tiny-llama3");
    for spec in ["hf:tiny/llama3", "tiny/llama3", "hf:tiny/llama3@main", "hf:tiny/llama3@0123abcd"] {
        let found = path_of(&home.json(&["verify", spec]));
        assert_eq!(found.canonicalize().unwrap(), snapshot.canonicalize().unwrap(), "{spec}");
    }
    assert_eq!(ModelFile::open(&snapshot).unwrap().name(), "tiny/llama3");
    // HF_HUB_CACHE goes over HF_HOME.
    std::fs::rename(home.at("hf/hub"), home.at("elsewhere")).unwrap();
    let missing = said(&home.command(&["verify", "hf:tiny/llama3"]).assert());
    assert!(missing.contains("is not in the Hugging Face cache") && missing.contains("models pull tiny/llama3"), "{missing}");
    home.command(&["verify", "hf:tiny/llama3"]).env("HF_HUB_CACHE", home.at("elsewhere")).assert().success();
    let other = said(&home.command(&["verify", "hf:tiny/llama3@v2"]).env("HF_HUB_CACHE", home.at("elsewhere")).assert());
    assert!(other.contains("not its revision v2: 0123abcd"), "{other}");
}

/// Air-gapped caches: no `refs`, or a `refs/main` with a line break.
#[test]
fn a_cache_staged_by_hand_is_read() {
    let home = Home::new();
    let snapshot = home.cache_fixture("tiny/llama3", "tiny-llama3");
    let repo = snapshot.parent().unwrap().parent().unwrap().to_path_buf();
    std::fs::write(repo.join("refs/main"), "0123abcd\n").unwrap();
    home.command(&["verify", "hf:tiny/llama3"]).assert().success();
    std::fs::remove_dir_all(repo.join("refs")).unwrap();
    home.command(&["verify", "hf:tiny/llama3"]).assert().success();
    let other = said(&home.command(&["verify", "hf:tiny/llama3@v2"]).assert());
    assert!(other.contains("not its revision v2: 0123abcd") && other.contains("hf:tiny/llama3@0123abcd"), "{other}");
    std::fs::create_dir(repo.join("snapshots/4567")).unwrap();
    let several = said(&home.command(&["verify", "hf:tiny/llama3"]).assert());
    assert!(several.contains("0123abcd, 4567") && several.contains("hf:tiny/llama3@0123abcd"), "{several}");
    home.command(&["verify", "hf:tiny/llama3@0123abcd"]).assert().success();
}

#[test]
fn a_cached_model_that_is_not_whole_is_refused() {
    let home = Home::new();
    let snapshot = home.cache_fixture("tiny/llama", "tiny-llama");
    home.command(&["verify", "hf:tiny/llama"]).assert().success();
    // Loading weights that are listed twice, once by another library, would be refused as unknown tensors.
    std::fs::copy(fixture("tiny-llama3").join("model.safetensors"), snapshot.join("consolidated.safetensors")).unwrap();
    home.command(&["verify", "hf:tiny/llama"]).assert().success();
    std::fs::remove_file(snapshot.join("model-00002-of-00002.safetensors")).unwrap();
    let missing = said(&home.command(&["verify", "hf:tiny/llama"]).assert());
    assert!(missing.contains("without model-00002-of-00002.safetensors"), "{missing}");
    let empty = home.cache("tiny/empty", &[("config.json", fixture("tiny-llama3").join("config.json"))]);
    assert!(said(&home.command(&["verify", "tiny/empty"]).assert()).contains("without its weights"));
    assert!(empty.is_dir());
}

#[test]
fn of_several_gguf_files_one_has_to_be_named() {
    let home = Home::new();
    let gguf = home.at("tiny.gguf");
    std::fs::write(&gguf, Built::tiny().bytes()).unwrap();
    let one = home.cache("tiny/one", &[("tiny-f32.gguf", gguf.clone())]);
    assert!(path_of(&home.json(&["verify", "tiny/one"])).starts_with(&one));
    home.cache("tiny/two", &[("a.gguf", gguf.clone()), ("b.gguf", gguf)]);
    let several = said(&home.command(&["verify", "tiny/two"]).assert());
    assert!(several.contains("a.gguf, b.gguf") && several.contains("hf:tiny/two/a.gguf"), "{several}");
    assert!(path_of(&home.json(&["verify", "hf:tiny/two/b.gguf"])).ends_with("b.gguf"));
    assert!(said(&home.command(&["verify", "hf:tiny/two/c.gguf"]).assert()).contains("without c.gguf"));
}

#[test]
fn nothing_is_pulled_when_the_user_wants_to_be_offline() {
    let home = Home::new();
    let refused = said(&home.command(&["pull", "tiny/llama3"]).env("HF_HUB_OFFLINE", "1").assert());
    assert!(refused.contains("HF_HUB_OFFLINE is set"), "{refused}");
    assert!(said(&home.command(&["pull", "no-repository"]).assert()).contains("names no repository"));
    if cfg!(not(feature = "hub")) {
        let refused = said(&home.command(&["pull", "tiny/llama3"]).assert());
        assert!(refused.contains("--features hub"), "{refused}");
    }
}

#[test]
fn imported_models_are_listed_checked_and_used_by_name() {
    let home = Home::new();
    let brought = home.at("Tiny Folder");
    std::fs::create_dir(&brought).unwrap();
    for entry in fixture("tiny-qwen2").read_dir().unwrap() {
        let file = entry.unwrap().path();
        std::fs::copy(&file, brought.join(file.file_name().unwrap())).unwrap();
    }
    std::fs::write(brought.join("README.md"), "---\nlicense: \"bsd-3-clause\"\n---\nlicense: none\n").unwrap();
    let row = home.json(&["import", brought.to_str().unwrap(), "--copy"]);
    assert_eq!((&row["name"], &row["family"], &row["licence"]), (&"tiny-folder".into(), &"qwen2".into(), &"bsd-3-clause".into()));
    let parameters: usize = ModelFile::open(&brought).unwrap().shapes().iter().map(|(_, s)| s.iter().product::<usize>()).sum();
    assert_eq!(row["parameters"], parameters);
    let memory = &row["memory"];
    assert!(
        memory["weights"].as_u64().unwrap() >= 4 * parameters as u64 && memory["peak"].as_u64() > memory["weights"].as_u64(),
        "{memory}"
    );

    let mut built = Built::tiny();
    built.set("general.license", typed(8, &text("mit")));
    let gguf = home.at("tiny.gguf");
    std::fs::write(&gguf, built.bytes()).unwrap();
    let row = home.json(&["import", gguf.to_str().unwrap(), "--name", "mine"]);
    assert_eq!((&row["licence"], &row["file"]), (&"mit".into(), &"mine.gguf".into()));

    let listed = home.json(&["list"]);
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names[3..], ["mine", "tiny-folder"]);
    let shown = home.command(&["list"]).assert().success().get_output().stdout.clone();
    assert!(String::from_utf8(shown).unwrap().contains("bsd-3-clause"));

    // The copy does not need what it was copied from; the link does.
    std::fs::remove_dir_all(&brought).unwrap();
    let rows = home.json(&["verify"]);
    assert_eq!((&rows[0]["known"], &rows[1]["known"]), (&"mine".into(), &"tiny-folder".into()));
    assert_eq!(path_of(&home.json(&["verify", "tiny-folder"])), home.at("models/imported/tiny-folder"));
    std::fs::write(home.at("models/imported/tiny-folder/chat_template.jinja"), "another").unwrap();
    assert!(said(&home.command(&["verify", "tiny-folder"]).assert()).contains("was changed since its import"));
    std::fs::remove_file(&gguf).unwrap();
    assert!(said(&home.command(&["verify", "mine"]).assert()).contains("is gone from"));
    assert!(said(&home.command(&["verify", "tiny-foldr"]).assert()).contains("did you mean 'tiny-folder'?"));
}

#[test]
fn a_split_file_is_imported_with_its_parts() {
    let home = Home::new();
    let total = Built::tiny().tensors.len();
    for number in 0..2 {
        let mut part = Built::tiny();
        let tensors = std::mem::take(&mut part.tensors);
        part.tensors = tensors.into_iter().enumerate().filter(|(i, _)| i % 2 == number).map(|(_, tensor)| tensor).collect();
        part.set("split.no", typed(2, &(number as u16).to_le_bytes()));
        part.set("split.count", typed(2, &2_u16.to_le_bytes()));
        part.set("split.tensors.count", typed(5, &(total as i32).to_le_bytes()));
        std::fs::write(home.at(&format!("big-{:05}-of-00002.gguf", number + 1)), part.bytes()).unwrap();
    }
    let first = home.at("big-00001-of-00002.gguf");
    for (name, how) in [("copied", "--copy"), ("linked", "--link")] {
        let row = home.json(&["import", first.to_str().unwrap(), "--name", name, how]);
        assert_eq!(row["file"], format!("{name}-00001-of-00002.gguf"));
        home.command(&["verify", name]).assert().success();
    }
    // In a cache the parts are one model.
    let second = home.at("big-00002-of-00002.gguf");
    home.cache("tiny/split", &[("big-00001-of-00002.gguf", first), ("big-00002-of-00002.gguf", second.clone())]);
    assert!(path_of(&home.json(&["verify", "tiny/split"])).ends_with("big-00001-of-00002.gguf"));
    std::fs::remove_file(second).unwrap();
    home.command(&["verify", "copied"]).assert().success();
    assert!(said(&home.command(&["verify", "linked"]).assert()).contains("1 of the others is missing"));
}

/// What a run would refuse.
#[test]
fn an_import_tries_the_chat_template() {
    let home = Home::new();
    let brought = home.at("mine");
    std::fs::create_dir(&brought).unwrap();
    for entry in fixture("tiny-qwen2").read_dir().unwrap() {
        let file = entry.unwrap().path();
        std::fs::copy(&file, brought.join(file.file_name().unwrap())).unwrap();
    }
    let import = |name: &str| home.command(&["import", brought.to_str().unwrap(), "--name", name]).assert();
    std::fs::write(brought.join("chat_template.jinja"), "{{ raise_exception('only tools') }}").unwrap();
    let refused = said(&import("a"));
    assert!(refused.contains("does not take these messages") && refused.contains("only tools"), "{refused}");
    // Few steps, nothing written, and all the memory that there is.
    let doubles = |sum: &str| {
        format!(
            "{{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}}{{% for i in range(60) %}}{{% set ns.x = {sum} %}}{{% endfor %}}\
             {{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}"
        )
    };
    for bomb in [doubles("ns.x ~ ns.x"), doubles("ns.x + ns.x"), doubles("[ns.x, ns.x] | join('-')"), doubles("ns.x.replace('a', 'aaaa')")]
    {
        std::fs::write(brought.join("chat_template.jinja"), &bomb).unwrap();
        let refused = said(&import("a"));
        assert!(refused.contains("takes more than 1024 MiB or 20 s"), "{bomb}: {refused}");
        assert!(!home.at("models/imported/a.toml").exists());
    }
    assert!(!home.at("models/imported/a.toml").exists());
    let folding = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}";
    std::fs::write(brought.join("chat_template.jinja"), folding).unwrap();
    let told = String::from_utf8_lossy(&import("a").success().get_output().stderr).into_owned();
    assert!(told.contains("takes no system turn"), "{told}");
    let shown = String::from_utf8_lossy(&import("b").success().get_output().stdout).into_owned();
    assert!(shown.contains("eliteloop warmup --model b") && shown.contains("minutes"), "{shown}");
}

#[test]
fn an_import_that_cannot_be_used_is_refused() {
    let home = Home::new();
    let import = |path: &Path, name: &str| said(&home.command(&["import", path.to_str().unwrap(), "--name", name]).assert());
    let model = fixture("tiny-llama3");
    home.command(&["import", model.to_str().unwrap(), "--name", "taken"]).assert().success();
    assert!(import(&model, "taken").contains("there is a model taken already"));
    assert!(import(&model, "smollm2-135m-instruct").contains("already"));
    assert!(import(&model, "../up").contains("is no name for a model"));
    let broken = home.at("broken.gguf");
    std::fs::write(&broken, &Built::tiny().bytes()[..200]).unwrap();
    let refused = import(&broken, "broken");
    assert!(refused.contains("is damaged"), "{refused}");
    assert!(import(&home.at("nowhere.gguf"), "nowhere").contains("there is no model file"));
    assert_eq!(home.at("models/imported").read_dir().unwrap().count(), 2, "the model and its record");
}
