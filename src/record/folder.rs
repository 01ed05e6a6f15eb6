//! The folder of a run or an audit: its paths, its lock, and how files get there whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::absent::missing;
use super::{Kind, Store};
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;
use crate::config::{self, RunConfig};

/// A folder that is written to, locked against a second writer for as long as this lives.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder of a new run or audit; `settings` are its settings as TOML.
    ///
    /// # Errors
    /// When something is there already, or the folder cannot be made.
    pub fn create(path: &Path, kind: Kind, settings: &str) -> Result<Self> {
        if path.is_file() || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::input(format!("{} exists already", path.display()))
                .hint(format!("give --out a new folder, or go on with what is there: eliteloop resume {}", path.display())));
        }
        fs::create_dir_all(path).at("make the folder", path)?;
        let lock = lock(path)?;
        let head = format!("# Settings of this {kind} as resolved by eliteloop {}.\n", env!("CARGO_PKG_VERSION"));
        write_whole(&settings_path(path), (head + settings).as_bytes())?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// Opens the folder of a run or audit that goes on.
    ///
    /// # Errors
    /// When there is none, or another process writes into it.
    pub fn open(path: &Path) -> Result<Self> {
        if !settings_path(path).is_file() {
            return Err(missing(path));
        }
        Ok(Self { path: path.into(), _lock: lock(path)? })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the adapter that came out of `cycle`.
    pub fn checkpoint(&self, cycle: u64) -> PathBuf {
        checkpoint(&self.path, cycle)
    }

    pub fn store(&self) -> PathBuf {
        store_path(&self.path)
    }
}

pub fn store_path(run: &Path) -> PathBuf {
    run.join("run.sqlite")
}

pub fn checkpoint(run: &Path, cycle: u64) -> PathBuf {
    run.join(format!("cycle-{cycle:04}"))
}

/// The last part of the path: what a report calls the run.
pub fn name(run: &Path) -> String {
    run.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn settings_path(run: &Path) -> PathBuf {
    run.join("run.toml")
}

/// Whether a run or an audit was begun in this folder.
pub fn is_begun(path: &Path) -> bool {
    settings_path(path).is_file() && store_path(path).is_file()
}

/// What is recorded in a folder.
///
/// # Errors
/// When nothing is, or its store is of another version.
pub fn kind(path: &Path) -> Result<Kind> {
    Store::read(&store_path(path))?.kind()
}

/// The run or audit in a folder, or those in its folders, by name.
///
/// # Errors
/// When there is none.
pub fn recorded(path: &Path) -> Result<Vec<PathBuf>> {
    if is_begun(path) || !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let entries = fs::read_dir(path).at("read the folder", path)?;
    let mut found = entries.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>().at("read the folder", path)?;
    found.retain(|inner| is_begun(inner));
    found.sort();
    if found.is_empty() { Err(missing(path)) } else { Ok(found) }
}

/// The settings of a folder as text, and where they stand.
///
/// # Errors
/// When something else than `wanted` is recorded there, or nothing.
pub fn settings_text(path: &Path, wanted: Kind) -> Result<(String, String)> {
    let settings = settings_path(path);
    if !settings.is_file() {
        return Err(missing(path));
    }
    let found = kind(path)?;
    if found != wanted {
        return Err(Error::input(format!("{} is the folder of {}, not of {}", path.display(), found.phrase(), wanted.phrase())));
    }
    Ok((fs::read_to_string(&settings).at("read the settings", &settings)?, settings.display().to_string()))
}

/// The settings stored with a run.
///
/// # Errors
/// When there is no run, or its settings are not those of this version.
pub fn settings(run: &Path) -> Result<RunConfig> {
    let (text, origin) = settings_text(run, Kind::Run)?;
    RunConfig::from_toml(&text, &origin)
}

/// # Errors
/// The run was begun when clocks still decided about its candidates: how it goes on would depend on which rule an open cycle meets.
pub fn refuse_clock(run: &Path) -> Result<()> {
    let path = settings_path(run);
    let text = fs::read_to_string(&path).at("read the run's settings", &path)?;
    let Some(key) = config::retired_key(&text) else { return Ok(()) };
    Err(Error::input(format!("this run was begun with {key}, a limit by the clock, which this version does not have"))
        .hint("go on with the version that began it (run.toml names it); report, compare, verify, eval and export read it all the same"))
}

pub(crate) fn lock(run: &Path) -> Result<File> {
    let path = run.join(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).at("lock the run", &path)?;
    file.try_lock().map_err(|_| {
        Error::input(format!("{} is being written by another process", run.display()))
            .hint("wait for it, or stop it with Ctrl-C: it saves and says how to go on")
    })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_folder_is_made_once_and_locked() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        let config = RunConfig::default();
        let first = Folder::create(&path, Kind::Run, &config.to_toml()).unwrap();
        Store::create(&first.store(), Kind::Run).unwrap();
        assert!(Folder::create(&path, Kind::Run, "").is_err(), "exists");
        assert!(Folder::open(&path).is_err(), "locked");
        drop(first);
        assert!(Folder::open(&path).is_ok());
        assert_eq!((kind(&path).unwrap(), settings(&path).unwrap()), (Kind::Run, config));
        let error = settings_text(&path, Kind::Audit).unwrap_err().to_string();
        assert!(error.contains("of a run, not of an audit"), "{error}");
    }

    #[test]
    fn an_audit_of_the_former_shape_is_named() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("audit.toml"), "# Settings of this audit as resolved by eliteloop 0.1.0.\n").unwrap();
        for error in [Folder::open(base.path()).err().unwrap(), settings(base.path()).unwrap_err(), kind(base.path()).unwrap_err()] {
            assert!(error.to_string().contains("JSON lines") && error.hint_text().unwrap().contains("version"), "{error}");
        }
    }
}
