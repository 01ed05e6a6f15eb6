"""Reads what `eliteloop run` and `eliteloop audit` record, as pandas data frames.

    run = eliteloop.open_run("runs/quick")
    run.candidates          # a row per candidate
    eliteloop.runs("runs")  # a row per run below a folder

Every frame has a table of its columns, with type, unit and meaning: `help(eliteloop.Run.candidates)` or `run.columns`. Shares and
accuracies are of 1, logarithms natural, losses and divergences in nats.
"""

from .audit import Audit
from .error import EliteloopError
from .folders import open_run, runs
from .record import Record
from .run import Run

# That of Cargo.toml: the reader is of the program that writes the store.
__version__ = "0.1.0"

__all__ = ["Audit", "EliteloopError", "Record", "Run", "open_run", "runs"]
