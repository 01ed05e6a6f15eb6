# Operations on tensors: arithmetic, shapes, reductions, products; and the methods of Tensor that they are.
import _math
from _import import Placeholder, Unsupported
from torch._tensor import (
    Mask, State, Tensor, _affine_init, _become, _binary_data, _broadcast_shape, _count, _data, _dim, _dims, _fixed, _number,
    _outside, _scalar, _sizes, _spread, _values, emit, full, tensor,
)


# Arithmetic


def affine(t, scale, shift):
    if _outside(t):
        return _data(t._shape, _affine_init(t._init, scale, shift))
    return emit({"affine": {"scale": float(scale), "shift": float(shift)}}, [t])


def _lift(x):
    """A zero-dimensional data tensor is a number."""
    if isinstance(x, Tensor) and not x._shape and x._node is None and x._owned is None and x._init[0] == "constant":
        return x._init[1]
    return x


def binary(kind, a, b):
    a, b = _lift(a), _lift(b)
    if _number(a) and _number(b):
        return full((), _scalar[kind](a, b))
    if _number(b):
        if kind in ("maximum", "minimum"):
            return clamp(a, b, None) if kind == "maximum" else clamp(a, None, b)
        if kind == "div" and b == 0:
            raise ZeroDivisionError("division of a tensor by zero")
        scale, shift = {"add": (1.0, b), "sub": (1.0, -b), "mul": (b, 0.0)}.get(kind) or (1.0 / b, 0.0)
        return affine(a, scale, shift)
    if _number(a):
        if kind == "sub":
            return affine(b, -1.0, a)
        if kind == "div":
            return affine(power(b, -1.0), a, 0.0)
        return binary(kind, b, a)
    for x in (a, b):
        if isinstance(x, Placeholder):
            x._refuse()
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        raise TypeError("unsupported operand types for " + kind + ": " + type(a).__name__ + " and " + type(b).__name__)
    if _outside(a) and _outside(b):
        return _binary_data(kind, a, b)
    return emit({"binary": kind}, [a, b])


def add(a, b, *, alpha=1, out=None):
    return binary("add", a, b if alpha == 1 else binary("mul", b, alpha))


def sub(a, b, *, alpha=1):
    return binary("sub", a, b if alpha == 1 else binary("mul", b, alpha))


def mul(a, b):
    return binary("mul", a, b)


def div(a, b, *, rounding_mode=None):
    if rounding_mode is not None:
        raise Unsupported("torch.div with rounding_mode")
    return binary("div", a, b)


def maximum(a, b):
    return binary("maximum", a, b)


def minimum(a, b):
    return binary("minimum", a, b)


_functions = {"neg": lambda v: -v, "exp": _math.exp, "log": _math.log, "sqrt": _math.sqrt, "abs": abs, "square": lambda v: v * v}
_functions["rsqrt"] = lambda v: 1.0 / _math.sqrt(v)


def _elementwise(function, t):
    if t._init[0] == "constant":
        return _data(t._shape, ("constant", float(function(t._init[1]))))
    return _data(t._shape, ("values", [float(function(v)) for v in _values(t)]))


def unary(kind, t):
    if _outside(t):
        if kind == "neg":
            return affine(t, -1.0, 0.0)
        return _elementwise(_functions[kind], t)
    return emit({"unary": kind}, [t])


def _trigonometric(name):
    def function(t):
        if not _outside(t):
            raise Unsupported("torch." + name + " of a traced tensor")
        return _elementwise(getattr(_math, name), t)

    return function


sin, cos = _trigonometric("sin"), _trigonometric("cos")


def floor(t):
    """Of what a source computes itself, and of a probability plus `torch.rand`: the coin of stochastic depth."""
    if not _outside(t):
        raise Unsupported("torch.floor of a traced tensor")
    kind, low, high = (t._init + (None, None))[:3]
    if kind == "uniform" and 0 <= low <= 1 and abs(high - low - 1) < 1e-12:
        return _data(t._shape, ("bernoulli", low, 1.0))
    return _elementwise(lambda v: v // 1, t)


def bernoulli(t, p=None):
    if p is None:
        if not _outside(t) or t._init[0] != "constant":
            raise Unsupported("torch.bernoulli of other than one probability")
        p = t._init[1]
    if not _number(p) or not 0 <= p <= 1:
        raise RuntimeError("bernoulli expects a probability between 0 and 1")
    return _data(t._shape, ("bernoulli", float(p), 1.0))


def neg(t):
    return unary("neg", t)


def exp(t):
    return unary("exp", t)


def log(t):
    return unary("log", t)


def sqrt(t):
    return unary("sqrt", t)


def rsqrt(t):
    return unary("rsqrt", t)


def abs_(t):
    return unary("abs", t)


def square(t):
    return unary("square", t)


def power(t, exponent):
    exponent = _lift(exponent)
    if _number(t) and isinstance(exponent, Tensor):
        if t <= 0:
            raise Unsupported("a power of a number that is not positive")
        return exp(affine(exponent, _math.log(t), 0.0))
    if not _number(exponent):
        raise Unsupported("a tensor as exponent")
    if _outside(t):
        return _elementwise(lambda v: v**exponent, t)
    if exponent == 2:
        return unary("square", t)
    if exponent == 0.5:
        return unary("sqrt", t)
    return emit({"power": {"exponent": float(exponent)}}, [t])


def reciprocal(t):
    return power(t, -1.0)


def clamp(t, min=None, max=None):
    if not (min is None or _number(min)) or not (max is None or _number(max)):
        raise Unsupported("torch.clamp with tensors as bounds")
    low = None if min is None or min == -float("inf") else float(min)
    high = None if max is None or max == float("inf") else float(max)
    if _outside(t):
        return _elementwise(lambda v: high if high is not None and v > high else low if low is not None and v < low else v, t)
    return emit({"clamp": {"low": low, "high": high}}, [t])


# Shapes


def reshape(t, *sizes):
    sizes = _sizes(sizes)
    total = _count(t._shape)
    if sizes.count(-1) > 1 or any(n < -1 for n in sizes):
        raise RuntimeError("invalid shape " + repr(list(sizes)))
    if -1 in sizes:
        rest = _count(n for n in sizes if n != -1)
        if rest == 0 or total % rest:
            raise RuntimeError("shape '" + repr(list(sizes)) + "' is invalid for input of size " + str(total))
        sizes = tuple(total // rest if n == -1 else n for n in sizes)
    if _count(sizes) != total:
        raise RuntimeError("shape '" + repr(list(sizes)) + "' is invalid for input of size " + str(total))
    if _outside(t) and t._init[0] != "orthogonal":
        return _data(sizes, t._init, t._storage)
    return emit({"reshape": {"shape": _fixed(sizes)}}, [t], storage=t._storage)


def flatten(t, start_dim=0, end_dim=-1):
    if not t._shape:
        return reshape(t, 1)
    start, end = _dim(t, start_dim), _dim(t, end_dim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    return reshape(t, t._shape[:start] + (_count(t._shape[start : end + 1]),) + t._shape[end + 1 :])


def unflatten(t, dim, sizes):
    d = _dim(t, dim)
    sizes = tuple(sizes)
    if -1 in sizes:
        rest = -_count(sizes)
        sizes = tuple(t._shape[d] // rest if n == -1 else n for n in sizes)
    return reshape(t, t._shape[:d] + sizes + t._shape[d + 1 :])


def unsqueeze(t, dim):
    d = _dim(t, dim, 1)
    return reshape(t, t._shape[:d] + (1,) + t._shape[d:])


def squeeze(t, dim=None):
    dims = _dims(t, dim)
    return reshape(t, tuple(n for i, n in enumerate(t._shape) if n != 1 or i not in dims))


def permute(t, *dims):
    dims = tuple(_dim(t, d) for d in _sizes(dims))
    if _outside(t) and t._init[0] in ("constant", "uniform", "normal", "truncated_normal") and sorted(dims) == list(range(len(t._shape))):
        return _data(tuple(t._shape[d] for d in dims), t._init, t._storage)
    return emit({"permute": {"dims": dims}}, [t], storage=t._storage)


def transpose(t, dim0, dim1):
    dims = list(range(len(t._shape)))
    a, b = _dim(t, dim0), _dim(t, dim1)
    dims[a], dims[b] = dims[b], dims[a]
    return permute(t, *dims)


def t_(t):
    if len(t._shape) > 2:
        raise RuntimeError("t() expects a tensor of at most 2 dimensions")
    return transpose(t, 0, 1) if len(t._shape) == 2 else t


def movedim(t, source, destination):
    dims = list(range(len(t._shape)))
    moved = dims.pop(_dim(t, source))
    dims.insert(_dim(t, destination), moved)
    return permute(t, *dims)


def expand(t, *sizes):
    sizes = _sizes(sizes)
    lead = len(sizes) - len(t._shape)
    sizes = tuple(t._shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(sizes))
    if sizes == t._shape:
        return t
    if _outside(t) and t._init[0] == "constant":
        if _broadcast_shape(t._shape, sizes) != sizes:
            raise RuntimeError("cannot expand " + repr(list(t._shape)) + " to " + repr(list(sizes)))
        return _data(sizes, t._init, t._storage)
    return emit({"expand": {"shape": _fixed(sizes)}}, [t], storage=t._storage)


def cat(tensors, dim=0, *, axis=None):
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("torch.cat(): expected a non-empty list of tensors")
    dim = dim if axis is None else axis
    if all(_outside(t) and t._init[0] == "values" and len(t._shape) == 1 for t in tensors):
        return tensor([v for t in tensors for v in t._init[1]])
    return emit({"cat": {"dim": _dim(tensors[0], dim)}}, tensors)


def stack(tensors, dim=0):
    return cat([unsqueeze(t, dim) for t in tensors], _dim(tensors[0], dim, 1))


def narrow(t, dim, start, length):
    d = _dim(t, dim)
    start = start + t._shape[d] if start < 0 else start
    if start < 0 or length < 0 or start + length > t._shape[d]:
        raise RuntimeError("start (" + str(start) + ") + length (" + str(length) + ") exceeds dimension size (" + str(t._shape[d]) + ").")
    return _slice(t, d, start, start + length, 1)


def _slice(t, dim, start, end, step):
    if start == 0 and end == t._shape[dim] and step == 1:
        return t
    if _outside(t) and t._init[0] == "values":
        extent, inner, kept = t._shape[dim], _count(t._shape[dim + 1 :]), range(start, end, step)
        values = [v for row in range(0, len(t._init[1]), extent * inner or 1) for i in kept for v in t._init[1][row + i * inner : row + (i + 1) * inner]]
        return _data(t._shape[:dim] + (len(kept),) + t._shape[dim + 1 :], ("values", values), t._storage)
    if _outside(t) and t._init[0] in ("constant", "uniform", "normal", "truncated_normal"):
        shape = t._shape[:dim] + (len(range(start, end, step)),) + t._shape[dim + 1 :]
        return _data(shape, t._init, t._storage)
    return emit({"slice": {"dim": dim, "start": start, "end": max(start, end), "step": step}}, [t], storage=t._storage)


def select(t, dim, index):
    d = _dim(t, dim)
    if not -t._shape[d] <= index < t._shape[d]:
        raise IndexError("index " + str(index) + " is out of bounds for dimension " + str(d) + " with size " + str(t._shape[d]))
    index %= t._shape[d]
    return reshape(_slice(t, d, index, index + 1, 1), t._shape[:d] + t._shape[d + 1 :])


def getitem(t, index):
    if not isinstance(index, tuple):
        index = (index,)
    used = sum(1 for i in index if i is not None and i is not Ellipsis)
    if used > len(t._shape):
        raise IndexError("too many indices for tensor of dimension " + str(len(t._shape)))
    at = [i for i, part in enumerate(index) if part is Ellipsis]
    if at:
        index = index[: at[0]] + (slice(None),) * (len(t._shape) - used) + index[at[0] + 1 :]
    d = 0
    for part in index:
        if part is None:
            t = unsqueeze(t, d)
            d += 1
        elif isinstance(part, bool) or isinstance(part, (Tensor, Mask, list)):
            raise Unsupported("indexing with a " + type(part).__name__)
        elif isinstance(part, slice):
            start, end, step = part.indices(t._shape[d])
            if step < 1:
                raise ValueError("step must be greater than zero")
            t = _slice(t, d, start, max(start, end), step)
            d += 1
        elif isinstance(part, int):
            t = select(t, d, part)
        else:
            raise TypeError("indices must be ints, slices, None or ..., not " + type(part).__name__)
    return t


def setitem(t, index, value):
    """Of what a source computes itself, such as a table of positions."""
    value = full((), value) if _number(value) else value
    if not isinstance(value, Tensor) or not _outside(t) or not _outside(value):
        raise Unsupported("assignment to a part of a tensor")
    values = list(_values(t))
    places = getitem(_data(t._shape, ("values", list(range(len(values))))), index)
    if _broadcast_shape(value._shape, places._shape) != places._shape:
        raise RuntimeError("shape " + repr(list(value._shape)) + " does not fit in place of " + repr(list(places._shape)))
    for place, new in zip(places._init[1], _spread(_values(value), value._shape, places._shape)):
        values[place] = new
    _become(t, _data(t._shape, ("values", values)))


def split(t, split_size, dim=0):
    d = _dim(t, dim)
    extent = t._shape[d]
    if isinstance(split_size, int):
        if split_size <= 0:
            raise RuntimeError("split expects a positive split_size")
        split_size = [min(split_size, extent - i) for i in range(0, extent, split_size)]
    if sum(split_size) != extent:
        raise RuntimeError("split sizes " + repr(list(split_size)) + " do not add up to " + str(extent))
    parts, start = [], 0
    for n in split_size:
        parts.append(_slice(t, d, start, start + n, 1))
        start += n
    return tuple(parts)


def chunk(t, chunks, dim=0):
    if not isinstance(chunks, int) or chunks <= 0:
        raise RuntimeError("chunk expects a positive number of chunks")
    extent = t._shape[_dim(t, dim)]
    return split(t, max(1, -(-extent // chunks)), dim)


def unbind(t, dim=0):
    return tuple(select(t, dim, i) for i in range(t._shape[_dim(t, dim)]))


def repeat(t, *sizes):
    sizes = _sizes(sizes)
    t = reshape(t, (1,) * (len(sizes) - len(t._shape)) + t._shape)
    for d, n in enumerate(sizes):
        if n > 1:
            t = cat([t] * n, d)
    return t


def roll(t, shifts, dims=None):
    if dims is None:
        raise Unsupported("torch.roll without dims")
    shifts = (shifts,) if isinstance(shifts, int) else shifts
    dims = (dims,) if isinstance(dims, int) else dims
    for n, dim in zip(shifts, dims):
        extent = t._shape[_dim(t, dim)]
        n %= extent
        if n:
            t = cat([narrow(t, dim, extent - n, n), narrow(t, dim, 0, extent - n)], dim)
    return t


# Reductions


def _reduce(kind, t, dim, keepdim):
    if _outside(t) and State.number == 0 and dim is None and t._init[0] == "values":
        values = t._init[1]
        return full((), {"sum": sum, "mean": lambda v: sum(v) / len(v), "max": max, "min": min}[kind](values))
    return emit({"reduce": {"kind": kind, "dims": _dims(t, dim), "keep": bool(keepdim)}}, [t])


def mean(t, dim=None, keepdim=False, *, axis=None, dtype=None):
    return _reduce("mean", t, dim if axis is None else axis, keepdim)


def sum_(t, dim=None, keepdim=False, *, axis=None, dtype=None):
    return _reduce("sum", t, dim if axis is None else axis, keepdim)


def amax(t, dim=None, keepdim=False):
    return _reduce("max", t, dim, keepdim)


def amin(t, dim=None, keepdim=False):
    return _reduce("min", t, dim, keepdim)


class _Indices:
    def __getattr__(self, name):
        raise Unsupported("the indices of torch.max or torch.min")


class _Extreme(tuple):
    values = property(lambda self: self[0])
    indices = property(lambda self: self[1])


def max_(t, dim=None, keepdim=False):
    if isinstance(dim, Tensor):
        return maximum(t, dim)
    return _reduce("max", t, None, False) if dim is None else _Extreme((_reduce("max", t, dim, keepdim), _Indices()))


def min_(t, dim=None, keepdim=False):
    if isinstance(dim, Tensor):
        return minimum(t, dim)
    return _reduce("min", t, None, False) if dim is None else _Extreme((_reduce("min", t, dim, keepdim), _Indices()))


def var(t, dim=None, unbiased=True, keepdim=False, *, correction=None):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    correction = (1 if unbiased else 0) if correction is None else correction
    return emit({"variance": {"dims": _dims(t, dim), "keep": bool(keepdim), "correction": correction}}, [t])


def std(t, dim=None, unbiased=True, keepdim=False, *, correction=None):
    return sqrt(var(t, dim, unbiased, keepdim, correction=correction))


def norm(t, p=2, dim=None, keepdim=False):
    if p in (2, "fro"):
        return sqrt(sum_(square(t), dim, keepdim))
    if p == 1:
        return sum_(abs_(t), dim, keepdim)
    raise Unsupported("a norm with p=" + repr(p))


# Products


def matmul(a, b):
    if len(a._shape) == 1 and len(b._shape) >= 2:
        got = matmul(unsqueeze(a, 0), b)
        return squeeze(got, -2)
    if len(b._shape) == 1 and len(a._shape) >= 2:
        return squeeze(matmul(a, unsqueeze(b, 1)), -1)
    return emit("mat_mul", [a, b])


def bmm(a, b):
    if len(a._shape) != 3 or len(b._shape) != 3 or a._shape[0] != b._shape[0]:
        raise RuntimeError("batch matrix product of " + repr(list(a._shape)) + " and " + repr(list(b._shape)))
    return matmul(a, b)


def mm(a, b):
    if len(a._shape) != 2 or len(b._shape) != 2:
        raise RuntimeError("matrix product of " + repr(list(a._shape)) + " and " + repr(list(b._shape)))
    return matmul(a, b)


# Methods


def _in_place(function):
    def method(self, *args, **kwargs):
        return _become(self, function(self, *args, **kwargs))

    return method


def _methods():
    plain = dict(
        add=add, sub=sub, mul=mul, multiply=mul, div=div, divide=div, true_divide=div, subtract=sub, maximum=maximum, minimum=minimum, neg=neg,
        exp=exp, log=log, sqrt=sqrt, rsqrt=rsqrt, abs=abs_, square=square, pow=power, reciprocal=reciprocal, clamp=clamp, clip=clamp, sin=sin, cos=cos, floor=floor,
        reshape=reshape, view=reshape, flatten=flatten, unflatten=unflatten, unsqueeze=unsqueeze, squeeze=squeeze, permute=permute,
        transpose=transpose, swapaxes=transpose, t=t_, movedim=movedim, expand=expand, narrow=narrow, select=select, split=split, chunk=chunk,
        unbind=unbind, repeat=repeat, roll=roll, mean=mean, sum=sum_, amax=amax, amin=amin, max=max_, min=min_, var=var, std=std, norm=norm,
        matmul=matmul, bmm=bmm, mm=mm,
    )
    for name, function in plain.items():
        setattr(Tensor, name, function)
    for name in ("add", "sub", "mul", "div", "neg", "exp", "log", "sqrt", "abs", "square", "pow", "clamp", "floor"):
        setattr(Tensor, name + "_", _in_place(plain[name]))
    for name, function in (("add", add), ("sub", sub), ("mul", mul), ("truediv", div), ("pow", power), ("matmul", matmul)):
        setattr(Tensor, "__" + name + "__", function)
        setattr(Tensor, "__r" + name + "__", lambda a, b, function=function: function(b, a))
        setattr(Tensor, "__i" + name + "__", _in_place(function))
    Tensor.copy_ = lambda t, other: _become(t, expand(other, t._shape))
    Tensor.__neg__ = neg
    Tensor.__abs__ = abs_
    Tensor.__getitem__ = getitem
    Tensor.__setitem__ = setitem
    Tensor.expand_as = lambda a, b: expand(a, b._shape)
    Tensor.view_as = Tensor.reshape_as = lambda a, b: reshape(a, b._shape)
    Tensor.clamp_min = lambda t, low: clamp(t, low, None)
    Tensor.clamp_max = lambda t, high: clamp(t, None, high)
    Tensor.new_zeros = lambda t, *sizes, **kwargs: full(_sizes(sizes), 0.0)
    Tensor.new_ones = lambda t, *sizes, **kwargs: full(_sizes(sizes), 1.0)
    Tensor.T = property(lambda t: permute(t, *reversed(range(len(t._shape)))))
    Tensor.mT = property(lambda t: transpose(t, -2, -1))
    Tensor.normal_ = lambda t, mean=0.0, std=1.0: _become(t, _data(t._shape, ("normal", float(mean), float(std))))
    Tensor.bernoulli_ = _in_place(lambda t, p=0.5: bernoulli(t, p))
    Tensor.uniform_ = lambda t, low=0.0, high=1.0: _become(t, _data(t._shape, ("uniform", float(low), float(high))))


_methods()
