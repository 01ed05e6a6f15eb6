"""A traced graph in PyTorch, operation by operation."""

import torch
import torch.nn.functional as F


def parts(op):
    """Name and attributes of an operation as the graph writes it."""
    return (op, {}) if isinstance(op, str) else next(iter(op.items()))


def apply(op, i, w, batch, training=True):
    """The value of one operation for its inputs and own tensors; dropout does nothing."""
    kind, a = parts(op)
    i, w = list(i), list(w)

    def sizes(shape):
        return [d["fixed"] if "fixed" in d else d["batch"] * batch for d in shape]

    if kind == "tensor":
        y = w[0].float()
    elif kind == "constant":
        y = torch.tensor([float(v) for v in a["values"]]).reshape(a["shape"])
    elif kind == "conv2d":
        w = w or i[1:]
        top, bottom, left, right = a["padding"]
        y = F.conv2d(F.pad(i[0], (left, right, top, bottom)), w[0], w[1] if a["bias"] else None, a["stride"], 0, a["dilation"], a["groups"])
    elif kind == "conv_transpose2d":
        w = w or i[1:]
        y = F.conv_transpose2d(i[0], w[0], w[1] if a["bias"] else None, a["stride"], a["padding"], a["output_padding"], a["groups"], a["dilation"])
    elif kind == "batch_norm" and a["track"] and not training:
        y = F.batch_norm(i[0], *w[-3:-1], *(w[:2] if a["affine"] else (None, None)), False, 0.0, a["eps"])
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
        y = torch.pow(*i) if a == "power" else getattr(torch, a)(*i)
    elif kind == "affine":
        y = i[0] * a["scale"] + a["shift"]
    elif kind == "power":
        y = i[0] ** a["exponent"]
    elif kind == "unary":
        if a == "root":
            # The gradient at 0 is that of a norm: 0.
            y = torch.where(i[0] == 0, torch.ones_like(i[0]), i[0]).sqrt() * (i[0] != 0)
        else:
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
    elif kind == "compare":
        y = getattr(torch, a)(*i).float()
    elif kind == "where":
        y = torch.where(i[0] != 0, i[1], i[2])
    elif kind == "index":
        d, n = a["dim"], i[0].shape[a["dim"]]
        y = i[0].index_select(d, i[1].long().flatten() % n).reshape(i[0].shape[:d] + i[1].shape + i[0].shape[d + 1 :])
    elif kind == "gather":
        y = i[0].gather(a["dim"], i[1].long())
    elif kind == "scatter":
        y = (i[0].scatter_add if a["add"] else i[0].scatter)(a["dim"], i[1].long(), i[2])
    elif kind == "top_k":
        y = i[0].sort(dim=a["dim"], descending=a["largest"], stable=True).indices.narrow(a["dim"], 0, a["k"]).float()
    elif kind == "cum_sum":
        y = i[0].cumsum(a["dim"])
    elif kind == "detach":
        y = i[0].detach()
    elif kind == "switch":
        y = i[0] if training else i[1]
    elif kind == "random":
        (law, b), size = next(iter(a["law"].items())), sizes(a["shape"])
        if law == "uniform":
            y = torch.rand(size) * (b["high"] - b["low"]) + b["low"]
        elif law == "normal":
            y = torch.randn(size) * b["std"] + b["mean"]
        else:
            y = torch.bernoulli(torch.full(size, b["p"]))
    elif kind in ("lstm", "gru"):
        layer = getattr(torch.nn, kind.upper())(i[0].shape[-1], a["hidden"], bias=a["bias"], batch_first=True)
        names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
        flip = (lambda t: t.flip(1)) if a["reverse"] else lambda t: t
        y = flip(torch.func.functional_call(layer, dict(zip(names, w)), (flip(i[0]),))[0])
    else:
        raise NotImplementedError(kind)
    return y


def run(graph, state, x, training=True):
    """The output of a graph as `eliteloop trace --json` gives it."""
    tensors = [state[t["name"]] for t in graph["tensors"]]
    values = []
    for node in graph["nodes"]:
        i = [values[n] for n in node["inputs"]]
        w = [tensors[t] for t in node["tensors"]]
        y = x if node["op"] == "input" else apply(node["op"], i, w, x.shape[0], training)
        values.append(y)
        shape = [d["fixed"] if "fixed" in d else d["batch"] * x.shape[0] for d in node["shape"]]
        assert list(y.shape) == shape, (node, y.shape)
    return values[graph["output"]]
