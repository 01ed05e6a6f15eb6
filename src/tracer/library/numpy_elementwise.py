# numpy's functions of each element, and the operators that they are.
import math

import numpy
from _import import Unsupported
from numpy import _convert, _kind_of, _spread, _strides, _together, _wider, array, bool_, float64, int64, inf, nan, ndarray
from torch._tensor import Tensor


def _given(x):
    return x if isinstance(x, ndarray) else array(x)


def _finish(values, shape, kind):
    return kind(values[0]) if shape == () else ndarray(values, shape, kind)


def _unary(function, kind=None):
    def apply(x, out=None, **kwargs):
        if isinstance(x, Tensor):
            raise Unsupported("a numpy function of a tensor")
        x = _given(x)
        to = kind or (int64 if x.dtype is bool_ else x.dtype)
        return _finish([_convert(to, function(v)) for v in x.values], x.shape, to)

    return apply


def _binary(function, kind=None):
    def apply(a, b, out=None, **kwargs):
        a, b = _given(a), _given(b)
        shape = _together([a.shape, b.shape])
        to = kind or _wider(a.dtype, b.dtype)
        return _finish([_convert(to, function(x, y)) for x, y in zip(_spread(a, shape), _spread(b, shape))], shape, to)

    return apply


def _even(x, decimals=0):
    if decimals == 0:
        return x if isinstance(x, int) or x != x or x in (inf, -inf) else float(round(x))
    scale = 10.0 ** abs(decimals)
    return float(round(x * scale)) / scale if decimals > 0 else float(round(x / scale)) * scale


def around(a, decimals=0, out=None):
    return _unary(lambda v: _even(v, decimals))(a)


round_ = around


def _log(v):
    return math.log(v) if v > 0 else -inf if v == 0 else nan


def _whole(function):
    return lambda v: float(function(v)) if isinstance(v, float) and v == v and v not in (inf, -inf) else v


def _divide(a, b):
    if b == 0:
        return nan if a == 0 or a != a else inf if a > 0 else -inf
    return a / b


def _sign(v):
    return (v > 0) - (v < 0)


ceil, floor, trunc = _unary(_whole(math.ceil)), _unary(_whole(math.floor)), _unary(_whole(math.trunc))
fix, rint = trunc, around
sqrt = _unary(lambda v: math.sqrt(v) if v >= 0 else nan, float64)
cbrt, exp, expm1, exp2 = [_unary(f, float64) for f in (math.cbrt, math.exp, math.expm1, math.exp2)]
log = _unary(_log, float64)
log2 = _unary(lambda v: math.log2(v) if v > 0 else _log(v), float64)
log10 = _unary(lambda v: math.log10(v) if v > 0 else _log(v), float64)
log1p, sin, cos, tan = [_unary(f, float64) for f in (math.log1p, math.sin, math.cos, math.tan)]
arcsin, arccos, arctan, sinh, cosh, tanh = [_unary(f, float64) for f in (math.asin, math.acos, math.atan, math.sinh, math.cosh, math.tanh)]
deg2rad, rad2deg = _unary(math.radians, float64), _unary(math.degrees, float64)
square, negative, positive, reciprocal = _unary(lambda v: v * v), _unary(lambda v: -v), _unary(lambda v: v), _unary(lambda v: 1 / v)
absolute = fabs = _unary(lambda v: -v if v < 0 else v)
sign = _unary(_sign)
isnan, isinf, isfinite = [_unary(f, bool_) for f in (math.isnan, math.isinf, math.isfinite)]
logical_not = _unary(lambda v: not v, bool_)
add, subtract, multiply = _binary(lambda a, b: a + b), _binary(lambda a, b: a - b), _binary(lambda a, b: a * b)
divide = true_divide = _binary(_divide, float64)
floor_divide = _binary(lambda a, b: a // b if b else 0)
mod = remainder = _binary(lambda a, b: a % b if b else 0)
maximum = fmax = _binary(lambda a, b: a if a >= b or a != a else b)
minimum = fmin = _binary(lambda a, b: a if a <= b or a != a else b)
arctan2, hypot = _binary(math.atan2, float64), _binary(math.hypot, float64)
logical_and, logical_or = _binary(lambda a, b: a and b, bool_), _binary(lambda a, b: a or b, bool_)
equal, not_equal = _binary(lambda a, b: a == b, bool_), _binary(lambda a, b: a != b, bool_)
less, less_equal = _binary(lambda a, b: a < b, bool_), _binary(lambda a, b: a <= b, bool_)
greater, greater_equal = _binary(lambda a, b: a > b, bool_), _binary(lambda a, b: a >= b, bool_)
bitwise_and, bitwise_or = _binary(lambda a, b: a & b), _binary(lambda a, b: a | b)


def _raised(a, b):
    if isinstance(a, int) and isinstance(b, int) and b < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    if a == 0 and b < 0:
        return inf
    return nan if a < 0 and b != int(b) else a**b


power = float_power = _binary(_raised)


# Operators, of arrays and of scalars


def _operator(function, turned=False):
    def method(a, b):
        if isinstance(b, Tensor):
            return NotImplemented
        if not isinstance(b, (ndarray, int, float, list, tuple)):
            return NotImplemented
        return function(b, a) if turned else function(a, b)

    return method


def _equality(function, otherwise):
    def method(a, b):
        if b is None or isinstance(b, (str, type)):
            return otherwise
        return function(a, b)

    return method


_arithmetic = {"add": add, "sub": subtract, "mul": multiply, "truediv": divide, "floordiv": floor_divide, "mod": mod, "pow": power}
for _cls in (ndarray, float64, int64, bool_):
    for _name, _function in _arithmetic.items():
        setattr(_cls, "__" + _name + "__", _operator(_function))
        setattr(_cls, "__r" + _name + "__", _operator(_function, True))
    _cls.__neg__, _cls.__abs__, _cls.__pos__ = (lambda a: negative(a)), (lambda a: absolute(a)), (lambda a: a)
for _name, _function in {"lt": less, "le": less_equal, "gt": greater, "ge": greater_equal}.items():
    setattr(ndarray, "__" + _name + "__", _operator(_function))
ndarray.__eq__, ndarray.__ne__ = _equality(equal, False), _equality(not_equal, True)
ndarray.__and__, ndarray.__or__, ndarray.__invert__ = bitwise_and, bitwise_or, logical_not
ndarray.__round__ = float64.__round__ = lambda a, decimals=None: around(a, decimals or 0) if isinstance(a, ndarray) or decimals is not None else int(around(a))


def _outer(function):
    def outer(a, b):
        a, b = array(a).ravel(), array(b).ravel()
        return function(a.reshape(-1, 1), b.reshape(1, -1))

    return outer


outer = _outer(multiply)
numpy.round, numpy.abs = around, absolute


def clip(a, a_min=None, a_max=None, out=None):
    a = a if a_min is None else maximum(a, a_min)
    return a if a_max is None else minimum(a, a_max)


def isclose(a, b, rtol=1e-05, atol=1e-08):
    return less_equal(absolute(subtract(a, b)), add(atol, multiply(rtol, absolute(b))))


def where(condition, *branches):
    condition = array(condition)
    if not branches:
        if condition.ndim != 1:
            raise Unsupported("numpy.where with one argument of other than one dimension")
        return (array([i for i, v in enumerate(condition.values) if v], dtype=int),)
    x, y = [array(branch) for branch in branches]
    shape = _together([condition.shape, x.shape, y.shape])
    kind = _wider(x.dtype, y.dtype)
    rows = zip(_spread(condition, shape), _spread(x, shape), _spread(y, shape))
    return _finish([_convert(kind, a if c else b) for c, a, b in rows], shape, kind)


numpy.__dict__.update({name: value for name, value in globals().items() if name[0] != "_" and name not in ("math", "numpy")})
