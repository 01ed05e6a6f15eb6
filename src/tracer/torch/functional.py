# `torch.nn.functional`: each function records one operation, or a few.
from _import import Unsupported, missing, public
from torch._choice import masked_fill as _masked_fill, triu as _triu, where as _where
from torch._ops import add, binary, clamp, compare as _compare, mean, norm, permute, reshape, square, stack, transpose
from torch._tensor import State as _State, _become, _count, _data, _dim, _kind, _outside, emit, full as _full, is_owned as _is_owned

public.add("torch.nn.functional")
__getattr__ = missing("torch.nn.functional")


def pair(value, what="size"):
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            value = (value[0], value[0])
        if len(value) != 2:
            raise ValueError(what + " must be one or two numbers")
    else:
        value = (value, value)
    for n in value:
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(what + " must be an int or a pair of ints, not " + type(n).__name__)
        if n < 0:
            raise ValueError(what + " must not be negative")
    return tuple(value)


def probability(p):
    if not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ValueError("dropout probability has to be between 0 and 1, but got " + str(p))
    return float(p)


# Activations


def _act(x, kind, inplace=False):
    got = emit({"activation": kind}, [x])
    return _become(x, got) if inplace else got


def relu(input, inplace=False):
    return _act(input, "relu", inplace)


def relu_(input):
    return _act(input, "relu", True)


def relu6(input, inplace=False):
    return _act(input, "relu6", inplace)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    return _act(input, {"leaky_relu": {"slope": float(negative_slope)}}, inplace)


def elu(input, alpha=1.0, inplace=False):
    return _act(input, {"elu": {"alpha": float(alpha)}}, inplace)


def celu(input, alpha=1.0, inplace=False):
    got = _act(binary("div", input, alpha), {"elu": {"alpha": 1.0}})
    got = got if alpha == 1 else binary("mul", got, alpha)
    return _become(input, got) if inplace else got


def selu(input, inplace=False):
    got = binary("mul", _act(input, {"elu": {"alpha": 1.6732632423543772}}), 1.0507009873554805)
    return _become(input, got) if inplace else got


def gelu(input, approximate="none"):
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return _act(input, "gelu" if approximate == "none" else "gelu_tanh")


def silu(input, inplace=False):
    return _act(input, "silu", inplace)


def mish(input, inplace=False):
    return _act(input, "mish", inplace)


def softplus(input, beta=1.0, threshold=20.0):
    if threshold != 20:
        raise Unsupported("softplus with another threshold than 20")
    if beta == 1:
        return _act(input, "softplus")
    return binary("div", _act(binary("mul", input, beta), "softplus"), beta)


def threshold(input, threshold, value, inplace=False):
    got = _where(_compare("gt", input, threshold), input, value)
    return _become(input, got) if inplace else got


def hardshrink(input, lambd=0.5):
    return _where(_compare("gt", input.abs(), lambd), input, 0.0)


def softshrink(input, lambd=0.5):
    shrunk = _where(_compare("gt", input, lambd), binary("sub", input, lambd), 0.0)
    return _where(_compare("lt", input, -lambd), binary("add", input, lambd), shrunk)


def hardswish(input, inplace=False):
    return _act(input, "hardswish", inplace)


def hardsigmoid(input, inplace=False):
    return _act(input, "hardsigmoid", inplace)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    got = clamp(input, min_val, max_val)
    return _become(input, got) if inplace else got


def sigmoid(input):
    return _act(input, "sigmoid")


def tanh(input):
    return _act(input, "tanh")


def logsigmoid(input):
    return binary("mul", _act(binary("mul", input, -1.0), "softplus"), -1.0)


def tanhshrink(input):
    return binary("sub", input, tanh(input))


def softsign(input):
    return binary("div", input, binary("add", emit({"unary": "abs"}, [input]), 1.0))


def prelu(input, weight):
    if _is_owned(weight):
        return emit("prelu", [input], [weight])
    if weight.numel() > 1:
        weight = reshape(weight, (1, -1) + (1,) * (len(input._shape) - 2))
    return _where(_compare("gt", input, 0), input, binary("mul", weight, input))


def _softmax_dim(input, dim):
    if dim is None:
        dim = 0 if len(input._shape) in (0, 1, 3) else 1
    return _dim(input, dim)


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    return emit({"softmax": {"dim": _softmax_dim(input, dim)}}, [input])


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    return emit({"log_softmax": {"dim": _softmax_dim(input, dim)}}, [input])


def softmin(input, dim=None):
    return softmax(binary("mul", input, -1.0), _softmax_dim(input, dim))


def glu(input, dim=-1):
    d = _dim(input, dim)
    if input._shape[d] % 2:
        raise RuntimeError("Halving dimension must be even, but dimension " + str(d) + " is size " + str(input._shape[d]))
    a, b = input.chunk(2, d)
    return binary("mul", a, sigmoid(b))


# Layers


def _add_channels(x, bias):
    """A bias that the layer itself could not own."""
    return add(x, reshape(bias, (1, -1) + (1,) * (len(x._shape) - 2)))


def same_padding(kernel, stride, dilation):
    if stride != (1, 1):
        raise ValueError("padding='same' is not supported for strided convolutions")
    sides = []
    for k, d in zip(kernel, dilation):
        total = d * (k - 1)
        sides += [total // 2, total - total // 2]
    return sides


def _sides(padding, kernel, stride, dilation):
    if padding == "same":
        return same_padding(kernel, stride, dilation)
    if padding == "valid":
        return [0, 0, 0, 0]
    if isinstance(padding, str):
        raise ValueError("Invalid padding string " + repr(padding) + ", should be one of 'valid', 'same'")
    top, left = pair(padding, "padding")
    return [top, top, left, left]


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if weight._shape is None or len(weight._shape) != 4:
        raise RuntimeError("conv2d needs a 4-dimensional weight")
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    kernel = weight._shape[2:]
    if len(input._shape) != 4:
        raise RuntimeError("Expected 4D (batched) input to conv2d, but got input of size: " + repr(list(input._shape)))
    if isinstance(groups, int) and groups > 0 and input._shape[1] != weight._shape[1] * groups:
        raise RuntimeError(
            "Given groups={}, weight of size {}, expected input{} to have {} channels, but got {} channels instead".format(
                groups, list(weight._shape), list(input._shape), weight._shape[1] * groups, input._shape[1]
            )
        )
    op = {"out": weight._shape[0], "kernel": kernel, "stride": stride, "dilation": dilation, "groups": groups, "bias": bias is not None}
    op["padding"] = _sides(padding, kernel, stride, dilation)
    return _weighted({"conv2d": op}, input, weight, bias)


def _weighted(op, input, weight, bias):
    """The layer owns its weights, or reads them where forward computed them."""
    weights = [weight] if bias is None else [weight, bias]
    return emit(op, [input], weights) if _is_owned(*weights) else emit(op, [input] + weights)


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    if weight._shape is None or len(weight._shape) != 4:
        raise RuntimeError("conv_transpose2d needs a 4-dimensional weight")
    stride, dilation, output_padding = pair(stride, "stride"), pair(dilation, "dilation"), pair(output_padding, "output_padding")
    if len(input._shape) != 4:
        raise RuntimeError("Expected 4D (batched) input to conv_transpose2d, but got input of size: " + repr(list(input._shape)))
    if input._shape[1] != weight._shape[0]:
        raise RuntimeError(
            "Given transposed=1, weight of size {}, expected input{} to have {} channels, but got {} channels instead".format(
                list(weight._shape), list(input._shape), weight._shape[0], input._shape[1]
            )
        )
    if any(o >= max(s, d) for o, s, d in zip(output_padding, stride, dilation)):
        raise RuntimeError("output padding must be smaller than either stride or dilation")
    if any(o >= s for o, s in zip(output_padding, stride)):
        raise Unsupported("a transposed convolution whose output padding is not smaller than its stride")
    op = {"out": weight._shape[1] * groups, "kernel": weight._shape[2:], "stride": stride, "padding": pair(padding, "padding"), "dilation": dilation}
    op.update(output_padding=output_padding, groups=groups, bias=bias is not None)
    return _weighted({"conv_transpose2d": op}, input, weight, bias)


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A matrix product over windows: no operation of the graph owns a 3-dimensional weight."""
    stride, dilation = single(stride, "stride"), single(dilation, "dilation")
    out, width, kernel = weight._shape
    if len(input._shape) != 3:
        raise Unsupported("conv1d of an input without a batch dimension")
    n, channels, _ = input._shape
    if groups <= 0 or channels != width * groups or out % groups:
        raise RuntimeError("Given groups={}, weight of size {}, expected input{} to have {} channels, but got {} channels instead".format(
            groups, list(weight._shape), list(input._shape), width * groups, channels
        ))
    if isinstance(padding, str):
        left, right = same_padding((kernel, 1), (stride, 1), (dilation, 1))[:2] if padding == "same" else (0, 0)
    else:
        left = right = single(padding, "padding")
    x = pad(input, (left, right))
    steps = (x._shape[2] - dilation * (kernel - 1) - 1) // stride + 1
    if steps < 1:
        raise RuntimeError("Kernel size can't be greater than actual input size")
    windows = [x[:, :, i * dilation : i * dilation + (steps - 1) * stride + 1 : stride] for i in range(kernel)]
    x = stack(windows, 2) if kernel > 1 else windows[0]
    x = reshape(reshape(weight, groups, out // groups, width * kernel).matmul(reshape(x, n, groups, width * kernel, steps)), n, out, steps)
    return x if bias is None else _add_channels(x, bias)


def single(value, what):
    value = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
    return pair(value, what)[0]


def linear(input, weight, bias=None):
    if weight._owned is None:
        got = input.matmul(weight.t())
        return got if bias is None else add(got, bias)
    if weight._shape is None or len(weight._shape) != 2:
        raise RuntimeError("linear needs a 2-dimensional weight")
    if not input._shape or input._shape[-1] != weight._shape[1]:
        rows = _count(input._shape[:-1])
        raise RuntimeError(
            "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})".format(rows, input._shape[-1] if input._shape else 1, weight._shape[1], weight._shape[0])
        )
    if bias is not None and bias._owned is None:
        return add(linear(input, weight), bias)
    return emit({"linear": {"out": weight._shape[0], "bias": bias is not None}}, [input], [weight] if bias is None else [weight, bias])


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if (running_mean is None) != (running_var is None):
        raise Unsupported("F.batch_norm with one of the running statistics")
    if (weight is None) != (bias is None):
        raise Unsupported("F.batch_norm with only one of weight and bias")
    op = {"eps": float(eps), "momentum": 0.0, "affine": weight is not None, "track": running_mean is not None}
    if running_mean is None:
        if not training:
            raise RuntimeError("running_mean must be defined in evaluation mode")
        return _normalised("batch_norm", op, input, weight, bias)
    if not _is_owned(running_mean, running_var):
        raise Unsupported("F.batch_norm with running statistics that are no buffers")
    if _State.number and training == (_State.number >= _State.EVALUATION):
        raise Unsupported("batch normalisation that trains in evaluation" if training else "batch normalisation in evaluation mode")
    # Evaluation moves no statistics: it says neither how fast nor what counts.
    if _State.number < _State.EVALUATION:
        running_mean._moved = (float(momentum), _State.counted)
        _State.counted = None
    op["momentum"], counter = running_mean.__dict__.get("_moved", (float(momentum), None))
    statistics = [running_mean, running_var] + ([] if counter is None else [counter])
    return _normalised("batch_norm", op, input, weight, bias, statistics)


def _normalised(kind, op, input, weight, bias, statistics=()):
    """Weights of a number a channel that forward computed are applied by themselves."""
    if weight is None or _is_owned(weight, bias):
        return emit({kind: op}, [input], ([] if weight is None else [weight, bias]) + list(statistics))
    shape = (1, -1) + (1,) * (len(input._shape) - 2)
    got = emit({kind: {**op, "affine": False}}, [input], statistics)
    return add(binary("mul", got, reshape(weight, shape)), reshape(bias, shape))


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    if (weight is None) != (bias is None):
        raise Unsupported("group_norm with only one of weight and bias")
    return _normalised("group_norm", {"groups": num_groups, "eps": float(eps), "affine": weight is not None}, input, weight, bias)


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5):
    if running_mean is not None or not use_input_stats:
        raise Unsupported("instance_norm with running statistics")
    return group_norm(input, input._shape[1], weight, bias, eps)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or input._shape[-len(shape) :] != shape:
        raise RuntimeError("Given normalized_shape={}, expected input with shape [*, {}], but got input of size{}".format(list(shape), str(list(shape))[1:-1], list(input._shape)))
    op = {"dims": len(shape), "eps": float(eps), "weight": weight is not None, "bias": bias is not None}
    if not _is_owned(weight, bias):
        got = emit({"layer_norm": {**op, "weight": False, "bias": False}}, [input])
        got = got if weight is None else binary("mul", got, weight)
        return got if bias is None else add(got, bias)
    return emit({"layer_norm": op}, [input], [t for t in (weight, bias) if t is not None])


def rms_norm(input, normalized_shape, weight=None, eps=None):
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if input._shape[-len(shape) :] != shape:
        raise RuntimeError("rms_norm over {} of an input of size {}".format(list(shape), list(input._shape)))
    power = mean(square(input), tuple(range(-len(shape), 0)), True)
    got = binary("mul", input, binary("add", power, 1.1920928955078125e-07 if eps is None else eps).rsqrt())
    return got if weight is None else binary("mul", got, weight)


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """The mean of squares over `size` neighbouring channels: average pooling of the map with its pixels in one row."""
    if len(input._shape) != 4:
        raise Unsupported("local_response_norm of other than 4-dimensional maps")
    n, c, h, w = input._shape
    power = pad(reshape(square(input), n, 1, c, h * w), (0, 0, size // 2, (size - 1) // 2))
    power = reshape(avg_pool2d(power, (size, 1), 1), n, c, h, w)
    return binary("div", input, binary("add", binary("mul", power, alpha), k) ** beta)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    return binary("div", input, clamp(norm(input, p, dim, True), eps, None))


# Pooling and resizing


def _max_indices(return_indices):
    if return_indices:
        raise Unsupported("max pooling with return_indices")


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    _max_indices(return_indices)
    kernel = pair(kernel_size, "kernel_size")
    op = {"kernel": kernel, "stride": kernel if stride is None or stride == () else pair(stride, "stride"), "padding": pair(padding, "padding")}
    return emit({"max_pool2d": {**op, "dilation": pair(dilation, "dilation"), "ceil": bool(ceil_mode)}}, [input])


def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    kernel = pair(kernel_size, "kernel_size")
    op = {"kernel": kernel, "stride": kernel if stride is None or stride == () else pair(stride, "stride"), "padding": pair(padding, "padding")}
    return emit({"avg_pool2d": {**op, "ceil": bool(ceil_mode), "count_pad": bool(count_include_pad), "divisor": divisor_override}}, [input])


def _adaptive(kind, input, output_size):
    if len(input._shape) != 4:
        raise RuntimeError(kind + " expects a 4-dimensional input, got " + repr(list(input._shape)))
    if not isinstance(output_size, (tuple, list)):
        output_size = (output_size, output_size)
    return emit({kind: {"out": pair([n if o is None else o for o, n in zip(output_size, input._shape[2:])], "output_size")}}, [input])


def adaptive_avg_pool2d(input, output_size):
    return _adaptive("adaptive_avg_pool2d", input, output_size)


def adaptive_max_pool2d(input, output_size, return_indices=False):
    _max_indices(return_indices)
    return _adaptive("adaptive_max_pool2d", input, output_size)


def pad(input, pad, mode="constant", value=None):
    pad = tuple(int(n) for n in pad)
    if len(pad) % 2 or len(pad) // 2 > len(input._shape):
        raise RuntimeError("Padding length must be divisible by 2 and at most twice the number of dimensions")
    value = 0.0 if value is None else float(value)
    rank = len(input._shape)
    if mode == "constant":
        # Negative padding cuts.
        for i in range(len(pad) // 2):
            d, (low, high) = rank - 1 - i, pad[2 * i : 2 * i + 2]
            if low < 0 or high < 0:
                input = input.narrow(d, max(0, -low), input._shape[d] - max(0, -low) - max(0, -high))
        pad = tuple(max(0, n) for n in pad)
        if any(pad[4:]):
            return _pad_by_cat(input, pad, value)
        border = {"constant": value}
    elif mode in ("reflect", "replicate", "circular"):
        if len(pad) != 4 or len(input._shape) not in (3, 4) or min(pad) < 0:
            raise Unsupported(mode + " padding of other than the last two dimensions")
        border = mode
    else:
        raise NotImplementedError("Unrecognised padding mode " + str(mode))
    pad += (0,) * (4 - len(pad))
    if not any(pad[:4]):
        return input
    if rank < 2:
        raise Unsupported("padding of a vector")
    return emit({"pad": {"padding": (pad[2], pad[3], pad[0], pad[1]), "border": border}}, [input])


def _pad_by_cat(input, pad, value):
    from torch._ops import cat

    rank = len(input._shape)
    for i in range(len(pad) // 2):
        d = rank - 1 - i
        for n, front in ((pad[2 * i], True), (pad[2 * i + 1], False)):
            if n:
                border = _full(input._shape[:d] + (n,) + input._shape[d + 1 :], value)
                input = cat([border, input] if front else [input, border], d)
    return input


def pixel_shuffle(input, upscale_factor):
    n, c, h, w = input._shape
    r = upscale_factor
    if c % (r * r):
        raise RuntimeError("pixel_shuffle expects its input's channel dimension to be divisible by the square of upscale_factor")
    return reshape(permute(reshape(input, n, c // (r * r), r, r, h, w), 0, 1, 4, 2, 5, 3), n, c // (r * r), h * r, w * r)


def pixel_unshuffle(input, downscale_factor):
    n, c, h, w = input._shape
    r = downscale_factor
    if h % r or w % r:
        raise RuntimeError("pixel_unshuffle expects height and width to be divisible by downscale_factor")
    return reshape(permute(reshape(input, n, c, h // r, r, w // r, r), 0, 1, 3, 5, 2, 4), n, c * r * r, h // r, w // r)


def channel_shuffle(input, groups):
    n, c, h, w = input._shape
    return reshape(transpose(reshape(input, n, groups, c // groups, h, w), 1, 2), n, c, h, w)


# Dropout


def _dropout(input, p, training, inplace, channels):
    p = probability(p)
    if not training or p == 0:
        return input
    got = emit({"dropout": {"p": p, "channels": channels}}, [input])
    return _become(input, got) if inplace else got


def dropout(input, p=0.5, training=True, inplace=False):
    return _dropout(input, p, training, inplace, False)


def dropout2d(input, p=0.5, training=True, inplace=False):
    return _dropout(input, p, training, inplace, True)


dropout1d = dropout2d


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        raise Unsupported("scaled_dot_product_attention with enable_gqa")
    scale = query._shape[-1] ** -0.5 if scale is None else scale
    weights = _masked(binary("mul", query.matmul(transpose(key, -2, -1)), scale), attn_mask)
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("Explicit attn_mask should not be set when is_causal=True")
        weights = _masked_fill(weights, _triu(_full(weights._shape[-2:], True), 1), -float("inf"))
    return dropout(softmax(weights, -1), dropout_p).matmul(value)


def _masked(weights, mask, keep=True):
    """Attention's scores where the mask is one of truth values that are `keep` where it looks; other masks are added."""
    if mask is None:
        return weights
    if _kind(mask) == 0:
        return _masked_fill(weights, mask.logical_not() if keep else mask, -float("inf"))
    return add(weights, mask)
