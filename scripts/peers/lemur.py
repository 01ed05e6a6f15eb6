"""How many networks of LEMUR (PyPI `nn-dataset`) trace with PyTorch's names, shapes and parameters: a seeded draw, by family.

    python scripts/peers/lemur.py [--count 600] [--seed 1] [--family rag] [--program target/release/eliteloop]

Needs torch, torchvision and nn-dataset. Each family (the beginning of a file's name) is drawn in proportion to its size, at least once,
or to the number that --each gives. A file that PyTorch itself does not build, or that does not give (batch, classes), is not counted.
"""

import argparse
import collections
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import types
import warnings

import torch
import torchvision  # noqa: F401  (most files want it: loaded once)

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
SIZES = (32, 64, 224)
PRM = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "dropout": 0.2, "batch": 64, "epoch": 1, "transform": "norm"}


def real(path, size, send):
    """What PyTorch makes of a file: (parameters, [[name, shape] ..]). In a child, whose output and folder nobody sees."""
    module = sys.modules["network"] = types.ModuleType("network")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    prm = dict(PRM)
    for name in getattr(module, "supported_hyperparameters", lambda: ())():
        prm.setdefault(name, 0.5)
    net = module.Net((1, 3, size, size), (10,), prm, torch.device("cpu")).train()
    output = net(torch.zeros(2, 3, size, size))
    assert isinstance(output, torch.Tensor) and output.shape == (2, 10), type(output)
    state = [[name, list(t.shape)] for name, t in net.state_dict().items()]
    send((sum(p.numel() for p in net.parameters() if p.requires_grad), state))


def asked_of_pytorch(path, size, seconds):
    """[`real`] by a fork, so that PyTorch is loaded once; None where there is no network."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    cwd = tempfile.TemporaryDirectory()

    def child():
        os.chdir(cwd.name)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        real(path, size, theirs.send)

    process = context.Process(target=child)
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(seconds) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()
        cwd.cleanup()


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


def asked(command, seconds):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def judged(path, program):
    """right, wrong and why, refused and why, or None where PyTorch has no network there."""
    # The smallest size that PyTorch takes it at.
    for size in SIZES:
        real = asked_of_pytorch(path.resolve(), size, 120)
        if real is not None:
            break
    else:
        return None
    parameters, state = real
    ours = asked([program, "trace", str(path), "--input", f"3x{size}x{size}", "--json"], 120)
    if ours is None:
        return "refused", "no answer in 120 s"
    if ours.returncode:
        return "refused", re.sub(r"^error: \S*?(:\d+)?: ", "", ours.stderr.splitlines()[0])
    ours = json.loads(ours.stdout)
    found, expected = sorted([t["name"], t["shape"]] for t in ours["state_dict"]), sorted(state)
    if found != expected or ours["parameters"] != parameters:
        return "wrong", f"{ours['parameters']} parameters, not {real['parameters']}"
    return "right", ""


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--count", type=int, default=600)
    ask.add_argument("--each", type=int, default=0)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--family", nargs="*")
    ask.add_argument("--program", default="target/release/eliteloop")
    given = ask.parse_args()
    paths = [path for path in folder().glob("*.py") if path.stem != "__init__"]
    families, chosen = drawn(paths, given.count, given.each, given.seed)
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
