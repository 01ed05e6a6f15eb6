//! Models the user brought: `imported/NAME.toml` in the folder of models says what each is, and beside it lies a copy or a link.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalogue;
use super::chat::ChatTemplate;
use super::config::Family;
use super::model_file::ModelFile;
use crate::error::{AtPath, Error, Result};
use crate::files::write_whole;
use crate::home;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    pub name: String,
    /// In the folder of imported models.
    pub file: String,
    /// Where it was imported from.
    pub source: PathBuf,
    /// Of the weights.
    pub bytes: u64,
    /// Of a folder, that of the list of its files' hashes and names.
    pub sha256: String,
    pub family: Family,
    pub parameters: u64,
    pub context: usize,
    /// As the model's own files state it.
    pub licence: Option<String>,
    pub chat_template_sha256: Option<String>,
}

/// How an imported model gets into the folder of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Copy,
    Link,
}

fn folder() -> PathBuf {
    home::models().join("imported")
}

fn record(name: &str) -> PathBuf {
    folder().join(format!("{name}.toml"))
}

impl Imported {
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
    pub fn verify(&self) -> Result<()> {
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
pub fn entry(name: &str) -> Result<Option<Imported>> {
    let known = is_name(name) && record(name).is_file();
    known.then(|| Imported::read(&record(name))).transpose()
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(plain)
}

/// The name of a file, in the letters that names may have.
fn default_name(model: &ModelFile) -> String {
    let path = model.path();
    let title = match super::hub::repo_of(path) {
        Some(repo) if path.is_dir() => repo.rsplit('/').next().unwrap_or_default().to_owned(),
        _ if path.is_dir() => path.canonicalize().unwrap_or_default().file_name().unwrap_or_default().to_string_lossy().into_owned(),
        _ => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let plain = title.to_lowercase().replace(|c: char| !is_name(&format!("a{c}")), "-");
    plain.trim_start_matches(['.', '-']).to_owned()
}

/// Brings a model (a path, or a model of the Hugging Face cache) into the folder of models.
///
/// # Errors
/// Where it cannot be run, or its name is taken.
pub fn import(spec: &str, name: Option<&str>, place: Place) -> Result<Imported> {
    let path = catalogue::find(spec)?;
    let path = path.canonicalize().at("find", &path).map(|whole| if super::hub::repo_of(&path).is_some() { path } else { whole })?;
    let model = ModelFile::open(&path)?;
    model.tokenizer()?;
    let name = name.map_or_else(|| default_name(&model), String::from);
    if !is_name(&name) {
        return Err(
            Error::input(format!("'{name}' is no name for a model")).hint("use small letters, digits, '-', '_' and '.': --name NAME")
        );
    }
    if catalogue::entry(&name).is_some() || record(&name).exists() {
        return Err(Error::input(format!("there is a model {name} already")).hint("give another one: --name NAME"));
    }
    let folder = folder();
    std::fs::create_dir_all(&folder).at("make the folder", &folder)?;
    let file = if path.is_dir() { name.clone() } else { format!("{name}.gguf") };
    let imported = Imported {
        sha256: model.sha256()?,
        bytes: model.bytes()?,
        family: model.config().family,
        parameters: model.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum(),
        context: model.config().context,
        licence: model.licence()?,
        chat_template_sha256: model.chat_template()?.as_ref().map(ChatTemplate::hash),
        source: path.clone(),
        name,
        file,
    };
    let to = imported.path();
    if to.symlink_metadata().is_ok() {
        return Err(Error::input(format!("{} is in the way", to.display())).hint("move it, or give another name: --name NAME"));
    }
    match place {
        Place::Link => std::os::unix::fs::symlink(&path, &to).at("link", &to)?,
        Place::Copy => copy(&model, &to)?,
    }
    let text = toml::to_string(&imported).map_err(|e| Error::machine("the record cannot be written as TOML").caused_by(e))?;
    write_whole(&record(&imported.name), text.as_bytes())?;
    Ok(imported)
}

/// Under another name until it is whole.
fn copy(model: &ModelFile, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let half_made = tempfile::Builder::new().prefix(".import-").tempdir_in(folder).at("write in", folder)?;
    let whole = half_made.path().join("model");
    if model.path().is_dir() {
        std::fs::create_dir(&whole).at("make the folder", &whole)?;
        for file in model.files() {
            let to = whole.join(file.file_name().unwrap_or_default());
            std::fs::copy(&file, &to).at("copy", &file)?;
        }
    } else {
        std::fs::copy(model.path(), &whole).at("copy", model.path())?;
    }
    std::fs::rename(&whole, to).at("rename to", to)
}
