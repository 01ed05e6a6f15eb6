"""Columns of the update of a cycle, out of the JSON of `cycle.tuning`: `Tuning` and `Change` of src/record/rows.rs."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .table import REAL, TEXT, WHOLE_OR_NONE, Column

COLUMNS = [
    Column("examples", WHOLE_OR_NONE, "deltas tuned on, without those held out; missing, as all below, where nothing was tuned"),
    Column("steps", WHOLE_OR_NONE, "optimiser steps that were kept"),
    Column("steps_refused", WHOLE_OR_NONE, "steps that were taken back"),
    Column("ending", TEXT, "what ended the steps: steps, loss, share, kl or no-descent (`Ending` of src/decoder/lora/tune.rs)"),
    Column("tokens", WHOLE_OR_NONE, "tokens that went through the LLM in all steps"),
    Column("loss_logged", REAL, "loss_before as logged when they were sampled; NaN where one is of an earlier cycle", "nats"),
    Column("loss_before", REAL, "mean over the examples of the completion's -log p, before the update", "nats"),
    Column("loss_after", REAL, "the same after the update and its smoothing", "nats"),
    Column("loss_floor", REAL, "what no policy's loss gets below: `conditional_entropy` of src/theory/change.rs", "nats"),
    Column("held_out_loss_before", REAL, "loss of the held-out elites before the update; NaN where none was held out", "nats"),
    Column("held_out_loss_after", REAL, "the same after it", "nats"),
    Column("share", REAL, "of the cross-entropy update, (before - after) / (before - floor): `share` of src/theory/change.rs"),
    Column("kl", REAL, "KL(after || before), estimated: `divergence` of src/theory/change.rs; NaN where infinite", "nats"),
    Column("effective_samples", REAL, "samples that the estimate `kl` is worth"),
    Column("memorised", REAL, "estimated change of the mean quality from the samples tuned on: `price` of src/theory/change.rs"),
    Column("generalised", REAL, "the same from all other samples"),
    Column("change", REAL, "memorised + generalised: the `E[S]` with a sign in a cycle's line. An estimate from this cycle's own samples"),
    Column("gate", TEXT, "what became of the update at the gate: adopted, warned or rolled-back; missing where the gate is off"),
    Column("gate_finding", TEXT, "what the samples said: no-fall, fall or unknown (`Finding` of src/theory/gate.rs)"),
]


def row(tuning: Optional[Dict[str, Any]]) -> List[Any]:
    """A value for each of COLUMNS; None where nothing was tuned, or the store says nothing of it."""
    if tuning is None:
        return [None] * len(COLUMNS)
    change = tuning.get("change") or {}
    gate = tuning.get("gate") or {}
    parts = [change.get("memorised"), change.get("generalised")]
    return [
        tuning["examples"],
        len(tuning["steps"]),
        change.get("refused"),
        change.get("ending"),
        tuning["tokens"],
        tuning["logged"],
        tuning["before"],
        tuning["after"],
        change.get("floor"),
        tuning["held_out_before"],
        tuning["held_out_after"],
        change.get("share"),
        change.get("kl"),
        change.get("effective_samples"),
        *parts,
        None if None in parts else sum(parts),
        gate.get("action"),
        gate.get("forecast", {}).get("finding"),
    ]
