"""What PyTorch says of each network in tests/fixtures/networks: state dict, parameters, output shape.

    python scripts/goldens/networks.py            writes tests/goldens/networks.json
    python scripts/goldens/networks.py --replay   traces each with target/release/eliteloop, runs the traced graph operation by
                                                  operation in PyTorch, and compares the outputs with the network's own
"""

import contextlib
import io
import json
import pathlib
import subprocess
import sys

import torch
import torch.nn.functional as F
from graphs import run

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = [
    "aliasing", "arithmetic", "attention", "buffers", "depthwise", "factory", "flatten_size", "functional", "highway", "inception", "lazy", "mixer",
    "module_list", "no_arguments", "ordered", "plain", "positional", "pyramid", "recursive", "residual", "shared", "shuffle", "squeeze_excite",
]
SOURCES = [ROOT / "tests/fixtures/networks" / f"{name}.py" for name in NAMES]  # the families have goldens of their own
ARGUMENTS = {"positional": (3, 10)}
ENTRY = {"factory": "SmallVGG"}


def build(path, batch=2):
    space = {"__name__": "network"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(path.read_text(), str(path), "exec"), space)
        net = space[ENTRY.get(path.stem, "Net")](*ARGUMENTS.get(path.stem, ()))
    net.train()
    output = net(torch.zeros(batch, 3, 32, 32))
    return net, output


def describe(path):
    net, output = build(path)
    names, seen = [], set()
    for name, tensor in net.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:  # a shared tensor is one entry
            seen.add(id(tensor))
            names.append([name, list(tensor.shape)])
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return {"output": list(output.shape[1:]), "parameters": trained, "state_dict": names}


def replay(path):
    torch.manual_seed(0)
    entry = ["--entry", ENTRY[path.stem]] if path.stem in ENTRY else []
    done = subprocess.run([ROOT / "target/release/eliteloop", "trace", path, "--json", *entry], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    graph = json.loads(done.stdout)["graph"]
    net, _ = build(path)
    # Random values everywhere, so that no weight is lost in a zero or a one.
    state = net.state_dict()
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor) * 0.1 + 0.3)
    for module in net.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    dropout, F.dropout = F.dropout, lambda t, *args, **kwargs: t
    worst = 0.0
    with torch.no_grad():
        for batch in (2, 5):
            x = torch.randn(batch, 3, 32, 32)
            expected = net(x.clone())
            found = run(graph, state, x.clone())
            error = ((expected - found).abs().max() / (expected.abs().max() + 1e-6)).item()
            worst = error if not error <= worst else worst
    F.dropout = dropout
    return f"{worst:.1e} (spread {expected.std(0).mean().item():.1e})" if worst < 1e-4 else f"DIFFERS {worst:.1e}"


def main():
    if "--replay" in sys.argv:
        for path in [pathlib.Path(p) for p in sys.argv[1:] if p != "--replay"] or SOURCES:
            print(f"{path.stem:20} {replay(path)}")
        return
    goldens = {path.stem: describe(path) for path in SOURCES}
    lines = [f"{json.dumps(name)}: {json.dumps(golden)}" for name, golden in goldens.items()]
    (ROOT / "tests/goldens/networks.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
