# `torch.nn.init`: how a tensor starts, not its values.
import math
from _import import Unsupported, missing, public
from torch._tensor import Tensor, _become, _count, _data, _outside

public.add("torch.nn.init")
__getattr__ = missing("torch.nn.init")


def _start(tensor, kind, *numbers):
    if not isinstance(tensor, Tensor):
        raise TypeError("expected a tensor, not " + type(tensor).__name__)
    if tensor._shape is None:
        raise ValueError("a lazy parameter is initialised before its first call")
    return _become(tensor, _data(tensor._shape, (kind,) + tuple(float(n) for n in numbers)))


def _fans(tensor):
    if tensor._shape is None:
        raise ValueError("a lazy parameter is initialised before its first call")
    if len(tensor._shape) < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    receptive = _count(tensor._shape[2:])
    return tensor._shape[1] * receptive, tensor._shape[0] * receptive


_calculate_fan_in_and_fan_out = _fans


def calculate_gain(nonlinearity, param=None):
    if nonlinearity in ("linear", "sigmoid", "conv1d", "conv2d", "conv3d", "conv_transpose2d"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return 2.0**0.5
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return (2.0 / (1 + slope * slope)) ** 0.5
    if nonlinearity in ("conv_transpose1d", "conv_transpose3d"):
        return 1.0
    if nonlinearity == "selu":
        return 0.75
    raise ValueError("Unsupported nonlinearity " + str(nonlinearity))


def _kaiming(tensor, a, mode, nonlinearity):
    fan_in, fan_out = _fans(tensor)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError("Mode " + repr(mode) + " not supported, please use one of ['fan_in', 'fan_out']")
    return calculate_gain(nonlinearity, a) / max(1, fan_in if mode == "fan_in" else fan_out) ** 0.5


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    bound = 3.0**0.5 * _kaiming(tensor, a, mode, nonlinearity)
    return _start(tensor, "uniform", -bound, bound)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    return _start(tensor, "normal", 0, _kaiming(tensor, a, mode, nonlinearity))


def xavier_uniform_(tensor, gain=1.0, generator=None):
    bound = gain * (6.0 / sum(_fans(tensor))) ** 0.5
    return _start(tensor, "uniform", -bound, bound)


def xavier_normal_(tensor, gain=1.0, generator=None):
    return _start(tensor, "normal", 0, gain * (2.0 / sum(_fans(tensor))) ** 0.5)


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    return _start(tensor, "normal", mean, std)


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    return _start(tensor, "uniform", a, b)


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    return _start(tensor, "truncated_normal", mean, std, a, b)


def constant_(tensor, val):
    return _start(tensor, "constant", val)


def zeros_(tensor):
    return _start(tensor, "constant", 0)


def ones_(tensor):
    return _start(tensor, "constant", 1)


def eye_(tensor):
    rows, columns = tensor._shape
    return _become(tensor, _data(tensor._shape, ("values", [float(i == j) for i in range(rows) for j in range(columns)])))


def dirac_(tensor, groups=1):
    shape = tensor._shape
    if len(shape) not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    inner, each = _count(shape[2:]), shape[0] // groups
    middle = 0
    for n in shape[2:]:
        middle = middle * n + n // 2
    values = [0.0] * _count(shape)
    for group in range(groups):
        for d in range(min(each, shape[1])):
            values[((group * each + d) * shape[1] + d) * inner + middle] = 1.0
    return _become(tensor, _data(shape, ("values", values)))


def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Some of each column zero, the others normal: drawn here, since no distribution says so."""
    from _import import Unsupported
    from _twister import Twister

    if len(tensor._shape) != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor._shape
    if rows * columns > 1 << 16:
        raise Unsupported("torch.nn.init.sparse_ of more than 65,536 numbers")
    draw = Twister()
    values = [std * draw.polar() for _ in range(rows * columns)]
    for column in range(columns):
        order = list(range(rows))
        for i in range(rows - 1, 0, -1):
            j = draw.below(i + 1)
            order[i], order[j] = order[j], order[i]
        for row in order[: -int(-sparsity * rows // 1)]:
            values[row * columns + column] = 0.0
    return _become(tensor, _data(tensor._shape, ("values", values)))


def orthogonal_(tensor, gain=1, generator=None):
    _fans(tensor)
    return _start(tensor, "orthogonal", gain)


kaiming_uniform, kaiming_normal, xavier_uniform, xavier_normal = kaiming_uniform_, kaiming_normal_, xavier_uniform_, xavier_normal_
normal, uniform, constant, orthogonal = normal_, uniform_, constant_, orthogonal_
_no_grad_trunc_normal_ = _trunc_normal_ = trunc_normal_


def _calculate_correct_fan(tensor, mode):
    return _fans(tensor)[0 if mode.lower() == "fan_in" else 1]


# What code of its own draws a truncated normal distribution by


_FAR = 5.8  # where the error function is 1 to the last bit


def _inverse_erf(y):
    """By Newton's rule from the approximation of Winitzki (2008)."""
    if abs(y) >= 1:
        return _FAR if y > 0 else -_FAR
    a, rest = 0.147, math.log(1 - y * y)
    t = 2 / (math.pi * a) + rest / 2
    x = ((t * t - rest / a) ** 0.5 - t) ** 0.5
    for _ in range(4):
        x -= (math.erf(x) - abs(y)) / (2 / math.pi**0.5 * math.exp(-x * x))
    x = min(x, _FAR)
    return x if y >= 0 else -x


def _erfinv(input):
    """Of a uniform law it is a truncated normal one: erf(z sqrt(1/2)) is uniform where z is normal."""
    if not _outside(input):
        raise Unsupported("torch.erfinv of what forward computed")
    law, numbers = input._init[0], input._init[1:]
    if law == "uniform" and -1 <= numbers[0] < numbers[1] <= 1:
        return _data(input._shape, ("truncated_normal", 0.0, 0.5**0.5, _inverse_erf(numbers[0]), _inverse_erf(numbers[1])))
    if law == "constant":
        return _data(input._shape, (law, _inverse_erf(numbers[0])))
    if law == "values":
        return _data(input._shape, (law, [_inverse_erf(v) for v in numbers[0]]))
    raise Unsupported("torch.erfinv of a tensor that starts " + law)


Tensor.erfinv = _erfinv
Tensor.erfinv_ = lambda tensor: _become(tensor, _erfinv(tensor))
