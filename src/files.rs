//! Files and folders that get to their place whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::error::{AtPath, Result};

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
