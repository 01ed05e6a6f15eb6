# Operations on tensors: arithmetic, reductions, products, with those of _shapes; and the methods of Tensor that they are.
import _math
from _import import Placeholder, Unsupported
from torch._shapes import (
    cat, chunk, expand, flatten, getitem, movedim, narrow, permute, repeat, reshape, roll, select, setitem, split, squeeze, stack, t_, transpose,
    unbind, unflatten, unsqueeze,
)
from torch._tensor import State, Tensor, _affine_init, _become, _binary_data, _data, _dims, _number, _outside, _scalar, _sizes, _values, emit, full


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
