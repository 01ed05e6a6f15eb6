"""A store made by hand, out of the program's own schema, with numbers that can be worked out on paper."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, List, Optional

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "src" / "record" / "schema.sql"
AUDIT_SCHEMA = ROOT / "src" / "audit" / "schema.sql"

RUN_TOML = """
seed = 7
cycles = 2
policy = "llm"

[delta]
format = "edit"

[proxy]
dataset = "synthetic"
"""

AUDIT_TOML = """
seed = 3
cycles = 1
policy = "mixture-ce"
dataset = "table.json"
"""

CHANGE = {
    "ending": "kl",
    "refused": 1,
    "floor": 0.5,
    "share": 0.4,
    "kl": None,
    "effective_samples": 1.5,
    "memorised": 0.25,
    "generalised": -0.125,
    "samples": [{"network": "1/0", "before": -3.0, "after": -2.0}],
}
TUNING = {
    "logged": 3.0,
    "before": 3.0,
    "after": 2.0,
    "held_out_before": None,
    "held_out_after": None,
    "steps": [{"loss": 3.0, "gradient_norm": 9.0, "lr": 0.1}, {"loss": 2.5, "gradient_norm": 8.0, "lr": 0.05}],
    "examples": 1,
    "tokens": 40,
    "manifest": [{"network": "1/0", "held_out": False, "example_hash": "aa"}],
    "gate": {"forecast": {"finding": "no-fall"}, "action": "adopted"},
    "change": CHANGE,
}


def begin(folder: Path, kind: str, settings: str) -> sqlite3.Connection:
    """A new store in WAL mode, as the program's writer has it."""
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(settings)
    db = sqlite3.connect(folder / "run.sqlite")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA.read_text())
    meta = {"format": "4", "kind": kind, "program": "0.1.0", "started": "2026-01-02 03:04 UTC", "settings": settings}
    db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    db.commit()
    return db


def network(db: sqlite3.Connection, name: str, parameters: int) -> None:
    source = f"# {name}\n"
    db.execute("INSERT INTO network VALUES (?, ?, '{}', ?, x'', ?, 1000, 64)", (name, source, f"hash of {name}", parameters))


def training(db: sqlite3.Connection, name: str, seed_index: int, accuracy: Optional[float], repeat: bool = False, epochs: int = 2) -> None:
    curve = [
        {"epoch": e, "train_loss": 2.0 / e, "train_accuracy": 0.1 * e, "valid_loss": 3.0 / e, "valid_accuracy": 0.2 * e}
        for e in range(1, epochs + 1)
    ]
    failure = "out of memory" if accuracy is None else None
    estimates = None if accuracy is None else json.dumps({"parameters": 100 + seed_index, "synflow": 4.0, "nwot": None})
    # The highest seed that there is, which SQLite holds as -1.
    row = (name, seed_index, -1, repeat, accuracy, json.dumps(curve), failure, 1.5, estimates)
    db.execute("INSERT INTO training VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def candidate(db: sqlite3.Connection, cycle: int, index: int, parent: str, stage: Optional[str], **known: Any) -> None:
    row = {
        **{"cycle": cycle, "idx": index, "parent": parent, "prompt_hash": "", "completion": f"delta {cycle}/{index}"},
        **{"tokens": b"\x01\x00\x00\x00\x02\x00\x00\x00", "log_p": -3.0, "log_q": -2.5, "ended": 1, "stage": stage},
        **known,
    }
    db.execute(f"INSERT INTO candidate ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


def close(db: sqlite3.Connection, cycle: int, gamma: Optional[float], adapter: str, tuning: Optional[dict] = None) -> None:
    db.execute("INSERT INTO cycle VALUES (?, ?, ?, ?)", (cycle, gamma, adapter, json.dumps(tuning) if tuning else None))
    db.execute("INSERT INTO processor VALUES (?, 'AVX2')", (cycle,))
    db.execute("INSERT INTO chain VALUES (?, ?)", (cycle, f"link {cycle}"))
    db.execute("INSERT INTO phase VALUES (?, 'train', 60.0, 100.0)", (cycle,))


def run(folder: Path) -> sqlite3.Connection:
    """A run with two closed cycles and an open one; the connection is the writer's, still open.

    Qualities: start/plain 0.5 (0.4 and 0.6, a repeat of 0.9 left out), 1/0 0.75, 2/1 0.25; 1/1 has a seed that failed, so none.
    """
    db = begin(folder, "run", RUN_TOML)
    network(db, "start/plain", 100)
    for seed_index, accuracy in enumerate([0.4, 0.6]):
        training(db, "start/plain", seed_index, accuracy)
    training(db, "start/plain", 2, 0.9, repeat=True)
    close(db, 0, None, "first")

    candidate(db, 1, 0, "start/plain", "trained", source="# 1/0\n", jaccard=0.5, parent_jaccard=0.25, nearest="start/plain")
    network(db, "1/0", 200)
    training(db, "1/0", 0, 0.75)
    candidate(db, 1, 1, "start/plain", "novel", reason="training failed", detail="seed 1: out of memory", source="# 1/1\n")
    network(db, "1/1", 300)
    training(db, "1/1", 0, 0.9)
    training(db, "1/1", 1, None, epochs=1)
    candidate(db, 1, 2, "start/plain", "applied", reason="syntax", line=3, source="?")
    candidate(db, 1, 3, "start/plain", "asked", reason="not of the format", completion="\ufffd", completion_bytes=b"\xff")
    db.execute("INSERT INTO elite VALUES (1, '1/0', 0.75, 0, 'aa')")
    close(db, 1, 0.75, "second", TUNING)

    candidate(db, 2, 0, "1/0", "applied", reason="syntax", line=1, source="?")
    candidate(db, 2, 1, "1/0", "trained", source="# 2/1\n")
    network(db, "2/1", 50)
    training(db, "2/1", 0, 0.25)
    # Elites are kept in this run: the first cycle's is one of the second, too.
    db.execute("INSERT INTO elite VALUES (2, '1/0', 0.75, 1, 'aa')")
    db.execute("INSERT INTO elite VALUES (2, '2/1', 0.25, 0, 'bb')")
    close(db, 2, 0.25, "third")

    candidate(db, 3, 0, "1/0", None)
    db.execute("INSERT INTO full_training VALUES ('1/0', 12, -2, NULL, 'out of memory', 0.0)")
    db.commit()
    return db


BEYOND = {
    **{"reached_before": 0.1, "reached_after": 0.2, "raised": 0.69, "promised": None, "alpha_of_reached": 0.11, "alpha_of_quality": 0.2},
    **{"memorised": 0.01, "generalised": 0.02, "drift": 0.001, "diversity": 0.99, "kept_best": None, "kept_least": 0.8, "snr": 12.0},
    "kernel": [0.5, None, -0.125],
}


def audit(folder: Path) -> sqlite3.Connection:
    """An audit of one cycle on a space of two slots and two words."""
    db = begin(folder, "audit", AUDIT_TOML)
    db.executescript(AUDIT_SCHEMA.read_text())
    db.execute("INSERT INTO meta VALUES ('space', ?)", (json.dumps({"slots": ["A", "B"], "words": ["none", "conv"]}),))
    close(db, 0, None, "none")
    samples: List[tuple] = [
        (1, 0, None, "none conv", b"", -1.0, -0.5, 0.5, -0.75),
        (1, 1, None, " conv  conv ", b"", -2.0, -0.5, 0.75, -1.75),
        # A cell that was queried before, and what is no cell.
        (1, 2, None, "none conv", b"", -1.0, -0.5, None, -0.75),
        (1, 3, None, "conv pool", b"", None, None, None, None),
        (1, 4, None, "conv conv conv", b"", None, None, None, None),
    ]
    db.executemany("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", samples)
    db.execute("INSERT INTO elite VALUES (1, '1/1', 0.75, 0, '')")
    for moment, expected in (("after", 0.6), ("before", 0.5)):
        db.execute("INSERT INTO exact VALUES (1, ?, 0.0, ?, 0.1, 1.3, 0.0, 0.25, 0.5, 0.1)", (moment, expected))
    db.execute("INSERT INTO exact_update VALUES (1, 1.5, 0.75, 0.5, 0.25, NULL, 0.125, 0.0)")
    db.execute("INSERT INTO exact_beyond VALUES (1, ?)", (json.dumps(BEYOND),))
    db.execute("INSERT INTO search VALUES (1, 2, NULL, 0.7, 0.7)")
    close(db, 1, 0.75, "none")
    db.commit()
    return db
