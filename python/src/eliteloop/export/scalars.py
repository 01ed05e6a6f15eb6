"""A record as trackers of experiments see it: settings, numbers by cycle, learning curves, and when."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

import pandas as pd

from ..error import EliteloopError
from ..record import Record
from ..run import Run
from ..run_tables import OF_EPOCH

# Which trainings have their learning curves exported.
CURVES = ("elites", "all", "none")


class Curve(NamedTuple):
    """The learning curve of one training: `points` are (epoch, values by name)."""

    name: str
    cycle: int
    points: List[Tuple[int, Dict[str, float]]]


def settings(record: Record) -> Dict[str, str]:
    """Every setting by its dotted key, as text."""
    return {key: _text(value) for key, value in _flat("", record.settings)}


def notes(record: Record) -> Dict[str, str]:
    """What identifies what was computed: program, data, model, the last link of the chain of hashes."""
    keys = ("program", "dataset", "model_name", "model", "started", "finished")
    found = {key: record.noted(key) for key in keys}
    return {key: value for key, value in {**found, "kind": record.kind, "chain_head": record.chain_head}.items() if value is not None}


def identity(record: Record) -> str:
    """32 hexadecimal digits that are the same for each export of a run, and others for another run or another name of its folder."""
    parts = [record.name, *(record.noted(key) or "" for key in ("settings", "dataset", "program", "started"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def by_cycle(record: Record) -> Iterator[Tuple[int, Dict[str, float]]]:
    """Of each closed cycle its numbers, named FRAME/COLUMN (FRAME/MOMENT/COLUMN of `exact`); what is missing is left out."""
    cycles: Dict[int, Dict[str, float]] = {}
    for table in record.tables:
        if table.name not in record.by_cycle:
            continue
        frame = getattr(record, table.name)
        numbers = [c.name for c in table.columns if c.dtype not in ("string", "bool", "boolean") and c.name != "cycle"]
        for row in frame.to_dict("records"):
            head = "/".join([table.name, row["moment"]] if "moment" in row else [table.name])
            own = cycles.setdefault(row["cycle"], {})
            own.update({f"{head}/{name}": float(row[name]) for name in numbers if not _is_missing(row[name])})
    yield from sorted(cycles.items())


def curves(record: Record, which: str) -> List[Curve]:
    """The learning curves of elites, of all networks, or none; none of an audit, which trains nothing.

    Raises EliteloopError where `which` is none of `CURVES`.
    """
    if which not in CURVES:
        raise EliteloopError(f"'{which}' names no curves", f"one of {', '.join(CURVES)}")
    if not isinstance(record, Run) or which == "none":
        return []
    frame = record.curves
    if which == "elites":
        frame = frame[frame["network"].isin(record.elites["network"])]
    found = []
    for (network, seed_index, repeat), own in frame.groupby(["network", "seed_index", "repeat"]):
        points = [(int(e["epoch"]), {name: e[name] for name in OF_EPOCH if not _is_missing(e[name])}) for e in own.to_dict("records")]
        cycle = 0 if network.startswith("start/") else int(network.split("/")[0])
        found.append(Curve(f"{network.replace('/', '-')}-seed{seed_index}{'-repeat' if repeat else ''}", cycle, points))
    return found


def moments(record: Record) -> Dict[int, float]:
    """Of each cycle, from 0, seconds since 1970 at which it closed: the start as it was noted, to the minute, and the seconds of all phases
    until then. The record has no other clock; pauses of a run that was resumed are not in it."""
    started = record.noted("started")
    now = datetime.strptime(started, "%Y-%m-%d %H:%M UTC").replace(tzinfo=timezone.utc).timestamp() if started else 0.0
    seconds = record.phases.groupby("cycle")["seconds"].sum()
    found = {}
    for cycle in range(record.last_cycle + 1):
        now += float(seconds.get(cycle, 0.0))
        found[cycle] = now
    return found


def _is_missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _flat(head: str, settings: Mapping[str, Any]) -> Iterator[Tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(f"{head}{key}.", value)
        else:
            yield f"{head}{key}", value


def _text(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
