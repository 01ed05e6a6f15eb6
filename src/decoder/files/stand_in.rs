//! What lies where a model's file should, though it is none: a pointer of Git LFS, a web page, a link that became a text.

use std::io::Read;
use std::path::Path;

use crate::base::error::Error;

/// Bytes that are looked at.
const START: u64 = 4096;

/// The error for a file that only stands for another; none where it looks like what it should be, or cannot be read.
#[must_use]
pub(crate) fn stand_in(path: &Path) -> Option<Error> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|data| data.is_file()))?;
    let size = file.metadata().ok()?.len();
    file.take(START).read_to_end(&mut start).ok()?;
    let shown = path.display();
    let is = |what: &str, hint: &str| Some(Error::input(format!("{shown} is {what}")).hint(hint.to_owned()));
    if start.is_empty() {
        return is("empty", "fetch or copy the file again");
    }
    // Text that a multi-byte character may end.
    let text = match std::str::from_utf8(&start) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&start[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("version https://git-lfs") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")).unwrap_or("an unknown number of");
        return is(
            &format!("a pointer of Git LFS, not the file of {size} bytes that it stands for"),
            "run `git lfs pull` where it was cloned, or download the file itself",
        );
    }
    let lower = text.get(..text.len().min(256)).unwrap_or(text).to_lowercase();
    if ["<!doctype html", "<html", "<head", "<?xml"].iter().any(|tag| lower.starts_with(tag)) {
        return is(
            "a web page, not a model's file",
            "the download brought a page (to log in, or about the file); download the file itself",
        );
    }
    let is_text = !text.is_empty() && text.chars().all(|c| !c.is_control() || c.is_whitespace());
    let line = text.lines().next().unwrap_or_default();
    if size < START && is_text && !line.contains(char::is_whitespace) && (line.starts_with("../") || line.starts_with('/')) {
        return is(
            &format!("a text that says {line}: a link that was copied as text"),
            "copy the folder with its links (cp -a, rsync -a, tar), or with the files they lead to (cp -rL)",
        );
    }
    let is_json = line.starts_with('{') && !line.contains("\"error\"") || line.starts_with('[');
    if size < START && is_text && !is_json {
        let line: String = line.chars().take(80).collect();
        return is(
            &format!("a short text, not a model's file: {line}"),
            "the download brought a message instead of the file; fetch it again",
        );
    }
    None
}
