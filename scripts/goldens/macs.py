"""Multiply-accumulates of the families as fvcore counts them: python scripts/goldens/macs.py (torch, numpy and fvcore).

Writes tests/goldens/macs.json. fvcore calls one multiply-accumulate a flop, and also counts normalisation, pooling and resizing, which
eliteloop does not: only convolutions and products are taken. A family with a product that fvcore knows no rule for is left out.
"""

import json
import logging

import torch
from families import FAMILIES, ROOT, build
from fvcore.nn import FlopCountAnalysis

COUNTED = {"conv", "linear", "addmm", "matmul", "bmm", "mm", "einsum"}
# Operations that multiply and are unknown to fvcore; `_convolution_mode` is a convolution with padding='same'.
UNKNOWN = {"lstm", "gru", "scaled_dot_product_attention", "baddbmm", "_convolution_mode"}


def count(stem, entry, name, arguments):
    torch.manual_seed(0)
    # In training mode PyTorch has no fused attention; dropout does not matter here.
    net = build(stem, name, arguments).train()
    with torch.no_grad():
        # Normalisation over one pixel wants two images.
        found = FlopCountAnalysis(net, torch.zeros(2, 3, 32, 32)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        macs = sum(number for kind, number in found.by_operator().items() if kind in COUNTED)
        unknown = {kind.removeprefix("aten::") for kind in found.unsupported_ops()} & UNKNOWN
    if unknown:
        print(f"{stem} {name}: left out, fvcore does not count {', '.join(sorted(unknown))}")
        return None
    assert macs % 2 == 0, f"{stem} {name}: an odd count for two images"
    return {"file": stem, "entry": entry, "macs": int(macs) // 2}


def main():
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    rows = [json.dumps(row) for row in (count(*family) for family in FAMILIES) if row]
    (ROOT / "tests/goldens/macs.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


main()
