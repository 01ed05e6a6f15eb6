"""Records as files of other tools, all offline and without those tools.

Each writes what it names and nothing else, in the place of an earlier export of the same run; none writes into the folder of a run.
"""

from .jsonl import to_jsonl
from .mlflow import to_mlflow
from .parquet import to_parquet
from .tensorboard import to_tensorboard
from .trackio import to_trackio

__all__ = ["to_jsonl", "to_mlflow", "to_parquet", "to_tensorboard", "to_trackio"]
