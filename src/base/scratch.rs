//! Files for children of this process, of which nothing stays whatever ends it: where the system allows it they have no name.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::base::error::{AtPath, Error, Result};

/// A file that children open by its path as long as this lives.
pub(crate) struct Scratch {
    path: PathBuf,
    _file: File,
    /// Removed at the end, where it has a name.
    _named: Option<tempfile::TempPath>,
}

impl Scratch {
    /// Makes a file and lets `fill` write it.
    ///
    /// # Errors
    /// There is no room for it in the folder for temporary files.
    pub(crate) fn new(fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<Self> {
        let place = || {
            let file = tempfile::tempfile()?;
            if let Some(path) = unnamed(&file) {
                return Ok((path, file, None));
            }
            let (file, named) = tempfile::NamedTempFile::new()?.into_parts();
            Ok((named.to_path_buf(), file, Some(named)))
        };
        let folder = std::env::temp_dir();
        let (path, mut file, named) = place().map_err(|error: std::io::Error| {
            Error::machine(format!("cannot write in {}", folder.display()))
                .hint("see to its room and permissions, or let TMPDIR name another folder for temporary files")
                .caused_by(error)
        })?;
        fill(&mut file).at("write in", &folder)?;
        Ok(Self { path, _file: file, _named: named })
    }

    /// Where children find it.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The way to an open file without a name, where other processes have one.
fn unnamed(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    File::open(&path).is_ok().then_some(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_child_reads_it_as_long_as_it_lives_and_no_longer() {
        let scratch = Scratch::new(|file| file.write_all(b"images")).unwrap();
        let read = |path: &Path| std::process::Command::new("cat").arg(path).output().unwrap();
        assert_eq!(read(scratch.path()).stdout, b"images");
        assert_eq!(std::fs::read(scratch.path()).unwrap(), b"images");
        #[cfg(target_os = "linux")]
        assert!(std::fs::read_link(scratch.path()).unwrap().to_string_lossy().contains("deleted"), "it has a name that a kill would leave");
        let path = scratch.path().to_owned();
        drop(scratch);
        // Another test may have opened another file by then.
        assert_ne!(read(&path).stdout, b"images");
    }
}
