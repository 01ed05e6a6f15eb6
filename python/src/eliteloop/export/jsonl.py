"""JSON lines: one file per frame, one object per row."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from ..record import Record
from ..table import COLUMNS
from .files import AnyPath, outside, write_whole


def to_jsonl(record: Record, folder: AnyPath) -> None:
    """Writes FRAME.jsonl for each frame, and columns.jsonl, which says what their columns are.

    Missing values and NaN are null. Integers are exact: a seed takes 64 bits, more than a JSON reader that makes floats of numbers keeps.
    Raises EliteloopError where `folder` is inside the run, OSError where it cannot be written.
    """
    out = outside(record, folder)
    for name, frame in {**record.frames(), COLUMNS.name: record.columns}.items():
        write_whole(out / f"{name}.jsonl", _lines(frame).encode())


def _lines(frame: pd.DataFrame) -> str:
    columns = [_values(frame[name]) for name in frame.columns]
    rows = (dict(zip(frame.columns, row)) for row in zip(*columns))
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _values(column: pd.Series[Any]) -> Any:
    """As types of Python, None for what is missing."""
    return column.astype(object).where(column.notna(), None).tolist()
