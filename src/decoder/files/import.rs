//! How a model of the user's gets among the models known by name.

use std::path::Path;

use super::catalogue;
use super::chat::ChatTemplate;
use super::imported::{Imported, folder, is_name, record};
use super::model_file::ModelFile;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;

/// How an imported model gets into the folder of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Copy,
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
