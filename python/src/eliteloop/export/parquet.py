"""Parquet: one file per frame."""

from __future__ import annotations

from ..error import EliteloopError
from ..record import Record
from ..table import COLUMNS
from .files import AnyPath, outside


def to_parquet(record: Record, folder: AnyPath) -> None:
    """Writes FRAME.parquet for each frame, and columns.parquet, which says what their columns are. Types are the frames'.

    Raises EliteloopError where pyarrow is not installed or `folder` is inside the run, OSError where it cannot be written.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise EliteloopError("Parquet needs pyarrow, which is not installed", "pip install pyarrow, or export as jsonl") from None
    out = outside(record, folder)
    out.mkdir(parents=True, exist_ok=True)
    for name, frame in {**record.frames(), COLUMNS.name: record.columns}.items():
        frame.to_parquet(out / f"{name}.parquet", engine="pyarrow", index=False)
