"""`run.sqlite` as a copy in memory, taken at one moment and without writing into the folder.

A run that goes on keeps its newest rows in a write-ahead log, `run.sqlite-wal`. SQLite makes that log and its index (`run.sqlite-shm`) anew
where it opens such a store and they are not there, even read-only. So:

- where a log with something in it stands beside the store, the store is opened with `mode=ro`, and sees a whole number of transactions;
- where none does, it is opened with `immutable=1`, which takes no locks and makes no files, also on read-only media. If a writer came
  meanwhile, which the size and time of the file or a new log tell, the copy is taken again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Tuple

from .error import EliteloopError

# `FORMAT` of src/record/store.rs.
FORMAT = "4"

# A table that came after the format: stores of before it lack it, and what is then empty is shown as empty.
LATER = """CREATE TABLE IF NOT EXISTS full_training (
    network TEXT PRIMARY KEY, epochs INTEGER, seed INTEGER, accuracy REAL, failure TEXT, seconds REAL)"""

# The tables are STRICT, which SQLite knows from here on.
OLDEST_SQLITE = (3, 37)
# Seconds to wait for a lock, as long as the program's own readers wait.
PATIENCE = 10.0
TRIES = 5


def store_path(folder: Path) -> Path:
    return folder / "run.sqlite"


def is_begun(folder: Path) -> bool:
    """Whether a run or an audit was begun in this folder: `is_begun` of src/record/folder.rs."""
    return (folder / "run.toml").is_file() and store_path(folder).is_file()


def snapshot(folder: Path) -> sqlite3.Connection:
    """A copy in memory of the store in `folder`, its format checked.

    Raises EliteloopError where there is no store, it is of another format, it cannot be read, or this Python's SQLite is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise EliteloopError(
            f"this Python has SQLite {sqlite3.sqlite_version}, and the store needs 3.37 or later", "use a newer Python"
        )
    path = store_path(folder)
    if not path.is_file():
        raise EliteloopError(
            f"there is no run in {folder}", "give the folder that `eliteloop run --out DIR` or `eliteloop audit --out DIR` made"
        )
    copy = _copied(path)
    _check_format(copy, path)
    copy.execute(LATER)
    copy.execute("PRAGMA query_only = 1")
    return copy


def _copied(path: Path) -> sqlite3.Connection:
    for _ in range(TRIES):
        before = _state(path)
        immutable = not _has_log(path)
        copy = sqlite3.connect(":memory:")
        try:
            _copy(path, "immutable=1" if immutable else "mode=ro", copy)
        except sqlite3.Error as error:
            copy.close()
            if _state(path) != before:
                continue
            raise _refusal(path, error) from error
        if not immutable or _state(path) == before:
            return copy
        copy.close()
    raise EliteloopError(f"{path} is written to too often to be copied", "try again")


def _copy(path: Path, how: str, into: sqlite3.Connection) -> None:
    source = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=PATIENCE)
    try:
        # A read transaction from here on: for a lock it is waited here and not in `backup`, which would wait for ever.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(into)
    finally:
        source.close()


def _has_log(path: Path) -> bool:
    """Whether rows may stand elsewhere than in the one file: in a log, or in the journal of a change that was cut off."""
    return any(_size(path.with_name(path.name + end)) for end in ("-wal", "-journal"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _state(path: Path) -> Tuple[int, int, int, bool]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise EliteloopError(f"{path} was deleted while it was read") from None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, _has_log(path)


def _refusal(path: Path, error: sqlite3.Error) -> EliteloopError:
    text = str(error)
    if "not a database" in text:
        return EliteloopError(f"{path} is not a run of eliteloop", "the file is something else, or its beginning is damaged")
    if "malformed" in text:
        return EliteloopError(f"{path} is damaged: {text}", "put the folder back from a copy")
    if "locked" in text:
        return EliteloopError(f"{path} is locked by another program", "close what holds it open, a database viewer for instance")
    return EliteloopError(
        f"{path} cannot be read: {text}",
        "copy the whole folder (run.sqlite-wal belongs to run.sqlite) to where you may write, and read the copy",
    )


def _check_format(copy: sqlite3.Connection, path: Path) -> None:
    try:
        row = copy.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    except sqlite3.Error as error:
        raise EliteloopError(f"{path} is not a run of eliteloop", "the file is something else") from error
    found = row[0] if row else "none"
    if found != FORMAT:
        raise EliteloopError(
            f"{path} has store format {found}; this reader reads {FORMAT}",
            "use the reader of the version of eliteloop that made the run (run.toml names it)",
        )
