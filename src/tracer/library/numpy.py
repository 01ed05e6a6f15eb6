# numpy as constructors use it: scalars and small arrays, with numpy's own kinds (float64, int64, bool) and its rounding to even.
import math

import torch
from _import import Unsupported, missing
from torch._tensor import Tensor

__getattr__ = missing("numpy")
__version__ = "1.26.0"
pi, e, inf, nan, newaxis, euler_gamma = math.pi, math.e, math.inf, math.nan, None, 0.5772156649015329
PINF, NINF, Inf, NaN, infty = inf, -inf, inf, nan, inf
MOST = 1 << 20
# Python's own, whose names numpy's functions take here.
_any, _max, _min, _sum = any, max, min, sum


# Scalars are Python's numbers with numpy's methods: what is computed with them stays one of them


class generic:
    shape, ndim, size = (), 0, 1

    def item(self):
        return self._plain(self)

    tolist = item

    def astype(self, kind, copy=True):
        return _scalar(_kind(kind), self)

    def reshape(self, *shape):
        return array([self.item()]).reshape(*shape)

    def round(self, decimals=0):
        from numpy import around

        return around(self, decimals)

    def copy(self):
        return self

    def squeeze(self):
        return self

    def clip(self, low, high):
        return _scalar(type(self), _min(_max(self, low), high))

    def sum(self):
        return self

    mean = max = min = prod = any = all = sum

    T = property(lambda self: self)
    dtype = property(lambda self: type(self))

    def __deepcopy__(self, memo):
        return self

    def __array__(self):
        return self


class number(generic):
    pass


class floating(number):
    pass


class inexact(number):
    pass


class integer(number):
    pass


class signedinteger(integer):
    pass


class float64(float, floating):
    _plain = float
    name, kind, itemsize = "float64", "f", 8
    __hash__ = float.__hash__


class int64(int, integer):
    _plain = int
    name, kind, itemsize = "int64", "i", 8
    __hash__ = int.__hash__


class bool_(int, generic):
    _plain = bool
    name, kind, itemsize = "bool", "b", 1
    __hash__ = int.__hash__

    def __new__(cls, value=False):
        return int.__new__(cls, 1 if value else 0)

    def __repr__(self):
        return "True" if self else "False"

    def __invert__(self):
        return bool_(not self)


float32, float16, half, single, double, float_, longdouble = (float64,) * 7
int32, int16, int8, uint8, uint16, uint32, uint64, int_, intp, long, intc = (int64,) * 11


def _kind(kind):
    if kind in (float64, int64, bool_):
        return kind
    if kind is float or isinstance(kind, str) and (kind.startswith("float") or kind in ("f", "d", "f4", "f8")):
        return float64
    if kind is bool or kind in ("bool", "?"):
        return bool_
    if kind is int or isinstance(kind, str) and (kind.startswith(("int", "uint")) or kind in ("i", "i4", "i8", "l")):
        return int64
    raise Unsupported("numpy with dtype=" + repr(kind))


def dtype(kind):
    return _kind(kind)


def _kind_of(value):
    if isinstance(value, (bool, bool_)):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, float):
        return float64
    raise TypeError("a number expected, not " + type(value).__name__)


def _wider(a, b):
    order = (bool_, int64, float64)
    return order[_max(order.index(a), order.index(b))]


def _convert(kind, value):
    if kind is float64:
        return float(value)
    if kind is bool_:
        return bool(value)
    if value != value or value in (inf, -inf):
        raise Unsupported("numpy's whole number of something that is not finite")
    return int(value)


def _scalar(kind, value):
    return kind(_convert(kind, value))


class ndarray:
    """Flat values of one kind, and a shape."""

    __array_priority__ = 1

    def __init__(self, values, shape, kind):
        self.values, self.shape, self.dtype = values, tuple(shape), kind

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: len(self.values))
    T = property(lambda self: transpose(self))
    flat = property(lambda self: self.ravel())

    def __array__(self):
        return self

    def __len__(self):
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        return iter([self[i] for i in range(len(self))])

    def __bool__(self):
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()")
        return bool(self.values[0])

    def item(self, *at):
        if at:
            return self[at if len(at) > 1 else at[0]].item()
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.dtype._plain(self.values[0])

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        if self.dtype is not int64:
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return self.item()

    def tolist(self):
        if not self.shape:
            return self.item()
        return [part.tolist() for part in self]

    def astype(self, kind, copy=True):
        kind = _kind(kind)
        return ndarray([_convert(kind, v) for v in self.values], self.shape, kind)

    def copy(self):
        return ndarray(list(self.values), self.shape, self.dtype)

    def __deepcopy__(self, memo):
        return self.copy()

    def reshape(self, *shape, order="C"):
        shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        total = len(self.values)
        if -1 in shape:
            rest = -_product(shape)
            if rest == 0 or total % rest:
                raise ValueError("cannot reshape array of size " + str(total) + " into shape " + repr(shape))
            shape = tuple(total // rest if n == -1 else int(n) for n in shape)
        if _product(shape) != total:
            raise ValueError("cannot reshape array of size " + str(total) + " into shape " + repr(tuple(shape)))
        return ndarray(self.values, shape, self.dtype)

    def ravel(self):
        return self.reshape(-1)

    flatten = ravel

    def squeeze(self, axis=None):
        return self.reshape([n for i, n in enumerate(self.shape) if n != 1 or axis is not None and i != axis % self.ndim])

    def fill(self, value):
        self.values[:] = [_convert(self.dtype, value)] * self.size

    def _places(self, index):
        """The flat places that an index means, and their shape."""
        index = index if isinstance(index, tuple) else (index,)
        used = _sum(1 for part in index if part is not None and part is not Ellipsis)
        if Ellipsis not in [part for part in index if not isinstance(part, (ndarray, list))]:
            index += (Ellipsis,)
        places, shape, axis = [0], [], 0
        strides = _strides(self.shape)
        for part in index:
            if part is Ellipsis:
                parts = [slice(None)] * (self.ndim - used)
            else:
                parts = [part]
            for one in parts:
                if one is None:
                    shape.append(1)
                    continue
                if axis >= self.ndim:
                    raise IndexError("too many indices for array")
                extent = self.shape[axis]
                if isinstance(one, slice):
                    chosen = list(range(*one.indices(extent)))
                    shape.append(len(chosen))
                elif isinstance(one, (list, ndarray)):
                    one = array(one)
                    chosen = [i for i, v in enumerate(one.values) if v] if one.dtype is bool_ else one.values
                    shape.extend([len(chosen)] if one.dtype is bool_ else one.shape)
                else:
                    chosen = [int(one.__index__())]
                for i in chosen:
                    if not -extent <= i < extent:
                        raise IndexError("index " + str(i) + " is out of bounds for axis " + str(axis) + " with size " + str(extent))
                places = [p + i % extent * strides[axis] for p in places for i in chosen]
                axis += 1
        return places, tuple(shape)

    def __getitem__(self, index):
        if isinstance(index, ndarray) and index.dtype is bool_ and index.shape == self.shape:
            kept = [v for v, keep in zip(self.values, index.values) if keep]
            return ndarray(kept, (len(kept),), self.dtype)
        places, shape = self._places(index)
        if not shape:
            return self.dtype(self.values[places[0]])
        return ndarray([self.values[p] for p in places], shape, self.dtype)

    def __setitem__(self, index, value):
        if isinstance(index, ndarray) and index.dtype is bool_ and index.shape == self.shape:
            places = [i for i, keep in enumerate(index.values) if keep]
            shape = (len(places),)
        else:
            places, shape = self._places(index)
        value = array(value)
        for place, new in zip(places, _spread(value, shape)):
            self.values[place] = _convert(self.dtype, new)

    def __repr__(self):
        return "array(" + repr(self.tolist()) + ")"

    def __format__(self, spec):
        return str(self)

    __hash__ = None


def _product(shape):
    total = 1
    for n in shape:
        total *= n
    return total


def _strides(shape):
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return strides[::-1]


def _spread(a, to):
    """The values of `a` broadcast to a shape."""
    shape = (1,) * (len(to) - len(a.shape)) + a.shape
    if len(shape) > len(to) or _any(m != n and m != 1 for m, n in zip(shape, to)):
        raise ValueError("could not broadcast input array from shape " + repr(a.shape) + " into shape " + repr(tuple(to)))
    if shape == tuple(to):
        return a.values
    offsets = [0]
    for n, m, stride in zip(to, shape, _strides(shape)):
        offsets = [o + (0 if m == 1 else i * stride) for o in offsets for i in range(n)]
    return [a.values[o] for o in offsets]


def _together(shapes):
    rank = _max(len(shape) for shape in shapes)
    result = [1] * rank
    for shape in shapes:
        for i, n in enumerate((1,) * (rank - len(shape)) + tuple(shape)):
            if n != 1 and result[i] not in (1, n):
                raise ValueError("operands could not be broadcast together with shapes " + " ".join(map(repr, shapes)))
            result[i] = n if result[i] == 1 else result[i]
    return tuple(result)


# Making


def array(items, dtype=None, copy=True, ndmin=0, order=None):
    if isinstance(items, ndarray):
        made = items.copy() if copy or dtype is not None else items
    elif isinstance(items, Tensor):
        made = array(items.tolist(), copy=False)
    else:
        values = []
        shape = _flatten(items, values)
        kind = float64 if not values else None
        for value in values:
            kind = _kind_of(value) if kind is None else _wider(kind, _kind_of(value))
        made = ndarray([_convert(kind, v) for v in values], shape, kind)
    made = made if dtype is None else made.astype(dtype)
    return made if made.ndim >= ndmin else made.reshape((1,) * (ndmin - made.ndim) + made.shape)


def _flatten(items, values):
    if isinstance(items, (ndarray, Tensor)):
        items = items.tolist()
    if isinstance(items, (int, float)):
        values.append(items)
        return ()
    if not isinstance(items, (list, tuple, range)):
        raise Unsupported("a numpy array of a " + type(items).__name__)
    shapes = [_flatten(item, values) for item in items]
    if _any(shape != shapes[0] for shape in shapes):
        raise ValueError("setting an array element with a sequence. The requested array has an inhomogeneous shape")
    return (len(shapes),) + (shapes[0] if shapes else ())


def asarray(items, dtype=None, **kwargs):
    return array(items, dtype, copy=False)


asanyarray = ascontiguousarray = asarray


def atleast_1d(items):
    return array(items, ndmin=1)


def atleast_2d(items):
    return array(items, ndmin=2)


def full(shape, fill_value, dtype=None):
    shape = (int(shape),) if not isinstance(shape, (tuple, list)) else tuple(int(n) for n in shape)
    if _product(shape) > MOST:
        raise Unsupported("a numpy array of more than a million numbers")
    kind = _kind_of(fill_value) if dtype is None else _kind(dtype)
    return ndarray([_convert(kind, fill_value)] * _product(shape), shape, kind)


def zeros(shape, dtype=float, **kwargs):
    return full(shape, 0, dtype)


def ones(shape, dtype=float, **kwargs):
    return full(shape, 1, dtype)


empty = zeros


def zeros_like(a, dtype=None):
    a = array(a)
    return full(a.shape, 0, dtype or a.dtype)


def ones_like(a, dtype=None):
    a = array(a)
    return full(a.shape, 1, dtype or a.dtype)


empty_like = zeros_like


def full_like(a, fill_value, dtype=None):
    a = array(a)
    return full(a.shape, fill_value, dtype or a.dtype)


def eye(N, M=None, k=0, dtype=float):
    M = N if M is None else M
    return array([[1 if j - i == k else 0 for j in range(M)] for i in range(N)], dtype)


identity = eye


def arange(start, stop=None, step=1, dtype=None):
    if stop is None:
        start, stop = 0, start
    n = _max(0, math.ceil((stop - start) / step))
    if n > MOST:
        raise Unsupported("numpy.arange of more than a million numbers")
    kind = _wider(_wider(_kind_of(start), _kind_of(stop)), _kind_of(step))
    # numpy steps by the difference of the first two, both rounded.
    first = float(start) if kind is float64 else int(start)
    delta = (first + step) - first
    made = ndarray([_convert(kind, first + i * delta) for i in range(n)], (n,), kind)
    return made if dtype is None else made.astype(dtype)


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    num = int(num)
    div = num - 1 if endpoint else num
    step = (stop - start) / div if div > 0 else nan
    values = [float(i * step + start) for i in range(num)] if div > 0 else [float(start)] * num
    if endpoint and num > 1:
        values[-1] = float(stop)
    made = ndarray(values, (num,), float64)
    made = made if dtype is None else floor(made).astype(dtype) if _kind(dtype) is int64 else made.astype(dtype)
    return (made, float64(step)) if retstep else made


def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None):
    made = power(float(base), linspace(start, stop, num, endpoint))
    return made if dtype is None else made.astype(dtype)


def geomspace(start, stop, num=50, endpoint=True, dtype=None):
    made = logspace(math.log10(start), math.log10(stop), num, endpoint)
    if num > 0:
        made.values[0] = float(start)
        if endpoint and num > 1:
            made.values[-1] = float(stop)
    return made if dtype is None else made.astype(dtype)


# Tensors of arrays


def _lists(items):
    if isinstance(items, (ndarray, generic)):
        return items.tolist()
    return [_lists(item) for item in items] if type(items) in (list, tuple) else items


def _of_arrays(make):
    return lambda items, *args, **kwargs: make(_lists(items), *args, **kwargs)


for _name in ("tensor", "as_tensor", "asarray", "from_numpy"):
    setattr(torch, _name, _of_arrays(torch.tensor if _name == "asarray" else getattr(torch, _name)))
_begin = Tensor.__init__
Tensor.__init__ = lambda self, *sizes: _begin(self, *[_lists(size) if isinstance(size, ndarray) else size for size in sizes])
Tensor.numpy = lambda self, **kwargs: array(self)


# The rest of the package, which adds its names here.
import numpy._elementwise
import numpy._shapes
import numpy.random
