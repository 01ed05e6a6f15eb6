//! Models the user brought: `imported/NAME.toml` in the folder of models says what each is, and beside it lies a copy or a link.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::model_file::ModelFile;
use super::shape::Family;
use crate::base::error::{AtPath, Error, Result};
use crate::base::home;

/// The record of an imported model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// What settings and commands call it; its record is `NAME.toml`.
    pub name: String,
    /// In the folder of imported models.
    pub(crate) file: String,
    /// Where it was imported from.
    pub source: PathBuf,
    /// Of the weights.
    pub bytes: u64,
    /// Of a folder, that of the list of its files' hashes and names.
    pub sha256: String,
    /// Of its decoder.
    pub family: Family,
    /// Elements of all its weights.
    pub parameters: u64,
    pub(crate) context: usize,
    /// As the model's own files state it.
    pub licence: Option<String>,
    pub(crate) chat_template_sha256: Option<String>,
}

pub(super) fn folder() -> PathBuf {
    home::models().join("imported")
}

pub(super) fn record(name: &str) -> PathBuf {
    folder().join(format!("{name}.toml"))
}

impl Imported {
    /// Where the copy or the link lies, whether it is still there or not.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        folder().join(&self.file)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        toml::from_str(&text).map_err(|e| {
            Error::input(format!("{} is no record of an imported model", path.display()))
                .hint("delete it and import the model again")
                .caused_by(e)
        })
    }

    /// Checks that the model is the one that was imported and can be run.
    ///
    /// # Errors
    /// Where it is gone, was changed, or cannot be run.
    pub(crate) fn verify(&self) -> Result<()> {
        let path = self.existing()?;
        let found = ModelFile::open(&path)?.sha256()?;
        if found == self.sha256 {
            return Ok(());
        }
        Err(Error::input(format!("the model {} was changed since its import: its SHA-256 is {found}, not {}", self.name, self.sha256))
            .hint(format!("put the original back, or delete {} and import it again", record(&self.name).display())))
    }

    /// Its path.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn existing(&self) -> Result<PathBuf> {
        let path = self.path();
        if path.exists() {
            return Ok(path);
        }
        Err(Error::input(format!("the imported model {} is gone from {}", self.name, path.display())).hint(format!(
            "it came from {}; bring that back, or delete {} and import the model again",
            self.source.display(),
            record(&self.name).display()
        )))
    }
}

/// All imported models, by name.
///
/// # Errors
/// Where a record cannot be read.
pub fn all() -> Result<Vec<Imported>> {
    let folder = folder();
    let mut records = Vec::new();
    if folder.is_dir() {
        for entry in folder.read_dir().at("read", &folder)? {
            let path = entry.at("read", &folder)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                records.push(Imported::read(&path)?);
            }
        }
    }
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(records)
}

/// The imported model of this name.
///
/// # Errors
/// Where its record cannot be read.
pub(crate) fn entry(name: &str) -> Result<Option<Imported>> {
    let known = is_name(name) && record(name).is_file();
    known.then(|| Imported::read(&record(name))).transpose()
}

pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(plain)
}
