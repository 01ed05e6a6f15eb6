"""Columns that a cycle has in runs and in audits, and the mean that they are made with."""

from __future__ import annotations

from typing import Any, List, Sequence

from . import update
from .table import REAL, TEXT, WHOLE, Column

QUALITY = [
    Column("cycle", WHOLE, "from 1"),
    Column("asked", WHOLE, "samples that the policy was asked for"),
    Column("measured", WHOLE, "those of them that have a quality"),
    Column("quality_mean", REAL, "mean quality of these, E[S] as sampled: `quality mean` of a cycle's line; NaN of none"),
    Column("quality_best", REAL, "the best of them; NaN of none"),
]
ELITE = [
    Column("gamma", REAL, "threshold of the elites in what they were chosen by: quality unless `elite.by` says else; NaN where none"),
    Column("elites", WHOLE, "how many"),
    Column("held_out", WHOLE, "those of them kept out of tuning"),
]
IDENTITY = [
    Column("adapter_before", TEXT, "SHA-256 of the adapter that the cycle was sampled from; `none` without an LLM"),
    Column("adapter_after", TEXT, "the same of the one that the next cycle samples from"),
    Column("processor", TEXT, "kind of the processor that closed the cycle, and after '; ' others that trained for it"),
    Column("hash", TEXT, "link of the chain of hashes over all rows up to this cycle but times: `eliteloop verify` recomputes it"),
]
# What `Record._closing` gives of each closed cycle.
CLOSING = [*ELITE, *IDENTITY, *update.COLUMNS]


def mean(values: Sequence[float]) -> float:
    """Their mean, added in order as the program adds: `sum` of Python 3.12 and later rounds otherwise."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def summary(qualities: Sequence[float]) -> List[Any]:
    """The values of QUALITY from `measured` on."""
    return [len(qualities), mean(qualities), max(qualities)] if qualities else [0, None, None]
