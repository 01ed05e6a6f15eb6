//! What to say of a folder in which there is no run and no audit.

use std::path::Path;

use crate::base::error::Error;
use crate::base::show::in_shell;

/// Settings of audits before they had a store.
const FORMER_SETTINGS: &str = "audit.toml";

/// What a study keeps of itself in its folder.
pub(crate) const STUDY: &str = "study.toml";

pub(crate) fn missing(path: &Path) -> Error {
    if path.join(STUDY).is_file() {
        return Error::input(format!("{} is the folder of a study, not of one run", path.display()))
            .hint("its runs lie in it, by model, arm and seed; study.html is the report of all");
    }
    if path.is_dir() && path.join(".lock").exists() && !path.join("run.sqlite").exists() {
        return Error::input(format!("nothing was begun in {}: a start there was ended before it had anything", path.display()))
            .hint(format!("begin it again: eliteloop run --out {0} with its settings (or eliteloop audit --out {0})", in_shell(path)));
    }
    former(path).unwrap_or_else(|| {
        Error::input(format!("there is no run in {}", path.display()))
            .hint("give the folder that `eliteloop run --out DIR` or `eliteloop audit --out DIR` made")
    })
}

/// Of an audit of before audits had a store, where there is one.
pub(crate) fn former(path: &Path) -> Option<Error> {
    path.join(FORMER_SETTINGS).is_file().then(|| {
        Error::input(format!("{} holds an audit as files of JSON lines, which this version does not read", path.display()))
            .hint(format!("use the version of eliteloop that made it ({FORMER_SETTINGS} names it), or make the audit again"))
    })
}
