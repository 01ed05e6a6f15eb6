//! Files and folders that get to their place whole or not at all, and texts that are read whole or not at all.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::base::error::{AtPath, Error, Result};

/// Bytes of a text that is read whole: no settings and no network's source are nearly as long.
const MOST_TEXT: u64 = 16 << 20;

/// Reads a text that the user named.
///
/// # Errors
/// Where it is no ordinary file (a pipe or a device may never end), is longer than a text, or is not UTF-8, with the line.
pub fn read_text(path: &Path, doing: &str) -> Result<String> {
    let shown = path.display();
    // Before it is opened: opening a pipe waits for who writes it.
    if !std::fs::metadata(path).at(doing, path)?.is_file() {
        return Err(Error::input(format!("cannot {doing} {shown}: it is not an ordinary file")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_TEXT + 1).read_to_end(&mut bytes)).at(doing, path)?;
    if bytes.len() as u64 > MOST_TEXT {
        return Err(Error::input(format!("cannot {doing} {shown}: it is longer than {} MiB", MOST_TEXT >> 20)));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].split(|&b| b == b'\n').count();
        Error::input(format!("cannot {doing} {shown}: line {line} is not UTF-8")).hint("save the file as UTF-8")
    })
}

/// Writes a file beside its place and renames it: a reader sees the old one or the new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // A temporary file is private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(folder).at("write in", folder)?;
    file.write_all(bytes).at("write", path)?;
    file.as_file().sync_all().at("write", path)?;
    file.persist(path).map_err(|e| e.error).at("write", path)?;
    Ok(())
}

/// Replaces `to` by the folder `from` (on the same disk). A kill in between leaves `to` absent, never half-written.
pub fn replace_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).at("remove", to)?;
    }
    std::fs::rename(from, to).at("rename to", to)
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
        refused(&file, "line 2 is not UTF-8");
        File::create(&file).unwrap().set_len(MOST_TEXT + 1).unwrap();
        refused(&file, "longer than 16 MiB");
        std::fs::write(&file, "a = 1").unwrap();
        assert_eq!(read_text(&file, "read").unwrap(), "a = 1");
    }
}
