"""MLflow's tracking folder (its FileStore): a folder per experiment, in it one per run, in that a file per parameter, metric and tag."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, Mapping

from ..record import Record
from . import scalars
from .files import AnyPath, outside, write_whole

# `RunStatus` and `SourceType` of MLflow.
RUNNING, FINISHED, LOCAL = 1, 3, 4


def to_mlflow(record: Record, folder: AnyPath, experiment: str = "eliteloop", curves: str = "elites") -> None:
    """Writes one run into the tracking folder `folder`, which may be new or hold other runs: settings as parameters, numbers by cycle
    as metrics (step is the cycle), learning curves of `curves` (elites, all or none) as metrics curves/NETWORK-seedN/.. (step is the
    epoch).

    Point MLflow at it with the tracking URI `file:FOLDER`; its version 3 wants MLFLOW_ALLOW_FILE_STORE=true for that. The folder names
    itself by its absolute path where it says where artifacts would be; there are none. Numbers have all their digits. Times are those
    of `scalars.moments`.
    Raises EliteloopError where `folder` is inside the run or `curves` is none of those, OSError where it cannot be written.
    """
    top = outside(record, folder)
    chosen = scalars.curves(record, curves)
    moments = {cycle: int(1000 * seconds) for cycle, seconds in scalars.moments(record).items()}
    last = moments[record.last_cycle]
    home = _experiment(top, experiment, moments[0])
    run = home / scalars.identity(record)
    for name, lines in _metrics(record, chosen, moments).items():
        write_whole(run / "metrics" / name, "".join(lines).encode())
    for name, setting in scalars.settings(record).items():
        # A parameter is one line.
        write_whole(run / "params" / name, " ".join(setting.splitlines()).encode())
    tags = {"mlflow.runName": record.name, **{f"eliteloop.{key}": value for key, value in scalars.notes(record).items()}}
    for name, tag in tags.items():
        write_whole(run / "tags" / name, tag.encode())
    (run / "artifacts").mkdir(exist_ok=True)
    meta = {
        **{"artifact_uri": (run / "artifacts").absolute().as_uri(), "experiment_id": home.name, "lifecycle_stage": "active"},
        **{"run_id": run.name, "run_name": record.name, "user_id": "eliteloop", "tags": []},
        **{"start_time": moments[0], "end_time": last if record.is_finished else None},
        **{"status": FINISHED if record.is_finished else RUNNING, "source_type": LOCAL},
        **{"source_name": "", "source_version": "", "entry_point_name": ""},
    }
    # Last: a folder without it is no run to MLflow.
    write_whole(run / "meta.yaml", _yaml(meta))


def _metrics(record: Record, curves: List[scalars.Curve], moments: Mapping[int, int]) -> Dict[str, List[str]]:
    """Of each metric its lines: milliseconds since 1970, value, step."""
    lines: Dict[str, List[str]] = {}
    for cycle, numbers in scalars.by_cycle(record):
        for name, value in numbers.items():
            lines.setdefault(name, []).append(f"{moments[cycle]} {value!r} {cycle}\n")
    for curve in curves:
        at = moments.get(curve.cycle, moments[record.last_cycle])
        for epoch, values in curve.points:
            for name, value in values.items():
                lines.setdefault(f"curves/{curve.name}/{name}", []).append(f"{at} {value!r} {epoch}\n")
    return lines


def _experiment(top: Path, name: str, moment: int) -> Path:
    """The folder of the experiment of that name, made where there is none."""
    for meta in sorted(top.glob("*/meta.yaml")):
        lines = meta.read_text(encoding="utf-8").splitlines()
        if any(line.partition(": ")[0] == "name" and line.partition(": ")[2].strip("'\"") == name for line in lines):
            return meta.parent
    number = str(int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10**18)
    home = top / number
    own = {
        **{"artifact_location": home.absolute().as_uri(), "experiment_id": number, "lifecycle_stage": "active", "name": name},
        **{"creation_time": moment, "last_update_time": moment},
    }
    write_whole(home / "meta.yaml", _yaml(own))
    return home


def _yaml(values: Mapping[str, Any]) -> bytes:
    """JSON's values are YAML's."""
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()).encode()
