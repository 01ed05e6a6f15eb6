//! What may be wrong with a store: locked, read-only, full and damaged are told apart. A lock is waited for.

use std::time::Duration;

use rusqlite::ErrorCode;

use crate::base::error::Error;
use crate::base::printer;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let told = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::machine("the run's store is locked by another program")
                .hint("close what holds run.sqlite open, a database viewer for instance; nothing is lost, and `eliteloop resume` goes on"),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::input("the run's store is read-only here").hint(
                    "copy the whole folder (run.sqlite-wal belongs to run.sqlite) to where you may write, and use the copy; or see to its permissions",
                )
            }
            Some(ErrorCode::DiskFull) => Self::machine("the run's store could not be written: the disk is full")
                .hint("the disk is full: free some space, then `eliteloop resume` goes on; of a run that was not begun, the same command"),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::machine("the run's store is damaged").hint("put the folder back from a copy; sqlite3's .recover saves what can be read")
            }
            Some(ErrorCode::SystemIoFailure) => Self::machine("the run's store could not be read or written: the system reports an error")
                .hint("see to the disk, and to a limit on the size of files (`ulimit -f`); then `eliteloop resume` goes on"),
            _ => Self::machine("the run's store could not be read or written"),
        };
        told.caused_by(error)
    }
}

/// Between two looks at a lock.
const MOMENT: Duration = Duration::from_millis(50);
/// Looks until it is told that there is a lock, and between two such lines.
const TOLD: i32 = 40;
const TOLD_AGAIN: i32 = 1200;
/// Looks after which a reader gives up.
const READER: i32 = 200;

/// A run waits for a lock as long as it is held: whoever looks at a run does not end it.
pub(super) fn writer_waits(looks: i32) -> bool {
    if looks == TOLD || looks > 0 && looks % TOLD_AGAIN == 0 {
        printer::note(
            "waiting: another program holds a lock on the run's store (run.sqlite), a database viewer for instance; this goes on when it lets go",
        );
    }
    std::thread::sleep(MOMENT);
    true
}

/// A reader gives up after some seconds.
pub(super) fn reader_waits(looks: i32) -> bool {
    if looks == TOLD {
        printer::note("waiting: another program holds a lock on the run's store (run.sqlite)");
    }
    std::thread::sleep(MOMENT);
    looks < READER
}
