//! What a model's name stands for: the models this program knows, each with the hash of its file, those the user imported, those in
//! the Hugging Face cache, and paths.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::hub::Reference;
use super::imported;
use super::model_file::ModelFile;
use super::shape::Family;
use crate::base::error::{AtPath, Error, Result};
use crate::base::hash::sha256_file;
use crate::base::home;

/// A model that was tried with this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What settings and commands call it.
    pub name: &'static str,
    /// In the folder of models.
    pub file: &'static str,
    /// Size of the file.
    pub bytes: u64,
    pub(crate) sha256: &'static str,
    pub(crate) family: Family,
    /// Its SPDX identifier.
    pub licence: &'static str,
    /// The command that brings the file, where one does.
    pub(crate) fetch: Option<&'static str>,
}

/// The models known by name; the first is the default.
pub const ENTRIES: [Entry; 3] = [
    Entry {
        name: "smollm2-135m-instruct",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        family: Family::Llama,
        licence: "Apache-2.0",
        fetch: Some("scripts/fetch model"),
    },
    Entry {
        name: "qwen2.5-coder-0.5b-instruct",
        file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        family: Family::Qwen2,
        licence: "Apache-2.0",
        fetch: None,
    },
    Entry {
        name: "qwen2.5-coder-1.5b-instruct",
        file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        bytes: 1_117_320_768,
        sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        family: Family::Qwen2,
        licence: "Apache-2.0",
        fetch: None,
    },
];

impl Entry {
    /// Where the file is to lie, whether it is there or not.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        home::models().join(self.file)
    }

    /// What to do where the file is missing or wrong.
    #[must_use]
    pub fn remedy(&self) -> String {
        let path = self.path();
        match self.fetch {
            Some(command) => format!("run `{command}`, or put the file at {} (SHA-256 {})", path.display(), self.sha256),
            None => format!("get the file {} from its makers and put it at {} (SHA-256 {})", self.file, path.display(), self.sha256),
        }
    }

    fn compare(&self, path: &Path) -> Result<()> {
        let bytes = path.metadata().at("read", path)?.len();
        if bytes != self.bytes {
            let error = Error::input(format!("{} has {bytes} bytes, but {} has {}", path.display(), self.name, self.bytes));
            return Err(error.hint(self.remedy()));
        }
        let found = sha256_file(path)?;
        if found != self.sha256 {
            let error = Error::input(format!("{} is damaged: its SHA-256 is {found}, not {}", path.display(), self.sha256));
            return Err(error.hint(self.remedy()));
        }
        Ok(())
    }

    fn missing(&self) -> Error {
        Error::input(format!("the model {} is not here", self.name)).hint(self.remedy())
    }
}

/// The entry of this name.
#[must_use]
pub fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// The path a model's name or path stands for; that there is a file is checked, its hash is not.
///
/// # Errors
/// Where there is no such file or no such name.
pub fn find(spec: &str) -> Result<PathBuf> {
    if let Some(entry) = entry(spec) {
        let path = entry.path();
        return if path.is_file() { Ok(path) } else { Err(entry.missing()) };
    }
    if let Some(imported) = imported::entry(spec)? {
        return imported.existing();
    }
    let reference = Reference::parse(spec);
    if let Some(reference) = reference.as_ref().filter(|reference| reference.explicit) {
        return reference.find();
    }
    let path = PathBuf::from(spec);
    if path.exists() {
        return Ok(path);
    }
    if let Some(reference) = reference.filter(|_| path.extension().is_none_or(|e| e != "gguf")) {
        return reference.find();
    }
    if spec.contains('/') || path.extension().is_some_and(|e| e == "gguf") {
        return Err(Error::input(format!("there is no model file {spec}")).hint("`eliteloop models list` shows the models known by name"));
    }
    let names = ENTRIES.iter().map(|entry| entry.name.to_owned()).chain(imported::all()?.into_iter().map(|imported| imported.name));
    let nearest = names.max_by(|a, b| strsim::jaro_winkler(a, spec).total_cmp(&strsim::jaro_winkler(b, spec)));
    let error = Error::input(format!("there is no model '{spec}'"));
    Err(match nearest {
        Some(name) if strsim::jaro_winkler(&name, spec) > 0.8 => error.hint(format!("did you mean '{name}'?")),
        _ => error.hint("give a name that `eliteloop models list` shows, or the path of a .gguf file"),
    })
}

/// Checks a model by name or path: its hash where the catalogue knows the file, and that this program can run it.
///
/// # Errors
/// Says what is wrong and what to do about it.
pub fn verify(spec: &str) -> Result<Verified> {
    let path = find(spec)?;
    let check = || ModelFile::open(&path)?.check().map(drop);
    if let Some(imported) = imported::entry(spec)? {
        imported.verify()?;
        check()?;
        return Ok(Verified { path, sha256: imported.sha256, known: Some(imported.name) });
    }
    let named = entry(spec);
    let by_file = || ENTRIES.iter().find(|entry| path.file_name().is_some_and(|name| name == entry.file));
    if let Some(known) = named.or_else(by_file) {
        known.compare(&path)?;
        check()?;
        return Ok(Verified { path, sha256: known.sha256.into(), known: Some(known.name.into()) });
    }
    let sha256 = ModelFile::open(&path)?.sha256()?;
    check()?;
    let known = ENTRIES.iter().find(|entry| entry.sha256 == sha256).map(|entry| entry.name.into());
    Ok(Verified { path, sha256, known })
}

/// A model that can be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The file or folder that was found.
    pub path: PathBuf,
    /// See [`ModelFile::sha256`].
    pub sha256: String,
    /// Its name in the catalogue; a file of the user's own has none.
    pub known: Option<String>,
}
