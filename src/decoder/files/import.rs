//! How a model of the user's gets among the models known by name.

use std::path::{Path, PathBuf};

use super::catalogue;
use super::chat::ChatTemplate;
use super::gguf::part_name;
use super::imported::{Imported, folder, is_name, record};
use super::model_file::ModelFile;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;

/// How an imported model gets into the folder of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Copied, so that the original may go.
    Copy,
    /// A symbolic link to the original, which has to stay.
    Link,
}

/// Brings a model (a path, or a model of the Hugging Face cache) into the folder of models.
///
/// # Errors
/// Where it cannot be run, or its name is taken.
pub fn import(spec: &str, name: Option<&str>, place: Place) -> Result<Imported> {
    let path = catalogue::find(spec)?;
    let path = path.canonicalize().at("find", &path).map(|whole| if super::hub::repo_of(&path).is_some() { path } else { whole })?;
    let model = ModelFile::open(&path)?;
    model.check()?;
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
    let parts = model.files().len();
    let file = match (path.is_dir(), parts) {
        (true, _) => name.clone(),
        (false, 1) => format!("{name}.gguf"),
        (false, _) => part_name(&name, 1, parts),
    };
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
    let bring = |from: &Path, to: &Path| match place {
        Place::Link => std::os::unix::fs::symlink(from, to).at("link", to),
        Place::Copy => copy(from, to),
    };
    match (&model.files()[..], path.is_dir()) {
        (files, true) if place == Place::Copy => copy_folder(files, &to)?,
        // The record comes last: parts that a failure leaves behind are named by the next try.
        (files, false) if parts > 1 => {
            for (number, from) in (1..).zip(files) {
                bring(from, &folder.join(part_name(&imported.name, number, parts)))?;
            }
        }
        _ => bring(&path, &to)?,
    }
    let text = toml::to_string(&imported).map_err(|e| Error::machine("the record cannot be written as TOML").caused_by(e))?;
    write_whole(&record(&imported.name), text.as_bytes())?;
    Ok(imported)
}

/// Under another name until it is whole.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let half_made = tempfile::Builder::new().prefix(".import-").tempdir_in(folder).at("write in", folder)?;
    let whole = half_made.path().join("model");
    std::fs::copy(from, &whole).at("copy", from)?;
    std::fs::rename(&whole, to).at("rename to", to)
}

/// The same of the files that make a folder's model.
fn copy_folder(files: &[PathBuf], to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let half_made = tempfile::Builder::new().prefix(".import-").tempdir_in(folder).at("write in", folder)?;
    let whole = half_made.path().join("model");
    std::fs::create_dir(&whole).at("make the folder", &whole)?;
    for file in files {
        std::fs::copy(file, whole.join(file.file_name().unwrap_or_default())).at("copy", file)?;
    }
    std::fs::rename(&whole, to).at("rename to", to)
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
