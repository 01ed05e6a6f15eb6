"""What a run and an audit have in common."""

from __future__ import annotations

import json
import sqlite3
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import pandas as pd

from . import update
from .error import EliteloopError
from .table import FLAG, REAL, TEXT, WHOLE, Column, Table, described, framed

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

ELITES = Table(
    "elites",
    "One row per elite, by cycle, best first: `Store::elites`. Of closed cycles only.",
    [
        Column("cycle", WHOLE, "that it is an elite of"),
        Column("network", TEXT, "CYCLE/INDEX, of an audit the sample that proposed it first; of an earlier cycle where elites are kept"),
        Column("quality", REAL, "its quality, whatever the elites were chosen by"),
        Column("held_out", FLAG, "kept out of tuning, to see whether the update generalises"),
        Column("example_hash", TEXT, "SHA-256 over the tokens of prompt and completion; empty without an LLM"),
    ],
)
PHASES = Table(
    "phases",
    "One row per phase of a cycle, in the order in which they ended. These differ between two runs of equal settings and seed.",
    [
        Column("cycle", WHOLE, "from 0, the start"),
        Column("name", TEXT, "what was done"),
        Column("seconds", REAL, "by the clock; a phase that was interrupted counts as the program noted it", "s"),
        Column("peak_mib", REAL, "most memory of the main process so far", "MiB"),
    ],
)
TUNING_STEPS = Table(
    "tuning_steps",
    "One row per optimiser step of an update that was kept.",
    [
        Column("cycle", WHOLE, "whose update it is"),
        Column("step", WHOLE, "from 0"),
        Column("loss", REAL, "of the tuned examples, before the step", "nats"),
        Column("gradient_norm", REAL, "before clipping"),
        Column("lr", REAL, "what the step was made with"),
    ],
)
TUNED_ON = Table(
    "tuned_on",
    "One row per example of an update, held out or not: what the store lists. Empty for stores of before there was such a list.",
    [
        Column("cycle", WHOLE, "whose update it is"),
        Column("network", TEXT, "whose delta it is"),
        Column("held_out", FLAG, "not tuned on"),
        Column("weight", REAL, "in the update, of any scale; 1 where all weigh the same"),
        Column("example_hash", TEXT, "SHA-256 over the tokens of prompt and completion, of the very example that went into the LLM"),
    ],
)
RESCORED = Table(
    "rescored",
    "One row per sample that was scored before and after the update of its cycle: the SQL view `rescored`.",
    [
        Column("cycle", WHOLE, "whose update it is"),
        Column("network", TEXT, "which sample, CYCLE/INDEX"),
        Column("log_p_before", REAL, "under the words that the policy may say", "nats"),
        Column("log_p_after", REAL, "the same after the update", "nats"),
    ],
)
META = Table(
    "meta",
    "What the store notes about itself: program, hashes of data and model, when it began and finished, the settings it began with.",
    [Column("key", TEXT, "its name"), Column("value", TEXT, "as it stands in the store")],
)


class Record:
    """A run or an audit as it was when it was opened; open it again to see what came since.

    It is a copy in memory: nothing is written into the folder and no lock is held.
    """

    # The frames of this kind; exporters write all of them.
    tables: Tuple[Table, ...] = ()
    # Names of those with numbers by cycle, of which exporters draw lines.
    by_cycle: Tuple[str, ...] = ()

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        """`db` is a copy of the store in `folder`: `open_run` makes it."""
        self.folder = folder
        self._db = db
        self._meta: Dict[str, str] = dict(self._rows("SELECT key, value FROM meta ORDER BY key"))

    def __repr__(self) -> str:
        state = "finished" if self.is_finished else "not finished"
        return f"<{type(self).__name__} {str(self.folder)!r}, {self.last_cycle} cycles, {state}>"

    @property
    def name(self) -> str:
        """The last part of the folder's path."""
        return self.folder.absolute().name

    @property
    def kind(self) -> str:
        """`run` or `audit`."""
        return self._meta.get("kind", "run")

    @property
    def is_finished(self) -> bool:
        """Whether the program noted that it finished; more cycles may be asked of it all the same."""
        return "finished" in self._meta

    @cached_property
    def last_cycle(self) -> int:
        """The last cycle that is closed; 0 where none is."""
        return self._rows("SELECT coalesce(max(cycle), 0) FROM cycle")[0][0]

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """`run.toml`: every setting as it was resolved, in tables as there. Later than the `settings` of `meta` where cycles were added.

        Raises EliteloopError where the file is missing or no TOML.
        """
        path = self.folder / "run.toml"
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            hint = "put the folder back from a copy; the store has those it began with, in `meta`"
            raise EliteloopError(f"{path} is missing", hint) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise EliteloopError(f"{path} is no settings file: {error}", "put it back from a copy") from None

    @property
    def columns(self) -> pd.DataFrame:
        """What each column of each frame is."""
        return described(self.tables)

    def frames(self) -> Dict[str, pd.DataFrame]:
        """All frames by name, in a fixed order."""
        return {table.name: getattr(self, table.name) for table in self.tables}

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """The rows of a query on the copy, as SQLite gives them: src/record/schema.sql has tables and views.

        Raises sqlite3.Error where the query is wrong or would write.
        """
        cursor = self._db.execute(query, tuple(parameters))
        return pd.DataFrame(cursor.fetchall(), columns=[entry[0] for entry in cursor.description])

    @framed(ELITES)
    def elites(self) -> Iterable[Sequence[Any]]:
        return self._rows("SELECT cycle, network, quality, held_out, example_hash FROM elite ORDER BY cycle, quality DESC, rowid")

    @framed(PHASES)
    def phases(self) -> Iterable[Sequence[Any]]:
        return self._rows("SELECT cycle, name, seconds, peak_mib FROM phase ORDER BY rowid")

    @framed(TUNING_STEPS)
    def tuning_steps(self) -> Iterator[Sequence[Any]]:
        for cycle, tuning in self._tunings.items():
            for number, step in enumerate(tuning["steps"]):
                yield cycle, number, step["loss"], step["gradient_norm"], step["lr"]

    @framed(TUNED_ON)
    def tuned_on(self) -> Iterator[Sequence[Any]]:
        for cycle, tuning in self._tunings.items():
            for one in tuning.get("manifest", []):
                yield cycle, one["network"], one["held_out"], one.get("weight", 1.0), one["example_hash"]

    @framed(RESCORED)
    def rescored(self) -> Iterator[Sequence[Any]]:
        for cycle, tuning in self._tunings.items():
            for sample in (tuning.get("change") or {}).get("samples", []):
                yield cycle, sample["network"], sample["before"], sample["after"]

    @framed(META)
    def meta(self) -> Iterable[Sequence[Any]]:
        return self._meta.items()

    @property
    def chain_head(self) -> Optional[str]:
        """The last link of the chain of hashes over all rows but times, which `eliteloop verify --head` takes; None before a cycle is
        closed."""
        rows = self._rows("SELECT hash FROM chain ORDER BY cycle DESC LIMIT 1")
        return rows[0][0] if rows else None

    def noted(self, key: str) -> Optional[str]:
        """A value of `meta`; None where there is none."""
        return self._meta.get(key)

    @cached_property
    def _tunings(self) -> Dict[int, Dict[str, Any]]:
        rows = self._rows("SELECT cycle, tuning FROM cycle WHERE tuning IS NOT NULL ORDER BY cycle")
        return {cycle: json.loads(tuning) for cycle, tuning in rows}

    def _closing(self) -> Dict[int, List[Any]]:
        """Of each closed cycle from 1 the values of `cycles.CLOSING`."""
        rows = self._rows("SELECT cycle, gamma, adapter_hash FROM cycle ORDER BY cycle")
        elites = {c: (n, held_out) for c, n, held_out in self._rows("SELECT cycle, count(*), sum(held_out) FROM elite GROUP BY cycle")}
        kinds, links = (dict(self._rows(f"SELECT * FROM {table}")) for table in ("processor", "chain"))
        adapters = {cycle: adapter for cycle, _, adapter in rows}
        return {
            cycle: [
                gamma,
                *elites.get(cycle, (0, 0)),
                *(adapters.get(cycle - 1), adapter),
                *(kinds.get(cycle), links.get(cycle)),
                *update.row(self._tunings.get(cycle)),
            ]
            for cycle, gamma, adapter in rows
            if cycle > 0
        }

    def _rows(self, query: str) -> List[Tuple[Any, ...]]:
        return self._db.execute(query).fetchall()
