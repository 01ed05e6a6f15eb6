"""trackio's file of a project: an SQLite database with a row of numbers per step."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from typing import Any, Dict, List, Sequence, Tuple

from ..error import EliteloopError
from ..record import Record
from . import scalars
from .files import AnyPath, outside

# What trackio 0.43.0 writes notes this number in the file; it adds tables that it misses by itself.
SCHEMA_VERSION = 2
TABLES = {
    "metrics": "id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL, run_name TEXT NOT NULL, "
    "step INTEGER NOT NULL, metrics TEXT NOT NULL, log_id TEXT, space_id TEXT",
    "configs": "id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, run_name TEXT NOT NULL, config TEXT NOT NULL, "
    "created_at TEXT NOT NULL, UNIQUE(run_id)",
}

Log = Sequence[Tuple[float, int, Dict[str, float]]]


def to_trackio(record: Record, file: AnyPath, curves: str = "elites") -> None:
    """Writes one run into `file`, PROJECT.db, which may be new or hold other runs of trackio: settings as its config, numbers by cycle as
    its log (step is the cycle). Each learning curve of `curves` (elites, all or none) is a run of its own, NAME/NETWORK-seedN, in the
    group NAME (step is the epoch).

    trackio shows the project of that name where TRACKIO_DIR is the folder of the file. Numbers have all their digits. Times are those of
    `scalars.moments`.
    Raises EliteloopError where `file` is inside the run, is not named like a project or is something else, or `curves` is none of those;
    OSError where it cannot be written.
    """
    path = outside(record, file)
    if path.suffix != ".db" or not re.fullmatch(r"[A-Za-z0-9_-]+", path.stem):
        raise EliteloopError(f"{path} is no name for a file of trackio", "give PROJECT.db, PROJECT being of letters, digits, - and _")
    moments = scalars.moments(record)
    key = scalars.identity(record)
    log = [(moments[cycle], cycle, numbers) for cycle, numbers in scalars.by_cycle(record)]
    runs: List[Tuple[str, str, Dict[str, Any], Log]] = [(key, record.name, _config(record, moments[0], None), log)]
    for curve in scalars.curves(record, curves):
        at = moments.get(curve.cycle, moments[record.last_cycle])
        own = hashlib.sha256(f"{key} {curve.name}".encode()).hexdigest()[:32]
        points = [(at, epoch, values) for epoch, values in curve.points]
        runs.append((own, f"{record.name}/{curve.name}", _config(record, at, record.name), points))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path)) as db, db:
            _write(db, runs)
    except sqlite3.DatabaseError as error:
        raise EliteloopError(f"{path} could not be written: {error}", "give a new file, or one of a project of trackio") from error


def _write(db: sqlite3.Connection, runs: Sequence[Tuple[str, str, Dict[str, Any], Log]]) -> None:
    is_new = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not is_new and db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it is none of trackio's, or of another version")
    if is_new:
        for table, columns in TABLES.items():
            db.execute(f"CREATE TABLE {table} ({columns})")
        db.execute("CREATE INDEX idx_metrics_run_step ON metrics(run_id, step)")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for key, name, config, log in runs:
        for table in TABLES:
            db.execute(f"DELETE FROM {table} WHERE run_id = ?", [key])
        insert = "INSERT INTO configs (run_id, run_name, config, created_at) VALUES (?, ?, ?, ?)"
        db.execute(insert, [key, name, json.dumps(config), config["_Created"]])
        insert = "INSERT INTO metrics (run_id, run_name, timestamp, step, metrics) VALUES (?, ?, ?, ?, ?)"
        db.executemany(insert, [(key, name, _time(at), step, json.dumps(numbers)) for at, step, numbers in log])


def _config(record: Record, created: float, group: Any) -> Dict[str, Any]:
    own = {**scalars.settings(record), **{f"eliteloop.{key}": value for key, value in scalars.notes(record).items()}}
    return {**own, "_Username": None, "_Created": _time(created), "_Group": group}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
