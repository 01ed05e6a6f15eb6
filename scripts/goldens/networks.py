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


def run(graph, state, x):
    """The operations of a traced graph, in training mode without dropout."""
    tensors = [state[t["name"]] for t in graph["tensors"]]
    values = []

    def sizes(shape):
        return [d["fixed"] if "fixed" in d else d["batch"] * x.shape[0] for d in shape]

    for node in graph["nodes"]:
        op = node["op"]
        kind, a = (op, {}) if isinstance(op, str) else next(iter(op.items()))
        i = [values[n] for n in node["inputs"]]
        w = [tensors[t] for t in node["tensors"]]
        if kind == "input":
            y = x
        elif kind == "tensor":
            y = w[0]
        elif kind == "constant":
            y = torch.tensor(a["values"]).reshape(a["shape"])
        elif kind == "conv2d":
            top, bottom, left, right = a["padding"]
            y = F.conv2d(F.pad(i[0], (left, right, top, bottom)), w[0], w[1] if a["bias"] else None, a["stride"], 0, a["dilation"], a["groups"])
        elif kind == "batch_norm":
            y = F.batch_norm(i[0], None, None, *(w[:2] if a["affine"] else (None, None)), True, 0.0, a["eps"])
        elif kind == "group_norm":
            y = F.group_norm(i[0], a["groups"], *(w if a["affine"] else (None, None)), a["eps"])
        elif kind == "layer_norm":
            weight = w.pop(0) if a["weight"] else None
            y = F.layer_norm(i[0], i[0].shape[-a["dims"] :], weight, w.pop(0) if a["bias"] else None, a["eps"])
        elif kind == "linear":
            y = F.linear(i[0], *w)
        elif kind == "activation":
            name, b = (a, {}) if isinstance(a, str) else next(iter(a.items()))
            y = {
                "relu": F.relu,
                "relu6": F.relu6,
                "leaky_relu": lambda t: F.leaky_relu(t, b["slope"]),
                "elu": lambda t: F.elu(t, b["alpha"]),
                "gelu": F.gelu,
                "gelu_tanh": lambda t: F.gelu(t, approximate="tanh"),
                "silu": F.silu,
                "mish": F.mish,
                "softplus": F.softplus,
                "hardswish": F.hardswish,
                "hardsigmoid": F.hardsigmoid,
                "sigmoid": torch.sigmoid,
                "tanh": torch.tanh,
            }[name](i[0])
        elif kind == "prelu":
            y = F.prelu(i[0], w[0])
        elif kind in ("softmax", "log_softmax"):
            y = getattr(torch, kind)(i[0], a["dim"])
        elif kind == "max_pool2d":
            y = F.max_pool2d(i[0], a["kernel"], a["stride"], a["padding"], a["dilation"], a["ceil"])
        elif kind == "avg_pool2d":
            y = F.avg_pool2d(i[0], a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_pad"], a["divisor"])
        elif kind in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
            y = getattr(F, kind)(i[0], a["out"])
        elif kind == "dropout":
            y = i[0]
        elif kind == "binary":
            y = getattr(torch, a)(*i)
        elif kind == "affine":
            y = i[0] * a["scale"] + a["shift"]
        elif kind == "power":
            y = i[0] ** a["exponent"]
        elif kind == "unary":
            y = getattr(torch, a)(i[0])
        elif kind == "clamp":
            y = torch.clamp(i[0], a["low"], a["high"])
        elif kind == "mat_mul":
            y = i[0] @ i[1]
        elif kind == "cat":
            y = torch.cat(i, a["dim"])
        elif kind == "reduce":
            y = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax, "min": torch.amin}[a["kind"]](i[0], a["dims"], a["keep"])
        elif kind == "variance":
            y = torch.var(i[0], a["dims"], correction=a["correction"], keepdim=a["keep"])
        elif kind == "reshape":
            y = i[0].reshape(sizes(a["shape"]))
        elif kind == "permute":
            y = i[0].permute(a["dims"])
        elif kind == "expand":
            y = i[0].expand(sizes(a["shape"]))
        elif kind == "slice":
            index = [slice(None)] * i[0].ndim
            index[a["dim"]] = slice(a["start"], a["end"], a["step"])
            y = i[0][tuple(index)]
        elif kind == "pad":
            top, bottom, left, right = a["padding"]
            border = a["border"]
            mode, value = ("constant", border["constant"]) if isinstance(border, dict) else (border, None)
            y = F.pad(i[0], (left, right, top, bottom), mode, value)
        elif kind == "upsample_nearest":
            y = F.interpolate(i[0], scale_factor=a["factor"])
        elif kind == "upsample_bilinear":
            y = F.interpolate(i[0], size=a["out"], mode="bilinear", align_corners=a["align"])
        else:
            raise NotImplementedError(kind)
        assert list(y.shape) == sizes(node["shape"]), (node, y.shape)
        values.append(y)
    return values[graph["output"]]


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
