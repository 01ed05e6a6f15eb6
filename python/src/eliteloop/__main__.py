"""`python -m eliteloop RUN --as FORMAT --out PATH`."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from typing import Callable, Dict, List, Optional, Tuple

from . import __version__
from .error import EliteloopError
from .export import to_jsonl, to_mlflow, to_parquet, to_tensorboard, to_trackio
from .export.scalars import CURVES
from .folders import open_run

# What writes each format, and whether it takes learning curves apart from the frames.
FORMATS: Dict[str, Tuple[Callable[..., None], bool]] = {
    "jsonl": (to_jsonl, False),
    "parquet": (to_parquet, False),
    "tensorboard": (to_tensorboard, True),
    "mlflow": (to_mlflow, True),
    "trackio": (to_trackio, True),
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m eliteloop", description="Write what a run or an audit recorded for other tools. The run is only read."
    )
    made.add_argument("run", help="folder of the run or audit")
    made.add_argument("--as", dest="format", required=True, choices=sorted(FORMATS), help="what to write")
    made.add_argument("--out", required=True, metavar="PATH", help="a folder; of trackio the .db file, which is named like the project")
    made.add_argument("--curves", choices=CURVES, default=None, help="learning curves for trackers: of elites (default), all, or none")
    made.add_argument("--version", action="version", version=f"eliteloop {__version__} (reader)")
    return made


def main(arguments: Optional[List[str]] = None) -> int:
    """0, or 2 where the user is wrong, or 1 where the disk refuses or the store is damaged."""
    given = parser().parse_args(arguments)
    write, takes_curves = FORMATS[given.format]
    try:
        if given.curves and not takes_curves:
            raise EliteloopError(f"--curves says nothing to {given.format}, which has all of them", "leave it out")
        record = open_run(given.run)
        chosen = {"curves": given.curves} if given.curves else {}
        write(record, given.out, **chosen)
    except EliteloopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, sqlite3.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
