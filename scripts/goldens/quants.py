"""Writes tests/goldens/quants.json: blocks of each GGUF tensor type and what the `gguf` package dequantises them to.

    python scripts/goldens/quants.py        needs gguf, numpy
"""

import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, quants

goldens = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"
rng = np.random.default_rng(0)

# Where the half-precision scales of a block lie; all other bytes may be anything.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}

cases = []
for name in ["F32", "F16", "BF16", *SCALES]:
    elements, size = GGML_QUANT_SIZES[Type[name]]
    if name in SCALES:
        blocks = max(1, 64 // elements)
        raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
        for place in SCALES[name]:
            raw[:, place : place + 2] = rng.normal(0, 0.1, blocks).astype(np.float16).reshape(-1, 1).view(np.uint8)
    else:
        values = rng.normal(0, 1, 64).astype(np.float32)
        bits = values.view(np.uint32)
        raw = {"F32": values, "F16": values.astype(np.float16), "BF16": (bits >> 16).astype(np.uint16)}[name].view(np.uint8)
    raw = raw.reshape(-1)
    values = quants.dequantize(raw, Type[name]).astype(np.float32)
    cases.append({"type": name, "code": Type[name].value, "raw": raw.tobytes().hex(), "values": [float(f"{v:.7g}") for v in values]})
(goldens / "quants.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
