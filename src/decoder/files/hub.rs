//! Models in the local Hugging Face cache. Finding one never touches the network; [`pull`] does, in a program built with the
//! feature `hub`, unless `HF_HUB_OFFLINE` is set.
//!
//! A model is written `hf:owner/name`, `hf:owner/name@revision` or `hf:owner/name/file.gguf`; without `hf:`, `owner/name`.

use std::path::{Path, PathBuf};

use super::gguf::split_name;
use crate::base::error::{AtPath, Error, Result};

/// A repository, one of its revisions, and a file where one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) repo: String,
    pub(crate) revision: String,
    pub(crate) file: Option<String>,
    /// Written with `hf:`, so that it can be nothing else.
    pub(crate) explicit: bool,
}

impl Reference {
    /// None where `spec` is not written like one.
    #[must_use]
    pub(crate) fn parse(spec: &str) -> Option<Self> {
        let (explicit, rest) = spec.strip_prefix("hf:").map_or((false, spec), |rest| (true, rest));
        let (rest, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let mut parts = rest.splitn(3, '/');
        let (owner, name, file) = (parts.next()?, parts.next()?, parts.next());
        let plain = |part: &str| {
            !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let named = file.is_none_or(|file| explicit && file.split('/').all(plain));
        let sound = plain(owner) && plain(name) && named && revision.split('/').all(plain);
        sound.then(|| Self { repo: format!("{owner}/{name}"), revision: revision.into(), file: file.map(String::from), explicit })
    }

    /// The folder of the revision's files, where there is one in the cache: `models--owner--name/snapshots/COMMIT`. The revision is that
    /// commit, or `refs/REVISION` holds it.
    ///
    /// A cache staged by hand may have no refs; where it holds one snapshot, that is `main`.
    fn snapshot(&self) -> Result<PathBuf> {
        let repo = cache_folder().join(format!("models--{}", self.repo.replace('/', "--")));
        let named = std::fs::read_to_string(repo.join("refs").join(&self.revision)).ok();
        let commits = named.iter().map(|commit| commit.trim()).chain([self.revision.as_str()]).filter(|commit| !commit.is_empty());
        if let Some(folder) = commits.map(|commit| repo.join("snapshots").join(commit)).find(|folder| folder.is_dir()) {
            return Ok(folder);
        }
        let listed = names(&repo.join("snapshots")).unwrap_or_default();
        let there: Vec<&String> = listed.iter().filter(|name| repo.join("snapshots").join(name).is_dir()).collect();
        match &there[..] {
            [] => Err(self.missing("is not in the Hugging Face cache")),
            [one] if self.revision == "main" => Ok(repo.join("snapshots").join(one)),
            [first, ..] => {
                let all = there.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                let what = format!("the model {} is in the Hugging Face cache, but not its revision {}: {all}", self.repo, self.revision);
                Err(Error::input(what).hint(format!("name one of these: hf:{}@{first}", self.repo)))
            }
        }
    }

    /// The model's path in the cache.
    ///
    /// # Errors
    /// Where it is not there, or not whole, or there are several.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        let snapshot = self.snapshot()?;
        if let Some(file) = &self.file {
            let path = snapshot.join(file);
            return if path.is_file() { Ok(path) } else { Err(self.missing(&format!("is in the Hugging Face cache without {file}"))) };
        }
        let names = names(&snapshot)?;
        if names.iter().any(|name| name == "config.json") {
            if let Some(shard) = missing_shard(&snapshot)? {
                return Err(self.missing(&format!("is in the Hugging Face cache without {shard}")));
            }
            return Ok(snapshot);
        }
        match choose(&names) {
            // Of a split file the first part.
            Choice::Files(chosen) if chosen.iter().all(|name| is(name, "gguf")) => Ok(snapshot.join(&chosen[0])),
            Choice::Several(files) => Err(self.several(&files)),
            _ => Err(self.missing("is in the Hugging Face cache without its weights")),
        }
    }

    fn several(&self, files: &[String]) -> Error {
        Error::input(format!("{} holds several models: {}", self.repo, files.join(", ")))
            .hint(format!("name one: hf:{}/{}", self.repo, files[0]))
    }

    fn missing(&self, how: &str) -> Error {
        Error::input(format!("the model {} ({}) {how} ({})", self.repo, self.revision, cache_folder().display())).hint(format!(
            "fetch it with `eliteloop models pull {0}` (in a program built with --features hub) or Hugging Face's own `hf download {0}`; HF_HOME \
             and HF_HUB_CACHE say where the cache is",
            self.repo
        ))
    }
}

/// `owner/name` of a path inside a cache.
#[must_use]
pub(crate) fn repo_of(path: &Path) -> Option<String> {
    path.ancestors().find_map(|folder| {
        let (owner, name) = folder.file_name()?.to_str()?.strip_prefix("models--")?.split_once("--")?;
        Some(format!("{owner}/{name}"))
    })
}

/// Where the cache lies, by the variables that Hugging Face's Python library reads.
fn cache_folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
        return path;
    }
    let user = || set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache"))).map(|cache| cache.join("huggingface"));
    set("HF_HOME").or_else(user).unwrap_or_default().join("hub")
}

fn offline() -> bool {
    std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.read_dir().at("read", folder)? {
        names.push(entry.at("read", folder)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A file that the index of a sharded model names and that is not there.
fn missing_shard(folder: &Path) -> Result<Option<String>> {
    let path = folder.join("model.safetensors.index.json");
    if !path.is_file() {
        let whole = names(folder)?.iter().any(|name| is(name, "safetensors") && folder.join(name).is_file());
        return Ok((!whole).then(|| "its weights".into()));
    }
    let index: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).at("read", &path)?)?;
    let shards = index["weight_map"].as_object().into_iter().flat_map(|map| map.values()).filter_map(serde_json::Value::as_str);
    let mut missing: Vec<&str> = shards.filter(|shard| !folder.join(shard).is_file()).collect();
    missing.sort_unstable();
    Ok(missing.first().map(|shard| (*shard).to_owned()))
}

fn is(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// What of a repository's files makes one model.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Files(Vec<String>),
    /// Each is a model.
    Several(Vec<String>),
    None,
}

/// Safetensors with what belongs to them, else the one GGUF file.
fn choose(names: &[String]) -> Choice {
    const BESIDE: [&str; 8] = [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "model.safetensors.index.json",
        "README.md",
    ];
    // Not `consolidated.safetensors` and the like: the same weights once more.
    let weights = |name: &String| name.starts_with("model") && is(name, "safetensors") && !name.contains('/');
    if names.iter().any(|name| name == "config.json") && names.iter().any(weights) {
        return Choice::Files(names.iter().filter(|name| weights(name) || BESIDE.contains(&name.as_str())).cloned().collect());
    }
    let ggufs: Vec<String> = names.iter().filter(|name| is(name, "gguf")).cloned().collect();
    // Parts of one file are one model, which its first part stands for.
    let firsts: Vec<String> = ggufs.iter().filter(|name| split_name(name).is_none_or(|(_, number, _)| number == 1)).cloned().collect();
    match &firsts[..] {
        [] if ggufs.is_empty() => Choice::None,
        [] => Choice::Several(ggufs),
        [one] => {
            let stem = |name: &str| split_name(name).map(|(stem, _, count)| (stem.to_owned(), count));
            Choice::Files(ggufs.iter().filter(|name| *name == one || (stem(one).is_some() && stem(name) == stem(one))).cloned().collect())
        }
        _ => Choice::Several(firsts),
    }
}

/// Downloads a model into the cache and gives its path.
///
/// # Errors
/// Where the program is to stay offline, was built without the feature `hub`, or the download fails.
pub fn pull(spec: &str) -> Result<PathBuf> {
    let reference = Reference::parse(spec)
        .ok_or_else(|| Error::input(format!("'{spec}' names no repository")).hint("write owner/name or hf:owner/name/file.gguf"))?;
    if offline() {
        return Err(Error::input("HF_HUB_OFFLINE is set: nothing is downloaded").hint("unset it to pull a model"));
    }
    download(&reference)?;
    reference.find()
}

#[cfg(not(feature = "hub"))]
fn download(reference: &Reference) -> Result<()> {
    Err(Error::input("this program was built without the feature that downloads models").hint(format!(
        "build it with `cargo build --release --features hub`, or fill the cache with Hugging Face's own `hf download {}`",
        reference.repo
    )))
}

#[cfg(feature = "hub")]
fn download(reference: &Reference) -> Result<()> {
    use std::io::IsTerminal;

    use hf_hub::{Cache, Repo, RepoType};

    let failed = |e: hf_hub::api::sync::ApiError| {
        Error::machine(format!("{} could not be downloaded", reference.repo))
            .hint("check the name and the connection; for a repository behind a licence, HF_TOKEN")
            .caused_by(e)
    };
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cache = Cache::new(cache_folder());
    let mut builder = hf_hub::api::sync::ApiBuilder::from_cache(cache).with_progress(std::io::stderr().is_terminal());
    if let Some(endpoint) = text("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(token) = text("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    let repo = Repo::with_revision(reference.repo.clone(), RepoType::Model, reference.revision.clone());
    let repo = builder.build().map_err(failed)?.repo(repo);
    let listed: Vec<String> = repo.info().map_err(failed)?.siblings.into_iter().map(|file| file.rfilename).collect();
    let files = match (&reference.file, choose(&listed)) {
        (Some(file), _) => vec![file.clone()],
        (None, Choice::Files(files)) => files,
        (None, Choice::Several(files)) => return Err(reference.several(&files)),
        (None, Choice::None) => return Err(Error::input(format!("{} holds neither safetensors nor GGUF files", reference.repo))),
    };
    for file in files {
        repo.get(&file).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_paths_and_names() {
        let parse = |spec: &str| Reference::parse(spec).map(|r| (r.repo, r.revision, r.file, r.explicit));
        assert_eq!(parse("hf:Qwen/Qwen3-0.6B"), Some(("Qwen/Qwen3-0.6B".into(), "main".into(), None, true)));
        assert_eq!(parse("Qwen/Qwen3-0.6B@refs/pr/1"), Some(("Qwen/Qwen3-0.6B".into(), "refs/pr/1".into(), None, false)));
        assert_eq!(parse("hf:a/b/q4/c.gguf"), Some(("a/b".into(), "main".into(), Some("q4/c.gguf".into()), true)));
        for other in ["smollm2", "./a/b", "a/b/c.gguf", "/a/b", "hf:a/../b", "hf:a", "a/b c", "a/b@", "~/a/b"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn of_a_repository_only_one_model_is_taken() {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let repo = all(&["README.md", "config.json", "consolidated.safetensors", "model.safetensors", "onnx/model.onnx", "tokenizer.json"]);
        assert_eq!(choose(&repo), Choice::Files(all(&["README.md", "config.json", "model.safetensors", "tokenizer.json"])));
        assert_eq!(choose(&all(&["README.md", "a.gguf"])), Choice::Files(all(&["a.gguf"])));
        assert_eq!(choose(&all(&["a.gguf", "b.gguf"])), Choice::Several(all(&["a.gguf", "b.gguf"])));
        assert_eq!(choose(&all(&["pytorch_model.bin", "config.json"])), Choice::None);
        let parts = all(&["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]);
        assert_eq!(choose(&parts), Choice::Files(parts.clone()));
        let two = all(&["a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "b.gguf"]);
        assert_eq!(choose(&two), Choice::Several(all(&["a-00001-of-00002.gguf", "b.gguf"])));
    }

    #[test]
    fn a_path_in_a_cache_names_its_repository() {
        assert_eq!(repo_of(Path::new("/c/hub/models--Qwen--Qwen3-0.6B/snapshots/ab12")), Some("Qwen/Qwen3-0.6B".into()));
        assert_eq!(repo_of(Path::new("/models/some.gguf")), None);
    }
}
