//! The folder of a run or an audit: its paths, its lock, and how it is begun: whole, or so that the same command begins it again.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::absent::missing;
use super::{Kind, Store};
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::{open_file, read_text, replace, write_whole};
use crate::base::show::in_shell;
use crate::config::{self, RunConfig};

/// The store while it is made; its name becomes `run.sqlite` when all is in it with which a run begins.
const HALF: &str = ".begin.sqlite";
const LOCK: &str = ".lock";
/// How the names of files begin that [`write_whole`] is at.
const TEMPORARY: &str = ".tmp";
const HEAD: &str = "# Settings of this ";

/// A folder that is written to, locked against a second writer for as long as this lives.
pub struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder of a new run or audit, its settings (TOML) and its store, into which `fill` puts with what it begins. A kill
    /// leaves nothing, a whole beginning, or what the same command takes over.
    ///
    /// # Errors
    /// When something is there already, or one of them cannot be made; nothing of ours is then left.
    pub fn create(path: &Path, kind: Kind, settings: &str, fill: impl FnOnce(&Store) -> Result<()>) -> Result<(Self, Store)> {
        refuse_occupied(path)?;
        let is_new = !path.exists();
        fs::create_dir_all(path).at("make the folder", path)?;
        let lock = lock(path).inspect_err(|_| {
            // Only where it is empty.
            let _ = fs::remove_dir(path);
        })?;
        // Under the lock: another process may have begun there meanwhile.
        refuse_occupied(path)?;
        let folder = Self { path: path.into(), lock };
        match folder.begin(kind, settings, fill) {
            Ok(store) => Ok((folder, store)),
            Err(error) => {
                if !store_path(path).exists() {
                    let _ = folder.clear();
                    if is_new {
                        let _ = fs::remove_file(path.join(LOCK)).and_then(|()| fs::remove_dir(path));
                    }
                }
                Err(error)
            }
        }
    }

    fn begin(&self, kind: Kind, settings: &str, fill: impl FnOnce(&Store) -> Result<()>) -> Result<Store> {
        self.clear()?;
        write_settings(self, kind, settings)?;
        let half = self.path.join(HALF);
        let store = Store::create(&half, kind)?;
        store.transaction(|s| {
            s.set_meta(SETTINGS, settings)?;
            fill(s)
        })?;
        // Not sealed: to begin the write-ahead log anew takes a lock that whoever looks at it already would hold up.
        store.close()?;
        replace(&half, &self.store())?;
        Store::open(&self.store())
    }

    /// Removes what a start that failed has left.
    fn clear(&self) -> Result<()> {
        for (name, path) in entries(&self.path)? {
            if is_leftover(&name, &path) && name != LOCK {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }

    /// Removes what was begun here and came to nothing.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn abandon(self, store: Store) -> Result<()> {
        store.seal()?;
        replace(&self.store(), &self.path.join(HALF))?;
        self.clear()?;
        fs::remove_file(self.path.join(LOCK)).at("remove", &self.path)?;
        // Whoever has put something there keeps it.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    /// # Errors
    /// The folder was deleted or replaced since it was opened: what is written now goes nowhere.
    pub(crate) fn check_there(&self) -> Result<()> {
        let same = |there: fs::Metadata| self.lock.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()));
        if fs::metadata(self.path.join(LOCK)).is_ok_and(same) && self.store().is_file() {
            return Ok(());
        }
        Err(Error::machine(format!("{} was deleted or replaced while it was written", self.path.display()))
            .hint("put it back from a copy and resume that, or begin anew in a new folder"))
    }

    /// What went wrong while it was written, told by its cause where the folder is not there any more.
    ///
    /// # Errors
    /// That of `result`, or that of [`Self::check_there`] instead of it.
    pub(crate) fn tell_if_gone<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.check_there().err().unwrap_or(error))
    }

    /// Opens the folder of a run or audit that goes on.
    ///
    /// # Errors
    /// When there is none, or another process writes into it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !is_begun(path) {
            return Err(missing(path));
        }
        let folder = Self { path: path.into(), lock: lock(path)? };
        // What a kill left half-written.
        for (_, path) in entries(path)?.into_iter().filter(|(name, _)| name.starts_with(TEMPORARY) || name.starts_with(HALF)) {
            fs::remove_file(&path).at("remove", &path)?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the adapter that came out of `cycle`.
    pub(crate) fn checkpoint(&self, cycle: u64) -> PathBuf {
        checkpoint(&self.path, cycle)
    }

    pub(crate) fn store(&self) -> PathBuf {
        store_path(&self.path)
    }
}

/// The store of the run or audit in a folder.
pub fn store_path(run: &Path) -> PathBuf {
    run.join("run.sqlite")
}

/// Folder of the adapter that came out of `cycle`, whether it is there or not.
pub fn checkpoint(run: &Path, cycle: u64) -> PathBuf {
    run.join(format!("cycle-{cycle:04}"))
}

/// The last part of the path: what a report calls the run.
pub(crate) fn name(run: &Path) -> String {
    run.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Key of the store: the settings it began with, as TOML.
pub(crate) const SETTINGS: &str = "settings";

fn settings_path(run: &Path) -> PathBuf {
    run.join("run.toml")
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entry = |entry: std::io::Result<fs::DirEntry>| entry.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()));
    fs::read_dir(folder).at("read the folder", folder)?.map(entry).collect::<std::io::Result<_>>().at("read the folder", folder)
}

/// Whether a file is what a start leaves that was killed before there was a store.
fn is_leftover(name: &str, path: &Path) -> bool {
    let ours = || {
        let mut head = [0; HEAD.len()];
        open_file(path, "read").is_ok_and(|mut file| file.read_exact(&mut head).is_ok()) && head == *HEAD.as_bytes()
    };
    name == LOCK || name.starts_with(HALF) || name.starts_with(TEMPORARY) || name == "run.toml" && ours()
}

/// Whether a start was killed in this folder, and nothing else is there.
pub(super) fn is_only_leftovers(path: &Path) -> bool {
    entries(path).is_ok_and(|entries| entries.iter().all(|(name, path)| is_leftover(name, path)))
}

fn refuse_occupied(path: &Path) -> Result<()> {
    if !path.exists() && !path.is_symlink() || path.is_dir() && is_only_leftovers(path) {
        return Ok(());
    }
    let error = Error::input(format!("{} exists already", path.display()));
    Err(if is_begun(path) {
        error.hint(format!("give --out a new folder, or go on with what is there: eliteloop resume {}", in_shell(path)))
    } else {
        error.hint("give --out a new folder: there is no run in this one to resume")
    })
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

/// The run or audit in a folder, or those below it, by name.
///
/// # Errors
/// When there is none.
pub fn recorded(path: &Path) -> Result<Vec<PathBuf>> {
    if is_begun(path) || !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let found = below(path, OF_STUDY)?;
    if found.is_empty() { Err(missing(path)) } else { Ok(found) }
}

/// Folders between that of a study and that of a run: model, arm and seed.
pub(crate) const OF_STUDY: usize = 3;

/// The runs and audits below a folder by name, that many folders deep at most.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn below(path: &Path, deepest: usize) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).at("read the folder", path)?;
    let inner = entries.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>().at("read the folder", path)?;
    let mut found = Vec::new();
    for inner in inner {
        if is_begun(&inner) {
            found.push(inner);
        } else if deepest > 1 && inner.is_dir() && !inner.is_symlink() {
            found.extend(below(&inner, deepest - 1)?);
        }
    }
    found.sort();
    Ok(found)
}

/// The settings of a folder as text, and where they stand.
///
/// # Errors
/// When something else than `wanted` is recorded there, or nothing.
pub(crate) fn settings_text(path: &Path, wanted: Kind) -> Result<(String, String)> {
    let settings = settings_path(path);
    if !settings.is_file() {
        return Err(missing(path));
    }
    let found = kind(path)?;
    if found != wanted {
        return Err(Error::input(format!("{} is the folder of {}, not of {}", path.display(), found.phrase(), wanted.phrase())));
    }
    Ok((read_text(&settings, "read the settings")?, settings.display().to_string()))
}

/// The settings stored with a run.
///
/// # Errors
/// When there is no run, or its settings are not those of this version.
pub fn settings(run: &Path) -> Result<RunConfig> {
    let (text, origin) = settings_text(run, Kind::Run)?;
    RunConfig::from_toml(&text, &origin)
}

/// Replaces the settings of what is resumed: more cycles are asked for.
///
/// # Errors
/// Those of the disk.
pub(crate) fn write_settings(folder: &Folder, kind: Kind, settings: &str) -> Result<()> {
    let head = format!("{HEAD}{kind} as resolved by eliteloop {}.\n", env!("CARGO_PKG_VERSION"));
    write_whole(&settings_path(&folder.path), (head + settings).as_bytes())
}

/// # Errors
/// The run was begun when clocks still decided about its candidates: how it goes on would depend on which rule an open cycle meets.
pub(crate) fn refuse_clock(run: &Path) -> Result<()> {
    let path = settings_path(run);
    let text = read_text(&path, "read the run's settings")?;
    let Some(key) = config::retired_key(&text) else { return Ok(()) };
    Err(Error::input(format!("this run was begun with {key}, a limit by the clock, which this version does not have"))
        .hint("go on with the version that began it (run.toml names it); report, compare, verify, eval and export read it all the same"))
}

/// Whether a process writes into this folder; where the file system has no locks nobody can tell, and one is thought to.
pub(crate) fn is_written(run: &Path) -> bool {
    File::open(run.join(LOCK)).is_ok_and(|file| file.try_lock_shared().is_err())
}

/// How often a lock is asked for, and how long between two times: who looks whether there is a writer holds it for a moment.
const ASKED: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(5);

pub(crate) fn lock(run: &Path) -> Result<File> {
    let path = run.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path).at("lock the run", &path)?;
    let mut locked = file.try_lock();
    for _ in 1..ASKED {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(BETWEEN);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::input(format!("{} is being written by another process", run.display()))
            .hint("wait for it, or stop it with Ctrl-C: it saves and says how to go on")),
        Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_folder_is_made_once_and_locked() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        let config = RunConfig::default();
        let begin = |settings: &str| Folder::create(&path, Kind::Run, settings, |_| Ok(()));
        let (first, store) = begin(&config.to_toml()).unwrap();
        assert!(begin("").is_err(), "exists");
        assert!(Folder::open(&path).is_err(), "locked");
        first.check_there().unwrap();
        drop((first, store));
        let again = Folder::open(&path).unwrap();
        assert_eq!((kind(&path).unwrap(), settings(&path).unwrap()), (Kind::Run, config));
        let error = settings_text(&path, Kind::Audit).unwrap_err().to_string();
        assert!(error.contains("of a run, not of an audit"), "{error}");
        fs::rename(&path, base.path().join("elsewhere")).unwrap();
        assert!(again.check_there().unwrap_err().to_string().contains("deleted or replaced"));
        drop(begin("").unwrap());
        assert!(again.check_there().is_err(), "another folder of the same name");
    }

    #[test]
    fn a_start_that_fails_leaves_nothing_and_one_that_was_killed_is_taken_over() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/run");
        let fails = || Folder::create(&path, Kind::Run, "seed = 1\n", |_| Err(Error::machine("here"))).err().unwrap().to_string();
        assert_eq!(fails(), "here");
        assert!(!path.exists() && base.path().join("a").exists());
        // Each point at which a kill may come leaves more of these.
        let leftovers: [&[(&str, &str)]; 4] = [
            &[],
            &[(LOCK, "")],
            &[(LOCK, ""), (".tmpab12", "# Settings of"), ("run.toml", "# Settings of this run as resolved by eliteloop 0.1.0.\n")],
            &[
                (LOCK, ""),
                ("run.toml", "# Settings of this run as .."),
                (HALF, "half"),
                (".begin.sqlite-wal", "x"),
                (".begin.sqlite-shm", ""),
            ],
        ];
        for leftover in leftovers {
            fs::create_dir_all(&path).unwrap();
            for (name, text) in leftover {
                fs::write(path.join(name), text).unwrap();
            }
            let hint = Folder::open(&path).err().unwrap().hint_text().unwrap().to_owned();
            assert!(hint.contains("eliteloop run --out"), "{hint}");
            assert_eq!(fails(), "here");
            assert!(path.exists() && fs::read_dir(&path).unwrap().all(|e| e.unwrap().file_name() == LOCK), "what was there is cleared");
            let (folder, store) = Folder::create(&path, Kind::Run, "seed = 1\n", |s| s.set_meta("a", "b")).unwrap();
            assert_eq!((store.meta("a").unwrap().as_deref(), store.meta(SETTINGS).unwrap().as_deref()), (Some("b"), Some("seed = 1\n")));
            let mut names: Vec<String> = entries(&path).unwrap().into_iter().map(|(name, _)| name).collect();
            names.sort();
            assert_eq!(names, [LOCK, "run.sqlite", "run.sqlite-shm", "run.sqlite-wal", "run.toml"]);
            drop((folder, store));
            fs::remove_dir_all(&path).unwrap();
        }
    }

    #[test]
    fn what_is_not_ours_is_neither_taken_over_nor_removed() {
        let base = tempfile::tempdir().unwrap();
        for (name, text) in [("run.toml", "seed = 1\n"), ("note.txt", "# Settings of this run"), ("run.sqlite", "damaged")] {
            let path = base.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join(name), text).unwrap();
            let error = Folder::create(&path, Kind::Run, "", |_| Ok(())).err().unwrap();
            assert!(error.exit_code() == 2 && error.to_string().contains("exists already"), "{error}");
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), text);
        }
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
