"""An audit: the same method on a table of known accuracies."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cached_property
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Set, Tuple

from .audit_tables import BEYOND, CYCLES, EXACT, FUNNEL, KERNEL, OF_BEYOND, SAMPLES, SEARCH, UPDATES
from .cycles import summary
from .record import ELITES, META, PHASES, RESCORED, TUNED_ON, TUNING_STEPS, Record
from .table import framed

# The space of NAS-Bench-201 (src/oracle/nasbench201.rs); the store of an audit names any other.
SLOTS = ("A", "B", "C", "D", "E", "F")
WORDS = ("none", "skip", "one", "three", "pool")


class Audit(Record):
    """What `eliteloop audit` recorded."""

    tables = (SAMPLES, CYCLES, FUNNEL, ELITES, EXACT, UPDATES, BEYOND, KERNEL, TUNING_STEPS, TUNED_ON, RESCORED, PHASES, META)
    by_cycle = ("cycles", "funnel", "exact", "updates", "beyond")

    @cached_property
    def space(self) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
        """Names of the slots of a cell, and the words that each may hold."""
        stored = self.noted("space")
        if stored is None:
            return SLOTS, WORDS
        space = json.loads(stored)
        return tuple(space["slots"]), tuple(space["words"])

    @framed(SAMPLES)
    def samples(self) -> Iterator[Sequence[Any]]:
        elites = {(cycle, network): held_out for cycle, network, held_out in self._rows("SELECT cycle, network, held_out FROM elite")}
        for cycle, index, parent, text, log_p, log_q, quality, after, tokens in self._rows(
            "SELECT cycle, idx, parent, text, log_p, log_q, quality, log_p_after, length(tokens) / 4 FROM sample ORDER BY cycle, idx"
        ):
            elite = elites.get((cycle, f"{cycle}/{index}"))
            yield (
                *(cycle, index, f"{cycle}/{index}", parent, text, self._is_cell(text), quality),
                *(elite is not None, None if elite is None else bool(elite)),
                *(log_p, log_q, after, tokens),
            )

    @framed(CYCLES)
    def cycles(self) -> Iterator[Sequence[Any]]:
        asked, qualities = self._counts()
        search = {cycle: rest for cycle, *rest in self._rows("SELECT cycle, distinct_cells, best_found_at, incumbent, highest FROM search")}
        for cycle, closing in self._closing().items():
            yield cycle, len(asked[cycle]), *summary(qualities[cycle]), *search.get(cycle, [None] * len(SEARCH)), *closing

    @framed(FUNNEL)
    def funnel(self) -> Iterator[Sequence[Any]]:
        asked, qualities = self._counts()
        elites = dict(self._rows("SELECT cycle, count(*) FROM elite GROUP BY cycle"))
        for cycle in range(1, self.last_cycle + 1):
            cells = sum(self._is_cell(text) for text in asked[cycle])
            yield cycle, len(asked[cycle]), cells, len(qualities[cycle]), elites.get(cycle, 0)

    @framed(EXACT)
    def exact(self) -> Iterable[Sequence[Any]]:
        names = ", ".join(column.name for column in EXACT.columns)
        return self._rows(f"SELECT {names} FROM exact ORDER BY cycle, moment = 'after'")

    @framed(UPDATES)
    def updates(self) -> Iterable[Sequence[Any]]:
        names = ", ".join(column.name for column in UPDATES.columns)
        return self._rows(f"SELECT {names} FROM exact_update ORDER BY cycle")

    @framed(BEYOND)
    def beyond(self) -> Iterator[Sequence[Any]]:
        for cycle, measures in self._beyond():
            yield cycle, *(measures[column.name] for column in OF_BEYOND)

    @framed(KERNEL)
    def kernel(self) -> Iterator[Sequence[Any]]:
        for cycle, measures in self._beyond():
            for slots, log_ratio in enumerate(measures["kernel"]):
                yield cycle, slots, log_ratio

    @cached_property
    def _words(self) -> Set[str]:
        return set(self.space[1])

    def _is_cell(self, text: str) -> bool:
        words = text.split()
        return len(words) == len(self.space[0]) and self._words.issuperset(words)

    def _counts(self) -> Tuple[Dict[int, List[str]], Dict[int, List[float]]]:
        """The texts of each cycle, and the qualities that there are, in order."""
        texts: Dict[int, List[str]] = defaultdict(list)
        qualities: Dict[int, List[float]] = defaultdict(list)
        for cycle, text, quality in self._rows("SELECT cycle, text, quality FROM sample ORDER BY cycle, idx"):
            texts[cycle].append(text)
            if quality is not None:
                qualities[cycle].append(quality)
        return texts, qualities

    def _beyond(self) -> Iterator[Tuple[int, Dict[str, Any]]]:
        for cycle, measures in self._rows("SELECT cycle, measures FROM exact_beyond ORDER BY cycle"):
            yield cycle, json.loads(measures)
