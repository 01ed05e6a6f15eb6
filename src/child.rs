//! Processes of this program that are started by itself: the runs of a study, and sandboxes and workers, which start none in turn.
//!
//! Which executable they are is by default the running one. In somebody else's program with this library that is not eliteloop: it
//! would start itself, do there what it did here, and so on without end.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// What lists of processes show, whatever path the program was started by.
pub const NAME: &str = "eliteloop";

/// Set for a child to the verb it was started with.
const MARK: &str = "ELITELOOP_CHILD";

/// The running program, to be started once more. On Linux it is that program even where its file was replaced meanwhile, by a build for
/// instance: a run keeps to the program that it began with.
///
/// # Errors
/// The system does not say.
pub fn executable() -> std::io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

/// Lets `command` start `verb`. Its environment is made before: what is cleared later would take the mark away.
///
/// # Errors
/// This process is a child.
pub fn begin<'a>(command: &'a mut Command, verb: &str) -> Result<&'a mut Command> {
    match std::env::var_os(MARK) {
        None => Ok(command.arg0(NAME).arg(verb).env(MARK, verb)),
        Some(own) => {
            Err(Error::machine(format!("this process is a {} of eliteloop, which starts no {verb} ({MARK} is set)", own.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_told_its_verb_twice() {
        let mut command = Command::new("eliteloop");
        begin(command.env_clear(), "worker").unwrap();
        assert!(command.get_args().eq(["worker"]));
        assert!(command.get_envs().eq([(MARK.as_ref(), Some("worker".as_ref()))]));
    }
}
