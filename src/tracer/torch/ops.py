# Operations on tensors: arithmetic, reductions, products, with those of _shapes; and the methods of Tensor that they are.
import _math
from _import import Placeholder, Unsupported
from torch._shapes import (
    cat, chunk, expand, flatten, getitem, movedim, narrow, permute, repeat, reshape, roll, select, setitem, split, squeeze, stack, t_, transpose,
    unbind, unflatten, unsqueeze,
)
from torch._tensor import (
    Tensor, _affine_init, _become, _binary_data, _comparisons, _count, _data, _dim, _dims, _grows, _kind, _kinds, _number, _outside, _scalar, _sizes, _typed, _values, emit,
    full, is_counter, tensor,
)
import torch


# Arithmetic


def affine(t, scale, shift):
    if _outside(t):
        return _data(t._shape, _affine_init(t._init, scale, shift))
    return emit({"affine": {"scale": float(scale), "shift": float(shift)}}, [t])


def _promoted(a, b):
    return _kinds[max(_kind(a), _kind(b))]


def _lift(x):
    """A zero-dimensional data tensor is a number."""
    if isinstance(x, Tensor) and not x._shape and x._node is None and x._owned is None and x._init[0] == "constant":
        return x._init[1]
    return x


def binary(kind, a, b):
    for x in (a, b):
        if isinstance(x, Placeholder):
            x._refuse()
        if not isinstance(x, Tensor) and not _number(x):
            raise TypeError("unsupported operand types for " + kind + ": " + type(a).__name__ + " and " + type(b).__name__)
    dtype = torch.float32 if kind == "div" else _promoted(a, b)
    if dtype is torch.bool:
        if kind == "sub":
            raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported")
        # The sum of truth values is their "or".
        kind = "maximum" if kind == "add" else kind
    elif kind == "sub" and any(isinstance(x, Tensor) and _kind(x) == 0 for x in (a, b)):
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. Use the `~` or `logical_not()` operator instead.")
    return _typed(_binary(kind, a, b), dtype)


def _is_endless(x):
    return _number(x) and x - x != 0


def _binary(kind, a, b):
    a, b = _lift(a), _lift(b)
    if _number(a) and _number(b):
        return full((), float(_scalar[kind](a, b)))
    if _is_endless(a) or _is_endless(b):
        return _binary(kind, *[tensor([float(x)]) if _number(x) else x for x in (a, b)])
    if _number(b):
        if kind in ("maximum", "minimum"):
            return clamp(a, b, None) if kind == "maximum" else clamp(a, None, b)
        if kind == "div" and b == 0:
            if _outside(a):
                return _elementwise(lambda v: v * float("inf"), a)
            raise ZeroDivisionError("division of a tensor by zero")
        scale, shift = {"add": (1.0, b), "sub": (1.0, -b), "mul": (b, 0.0)}.get(kind) or (1.0 / b, 0.0)
        return affine(a, scale, shift)
    if _number(a):
        if kind == "sub":
            return affine(b, -1.0, a)
        if kind == "div":
            return affine(power(b, -1.0), a, 0.0)
        return _binary(kind, b, a)
    if _outside(a) and _outside(b):
        return _binary_data(kind, a, b)
    return emit({"binary": kind}, [a, b])


def compare(kind, a, b):
    """Truth values: 1 where it holds, else 0."""
    a, b = _lift(a), _lift(b)
    if _number(a) and _number(b):
        return full((), bool(_scalar[kind](a, b)))
    a, b = [full((), x) if _number(x) else x for x in (a, b)]
    for x in (a, b):
        if not isinstance(x, Tensor):
            raise TypeError("cannot compare a tensor with a " + type(x).__name__)
    if _outside(a) and _outside(b):
        # Of numbers that are known; random ones are not.
        _values(a), _values(b)
        return _typed(_binary_data(kind, a, b), torch.bool)
    return emit({"compare": kind}, [a, b], dtype=torch.bool)


def _comparison(kind):
    return lambda a, b, *, out=None: compare(kind, a, b)


def _equality(kind, otherwise):
    def method(a, b):
        return compare(kind, a, b) if isinstance(b, Tensor) or _number(b) else otherwise

    return method


def logical_not(t):
    return compare("eq", t, 0)


def _truth(t):
    return t if isinstance(t, Tensor) and _kind(t) == 0 else compare("ne", t, 0)


def logical_and(a, b):
    return binary("mul", _truth(a), _truth(b))


def logical_or(a, b):
    return binary("maximum", _truth(a), _truth(b))


def logical_xor(a, b):
    return compare("ne", _truth(a), _truth(b))


def _bitwise(function, name):
    def method(a, b):
        for x in (a, b):
            if _kind(x) == 2:
                raise RuntimeError("\"" + name + "_cpu\" not implemented for 'Float'")
            if _kind(x) == 1:
                raise Unsupported("torch.bitwise_" + name + " of whole numbers")
        return function(a, b)

    return method


def invert(t):
    if _kind(t) != 0:
        raise Unsupported("torch.bitwise_not of other than truth values")
    return logical_not(t)


def add(a, b, *, alpha=1, out=None):
    got = binary("add", a, b if alpha == 1 else binary("mul", b, alpha))
    if is_counter(a) and _number(b) and b == 1 == alpha:
        got._counts = a
    return got


def sub(a, b, *, alpha=1):
    return binary("sub", a, b if alpha == 1 else binary("mul", b, alpha))


def mul(a, b):
    return binary("mul", a, b)


def div(a, b, *, rounding_mode=None):
    if rounding_mode is None:
        return binary("div", a, b)
    if rounding_mode not in ("floor", "trunc"):
        raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but found " + repr(rounding_mode))
    if max(_kind(a), _kind(b)) == 2:
        from torch._choice import floor_of_known

        return floor_of_known(a, b, rounding_mode)
    return _typed(unary(rounding_mode, binary("div", a, b)), torch.int64)


def floor_divide(a, b):
    """Of whole numbers: of fractions PyTorch's last digit is another than that of a rounded quotient."""
    if max(_kind(a), _kind(b)) == 2:
        raise Unsupported("the operator // of tensors that are no whole numbers")
    return div(a, b, rounding_mode="floor")


def remainder(a, b):
    if max(_kind(a), _kind(b)) == 2:
        raise Unsupported("the operator % of tensors that are no whole numbers")
    return sub(a, mul(floor_divide(a, b), b))


def maximum(a, b):
    return binary("maximum", a, b)


def minimum(a, b):
    return binary("minimum", a, b)


def _nearest(v):
    down = v // 1
    return down + 1 if v - down > 0.5 or (v - down == 0.5 and down % 2) else down


def _erf(v):
    """The series within three deviations, the continued fraction of erfc beyond."""
    x = abs(v)
    if x > 6:
        return 1.0 if v > 0 else -1.0
    if x < 3:
        term = total = x
        n = 0
        while abs(term) > 1e-17 * abs(total):
            n += 1
            term = -term * x * x / n
            total += term / (2 * n + 1)
        y = 1.1283791670955126 * total
    else:
        f = x
        for k in range(60, 0, -1):
            f = x + 0.5 * k / f
        y = 1.0 - _math.exp(-x * x) / (f * 1.7724538509055159)
    return y if v > 0 else -y


_functions = {"neg": lambda v: -v, "abs": abs, "square": lambda v: v * v, "floor": lambda v: v // 1, "ceil": lambda v: -(-v // 1), "round": _nearest}
_functions.update({name: getattr(_math, name) for name in ("exp", "log", "sqrt", "log1p", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh")})
_functions.update(
    rsqrt=lambda v: 1.0 / _math.sqrt(v), root=_math.sqrt, erf=_erf, trunc=lambda v: v // 1 if v > 0 else -(-v // 1), sign=lambda v: (v > 0) - (v < 0)
)
_whole = ("floor", "ceil", "round", "trunc", "sign", "neg", "abs", "square")  # whole numbers stay so


def _elementwise(function, t):
    if t._init[0] == "constant":
        return _data(t._shape, ("constant", float(function(t._init[1]))))
    return _data(t._shape, ("values", [float(function(v)) for v in _values(t)]))


def unary(kind, t):
    if not isinstance(t, Tensor):
        raise TypeError(kind + "(): argument 'input' must be Tensor, not " + type(t).__name__)
    if _kind(t) == 0 and kind == "neg":
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported")
    dtype = t.dtype if kind in _whole and _kind(t) else torch.float32
    if _outside(t):
        return _typed(affine(t, -1.0, 0.0) if kind == "neg" else _elementwise(_functions[kind], t), dtype)
    return emit({"unary": kind}, [t], dtype=dtype)


def _unary(kind):
    return lambda input, *, out=None: unary(kind, input)


neg, exp, log, sqrt, rsqrt, abs_, square = [_unary(kind) for kind in ("neg", "exp", "log", "sqrt", "rsqrt", "abs", "square")]
log1p, expm1, sin, cos, tan, atan, sinh, cosh = [_unary(kind) for kind in ("log1p", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh")]
erf, floor, ceil, trunc, sign = [_unary(kind) for kind in ("erf", "floor", "ceil", "trunc", "sign")]


def round_(input, *, decimals=0):
    if decimals:
        raise Unsupported("torch.round with decimals")
    return unary("round", input)


def erfc(t):
    return affine(unary("erf", t), -1.0, 1.0)


def log2(t):
    return affine(unary("log", t), 1.4426950408889634, 0.0)


def log10(t):
    return affine(unary("log", t), 0.4342944819032518, 0.0)


def exp2(t):
    return unary("exp", affine(t, 0.6931471805599453, 0.0))


def frac(t):
    return binary("sub", t, unary("trunc", t))


def bernoulli(t, p=None, *, generator=None):
    """A draw of each probability."""
    p = t if p is None else p
    if isinstance(p, Tensor):
        if not _outside(p):
            return cast(compare("lt", _data(p._shape, ("uniform", 0.0, 1.0)), p), torch.float32)
        if p._init[0] != "constant":
            raise Unsupported("torch.bernoulli of other than one probability while the network is built")
        p = p._init[1]
    if not _number(p) or not 0 <= p <= 1:
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    return _data(t._shape, ("bernoulli", float(p)))


# Types


def _as(t, dtype):
    """The same numbers under another type, shared with nothing."""
    return _typed(_data(t._shape, t._init) if _outside(t) else emit_again(t), dtype)


def emit_again(t):
    from torch._tensor import _traced, node_of

    return _traced(node_of(t), t._shape)


def cast(t, dtype):
    if dtype is None or dtype.kind == _kind(t) == 2 or dtype is t.dtype:
        return t
    if dtype.kind == 0:
        return compare("ne", t, 0)
    if dtype.kind == 1 and _kind(t) == 2:
        return _typed(unary("trunc", t), dtype)
    return _as(t, dtype)


def _to(t, *args, dtype=None, other=None, **kwargs):
    for item in args + (other,):
        if isinstance(item, torch.dtype):
            dtype = item
        elif isinstance(item, Tensor):
            dtype = item.dtype
    return cast(t, dtype)


def _type(t, dtype=None, **kwargs):
    if dtype is None:
        return "torch." + {0: "Bool", 1: "Long", 2: "Float"}[_kind(t)] + "Tensor"
    if isinstance(dtype, str):
        names = {"BoolTensor": torch.bool, "LongTensor": torch.int64, "IntTensor": torch.int32}
        dtype = names.get(dtype.rpartition(".")[2], torch.float32)
    return cast(t, dtype if isinstance(dtype, torch.dtype) else torch.float32)


def power(t, exponent):
    exponent = _lift(exponent)
    if _number(t) and isinstance(exponent, Tensor):
        if t <= 0:
            raise Unsupported("a power of a number that is not positive")
        return exp(affine(exponent, _math.log(t), 0.0))
    if isinstance(exponent, Tensor):
        return binary("power", t, exponent)
    if not _number(exponent):
        raise TypeError("an exponent cannot be a " + type(exponent).__name__)
    if _outside(t):
        return _typed(_elementwise(lambda v: v**exponent, t), _promoted(t, exponent))
    if exponent == 1:
        return emit_again(t)
    if exponent == 2:
        return unary("square", t)
    if exponent == 0.5:
        return unary("sqrt", t)
    return emit({"power": {"exponent": float(exponent)}}, [t])


def reciprocal(t):
    return power(t, -1.0)


def clamp(t, min=None, max=None, *, out=None):
    min, max = _lift(min), _lift(max)
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        t = t if min is None else maximum(t, min)
        return t if max is None else minimum(t, max)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    low = None if min is None or min == -float("inf") else float(min)
    high = None if max is None or max == float("inf") else float(max)
    if _outside(t):
        law, ends = t._init[0], t._init[-2:]
        if law in ("uniform", "truncated_normal") and (low is None or low <= ends[0] + 1e-6) and (high is None or high >= ends[1] - 1e-6):
            return _data(t._shape, t._init)
        return _elementwise(lambda v: high if high is not None and v > high else low if low is not None and v < low else v, t)
    return emit({"clamp": {"low": low, "high": high}}, [t])


# Reductions


_reductions = {"sum": sum, "mean": lambda v: sum(v) / len(v), "max": max, "min": min}


def _rows(t, dims):
    """The numbers that a reduction over these dimensions takes together, and the shape of what it leaves."""
    from torch._shapes import offsets, strides

    values, steps = _values(t), strides(t._shape)
    kept = [d for d in range(len(t._shape)) if d not in dims]
    inner = offsets([t._shape[d] for d in dims], [steps[d] for d in dims])
    outer = offsets([t._shape[d] for d in kept], [steps[d] for d in kept])
    return [[values[at + by] for by in inner] for at in outer], tuple(t._shape[d] for d in kept)


def _reduce(kind, t, dim, keepdim):
    dims = _dims(t, dim)
    if kind == "mean" and _kind(t) < 2:
        raise RuntimeError("mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype.")
    dtype = torch.int64 if kind == "sum" and _kind(t) < 2 else t.dtype
    if _outside(t) and t._init[0] in ("constant", "values") and 0 < _count(t._shape) <= 1 << 20 and not _grows(t._shape):
        rows, shape = _rows(t, dims)
        shape = tuple(1 if d in dims else n for d, n in enumerate(t._shape)) if keepdim else shape
        return _data(shape, ("values", [float(_reductions[kind](row)) for row in rows]), dtype=dtype)
    return emit({"reduce": {"kind": kind, "dims": dims, "keep": bool(keepdim)}}, [t], dtype=dtype)


def mean(t, dim=None, keepdim=False, *, axis=None, dtype=None):
    return _reduce("mean", cast(t, dtype), dim if axis is None else axis, keepdim)


def sum_(t, dim=None, keepdim=False, *, axis=None, dtype=None):
    return _reduce("sum", cast(t, dtype), dim if axis is None else axis, keepdim)


def all_(t, dim=None, keepdim=False):
    return _reduce("min", _truth(t), dim, keepdim)


def any_(t, dim=None, keepdim=False):
    return _reduce("max", _truth(t), dim, keepdim)


def logsumexp(t, dim, keepdim=False):
    top = amax(t, dim, True).data
    total = add(log(sum_(exp(sub(t, top)), dim, True)), top)
    return total if keepdim else squeeze(total, dim)


def prod(t, dim=None, keepdim=False, *, dtype=None):
    if not _outside(t):
        raise Unsupported("torch.prod of a traced tensor")
    rows, shape = _rows(t, _dims(t, dim))
    found = []
    for row in rows:
        product = 1.0
        for value in row:
            product *= value
        found.append(product)
    shape = tuple(1 if d in _dims(t, dim) else n for d, n in enumerate(t._shape)) if keepdim else shape
    return _data(shape, ("values", found), dtype=torch.int64 if _kind(t) < 2 else None)


def amax(t, dim=None, keepdim=False):
    return _reduce("max", t, dim, keepdim)


def amin(t, dim=None, keepdim=False):
    return _reduce("min", t, dim, keepdim)


def max_(t, dim=None, keepdim=False):
    """Along a dimension the gradient goes to one of equal maxima: a choice by index, other than `amax`."""
    if isinstance(dim, Tensor):
        return maximum(t, dim)
    from torch._choice import extreme

    return _reduce("max", t, None, False) if dim is None else extreme(t, dim, keepdim, True)


def min_(t, dim=None, keepdim=False):
    if isinstance(dim, Tensor):
        return minimum(t, dim)
    from torch._choice import extreme

    return _reduce("min", t, None, False) if dim is None else extreme(t, dim, keepdim, False)


def var(t, dim=None, unbiased=True, keepdim=False, *, correction=None):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if _kind(t) < 2:
        raise RuntimeError("std and var only support floating point and complex dtypes")
    correction = (1 if unbiased else 0) if correction is None else correction
    return emit({"variance": {"dims": _dims(t, dim), "keep": bool(keepdim), "correction": correction}}, [t])


def std(t, dim=None, unbiased=True, keepdim=False, *, correction=None):
    return unary("root", var(t, dim, unbiased, keepdim, correction=correction))


def var_mean(t, dim=None, unbiased=True, keepdim=False, *, correction=None):
    return var(t, dim, unbiased, keepdim, correction=correction), mean(t, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(t, dim=None, unbiased=True, keepdim=False, *, correction=None):
    return std(t, dim, unbiased, keepdim, correction=correction), mean(t, None if isinstance(dim, bool) else dim, keepdim)


def norm(t, p=2, dim=None, keepdim=False, dtype=None):
    if p is None or p in (2, "fro"):
        return unary("root", sum_(square(t), dim, keepdim))
    if p == 1:
        return sum_(abs_(t), dim, keepdim)
    if p == float("inf"):
        return amax(abs_(t), dim, keepdim)
    if p == -float("inf"):
        return amin(abs_(t), dim, keepdim)
    raise Unsupported("a norm with p=" + repr(p))


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    return norm(x, ord, dim, keepdim)


# Products


def matmul(a, b):
    if len(a._shape) == 1 and len(b._shape) == 1:
        return sum_(mul(a, b))
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
        log1p=log1p, expm1=expm1, tan=tan, atan=atan, sinh=sinh, cosh=cosh, erf=erf, erfc=erfc, log2=log2, log10=log10, exp2=exp2, frac=frac,
        ceil=ceil, trunc=trunc, fix=trunc, sign=sign, round=round_, absolute=abs_, negative=neg, arctan=atan, logical_not=logical_not, logical_and=logical_and,
        logical_or=logical_or, logical_xor=logical_xor, all=all_, any=any_, logsumexp=logsumexp, prod=prod, bernoulli=bernoulli,
        floor_divide=floor_divide, remainder=remainder, to=_to, type=_type, dot=matmul, mv=matmul, greater=_comparison("gt"), less=_comparison("lt"),
        greater_equal=_comparison("ge"), less_equal=_comparison("le"), not_equal=_comparison("ne"),
        reshape=reshape, view=reshape, flatten=flatten, unflatten=unflatten, unsqueeze=unsqueeze, squeeze=squeeze, permute=permute,
        transpose=transpose, swapaxes=transpose, t=t_, movedim=movedim, expand=expand, narrow=narrow, select=select, split=split, chunk=chunk,
        unbind=unbind, repeat=repeat, roll=roll, mean=mean, sum=sum_, amax=amax, amin=amin, max=max_, min=min_, var=var, std=std, norm=norm,
        matmul=matmul, bmm=bmm, mm=mm,
    )
    for name, function in plain.items():
        setattr(Tensor, name, function)
    in_place = "add sub mul div neg exp log sqrt abs square pow clamp floor ceil round trunc sign log1p expm1 sin cos erf reciprocal rsqrt multiply subtract"
    for name in in_place.split():
        setattr(Tensor, name + "_", _in_place(plain[name]))
    for kind in _comparisons:
        setattr(Tensor, kind, _comparison(kind))
        setattr(Tensor, "__" + kind + "__", _comparison(kind))
    Tensor.__eq__, Tensor.__ne__ = _equality("eq", False), _equality("ne", True)
    for name, dtype in (
        ("float", torch.float32), ("double", torch.float64), ("half", torch.float16), ("bfloat16", torch.bfloat16), ("long", torch.int64),
        ("int", torch.int32), ("short", torch.int16), ("bool", torch.bool),
    ):
        setattr(Tensor, name, lambda t, dtype=dtype, **kwargs: cast(t, dtype))
    Tensor.type_as = lambda t, other: cast(t, other.dtype)
    for name, function in (
        ("add", add), ("sub", sub), ("mul", mul), ("truediv", div), ("pow", power), ("matmul", matmul), ("floordiv", floor_divide),
        ("mod", remainder), ("and", _bitwise(logical_and, "and")), ("or", _bitwise(logical_or, "or")), ("xor", _bitwise(logical_xor, "xor")),
    ):
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
    Tensor.__invert__ = Tensor.bitwise_not = invert
    Tensor.new_zeros = Tensor.new_empty = lambda t, *size, dtype=None, **kwargs: full(_sizes(size), 0.0, dtype=dtype or t.dtype)
    Tensor.new_ones = lambda t, *size, dtype=None, **kwargs: full(_sizes(size), 1.0, dtype=dtype or t.dtype)
    Tensor.new_full = lambda t, size, fill_value, *, dtype=None, **kwargs: full(size, fill_value, dtype=dtype or t.dtype)
    Tensor.new_tensor = lambda t, data, *, dtype=None, **kwargs: tensor(data, dtype=dtype)
    Tensor.T = property(lambda t: permute(t, *reversed(range(len(t._shape)))))
    Tensor.mT = property(lambda t: transpose(t, -2, -1))
    Tensor.normal_ = lambda t, mean=0.0, std=1.0: _become(t, _data(t._shape, ("normal", float(mean), float(std))))
    Tensor.bernoulli_ = _in_place(lambda t, p=0.5, generator=None: bernoulli(t, p))
    Tensor.uniform_ = lambda t, low=0.0, high=1.0: _become(t, _data(t._shape, ("uniform", float(low), float(high))))


_methods()
