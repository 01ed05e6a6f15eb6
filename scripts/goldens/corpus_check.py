"""Runs sources with real PyTorch: each must give 10 logits for a 3 x 32 x 32 image.

    eliteloop warmup --dump DIR                                    the random corpus: *-parent.py, *-child.py, *-text.py, start-*.py
    eliteloop bench formats --adapter ADAPTER --dump DIR           what an adapter's deltas made of unseen parents: *-candidate.py
    python scripts/goldens/corpus_check.py DIR [--strict]

Needs torch. Prints how many of each kind run, and checks parameters and MACs (of convolutions and linears) against what the generator counted
(costs.tsv). With --strict a parent, child or start network that does not run, or a wrong count, is an error. Changes by text and candidates of an
adapter are not valid by construction and are only counted.
"""

import glob
import os
import sys
from collections import Counter

import torch
import torch.nn as nn

torch.set_num_threads(1)
BY_CONSTRUCTION = ("parent", "child", "start")


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
        kind = "start" if name.startswith("start") else name.removesuffix(".py").split("-")[-1]
        try:
            cost = run(path)
        except Exception as error:  # whatever a source does wrong is what is being counted
            tally[kind, "fails"] += 1
            broken.append((kind, f"{name}: {error!r}"[:200]))
            continue
        tally[kind, "runs"] += 1
        if kind == "start":
            print(f"{name}: {cost[0]} parameters, {cost[1] / 1e6:.1f}M MACs")
        else:
            measured[name] = cost
    for (kind, what), n in sorted(tally.items()):
        print(kind, what, n)
    for label, values in zip(("parameters", "MACs"), zip(*measured.values())):
        values = sorted(values)
        print(label, "median", values[len(values) // 2], "90%", values[len(values) * 9 // 10], "most", values[-1])
    wrong = []
    costs = os.path.join(folder, "costs.tsv")
    if os.path.exists(costs):
        stated = {name: (int(parameters), int(macs)) for name, parameters, macs in (line.split("\t") for line in open(costs))}
        wrong = [name for name, cost in stated.items() if name in measured and measured[name] != cost]
        print(len(stated) - len(wrong), "of", len(stated), "costs are as stated", *wrong[:5])
    print("\n".join(text for _, text in broken))
    if "--strict" in sys.argv and (wrong or any(kind in BY_CONSTRUCTION for kind, _ in broken)):
        sys.exit(1)


main()
