"""The tables of an audit."""

from __future__ import annotations

from . import cycles
from .table import FLAG, FLAG_OR_NONE, REAL, TEXT, WHOLE, WHOLE_OR_NONE, Column, Table

SAMPLES = Table(
    "samples",
    "One row per proposal of the policy, by cycle and index.",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("index", WHOLE, "in the order in which they were drawn, from 0"),
        Column("network", TEXT, "CYCLE/INDEX: what `elites` and `rescored` call it"),
        Column("parent", TEXT, "the cell that it is a delta of; missing where whole cells are written"),
        Column("text", TEXT, "the cell after the delta, or what was written instead"),
        Column("is_cell", FLAG, "whether the text names a cell of the space: `Cell::parse` of src/oracle/cell.rs"),
        Column("quality", REAL, "as the audit measures it (`quality` of its settings); NaN of no cell, or of one queried before"),
        Column("elite", FLAG, "whether it is an elite of its cycle, by the sample that proposed it first"),
        Column("held_out", FLAG_OR_NONE, "whether that elite was kept out of tuning; missing of no elite"),
        Column("log_p", REAL, "log-probability under the policy; NaN of a policy without probabilities", "nats"),
        Column("log_q", REAL, "the same under what it was drawn from: the policy under its mask", "nats"),
        Column("log_p_after", REAL, "under the policy after the update of its cycle; NaN where that is not enumerated", "nats"),
        Column("tokens", WHOLE, "length of what an LLM wrote; 0 without one"),
    ],
)

SEARCH = [
    Column("distinct_cells", WHOLE_OR_NONE, "distinct cells queried so far"),
    Column("best_found_at", WHOLE_OR_NONE, "distinct cells queried when the best cell of the space was; missing until then"),
    Column("incumbent", REAL, "true mean accuracy of the cell with the highest queried one"),
    Column("highest", REAL, "highest true mean accuracy of the cells queried"),
]

CYCLES = Table("cycles", "One row per closed cycle.", [*cycles.QUALITY, *SEARCH, *cycles.CLOSING])

FUNNEL = Table(
    "funnel",
    "One row per closed cycle, each count including the next: `funnel` of src/report/audit.rs, without the gates that a table has not.",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("asked", WHOLE, "samples"),
        Column("cells", WHOLE, "those that name a cell"),
        Column("queried", WHOLE, "those that got a quality"),
        Column("elite", WHOLE, "elites of the cycle"),
    ],
)

EXACT = Table(
    "exact",
    "Exact numbers of the policy's distribution over all cells: two rows per cycle that was enumerated (`Measures` of src/audit/exact.rs).",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("moment", TEXT, "`before` or `after` the update of the cycle"),
        Column("outside", REAL, "probability of writing no cell"),
        Column("expected", REAL, "E[S] given a cell, S being the mean accuracy over training seeds"),
        Column("elite", REAL, "C = P(S >= gamma*), gamma* as in `meta`; what is no cell does not reach it"),
        Column("entropy", REAL, "of the cells", "nats"),
        Column("dependence", REAL, "KL(p || product of its marginals)", "nats"),
        Column("best", REAL, "probability of the best cell"),
        Column("objective", REAL, "as `expected`, of the quality in force"),
        Column("reached", REAL, "as `elite`, of the quality in force"),
    ],
)

UPDATES = Table(
    "updates",
    "How much of the cross-entropy update each update was, exactly (`Update` of src/audit/exact.rs; SQL table `exact_update`). The store "
    "has no infinite numbers: a divergence that is NaN here was infinite.",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("to_elites_before", REAL, "KL(e || p), e the elites' distribution", "nats"),
        Column("to_elites_after", REAL, "the same after the update", "nats"),
        Column("share", REAL, "1 - after / before"),
        Column("alpha", REAL, "of the mixture (1 - alpha) p + alpha e that is nearest to the new p"),
        Column("distance", REAL, "KL(new p || that mixture)", "nats"),
        Column("to_table", REAL, "KL(new p || the table policy that had the same elites)", "nats"),
        Column("target", REAL, "KL(e || what the update should give): 0 without smoothing", "nats"),
    ],
)

# The fields of `Beyond` but for its list.
OF_BEYOND = [
    Column("reached_before", REAL, "C at the elites' threshold before the update"),
    Column("reached_after", REAL, "the same after it"),
    Column("raised", REAL, "log C'/C; NaN where infinite"),
    Column("promised", REAL, "what Jensen's inequality promises of it at least; NaN where infinite"),
    Column("alpha_of_reached", REAL, "(C' - C) / (1 - C)"),
    Column("alpha_of_quality", REAL, "(E'[S] - E[S]) / (E[S | S >= gamma] - E[S])"),
    Column("memorised", REAL, "of E'[S] - E[S] in the elites' cells"),
    Column("generalised", REAL, "in all other cells"),
    Column("drift", REAL, "|p' - p|^2"),
    Column("diversity", REAL, "1 - sum p^2"),
    Column("kept_best", REAL, "p'/p of the best cell; NaN where it had no probability"),
    Column("kept_least", REAL, "the least p'/p of all cells"),
    Column("snr", REAL, "variance of the cells' means over that of their trainings, under p; NaN without noise"),
]
BEYOND = Table(
    "beyond",
    "What an enumerated update did beyond the claims: `Beyond` of src/audit/beyond.rs.",
    [Column("cycle", WHOLE, "from 1"), *OF_BEYOND],
)

KERNEL = Table(
    "kernel",
    "What an enumerated update did to cells by their distance from the elites: `kernel` of src/audit/beyond.rs.",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("slots", WHOLE, "in which a cell differs from the nearest elite"),
        Column("log_ratio", REAL, "mean log p'/p of such cells; NaN where there is none", "nats"),
    ],
)
