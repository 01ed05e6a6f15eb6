"""The tables of a run."""

from __future__ import annotations

from . import cycles
from .table import FLAG, REAL, SEED, TEXT, WHOLE, WHOLE_OR_NONE, Column, Table

# `Stage` and `Gate` of src/gates/stage.rs: the gate of a number is what a candidate of that stage did not pass.
STAGES = ["asked", "parsed", "applied", "traced", "within budget", "novel", "trained"]
GATES = ["parse", "apply", "trace", "budget", "novelty", "training"]

OF_EPOCH = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")

CANDIDATES = Table(
    "candidates",
    "One row per sample of the policy, valid or not, by cycle and index. Those of a cycle that is not closed are here, too.",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("index", WHOLE, "among the samples of its cycle, from 0"),
        Column("network", TEXT, "CYCLE/INDEX: what other frames call it"),
        Column("parent", TEXT, "what the policy was shown: start/NAME or CYCLE/INDEX"),
        Column("closed", FLAG, "whether its cycle is closed; reports leave out the others"),
        Column("stage", TEXT, "the last gate it passed: " + ", ".join(STAGES) + "; missing until it is screened"),
        Column("reason", TEXT, "why it got no further, the same word for all that fail alike"),
        Column("detail", TEXT, "the same with its particulars; of a trained one, that halving dropped it"),
        Column("line", WHOLE_OR_NONE, "of `source`, from 1, where the tracer names one"),
        Column("quality", REAL, "mean validation accuracy over its seeds, without repeats, where none failed (`Store::qualities`)"),
        Column("seeds", WHOLE, "trainings of that mean, failed ones too"),
        Column("elite", FLAG, "whether it is an elite of its own cycle"),
        Column("held_out", FLAG, "an elite of its own cycle that was kept out of tuning"),
        Column("graph_hash", TEXT, "SHA-256 of the canonical form; missing, as the next three, of what is no network"),
        Column("parameters", WHOLE_OR_NONE, "trained elements"),
        Column("macs", WHOLE_OR_NONE, "multiply-accumulates of one image's forward pass"),
        Column("activation_bytes", WHOLE_OR_NONE, "activations of one image kept for the backward pass", "bytes"),
        Column("nearest", TEXT, "the most similar network accepted before; missing where none was compared"),
        Column("jaccard", REAL, "exact similarity to it"),
        Column("parent_jaccard", REAL, "exact similarity to the parent"),
        Column("log_p", REAL, "log-probability of the completion under the LLM, end token included; NaN without", "nats"),
        Column("log_q", REAL, "the same under what it was drawn from: a temperature, a cut or a mask make it differ", "nats"),
        Column("tokens", WHOLE, "length of the completion, end token included; 0 without an LLM"),
        Column("ended", FLAG, "whether the completion ended by itself and not at the length limit"),
        Column("completion", TEXT, "what the policy wrote, without the end token; bytes that are not UTF-8 as U+FFFD"),
        Column("source", TEXT, "the whole source after the delta; missing where the delta did not apply"),
        Column("prompt_hash", TEXT, "SHA-256 of the prompt's token ids; empty without an LLM"),
    ],
)

DELTAS = Table(
    "deltas",
    "One row per trained candidate whose parent has a quality, too: what `eliteloop school RUN --table FILE` writes.",
    [
        Column("cycle", WHOLE, "of the candidate, from 1"),
        Column("index", WHOLE, "among the samples of its cycle, from 0"),
        Column("network", TEXT, "the candidate, CYCLE/INDEX"),
        Column("parent", TEXT, "its parent"),
        Column("family", TEXT, "name of the start network that the parent descends from"),
        Column("format", TEXT, "how the delta is written: edit, diff or full"),
        Column("completion", TEXT, "the delta"),
        Column("source_before", TEXT, "of the parent"),
        Column("source_after", TEXT, "of the candidate"),
        Column("parent_quality", REAL, "quality of the parent"),
        Column("quality", REAL, "quality of the candidate"),
        Column("gain", REAL, "quality - parent_quality. The best of many gains is partly luck, and one run's gains share their parents"),
        Column(
            "noise",
            REAL,
            "standard deviation of one training's accuracy, the same in all rows: `Run.noise`. A gain of single trainings has sqrt(2) "
            "times as much",
        ),
        Column("cheap_parameters", REAL, "log(parameters / parent's)"),
        Column("cheap_synflow", REAL, "synflow score less the parent's"),
        Column("cheap_nwot", REAL, "nwot score less the parent's"),
        Column("cheap_first_epoch", REAL, "validation accuracy after the first epoch less the parent's; NaN where there was but one epoch"),
    ],
)

CURVES = Table(
    "curves",
    "One row per epoch of each training, repeats included: the SQL view `learning_curve`.",
    [
        Column("network", TEXT, "start/NAME or CYCLE/INDEX"),
        Column("seed_index", WHOLE, "which of its trainings, from 0"),
        Column("repeat", FLAG, "trained again to measure the noise of the quality, not part of it"),
        Column("epoch", WHOLE, "from 1; fewer than the recipe's where halving dropped it or it failed"),
        Column("train_loss", REAL, "mean over the epoch's steps, each before its update; with label smoothing", "nats"),
        Column("train_accuracy", REAL, "share of the images that the steps got right, before their updates"),
        Column("valid_loss", REAL, "mean over the validation images after the epoch; without label smoothing", "nats"),
        Column("valid_accuracy", REAL, "share of them that are right; of uneven classes the mean of the classes' shares"),
    ],
)

CYCLES = Table("cycles", "One row per closed cycle.", [*cycles.QUALITY, *cycles.CLOSING])

FUNNEL = Table(
    "funnel",
    "One row per closed cycle: how many candidates got how far, each count including the next (`Funnel::of` of src/record/funnel.rs).",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("asked", WHOLE, "samples, screened"),
        Column("parsed", WHOLE, "the completion is a delta of its format"),
        Column("applied", WHOLE, "the delta applies to the parent"),
        Column("traced", WHOLE, "the source is a network"),
        Column("within_budget", WHOLE, "parameters, operations, memory and training are within the limits"),
        Column("novel", WHOLE, "neither its parent nor too similar to what was accepted before"),
        Column("trained", WHOLE, "its training went through"),
        Column("elite", WHOLE, "elites of the cycle, of earlier cycles too where those are kept"),
    ],
)

REASONS = Table(
    "reasons",
    "Why candidates of closed cycles got no further, counted: `reasons` of `eliteloop report --data`, but in the order of the gates.",
    [
        Column("cycle", WHOLE, "from 1"),
        Column("gate", TEXT, "not passed: " + ", ".join(GATES)),
        Column("reason", TEXT, "what it had against them"),
        Column("count", WHOLE, "candidates"),
    ],
)

NETWORKS = Table(
    "networks",
    "One row per traced network: start networks first, then candidates in the order in which they were screened. A candidate over the "
    "budget or too similar is here without a quality.",
    [
        Column("network", TEXT, "start/NAME or CYCLE/INDEX"),
        Column("start", FLAG, "whether the run started from it"),
        Column("quality", REAL, "as of candidates: `Store::qualities`"),
        Column("parameters", WHOLE, "trained elements"),
        Column("macs", WHOLE, "multiply-accumulates of one image's forward pass"),
        Column("activation_bytes", WHOLE, "activations of one image kept for the backward pass", "bytes"),
        Column("graph_hash", TEXT, "SHA-256 of the canonical form: equal networks have the same"),
        Column("source", TEXT, "the Python source that was traced"),
    ],
)

TRAININGS = Table(
    "trainings",
    "One row per training, repeats included. `epochs` and the scores are those of the SQL view `score`.",
    [
        Column("network", TEXT, "start/NAME or CYCLE/INDEX"),
        Column("seed_index", WHOLE, "from 0; a repeat has the number after the last that the quality is of"),
        Column("seed", SEED, "what it draws its random numbers from"),
        Column("repeat", FLAG, "trained again to measure the noise of the quality, not part of it"),
        Column("accuracy", REAL, "on the validation split after the last epoch; NaN where it failed"),
        Column("epochs", WHOLE, "that it went through"),
        Column("failure", TEXT, "why it failed; missing where it did not"),
        Column("seconds", REAL, "by the clock; 0 where it failed", "s"),
        Column("parameters", WHOLE_OR_NONE, "trained elements, as the training counted them"),
        Column("synflow", REAL, "before the first step (src/proxy/estimate.rs)", "logarithm"),
        Column("nwot", REAL, "the same; NaN of a network without rectifiers", "logarithm"),
    ],
)

FULL_TRAININGS = Table(
    "full_trainings",
    "One row per candidate that was drawn at random to be trained in full (`proxy.full`): no part of any quality.",
    [
        Column("network", TEXT, "CYCLE/INDEX"),
        Column("epochs", WHOLE, "that it was to train"),
        Column("seed", SEED, "another than those of the quality"),
        Column("accuracy", REAL, "on the validation split; NaN where it failed"),
        Column("failure", TEXT, "why it failed; missing where it did not"),
        Column("seconds", REAL, "by the clock; 0 where it failed", "s"),
    ],
)
