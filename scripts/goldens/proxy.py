"""Reference values for proxy training from PyTorch: python scripts/goldens/proxy.py (torch and numpy needed).

Writes tests/goldens/proxy_operations.json (single operations, values and gradients) and
tests/goldens/proxy_networks.json (ten networks: first-step loss and gradients, running statistics, evaluation, two
optimiser steps). Weights and images are not stored: both sides compute them from the same integer hash.
"""

import importlib.util
import json
import pathlib

import torch
import torch.nn.functional as F
from noise import filled, rounded, started, summary

torch.set_num_threads(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]
ENTRIES = 8
NETWORKS = ["plain", "normed", "residual", "mobile", "gated", "dense", "inception", "attention", "shuffle", "arithmetic"]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests/fixtures/proxy" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Net()


def fresh(name, images):
    net = load(name)
    net.eval()
    with torch.no_grad():
        net(images)
    return started(net, 1.5)


def network(name):
    images = filled("images", (6, 3, 16, 16))
    labels = torch.tensor([0, 7, 4, 1, 8, 5])
    net = fresh(name, images)
    result = {"keys": list(net.state_dict())}
    net.eval()
    result["evaluation"] = summary(net(images), ENTRIES)
    net.train()
    loss = F.cross_entropy(net(images), labels, label_smoothing=0.1)
    loss.backward()
    result["loss"] = loss.item()
    result["gradients"] = {key: summary(p.grad, ENTRIES) for key, p in net.named_parameters()}
    result["buffers"] = {key: summary(b, ENTRIES) for key, b in net.named_buffers()}
    for kind in ("sgd", "adamw"):
        net = fresh(name, images)
        net.train()
        parameters = net.parameters()
        if kind == "sgd":
            optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
        else:
            optimizer = torch.optim.AdamW(parameters, lr=0.002, weight_decay=0.02)
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        result[kind] = {key: summary(p, ENTRIES) for key, p in net.named_parameters()}
    return result


def operation(label, op, inputs, tensors, run):
    """One case: `op` as the graph writes it, shapes of inputs and own tensors, and what PyTorch makes of them."""
    xs = [filled(f"{label}.x{i}", shape).requires_grad_() for i, shape in enumerate(inputs)]
    ws = [filled(f"{label}.w{i}", shape).requires_grad_() for i, shape in enumerate(tensors)]
    y = run(*xs, *ws)
    y.backward(filled(f"{label}.dy", y.shape))
    gradients = [summary(t.grad, ENTRIES) for t in xs + ws]
    return {"label": label, "op": op, "inputs": inputs, "tensors": tensors, "shape": list(y.shape), "y": summary(y, ENTRIES), "gradients": gradients}


def conv(label, x, out, kernel, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1, bias=True):
    op = {"conv2d": {"out": out, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": bias}}
    tensors = [[out, x[1] // groups, *kernel]] + ([[out]] if bias else [])
    top, bottom, left, right = padding

    def run(x, w, b=None):
        return F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, stride, 0, dilation, groups)

    return operation(label, op, [x], tensors, run)


def transposed(label, x, out, kernel, stride=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1), groups=1, bias=True):
    op = {"out": out, "kernel": kernel, "stride": stride, "padding": padding, "output_padding": output_padding}
    op = {"conv_transpose2d": {**op, "dilation": dilation, "groups": groups, "bias": bias}}
    tensors = [[x[1], out // groups, *kernel]] + ([[out]] if bias else [])

    def run(x, w, b=None):
        return F.conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation)

    return operation(label, op, [x], tensors, run)


def cases():
    yield conv("conv 3x3", [3, 5, 9, 8], 7, [3, 3], padding=[1, 1, 1, 1])
    yield conv("conv 1x1", [2, 6, 7, 5], 9, [1, 1], bias=False)
    yield conv("conv 1x1 stride 2", [2, 4, 7, 6], 3, [1, 1], stride=[2, 2])
    yield conv("conv stride 2", [2, 3, 9, 10], 4, [3, 3], stride=[2, 2], padding=[1, 1, 1, 1])
    yield conv("conv stride 3 by 2", [2, 3, 11, 10], 4, [5, 3], stride=[3, 2], padding=[2, 1, 0, 1])
    yield conv("conv kernel 4 uneven", [2, 3, 8, 9], 5, [4, 4], padding=[1, 2, 1, 2])
    yield conv("conv dilation", [2, 3, 12, 11], 4, [3, 3], padding=[2, 2, 3, 3], dilation=[2, 3])
    yield conv("conv dilation stride", [2, 3, 12, 11], 4, [3, 2], stride=[2, 3], padding=[2, 0, 1, 3], dilation=[2, 2])
    yield conv("conv groups", [2, 6, 8, 8], 9, [3, 3], padding=[1, 1, 1, 1], groups=3)
    yield conv("conv depthwise", [2, 5, 8, 7], 5, [3, 3], padding=[1, 1, 1, 1], groups=5)
    yield conv("conv depthwise stride 2", [2, 5, 9, 8], 10, [5, 5], stride=[2, 2], padding=[2, 2, 2, 2], groups=5)
    yield conv("conv whole map", [2, 3, 6, 6], 4, [6, 6])
    yield conv("conv many", [33, 17, 6, 20], 19, [3, 3], padding=[1, 1, 1, 1])
    yield conv("conv stride past kernel", [2, 3, 9, 9], 4, [2, 2], stride=[3, 3])

    yield transposed("transposed 2 stride 2", [2, 5, 4, 5], 3, [2, 2], stride=[2, 2])
    yield transposed("transposed 4 stride 2", [3, 4, 5, 4], 6, [4, 4], stride=[2, 2], padding=[1, 1], bias=False)
    yield transposed("transposed 3 stride 2", [2, 4, 4, 3], 5, [3, 3], stride=[2, 2], padding=[1, 1], output_padding=[1, 1])
    yield transposed("transposed stride 1", [2, 3, 6, 5], 4, [3, 5], padding=[1, 2])
    yield transposed("transposed 1x1", [2, 3, 4, 4], 4, [1, 1])
    yield transposed("transposed uneven", [2, 3, 4, 5], 4, [5, 3], stride=[3, 2], padding=[2, 0], output_padding=[2, 1], dilation=[1, 2])
    yield transposed("transposed groups", [2, 6, 4, 4], 9, [3, 3], stride=[2, 2], padding=[1, 1], groups=3)
    yield transposed("transposed depthwise", [2, 5, 4, 4], 5, [4, 4], stride=[2, 2], padding=[1, 1], groups=5)
    yield transposed("transposed stride past kernel", [2, 3, 3, 4], 4, [2, 2], stride=[3, 3], output_padding=[2, 0])
    yield transposed("transposed many", [33, 7, 3, 5], 9, [3, 3], stride=[2, 2])

    def maxpool(label, x, kernel, stride, padding, dilation, ceil):
        op = {"max_pool2d": {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil": ceil}}
        return operation(label, op, [x], [], lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil))

    yield maxpool("max 2", [2, 3, 8, 9], [2, 2], [2, 2], [0, 0], [1, 1], False)
    yield maxpool("max 3 stride 2", [2, 3, 9, 8], [3, 3], [2, 2], [1, 1], [1, 1], False)
    yield maxpool("max 3 stride 1", [2, 3, 6, 7], [3, 3], [1, 1], [1, 1], [1, 1], False)
    yield maxpool("max ceil", [2, 3, 8, 9], [3, 2], [3, 2], [1, 0], [1, 1], True)
    yield maxpool("max dilated", [2, 3, 9, 9], [3, 2], [2, 1], [1, 1], [2, 3], False)

    def avgpool(label, x, kernel, stride, padding, ceil, count_pad, divisor):
        op = {"avg_pool2d": {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil, "count_pad": count_pad, "divisor": divisor}}
        return operation(label, op, [x], [], lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil, count_pad, divisor))

    yield avgpool("mean 2", [2, 3, 9, 8], [2, 2], [2, 2], [0, 0], False, True, None)
    yield avgpool("mean padded", [2, 3, 9, 8], [3, 3], [2, 2], [1, 1], False, True, None)
    yield avgpool("mean not counting", [2, 3, 9, 8], [3, 3], [2, 2], [1, 1], False, False, None)
    yield avgpool("mean ceil", [2, 3, 8, 9], [3, 2], [2, 3], [1, 1], True, True, None)
    yield avgpool("mean divisor", [2, 3, 8, 9], [3, 2], [2, 3], [1, 1], True, False, 5)
    for out in ([1, 1], [3, 2], [5, 7]):
        yield operation(f"adaptive mean {out}", {"adaptive_avg_pool2d": {"out": out}}, [[2, 3, 8, 7]], [], lambda x: F.adaptive_avg_pool2d(x, out))
        yield operation(f"adaptive max {out}", {"adaptive_max_pool2d": {"out": out}}, [[2, 3, 8, 7]], [], lambda x: F.adaptive_max_pool2d(x, out))

    for label, shape in (("maps", [4, 5, 6, 7]), ("rows", [9, 5]), ("sequences", [4, 5, 3])):
        op = {"batch_norm": {"eps": 1e-5, "momentum": 0.1, "affine": True, "track": False}}
        yield operation(f"batch norm {label}", op, [shape], [[5], [5]], lambda x, w, b: F.batch_norm(x, None, None, w, b, True))
    op = {"batch_norm": {"eps": 1e-3, "momentum": 0.1, "affine": False, "track": False}}
    yield operation("batch norm plain", op, [[4, 5, 6, 7]], [], lambda x: F.batch_norm(x, None, None, None, None, True, eps=1e-3))
    op = {"group_norm": {"groups": 2, "eps": 1e-5, "affine": True}}
    yield operation("group norm", op, [[3, 6, 4, 5]], [[6], [6]], lambda x, w, b: F.group_norm(x, 2, w, b))
    op = {"layer_norm": {"dims": 2, "eps": 1e-5, "weight": True, "bias": True}}
    yield operation("layer norm", op, [[3, 6, 4, 5]], [[4, 5], [4, 5]], lambda x, w, b: F.layer_norm(x, (4, 5), w, b))
    op = {"linear": {"out": 4, "bias": True}}
    yield operation("linear", op, [[5, 7]], [[4, 7], [4]], F.linear)
    yield operation("linear deep", op, [[2, 3, 7]], [[4, 7], [4]], F.linear)
    yield operation("prelu", "prelu", [[2, 3, 4, 4]], [[3]], F.prelu)
    yield operation("prelu one", "prelu", [[2, 3, 4, 4]], [[1]], F.prelu)

    activations = {
        "relu": F.relu, "relu6": F.relu6, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
        "mish": F.mish, "softplus": F.softplus, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "elu": lambda x: F.elu(x, 0.7),
    }
    for name, f in activations.items():
        kind = {"leaky_relu": {"leaky_relu": {"slope": 0.2}}, "elu": {"elu": {"alpha": 0.7}}}.get(name, name)
        yield operation(f"activation {name}", {"activation": kind}, [[3, 50]], [], f)
    yield operation("softmax", {"softmax": {"dim": 1}}, [[3, 5, 4]], [], lambda x: x.softmax(1))
    yield operation("log softmax", {"log_softmax": {"dim": 2}}, [[3, 5, 4]], [], lambda x: x.log_softmax(2))
    for name in ("add", "sub", "mul", "div", "maximum", "minimum"):
        f = getattr(torch, name)
        yield operation(f"binary {name}", {"binary": name}, [[2, 3, 4, 5], [2, 3, 4, 5]], [], f)
        yield operation(f"binary {name} broadcast", {"binary": name}, [[2, 3, 4, 5], [3, 1, 1]], [], f)
        yield operation(f"binary {name} outer", {"binary": name}, [[2, 3, 1, 5], [2, 1, 4, 1]], [], f)
    yield operation("affine", {"affine": {"scale": -1.5, "shift": 0.25}}, [[3, 4]], [], lambda x: x * -1.5 + 0.25)
    yield operation("square power", {"power": {"exponent": 3.0}}, [[3, 4]], [], lambda x: x**3)
    for name in ("neg", "exp", "abs", "square"):
        yield operation(f"unary {name}", {"unary": name}, [[3, 9]], [], getattr(torch, name))
    yield operation("clamp", {"clamp": {"low": -0.3, "high": 0.5}}, [[3, 20]], [], lambda x: x.clamp(-0.3, 0.5))
    yield operation("clamp low", {"clamp": {"low": -0.3, "high": None}}, [[3, 20]], [], lambda x: x.clamp(min=-0.3))
    yield operation("matmul", "mat_mul", [[2, 3, 4, 5], [2, 3, 5, 6]], [], torch.matmul)
    yield operation("matmul broadcast", "mat_mul", [[2, 3, 4, 5], [5, 6]], [], torch.matmul)
    yield operation("cat", {"cat": {"dim": 1}}, [[2, 3, 4], [2, 1, 4], [2, 2, 4]], [], lambda *x: torch.cat(x, 1))
    for name in ("mean", "sum", "max", "min"):
        f = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax, "min": torch.amin}[name]
        for dims, keep in (([2, 3], False), ([1], True), ([1, 3], False), ([3], True)):
            op = {"reduce": {"kind": name, "dims": dims, "keep": keep}}
            yield operation(f"reduce {name} {dims}", op, [[2, 3, 4, 5]], [], lambda x: f(x, dims, keep))
    op = {"variance": {"dims": [2, 3], "keep": False, "correction": 1}}
    yield operation("variance", op, [[2, 3, 4, 5]], [], lambda x: x.var((2, 3)))
    yield operation("reshape", {"reshape": {"shape": [{"fixed": 6}, {"fixed": 20}]}}, [[2, 3, 4, 5]], [], lambda x: x.reshape(6, 20))
    yield operation("permute", {"permute": {"dims": [0, 2, 3, 1]}}, [[2, 3, 4, 5]], [], lambda x: x.permute(0, 2, 3, 1))
    yield operation("expand", {"expand": {"shape": [{"fixed": 2}, {"fixed": 3}, {"fixed": 4}]}}, [[3, 1]], [], lambda x: x.expand(2, 3, 4))
    yield operation("slice", {"slice": {"dim": 1, "start": 1, "end": 3, "step": 1}}, [[2, 4, 5]], [], lambda x: x[:, 1:3])
    yield operation("slice step", {"slice": {"dim": 2, "start": 1, "end": 8, "step": 3}}, [[2, 4, 9]], [], lambda x: x[:, :, 1:8:3])
    borders = (("constant", {"constant": 0.7}), ("reflect", "reflect"), ("replicate", "replicate"), ("circular", "circular"))
    for mode, border in borders:
        extra = {"value": 0.7} if mode == "constant" else {}
        op = {"pad": {"padding": [1, 2, 3, 0], "border": border}}
        yield operation(f"pad {mode}", op, [[2, 3, 5, 6]], [], lambda x: F.pad(x, (3, 0, 1, 2), mode, **extra))
    op = {"upsample_nearest": {"factor": [2, 3]}}
    yield operation("nearest", op, [[2, 3, 4, 5]], [], lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"))
    for align in (False, True):
        op = {"upsample_bilinear": {"out": [7, 9], "align": align}}
        yield operation(f"bilinear {align}", op, [[2, 3, 4, 5]], [], lambda x: F.interpolate(x, (7, 9), mode="bilinear", align_corners=align))

    def cell(kind, gates):
        def run(x, *ws):
            layer = getattr(torch.nn, kind)(5, 4, batch_first=True)
            names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
            return torch.func.functional_call(layer, dict(zip(names, ws)), (x,))[0]

        op = {kind.lower(): {"hidden": 4, "bias": True, "reverse": False}}
        return operation(kind.lower(), op, [[2, 3, 5]], [[4 * gates, 5], [4 * gates, 4], [4 * gates], [4 * gates]], run)

    def chosen(label, op, inputs, index, run, at=1):
        """`operation` with a condition or an index, which has no gradient: its values are stored."""
        case = operation(label, op, inputs, [], lambda *x: run(*x[:at], index, *x[at:]))
        flat = index.float().flatten().tolist()
        return {**case, "constant": {"at": at, "values": flat, "shape": list(index.shape)}}

    for name in ("expm1", "sin", "cos", "tan", "atan", "sinh", "cosh", "erf"):
        f = getattr(torch, name)
        yield operation(f"unary {name}", {"unary": name}, [[3, 9]], [], f)
    holds = torch.tensor([[[1, 0, 1, 1]], [[0, 0, 1, 0]]])
    yield chosen("where", "where", [[2, 3, 4], [3, 1]], holds, lambda c, a, b: torch.where(c != 0, a, b), at=0)
    table = torch.tensor([[0, 4, 2], [-1, 4, 0]])
    yield chosen("index", {"index": {"dim": 1}}, [[2, 5, 3]], table, lambda x, i: x[:, i])
    yield chosen("index rows", {"index": {"dim": 0}}, [[5, 3]], table, lambda x, i: x[i])
    places = torch.tensor([[[0, 2], [1, 1], [2, 0], [1, 2]], [[2, 2], [0, 1], [0, 0], [1, 0]]])
    yield chosen("gather", {"gather": {"dim": 2}}, [[2, 4, 3]], places, lambda x, i: x.gather(2, i))
    once = torch.tensor([[[0, 2], [1, 0], [2, 0], [1, 2]], [[2, 1], [0, 1], [0, 2], [1, 0]]])
    yield chosen("scatter", {"scatter": {"dim": 2, "add": False}}, [[2, 4, 3], [2, 4, 2]], once, lambda x, i, s: x.scatter(2, i, s))
    yield chosen("scatter add", {"scatter": {"dim": 2, "add": True}}, [[2, 4, 3], [2, 4, 2]], places, lambda x, i, s: x.scatter_add(2, i, s))
    for dim in (0, 1, 2):
        yield operation(f"running sum {dim}", {"cum_sum": {"dim": dim}}, [[2, 4, 3]], [], lambda x: x.cumsum(dim))
    op = {"conv2d": {"out": 4, "kernel": [3, 3], "stride": [2, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "groups": 2, "bias": True}}
    yield operation("conv computed", op, [[2, 6, 7, 5], [4, 3, 3, 3], [4]], [], lambda x, w, b: F.conv2d(x, w, b, (2, 1), 1, 1, 2))
    op = {"out": 4, "kernel": [3, 2], "stride": [2, 1], "padding": [1, 0], "output_padding": [1, 0], "dilation": [1, 1], "groups": 2, "bias": False}
    yield operation(
        "transposed computed", {"conv_transpose2d": op}, [[2, 6, 4, 5], [6, 2, 3, 2]], [], lambda x, w: F.conv_transpose2d(x, w, None, (2, 1), (1, 0), (1, 0), 2)
    )
    yield maxpool("max ceil past the map", [2, 3, 2, 2], [3, 3], [2, 2], [0, 0], [1, 1], True)
    yield avgpool("mean ceil past the map", [2, 3, 2, 2], [3, 3], [2, 2], [0, 0], True, True, None)

    yield cell("LSTM", 4)
    yield cell("GRU", 3)


def write(name, value):
    # One line for each case: small, and still readable as a difference.
    lines = [json.dumps(rounded(v), separators=(",", ":")) for v in value]
    (ROOT / "tests/goldens" / name).write_text("[\n" + ",\n".join(lines) + "\n]\n")


write("proxy_operations.json", list(cases()))
write("proxy_networks.json", [{"name": name, **network(name)} for name in NETWORKS])
