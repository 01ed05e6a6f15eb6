"""A run: networks, candidates and their trainings."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from functools import cached_property
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from .cycles import mean, summary
from .record import ELITES, META, PHASES, RESCORED, TUNED_ON, TUNING_STEPS, Record
from .run_tables import (
    CANDIDATES,
    CURVES,
    CYCLES,
    DELTAS,
    FULL_TRAININGS,
    FUNNEL,
    GATES,
    NETWORKS,
    OF_EPOCH,
    REASONS,
    STAGES,
    TRAININGS,
)
from .table import framed


class Run(Record):
    """What `eliteloop run` recorded."""

    tables = (
        CANDIDATES,
        DELTAS,
        CURVES,
        CYCLES,
        FUNNEL,
        REASONS,
        ELITES,
        NETWORKS,
        TRAININGS,
        FULL_TRAININGS,
        TUNING_STEPS,
        TUNED_ON,
        RESCORED,
        PHASES,
        META,
    )
    by_cycle = ("cycles", "funnel")

    @cached_property
    def qualities(self) -> Dict[str, float]:
        """Of each network that has one its quality: the mean validation accuracy over its seeds, repeats excluded, where none of them
        failed. `Store::qualities` of src/record/store.rs, to the bit."""
        seeds: Dict[str, List[Optional[float]]] = defaultdict(list)
        for network, accuracy in self._rows("SELECT network, accuracy FROM training WHERE repeat = 0 ORDER BY network, seed_index"):
            seeds[network].append(accuracy)
        known = {network: [accuracy for accuracy in own if accuracy is not None] for network, own in seeds.items()}
        return {network: mean(own) for network, own in known.items() if len(own) == len(seeds[network])}

    @framed(CANDIDATES)
    def candidates(self) -> Iterator[Sequence[Any]]:
        networks = {n: rest for n, *rest in self._rows("SELECT id, graph_hash, parameters, macs, activation_bytes FROM network")}
        seeds = dict(self._rows("SELECT network, count(*) FROM training WHERE repeat = 0 GROUP BY network"))
        held_out = {(cycle, network): kept for cycle, network, kept in self._rows("SELECT cycle, network, held_out FROM elite")}
        for c in self._candidates():
            network = f"{c['cycle']}/{c['idx']}"
            elite = held_out.get((c["cycle"], network))
            yield (
                *(c["cycle"], c["idx"], network, c["parent"], c["cycle"] <= self.last_cycle),
                *(c["stage"], c["reason"], c["detail"], c["line"]),
                *(self.qualities.get(network), seeds.get(network, 0), elite is not None, bool(elite)),
                *networks.get(network, [None] * 4),
                *(c["nearest"], c["jaccard"], c["parent_jaccard"]),
                *(c["log_p"], c["log_q"], c["tokens"], c["ended"], c["completion"], c["source"], c["prompt_hash"]),
            )

    @framed(DELTAS)
    def deltas(self) -> Iterator[Sequence[Any]]:
        trained = [c for c in self._candidates() if c["stage"] == "trained"]
        parents = {f"{c['cycle']}/{c['idx']}": c["parent"] for c in trained}
        sources = dict(self._rows("SELECT id, source FROM network"))
        cheap = self._cheap()
        for c in trained:
            network, parent = f"{c['cycle']}/{c['idx']}", c["parent"]
            if not {network, parent} <= self.qualities.keys() or parent not in sources:
                continue
            family = parent
            while family in parents:
                family = parents[family]
            if not family.startswith("start/"):
                continue
            own, before = self.qualities[network], self.qualities[parent]
            yield (
                *(c["cycle"], c["idx"], network, parent, family[len("start/") :], self.settings["delta"]["format"]),
                *(c["completion"], sources[parent], c["source"], before, own, own - before, self.noise),
                *_difference(cheap.get(network), cheap.get(parent)),
            )

    @property
    def noise(self) -> Optional[float]:
        """Standard deviation of the accuracy of one network over its trainings, repeats included, pooled over the networks; None of
        fewer than two degrees of freedom. `noise` of src/record/deltas.rs."""
        scores: Dict[str, List[float]] = defaultdict(list)
        query = "SELECT network, accuracy FROM training WHERE accuracy IS NOT NULL ORDER BY network, seed_index"
        for network, accuracy in self._rows(query):
            scores[network].append(accuracy)
        several = [own for _, own in sorted(scores.items()) if len(own) > 1]
        freedom = sum(len(own) - 1 for own in several)
        squares = sum((score - mean(own)) ** 2 for own in several for score in own)
        return math.sqrt(squares / freedom) if freedom >= 2 else None

    @framed(CURVES)
    def curves(self) -> Iterator[Sequence[Any]]:
        for network, seed_index, repeat, curve in self._rows(
            "SELECT network, seed_index, repeat, curve FROM training ORDER BY network, seed_index"
        ):
            for e in json.loads(curve):
                yield network, seed_index, repeat, e["epoch"], *(e.get(name) for name in OF_EPOCH)

    @framed(CYCLES)
    def cycles(self) -> Iterator[Sequence[Any]]:
        own: Dict[int, List[Optional[float]]] = defaultdict(list)
        for c in self._candidates():
            own[c["cycle"]].append(self.qualities.get(f"{c['cycle']}/{c['idx']}"))
        for cycle, closing in self._closing().items():
            qualities = [quality for quality in own[cycle] if quality is not None]
            yield cycle, len(own[cycle]), *summary(qualities), *closing

    @framed(FUNNEL)
    def funnel(self) -> Iterator[Sequence[Any]]:
        elites = dict(self._rows("SELECT cycle, count(*) FROM elite GROUP BY cycle"))
        stages: Dict[int, List[int]] = defaultdict(list)
        for c in self._candidates():
            stages[c["cycle"]].append(STAGES.index(c["stage"]) if c["stage"] else -1)
        for cycle in range(1, self.last_cycle + 1):
            passed = [sum(stage >= gate for stage in stages[cycle]) for gate in range(len(STAGES))]
            yield cycle, *passed, elites.get(cycle, 0)

    @framed(REASONS)
    def reasons(self) -> Iterator[Sequence[Any]]:
        counts: Counter[Tuple[int, int, str]] = Counter()
        for c in self._candidates():
            if c["stage"] not in (None, "trained") and c["reason"] is not None and c["cycle"] <= self.last_cycle:
                counts[c["cycle"], STAGES.index(c["stage"]), c["reason"]] += 1
        for (cycle, stage, reason), count in sorted(counts.items()):
            yield cycle, GATES[stage], reason, count

    @framed(NETWORKS)
    def networks(self) -> Iterator[Sequence[Any]]:
        for network, source, graph_hash, *costs in self._rows(
            "SELECT id, source, graph_hash, parameters, macs, activation_bytes FROM network ORDER BY rowid"
        ):
            yield network, network.startswith("start/"), self.qualities.get(network), *costs, graph_hash, source

    @framed(TRAININGS)
    def trainings(self) -> Iterator[Sequence[Any]]:
        for network, seed_index, seed, repeat, accuracy, curve, failure, seconds, estimates in self._rows(
            "SELECT network, seed_index, seed, repeat, accuracy, curve, failure, seconds, estimates FROM training "
            "ORDER BY network, seed_index"
        ):
            scores = json.loads(estimates) if estimates else {}
            epochs = len(json.loads(curve))
            yield (
                *(network, seed_index, _unsigned(seed), repeat, accuracy, epochs, failure, seconds),
                *(scores.get(name) for name in ("parameters", "synflow", "nwot")),
            )

    @framed(FULL_TRAININGS)
    def full_trainings(self) -> Iterator[Sequence[Any]]:
        for network, epochs, seed, *rest in self._rows(
            "SELECT network, epochs, seed, accuracy, failure, seconds FROM full_training ORDER BY network"
        ):
            yield network, epochs, _unsigned(seed), *rest

    def _candidates(self) -> Iterable[Dict[str, Any]]:
        names = ["cycle", "idx", "parent", "prompt_hash", "completion", "log_p", "log_q", "ended", "stage", "reason", "detail", "line"]
        names += ["source", "nearest", "jaccard", "parent_jaccard"]
        rows = self._rows(f"SELECT {', '.join(names)}, length(tokens) / 4 FROM candidate ORDER BY cycle, idx")
        return [dict(zip([*names, "tokens"], row)) for row in rows]

    def _cheap(self) -> Dict[str, Dict[str, Any]]:
        """Of the first training of each network what costs less than the whole of it: `Scores` of src/record/deltas.rs."""
        found = {}
        for network, curve, estimates in self._rows("SELECT network, curve, estimates FROM training WHERE seed_index = 0"):
            epochs = json.loads(curve)
            first_epoch = epochs[0]["valid_accuracy"] if len(epochs) > 1 else None
            found[network] = {**(json.loads(estimates) if estimates else {}), "first_epoch": first_epoch}
        return found


def _difference(own: Optional[Dict[str, Any]], parent: Optional[Dict[str, Any]]) -> List[Optional[float]]:
    """The logarithm of the ratio of the parameters, and the differences of the scores; None where one of the two lacks it."""
    if own is None or parent is None:
        return [None] * 4


    def less(name: str) -> Optional[float]:
        mine, before = own.get(name), parent.get(name)
        return None if mine is None or before is None else mine - before

    mine, before = own.get("parameters"), parent.get("parameters")
    ratio = math.log(mine / before) if mine and before else None
    return [ratio, less("synflow"), less("nwot"), less("first_epoch")]


def _unsigned(seed: int) -> int:
    """SQLite has signed integers only; seeds are unsigned ones of 64 bits."""
    return seed % 2**64
