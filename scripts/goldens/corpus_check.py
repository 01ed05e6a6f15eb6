"""Runs the sources of the random corpus with real PyTorch: every start network, random network and mutation gives 10 logits.

    eliteloop warmup --dump DIR        writes NNNN-parent.py, NNNN-child.py and start-*.py
    python scripts/goldens/corpus_check.py DIR [--strict]

Needs torch. Prints how many run, and checks parameters and MACs (of convolutions and linears) against what the generator counted. With --strict any
source that does not run is an error (files of the text mutation, NNNN-text.py, are counted apart: they are not valid by construction).
"""

import glob
import os
import sys
from collections import Counter

import torch
import torch.nn as nn

torch.set_num_threads(1)


def run(path):
    names = {}
    exec(compile(open(path).read(), path, "exec"), names)
    network = names["Net"]()
    macs = Counter()

    def count(module, _, y):
        if isinstance(module, nn.Conv2d):
            macs["all"] += y[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs["all"] += y[0].numel() * module.in_features

    with torch.no_grad():
        network(torch.zeros(2, 3, 32, 32))
        for module in network.modules():
            module.register_forward_hook(count)
        y = network.eval()(torch.randn(1, 3, 32, 32))
    assert tuple(y.shape) == (1, 10), tuple(y.shape)
    assert torch.isfinite(y).all()
    return sum(p.numel() for p in network.parameters()), macs["all"]


def main():
    folder = sys.argv[1]
    tally, measured, broken = Counter(), {}, []
    for path in sorted(glob.glob(os.path.join(folder, "*.py"))):
        name = os.path.basename(path)
        kind = name.removesuffix(".py").split("-")[-1] if not name.startswith("start") else "start"
        try:
            parameters, macs = run(path)
        except Exception as error:  # whatever a source does wrong is what is being counted
            tally[kind, "fails"] += 1
            if kind != "text":
                broken.append(f"{name}: {error!r}")
            continue
        tally[kind, "runs"] += 1
        if kind == "start":
            print(f"{name}: {parameters} parameters, {macs / 1e6:.1f}M MACs")
        elif kind != "text":
            measured[name] = (parameters, macs)
    stated = dict((line.split("\t")[0], tuple(map(int, line.split("\t")[1:]))) for line in open(os.path.join(folder, "costs.tsv")))
    wrong = [(name, stated[name], cost) for name, cost in measured.items() if stated[name] != cost]
    print(f"{len(measured) - len(wrong)} of {len(measured)} costs are as stated", wrong[:5])
    for (kind, what), n in sorted(tally.items()):
        print(kind, what, n)
    if measured:
        for label, values in zip(("parameters", "MACs"), zip(*measured.values())):
            values = sorted(values)
            print(label, "median", values[len(values) // 2], "90%", values[len(values) * 9 // 10], "most", values[-1])
    print("\n".join(broken))
    if "--strict" in sys.argv and (broken or wrong):
        sys.exit(1)


main()
