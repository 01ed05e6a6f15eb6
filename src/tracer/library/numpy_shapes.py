# numpy's functions of whole arrays: reductions, joining, sorting, products.
import math

import numpy
from _import import Unsupported, module
from numpy import _convert, _product, _spread, _strides, _together, _wider, arange, array, bool_, full, float64, int64, nan, ndarray
from numpy._elementwise import _finish, multiply, sqrt, subtract

_most, _least = max, min


def _reduction(fold, kind=None, empty=None):
    """`fold` of a list of values; along one axis, several, or all."""

    def reduce(a, axis=None, dtype=None, out=None, keepdims=False, **kwargs):
        a = array(a, copy=False)
        axes = range(a.ndim) if axis is None else [n % a.ndim for n in (axis if isinstance(axis, tuple) else (axis,))]
        kept = [i for i in range(a.ndim) if i not in axes]
        moved = transpose(a, kept + list(axes)) if a.ndim else a
        shape = tuple(a.shape[i] for i in kept)
        n = _product([a.shape[i] for i in axes])
        to = numpy._kind(dtype) if dtype is not None else kind or (int64 if a.dtype is bool_ and kind is None else a.dtype)
        if not n and empty is None:
            raise ValueError("zero-size array to reduction operation which has no identity")
        rows = [moved.values[i * n : i * n + n] for i in range(_product(shape))]
        values = [_convert(to, fold(row) if row else empty) for row in rows]
        return _finish(values, tuple(1 if i in axes else m for i, m in enumerate(a.shape)) if keepdims else shape, to)

    return reduce


def _total(row):
    """numpy adds eight streams in blocks; with few numbers the order is the plain one."""
    total = row[0]
    for value in row[1:]:
        total = total + value
    return total


sum = _reduction(_total, empty=0)
prod = product = _reduction(_product, empty=1)
max = amax = _reduction(max)
min = amin = _reduction(min)
mean = average = _reduction(lambda row: _total(row) / len(row), float64, nan)
any = _reduction(any, bool_, False)
all = _reduction(all, bool_, True)
argmax = _reduction(lambda row: row.index(_most(row)), int64)
argmin = _reduction(lambda row: row.index(_least(row)), int64)
count_nonzero = _reduction(lambda row: len([v for v in row if v]), int64, 0)


def _middle(row):
    row = sorted(row)
    n = len(row)
    return row[n // 2] if n % 2 else (row[n // 2 - 1] + row[n // 2]) / 2


median = _reduction(_middle, float64)


def var(a, axis=None, ddof=0, **kwargs):
    def fold(row):
        middle = _total(row) / len(row)
        return _total([(v - middle) * (v - middle) for v in row]) / (len(row) - ddof)

    return _reduction(fold, float64)(a, axis, **kwargs)


def std(a, axis=None, ddof=0, **kwargs):
    return sqrt(var(a, axis, ddof, **kwargs))


def ptp(a, axis=None):
    return subtract(max(a, axis), min(a, axis))


def _running(step):
    def run(a, axis=None, dtype=None):
        a = array(a)
        if axis is None:
            a, axis = a.ravel(), 0
        kind = int64 if a.dtype is bool_ else a.dtype
        last = moveaxis(a, axis, -1)
        n, values = last.shape[-1], []
        for start in range(0, len(last.values), n or 1):
            held = None
            for value in last.values[start : start + n]:
                held = value if held is None else step(held, value)
                values.append(_convert(kind, held))
        made = moveaxis(ndarray(values, last.shape, kind), -1, axis)
        return made if dtype is None else made.astype(dtype)

    return run


cumsum, cumprod = _running(lambda a, b: a + b), _running(lambda a, b: a * b)


def diff(a, n=1, axis=-1):
    a = array(a)
    for _ in range(n):
        size = a.shape[axis % a.ndim]
        a = subtract(take(a, range(1, size), axis), take(a, range(size - 1), axis))
    return a


# Shapes


def reshape(a, *shape, newshape=None, order="C"):
    return array(a).reshape(*(shape or (newshape,)))


def ravel(a):
    return array(a).ravel()


def shape(a):
    return array(a, copy=False).shape


def size(a):
    return array(a, copy=False).size


def ndim(a):
    return array(a, copy=False).ndim


def transpose(a, axes=None):
    a = array(a, copy=False)
    axes = list(range(a.ndim))[::-1] if axes is None else [n % a.ndim for n in axes]
    strides, to = _strides(a.shape), tuple(a.shape[n] for n in axes)
    places = [0]
    for n, axis in zip(to, axes):
        places = [p + i * strides[axis] for p in places for i in range(n)]
    return ndarray([a.values[p] for p in places], to, a.dtype)


def swapaxes(a, axis1, axis2):
    axes = list(range(array(a).ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transpose(a, axes)


def moveaxis(a, source, destination):
    n = array(a, copy=False).ndim
    axes = [i for i in range(n) if i != source % n]
    axes.insert(destination % n, source % n)
    return transpose(a, axes)


def expand_dims(a, axis):
    a = array(a)
    at = axis % (a.ndim + 1)
    return a.reshape(a.shape[:at] + (1,) + a.shape[at:])


def squeeze(a, axis=None):
    return array(a).squeeze(axis)


def broadcast_to(a, shape):
    a = array(a)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return ndarray(list(_spread(a, shape)), shape, a.dtype)


def take(a, indices, axis=None):
    a = array(a)
    a, axis = (a.ravel(), 0) if axis is None else (a, axis % a.ndim)
    return a[(slice(None),) * axis + (list(indices) if not isinstance(indices, int) else indices,)]


def concatenate(arrays, axis=0, dtype=None):
    arrays = [array(a) for a in arrays]
    if axis is None:
        arrays, axis = [a.ravel() for a in arrays], 0
    kind = arrays[0].dtype
    for a in arrays[1:]:
        kind = _wider(kind, a.dtype)
    moved = [moveaxis(a, axis, 0) for a in arrays]
    if len({m.shape[1:] for m in moved}) != 1:
        raise ValueError("all the input array dimensions except for the concatenation axis must match exactly")
    values = [_convert(kind, v) for m in moved for v in m.values]
    rows = len(values) // (_product(moved[0].shape[1:]) or 1)
    return moveaxis(ndarray(values, (rows,) + moved[0].shape[1:], kind), 0, axis)


def stack(arrays, axis=0):
    arrays = [array(a) for a in arrays]
    at = axis % (arrays[0].ndim + 1)
    return concatenate([expand_dims(a, at) for a in arrays], at)


def hstack(arrays):
    arrays = [array(a, ndmin=1) for a in arrays]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1)


def vstack(arrays):
    return concatenate([array(a, ndmin=2) for a in arrays], 0)


row_stack = vstack


def column_stack(arrays):
    return concatenate([a.reshape(-1, 1) if array(a).ndim == 1 else array(a) for a in map(array, arrays)], 1)


def append(a, values, axis=None):
    return concatenate([a, values], axis) if axis is not None else concatenate([array(a).ravel(), array(values).ravel()])


def insert(a, at, value, axis=None):
    a = array(a).ravel()
    return concatenate([a[:at], array(value, ndmin=1), a[at:]])


def split(a, parts, axis=0):
    a = array(a)
    extent = a.shape[axis]
    if isinstance(parts, int):
        if extent % parts:
            raise ValueError("array split does not result in an equal division")
        return array_split(a, parts, axis)
    ends = [0] + [int(n) for n in parts] + [extent]
    return [take(a, range(i, j), axis) for i, j in zip(ends, ends[1:])]


def array_split(a, parts, axis=0):
    a = array(a)
    extent = a.shape[axis]
    sizes = [extent // parts + (i < extent % parts) for i in range(parts)]
    made, at = [], 0
    for n in sizes:
        made.append(take(a, range(at, at + n), axis))
        at += n
    return made


def tile(a, reps):
    reps = (reps,) if isinstance(reps, int) else tuple(reps)
    a = array(a, ndmin=len(reps))
    for axis, n in enumerate((1,) * (a.ndim - len(reps)) + reps):
        a = concatenate([a] * n, axis) if n != 1 else a
    return a


def repeat(a, repeats, axis=None):
    a = array(a)
    a, axis = (a.ravel(), 0) if axis is None else (a, axis % a.ndim)
    counts = [repeats] * a.shape[axis] if isinstance(repeats, int) else [int(n) for n in repeats]
    return take(a, [i for i, n in enumerate(counts) for _ in range(n)], axis)


def flip(a, axis=None):
    a = array(a)
    for at in range(a.ndim) if axis is None else [axis % a.ndim]:
        a = a[(slice(None),) * at + (slice(None, None, -1),)]
    return a


def roll(a, shift, axis=None):
    a = array(a)
    flat = a.ravel() if axis is None else a
    at = 0 if axis is None else axis % a.ndim
    n = flat.shape[at]
    return take(flat, [(i - shift) % n for i in range(n)], at).reshape(a.shape)


def meshgrid(*arrays, indexing="xy", **kwargs):
    arrays = [array(a).ravel() for a in arrays]
    grids = []
    sizes = [a.size for a in arrays]
    order = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        order[0], order[1] = 1, 0
    for i, a in enumerate(arrays):
        shape = [1] * len(arrays)
        shape[order.index(i)] = a.size
        grids.append(broadcast_to(a.reshape(shape), [sizes[j] for j in order]))
    return grids


def triu(a, k=0):
    a = array(a)
    n = a.shape[-1]
    return ndarray([v if i % n - i // n % a.shape[-2] >= k else v * 0 for i, v in enumerate(a.values)], a.shape, a.dtype)


def tril(a, k=0):
    a = array(a)
    n = a.shape[-1]
    return ndarray([v if i % n - i // n % a.shape[-2] <= k else v * 0 for i, v in enumerate(a.values)], a.shape, a.dtype)


def diag(a, k=0):
    a = array(a)
    if a.ndim == 2:
        return array([a[i, i + k] for i in range(a.shape[0]) if 0 <= i + k < a.shape[1]])
    n = a.size + abs(k)
    made = full((n, n), 0, a.dtype)
    for i, v in enumerate(a.values):
        made[(i, i + k) if k >= 0 else (i - k, i)] = v
    return made


# Order


def sort(a, axis=-1, kind=None):
    a = array(a)
    last = moveaxis(a, axis, -1)
    n = last.shape[-1]
    values = [v for start in range(0, len(last.values), n or 1) for v in sorted(last.values[start : start + n])]
    return moveaxis(ndarray(values, last.shape, a.dtype), -1, axis)


def argsort(a, axis=-1, kind=None):
    a = array(a)
    if a.ndim != 1:
        raise Unsupported("numpy.argsort of other than one dimension")
    return array(sorted(range(a.size), key=lambda i: a.values[i]), dtype=int)


def unique(a, return_index=False, return_inverse=False, return_counts=False, axis=None):
    a = array(a).ravel()
    found = sorted(set(a.values))
    made = [ndarray(found, (len(found),), a.dtype)]
    if return_index:
        made.append(array([a.values.index(v) for v in found], dtype=int))
    if return_inverse:
        made.append(array([found.index(v) for v in a.values], dtype=int))
    if return_counts:
        made.append(array([a.values.count(v) for v in found], dtype=int))
    return made[0] if len(made) == 1 else tuple(made)


def isin(a, among):
    among = set(array(among).ravel().values)
    a = array(a)
    return _finish([v in among for v in a.values], a.shape, bool_)


def argwhere(a):
    a = array(a)
    strides = _strides(a.shape)
    rows = [[i // s % n for s, n in zip(strides, a.shape)] for i, v in enumerate(a.values) if v]
    return array(rows, dtype=int)


def nonzero(a):
    rows = argwhere(a)
    return tuple(rows[:, i] for i in range(array(a).ndim))


def searchsorted(a, v, side="left"):
    a = array(a).values
    return numpy._unary(lambda x: len([y for y in a if y < x or side == "right" and y == x]), int64)(v)


def bincount(a, minlength=0):
    a = array(a).values
    return array([a.count(i) for i in range(_most(minlength, 1 + _most(list(a) + [-1])))], dtype=int)


def interp(x, xp, fp):
    xp, fp = array(xp).values, array(fp).values

    def at(v):
        if v <= xp[0]:
            return fp[0]
        for i in range(1, len(xp)):
            if v <= xp[i]:
                return fp[i - 1] + (fp[i] - fp[i - 1]) * (v - xp[i - 1]) / (xp[i] - xp[i - 1])
        return fp[-1]

    return numpy._unary(at, float64)(x)


# Products


def dot(a, b):
    a, b = array(a), array(b)
    if not a.ndim or not b.ndim:
        return multiply(a, b)
    if a.ndim > 2 or b.ndim > 2:
        raise Unsupported("numpy.dot of more than two dimensions")
    left = a.reshape(1, -1) if a.ndim == 1 else a
    right = b.reshape(-1, 1) if b.ndim == 1 else b
    if left.shape[1] != right.shape[0]:
        raise ValueError("shapes " + repr(a.shape) + " and " + repr(b.shape) + " not aligned")
    kind = _wider(a.dtype, b.dtype)
    columns = [right.values[j :: right.shape[1]] for j in range(right.shape[1])]
    n = left.shape[1]
    values = [
        _convert(kind, _total([x * y for x, y in zip(left.values[i * n : i * n + n], column)]) if n else 0) for i in range(left.shape[0]) for column in columns
    ]
    return _finish(values, (a.shape[:1] if a.ndim == 2 else ()) + (b.shape[1:] if b.ndim == 2 else ()), kind)


matmul = inner = vdot = dot
ndarray.__matmul__, ndarray.dot = dot, dot
ndarray.__rmatmul__ = lambda a, b: dot(b, a)


def einsum(equation, *arrays):
    left, _, right = equation.replace(" ", "").partition("->")
    terms, arrays = left.split(","), [array(a) for a in arrays]
    extent = {letter: n for term, a in zip(terms, arrays) for letter, n in zip(term, a.shape)}
    if "->" not in equation:
        right = "".join(sorted(letter for letter in extent if left.count(letter) == 1))
    inner = [letter for letter in extent if letter not in right]
    if "." in equation or _product(extent.values()) > 1 << 20:
        raise Unsupported("numpy.einsum of " + repr(equation))
    wide = list(right) + inner
    shape = [extent[letter] for letter in wide]
    total = None
    for term, a in zip(terms, arrays):
        kept = sorted(term, key=wide.index)
        a = transpose(a, [term.index(letter) for letter in kept]).reshape([extent[letter] if letter in kept else 1 for letter in wide])
        total = a if total is None else multiply(total, a)
    total = broadcast_to(total, shape)
    return sum(total, tuple(range(len(right), len(wide)))) if inner else total


def _norm(x, ord=None, axis=None, keepdims=False):
    x = array(x)
    if ord in (None, 2, "fro"):
        return sqrt(sum(multiply(x, x), axis, keepdims=keepdims))
    if ord == 1:
        return sum(numpy.absolute(x), axis, keepdims=keepdims)
    raise Unsupported("numpy.linalg.norm with ord=" + repr(ord))


module("numpy.linalg").update(norm=_norm)


def allclose(a, b, rtol=1e-05, atol=1e-08):
    return bool(all(numpy.isclose(a, b, rtol, atol)))


def array_equal(a, b):
    a, b = array(a), array(b)
    return a.shape == b.shape and a.values == b.values


def isscalar(x):
    return isinstance(x, (int, float, str))


def iterable(x):
    return hasattr(x, "__iter__")


def issubdtype(a, b):
    kinds = {numpy.floating: (float64,), numpy.integer: (int64,), numpy.number: (float64, int64), numpy.generic: (float64, int64, bool_)}
    return numpy._kind(a) in kinds.get(b, (b,))


class finfo:
    def __init__(self, kind=None):
        single = kind is numpy.float32 and kind is not float64
        self.max, self.min = (3.4028234663852886e38, -3.4028234663852886e38) if single else (1.7976931348623157e308, -1.7976931348623157e308)
        self.eps, self.tiny = (1.1920928955078125e-07, 1.1754943508222875e-38) if single else (2.220446049250313e-16, 2.2250738585072014e-308)


class iinfo:
    def __init__(self, kind=None):
        self.max, self.min = 2**63 - 1, -(2**63)


def vectorize(function, **kwargs):
    return lambda *arrays: array([function(*row) for row in zip(*[array(a).ravel().tolist() for a in arrays])]).reshape(array(arrays[0]).shape)


def _methods():
    for name in (
        "sum prod max min mean any all argmax argmin var std cumsum cumprod transpose swapaxes take repeat argsort ptp nonzero searchsorted"
    ).split():
        setattr(ndarray, name, lambda self, *args, _function=globals()[name], **kwargs: _function(self, *args, **kwargs))
    ndarray.transpose = lambda self, *axes: transpose(self, None if not axes else axes[0] if isinstance(axes[0], (tuple, list)) else axes)
    ndarray.round = lambda self, decimals=0: numpy.around(self, decimals)
    ndarray.clip = lambda self, low=None, high=None: numpy.clip(self, low, high)

    def sort_in_place(self, axis=-1):
        self.values[:] = sort(self, axis).values

    ndarray.sort = sort_in_place


_methods()
numpy.__dict__.update({name: value for name, value in globals().items() if name[0] != "_" and name not in ("math", "numpy")})
