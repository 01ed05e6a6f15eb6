"""How many classifiers of torchvision and timm trace out of their source files with PyTorch's names, shapes and parameters.

    python scripts/peers/zoo.py [--package torchvision timm] [--program target/release/eliteloop] [--model NAME ..]

Of each file the smallest of a few of its models, as it is registered, for ten classes, at the size of image that it is made for. Nothing is
downloaded. Needs torch, torchvision and timm.
"""

import argparse
import collections
import importlib.util
import inspect
import pathlib
import re

import timm
import torch
import torchvision
import tracing


def of_torchvision():
    names = torchvision.models.list_models(module=torchvision.models)
    for name in names:
        yield name, torchvision.models.get_model_builder(name), (299 if name == "inception_v3" else 224)


def of_timm():
    for name in timm.list_models():
        size = timm.get_pretrained_cfg(name, allow_unregistered=True)
        yield name, timm.model_entrypoint(name), size.input_size[-1] if size and size.input_size else 224


# Files of a package that are no networks.
TOOLS = "_api _builder _features _features_fx _helpers _hub _manipulate _meta _pretrained _registry _utils helpers registry"


def is_whole(path):
    """Whether a file has all of its networks' code, but for layers and the machinery of the package."""
    others = re.findall(r"^from \.(\w+) import", path.read_text(), re.MULTILINE)
    return all(name in TOOLS.split() for name in others)


def smallest(models, most=8):
    """Of each file the model of fewest parameters among a few."""
    files = collections.defaultdict(list)
    for name, builder, size in models:
        files[inspect.getsourcefile(inspect.unwrap(builder))].append((name, builder, size))
    for file, own in sorted(files.items()):
        counted = []
        for name, builder, size in own[:: max(1, len(own) // most)]:
            try:
                with torch.device("meta"):
                    counted.append((sum(p.numel() for p in builder().parameters()), name, builder, size))
            except Exception:  # it does not build without its weights
                continue
        if counted:
            _, name, builder, size = min(counted, key=lambda one: one[0])
            yield pathlib.Path(file), name, builder, size


def real(builder, size):
    net = builder(num_classes=10).train()
    output = net(torch.zeros(2, 3, size, size))
    output = getattr(output, "logits", output)
    assert isinstance(output, torch.Tensor) and output.shape == (2, 10), type(output)
    return net


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--package", nargs="*", default=["torchvision", "timm"])
    ask.add_argument("--model", nargs="*")
    ask.add_argument("--program", default="target/release/eliteloop")
    given = ask.parse_args()
    for package, models in (("torchvision", of_torchvision()), ("timm", of_timm())):
        if package not in given.package:
            continue
        counts = collections.Counter()
        models = [model for model in models if not given.model or model[0] in given.model]
        for path, name, builder, size in smallest(models):
            found = tracing.forked(lambda: real(builder, size), 300)
            verdict = ("no network", "") if found is None else tracing.judged(
                found, given.program, path, "--entry", name, "--input", f"3x{size}x{size}", "--steps", "100000000"
            )
            counts[verdict[0] if verdict[0] != "refused" or is_whole(path) else "refused, of several files"] += 1
            print(f"{package} {path.stem:28} {name:32} {verdict[0]}{': ' if verdict[1] else ''}{verdict[1]}", flush=True)
        print(package, dict(counts), flush=True)


main()
