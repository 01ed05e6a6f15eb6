"""How many networks of LEMUR (PyPI `nn-dataset`) trace with PyTorch's names, shapes and parameters: a seeded draw, by family.

    python scripts/peers/lemur.py [--count 600] [--seed 1] [--family rag] [--program target/release/eliteloop]

Needs torch, torchvision and nn-dataset. Each family (the beginning of a file's name) is drawn in proportion to its size, at least once,
or to the number that --each gives. A file that PyTorch itself does not build, or that does not give (batch, classes), is not counted.
"""

import argparse
import collections
import importlib.metadata
import pathlib
import random
import re
import sys
import types

import torch
import tracing

SIZES = (32, 64, 224)
PRM = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "dropout": 0.2, "batch": 64, "epoch": 1, "transform": "norm"}


def real(path, size):
    """The network of a file, where it takes images of this size and tells ten classes apart."""
    module = sys.modules["network"] = types.ModuleType("network")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    prm = dict(PRM)
    for name in getattr(module, "supported_hyperparameters", lambda: ())():
        prm.setdefault(name, 0.5)
    net = module.Net((1, 3, size, size), (10,), prm, torch.device("cpu")).train()
    output = net(torch.zeros(2, 3, size, size))
    assert isinstance(output, torch.Tensor) and output.shape == (2, 10), type(output)
    return net


def folder():
    """Where pip put the files; the package itself is not imported, for it fills a data base first."""
    return pathlib.Path(importlib.metadata.distribution("nn-dataset").locate_file("ab/nn/nn"))


def family(path):
    name = re.match(r"[A-Za-z]+", path.stem)
    return name.group().lower() if name else "other"


def drawn(paths, count, each, seed):
    """Files by family, in proportion; the draw is the same for the same seed."""
    families = collections.defaultdict(list)
    for path in sorted(paths):
        families[family(path)].append(path)
    chance, total, chosen = random.Random(seed), len(paths), {}
    for name, members in sorted(families.items()):
        number = each or max(1, round(count * len(members) / total))
        chosen[name] = sorted(chance.sample(members, min(number, len(members))))
    return families, chosen


def judged(path, program):
    """None where PyTorch has no network there; at the smallest size that it takes."""
    for size in SIZES:
        found = tracing.forked(lambda: real(path.resolve(), size), 120)
        if found is not None:
            return tracing.judged(found, program, path, "--input", f"3x{size}x{size}")
    return None


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--count", type=int, default=600)
    ask.add_argument("--each", type=int, default=0)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--family", nargs="*")
    ask.add_argument("--list", action="store_true", help="only print the files drawn")
    ask.add_argument("--program", default="target/release/eliteloop")
    given = ask.parse_args()
    paths = [path for path in folder().glob("*.py") if path.stem != "__init__"]
    families, chosen = drawn(paths, given.count, given.each, given.seed)
    if given.list:
        print(*(path for members in chosen.values() for path in members), sep="\n")
        return
    reasons, rows = collections.Counter(), {}
    for name, members in chosen.items():
        if given.family and name not in given.family:
            continue
        counts = rows[name] = collections.Counter()
        for path in members:
            verdict = judged(path, given.program)
            counts[verdict[0] if verdict else "no network"] += 1
            if verdict and verdict[0] != "right":
                reasons[verdict] += 1
                print(f"{path.name}: {verdict[0]}: {verdict[1]}", file=sys.stderr, flush=True)
    print(f"{'family':20} files  right  wrong  refused")
    weighted = weight = 0
    for name, counts in sorted(rows.items(), key=lambda row: -len(families[row[0]])):
        usable = counts["right"] + counts["wrong"] + counts["refused"]
        print(f"{name:20} {len(families[name]):5}  {counts['right']:5}  {counts['wrong']:5}  {counts['refused']:7}")
        if usable:
            weighted += len(families[name]) * counts["right"] / usable
            weight += len(families[name])
    print(f"weighted by the families' sizes: {100 * weighted / max(weight, 1):.1f}% right")
    for (verdict, reason), number in reasons.most_common():
        print(f"{number:4}  {verdict}: {reason}")


main()
