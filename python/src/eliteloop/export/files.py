"""Where exports are written: never into a run, each file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Union

from ..error import EliteloopError
from ..record import Record

AnyPath = Union[str, os.PathLike[str]]


def outside(record: Record, out: AnyPath) -> Path:
    """`out` as a path.

    Raises EliteloopError where that is inside the folder of the run.
    """
    path = Path(out)
    inner, folder = path.resolve(), record.folder.resolve()
    if inner == folder or folder in inner.parents:
        raise EliteloopError(f"{path} is inside the run {record.folder}, which is only read", "give another place for the export")
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file and the folders above it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".half")
    half.write_bytes(content)
    os.replace(half, path)
