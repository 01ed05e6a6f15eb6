//! The folder of a run: its paths, its lock, and how files get there whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::config::{self, RunConfig};
use crate::error::{AtPath, Error, Result};
use crate::files::write_whole;

/// A run's folder, locked against a second writer for as long as this lives.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder of a new run.
    pub fn create(path: &Path, config: &RunConfig) -> Result<Self> {
        if path.is_file() || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::input(format!("{} exists already", path.display()))
                .hint("give --out a new folder, or go on with this run: eliteloop resume DIR"));
        }
        fs::create_dir_all(path).at("make the folder", path)?;
        let lock = lock(path)?;
        let head = format!("# Settings of this run as resolved by eliteloop {}.\n", env!("CARGO_PKG_VERSION"));
        write_whole(&settings_path(path), (head + &config.to_toml()).as_bytes())?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// Opens the folder of a run that goes on.
    pub fn open(path: &Path) -> Result<Self> {
        if !settings_path(path).is_file() {
            return Err(
                Error::input(format!("there is no run in {}", path.display())).hint("give the folder that `eliteloop run --out DIR` made")
            );
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

fn settings_path(run: &Path) -> PathBuf {
    run.join("run.toml")
}

/// The settings stored with a run.
pub fn settings(run: &Path) -> Result<RunConfig> {
    let path = settings_path(run);
    if !path.is_file() {
        return Err(
            Error::input(format!("there is no run in {}", run.display())).hint("give the folder that `eliteloop run --out DIR` made")
        );
    }
    let text = fs::read_to_string(&path).at("read the run's settings", &path)?;
    RunConfig::from_toml(&text, &path.display().to_string())
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
        let first = Folder::create(&path, &config).unwrap();
        assert!(Folder::create(&path, &config).is_err(), "exists");
        assert!(Folder::open(&path).is_err(), "locked");
        drop(first);
        assert!(Folder::open(&path).is_ok());
        assert_eq!(settings(&path).unwrap(), config);
    }
}
