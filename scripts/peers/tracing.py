"""What PyTorch builds and what `eliteloop trace` makes of it, compared: names, shapes, parameters."""

import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import warnings

import torch
import torchvision  # noqa: F401  (most files want it: loaded once)

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


def told(net):
    """(trained parameters, [[name, shape] ..])"""
    state = [[name, list(t.shape)] for name, t in net.state_dict().items()]
    return sum(p.numel() for p in net.parameters() if p.requires_grad), state


def forked(build, seconds):
    """What `told` says of the network that `build` makes, in a child whose output and folder nobody sees; None where it makes none."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    cwd = tempfile.TemporaryDirectory()

    def child():
        os.chdir(cwd.name)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        theirs.send(told(build()))

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
        with contextlib.suppress(OSError):
            cwd.cleanup()


def judged(real, program, path, *arguments):
    """right, wrong and why, or refused and why."""
    parameters, state = real
    command = [program, "trace", str(path), *arguments, "--json"]
    try:
        ours = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "refused", "no answer in 300 s"
    if ours.returncode:
        return "refused", re.sub(r"^error: \S*?(:\d+)?: ", "", ours.stderr.splitlines()[0])
    ours = json.loads(ours.stdout)
    found = sorted([t["name"], t["shape"]] for t in ours["state_dict"])
    if found != sorted(state) or ours["parameters"] != parameters:
        return "wrong", f"{ours['parameters']} parameters, not {parameters}"
    return "right", ""
