"""Folders of runs and audits: one opened, or all below a folder as one frame."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Type, Union

import pandas as pd

from .audit import Audit
from .cycles import mean
from .error import EliteloopError
from .run import Run
from .store import is_begun, snapshot
from .table import FLAG_OR_NONE, REAL, TEXT, WHOLE_OR_NONE, Column, Table

# A study keeps its runs in MODEL/ARM/seed-N.
DEEPEST = 3
KINDS: Dict[str, Type[Union[Run, Audit]]] = {"run": Run, "audit": Audit}

RUNS = Table(
    "runs",
    "One row per run and audit at or below a folder, by path. Open cycles are left out of all counts and qualities.",
    [
        Column("folder", TEXT, "path below the given folder; `.` for itself"),
        Column("kind", TEXT, "run or audit; missing, as all but `error`, of what cannot be read"),
        Column("policy", TEXT, "what proposed"),
        Column("model", TEXT, "name of the LLM; `none` without one"),
        Column("dataset", TEXT, "images of a run, table of an audit"),
        Column("seed", WHOLE_OR_NONE, "of the run"),
        Column("cycles", WHOLE_OR_NONE, "closed"),
        Column("cycles_asked", WHOLE_OR_NONE, "of the settings"),
        Column("finished", FLAG_OR_NONE, "whether the program noted that it finished"),
        Column("candidates", WHOLE_OR_NONE, "asked of the policy"),
        Column("measured", WHOLE_OR_NONE, "those of them that have a quality"),
        Column("quality_mean", REAL, "mean quality of these of all cycles, which `compare` pairs: `RunFacts::mean` of src/compare/runs.rs"),
        Column("quality_best", REAL, "the best of them: a maximum over `measured` noisy values"),
        Column("best", TEXT, "CYCLE/INDEX of that, the earliest of equal ones"),
        Column("best_start", REAL, "best quality of a start network; NaN of an audit"),
        Column("seconds", REAL, "sum of the phases of closed cycles and the start", "s"),
        Column("started", TEXT, "when the program began it, to the minute, UTC"),
        Column("program", TEXT, "version that began it"),
        Column("chain_head", TEXT, "last link of the chain of hashes"),
        Column("error", TEXT, "why it cannot be read; else missing"),
    ],
)


def open_run(folder: Union[str, os.PathLike[str]]) -> Union[Run, Audit]:
    """The run or audit in `folder`, as it is now; also while it goes on.

    Raises EliteloopError where there is none, or its store is of another format or cannot be read.
    """
    path = Path(folder)
    db = snapshot(path)
    # Runs of before audits had a store do not say what they are.
    kind = dict(db.execute("SELECT key, value FROM meta")).get("kind", "run")
    if kind not in KINDS:
        raise EliteloopError(f"{path} holds a record of the unknown kind '{kind}'", "use the reader of the version that made it")
    return KINDS[kind](path, db)


def runs(folder: Union[str, os.PathLike[str]]) -> pd.DataFrame:
    """One row per run and audit in `folder` and three levels below, as a study lays them out. What cannot be read has a row with an
    `error`.

    Raises EliteloopError where there is none at all.
    """
    top = Path(folder)
    found = [top] if is_begun(top) else sorted(_below(top, DEEPEST))
    if not found:
        raise EliteloopError(f"there is no run in {top} or {DEEPEST} levels below", "give a folder of runs, or a study's")
    return RUNS.frame(_row(top, path) for path in found)


runs.__doc__ = f"{runs.__doc__}\n{RUNS.doc()}"


def _below(folder: Path, deepest: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for inner in folder.iterdir():
        if is_begun(inner):
            yield inner
        elif deepest > 1 and inner.is_dir() and not inner.is_symlink():
            yield from _below(inner, deepest - 1)


def _row(top: Path, path: Path) -> List[Any]:
    name = path.relative_to(top).as_posix()
    try:
        return [name, *_facts(open_run(path)), None]
    except (EliteloopError, sqlite3.Error) as error:
        return [name, *[None] * (len(RUNS.columns) - 2), getattr(error, "message", str(error))]


def _facts(record: Union[Run, Audit]) -> List[Any]:
    settings = record.settings
    last = record.last_cycle
    seconds = sum(record.phases.query("cycle <= @last")["seconds"])
    asked, qualities = _qualities(record)
    best = max(qualities, key=lambda pair: pair[1], default=(None, None))
    return [
        *(record.kind, settings.get("policy"), record.noted("model_name") or "none"),
        *(settings.get("proxy", settings).get("dataset"), settings.get("seed")),
        *(last, settings.get("cycles"), record.is_finished, asked, len(qualities)),
        *(mean([quality for _, quality in qualities]) if qualities else None, best[1], best[0], _best_start(record)),
        *(seconds, record.noted("started"), record.noted("program"), record.chain_head),
    ]


def _qualities(record: Union[Run, Audit]) -> Tuple[int, Sequence[Tuple[str, float]]]:
    """How many candidates closed cycles have, and those with a quality, in order."""
    frame = record.candidates if isinstance(record, Run) else record.samples
    frame = frame[frame["cycle"] <= record.last_cycle]
    own = frame[frame["quality"].notna()]
    return len(frame), list(zip(own["network"], own["quality"].tolist()))


def _best_start(record: Union[Run, Audit]) -> Optional[float]:
    if not isinstance(record, Run):
        return None
    return max((quality for network, quality in record.qualities.items() if network.startswith("start/")), default=None)
