//! Files and folders that get to their place whole or not at all, and files that are read whole or not at all.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::base::error::{AtPath, Error, Result};

/// Bytes of a text that is read whole: no settings and no network's source are nearly as long.
const MOST_TEXT: u64 = 16 << 20;

/// Opens a file that is read: an ordinary one, since a pipe or a device may never end, nor begin.
///
/// # Errors
/// Where it is not there, may not be read, or is no ordinary file.
pub(crate) fn open_file(path: &Path, doing: &str) -> Result<File> {
    // Before it is opened: opening a pipe waits for who writes it.
    let ordinary = std::fs::metadata(path).at(doing, path)?.is_file();
    // Afterwards too: it may have been replaced in between.
    let file = if ordinary { Some(File::open(path).at(doing, path)?) } else { None };
    match file {
        Some(file) if file.metadata().at(doing, path)?.is_file() => Ok(file),
        _ => Err(Error::input(format!("cannot {doing} {}: it is not an ordinary file", path.display()))),
    }
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// Those of [`open_file`], and where it is longer.
pub(crate) fn read_file(path: &Path, doing: &str, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path, doing)?.take(most.saturating_add(1)).read_to_end(&mut bytes).at(doing, path)?;
    if bytes.len() as u64 > most {
        let limit = if most >= 1 << 20 { format!("{} MiB", most >> 20) } else { format!("{} KiB", most >> 10) };
        return Err(Error::input(format!("cannot {doing} {}: it is longer than {limit}", path.display())));
    }
    Ok(bytes)
}

/// Reads a text that the user named.
///
/// # Errors
/// Those of [`open_file`], and where it is longer than a text, or is not UTF-8, with the line.
pub fn read_text(path: &Path, doing: &str) -> Result<String> {
    String::from_utf8(read_file(path, doing, MOST_TEXT)?).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].split(|&b| b == b'\n').count();
        // What editors and terminals can jump to.
        Error::input(format!("{}:{line}: not UTF-8 (byte {at})", path.display())).hint("save the file as UTF-8")
    })
}

/// Writes a file beside its place and renames it: a reader sees the old one or the new one, and so does who comes after a power cut.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    fill_whole(path, 0o644, |file| file.write_all(bytes))
}

/// The same with what another file holds, and with this mode.
///
/// # Errors
/// One of them cannot be read or written.
pub(crate) fn copy_whole(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let mut source = open_file(from, "read")?;
    fill_whole(to, mode, |file| std::io::copy(&mut source, file).map(drop))
}

fn fill_whole(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let folder = parent(path);
    let mut builder = tempfile::Builder::new();
    // A temporary file is private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    let mut file = builder.tempfile_in(folder).at("write in", folder)?;
    fill(file.as_file_mut()).at("write", path)?;
    file.as_file().sync_all().at("write", path)?;
    file.persist(path).map_err(|e| e.error).at("write", path)?;
    sync_folder(folder)
}

/// Replaces `to` by `from`, a file or a folder (on the same disk). A kill in between leaves a folder `to` absent, never half-written.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    if to.is_dir() {
        std::fs::remove_dir_all(to).at("remove", to)?;
    }
    std::fs::rename(from, to).at("rename to", to)?;
    sync_folder(parent(to))
}

/// The folder that a file lies in; of a bare name, the current one.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder survive a power cut.
fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems have no such thing.
        Err(error) if !matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {
            Err(error).at("write in", folder)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ordinary_file_of_text_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        let refused = |path: &Path, why: &str| {
            let error = read_text(path, "read the settings").unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(why), "{error}");
        };
        refused(&file, "cannot read the settings");
        refused(folder.path(), "not an ordinary file");
        #[cfg(unix)]
        refused(Path::new("/dev/zero"), "not an ordinary file");
        std::fs::write(&file, b"a = 1\nb = \"\xff\"\n").unwrap();
        refused(&file, ":2: not UTF-8");
        File::create(&file).unwrap().set_len(MOST_TEXT + 1).unwrap();
        refused(&file, "longer than 16 MiB");
        std::fs::write(&file, "a = 1").unwrap();
        assert_eq!(read_text(&file, "read").unwrap(), "a = 1");
    }
}
