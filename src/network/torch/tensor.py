# Symbolic tensors. A traced tensor is a node of the current pass; a tensor outside the graph has a way it starts ("init").
import _math
import _record
import torch
from _import import DataDependent, Unsupported
from torch import Size


class State:
    number = 0  # 0 while the network is built (what runs then is forgotten), 1 and 2 for the two passes
    path = ""  # the module that runs
    owned = 0  # numbers given to parameters and buffers


class Storage:
    """What views share: a view is stale once another one was changed in place."""

    __slots__ = ("version",)

    def __init__(self):
        self.version = 0


def _number(x):
    return isinstance(x, (int, float))


def _count(shape):
    total = 1
    for n in shape:
        total *= n
    return total


def _sizes(sizes):
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    return tuple(int(n) for n in sizes)


def _fixed(shape):
    return [{"fixed": n} for n in shape]


class Mask:
    """A comparison of tensors: nothing but a test of it is foreseen, and that depends on the data."""

    def __bool__(self):
        raise DataDependent("a condition depends on the values of a tensor")

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise Unsupported("arithmetic with a comparison of tensors (" + name + ")")



class Tensor:
    requires_grad = False
    is_cuda = False
    grad = None
    grad_fn = None

    def __init__(self, *sizes):
        if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)) and not isinstance(sizes[0], Size):
            _become_data(self, sizes[0])
        else:
            _setup(self, _sizes(sizes), init=("constant", 0.0))

    # What it is

    @property
    def shape(self):
        return Size(self._shape)

    def size(self, dim=None):
        return Size(self._shape) if dim is None else self._shape[_dim(self, dim)]

    def dim(self):
        return len(self._shape)

    ndimension = dim
    ndim = property(dim)

    def numel(self):
        return _count(self._shape)

    nelement = numel

    def __len__(self):
        if not self._shape:
            raise TypeError("len() of a 0-d tensor")
        return self._shape[0]

    dtype = property(lambda self: self.__dict__.get("_dtype", torch.float32))
    device = property(lambda self: torch.device())
    data = property(lambda self: self)

    @data.setter
    def data(self, value):
        _become(self, value)

    is_leaf = property(lambda self: self._node is None)

    def __hash__(self):
        return id(self)

    def __repr__(self):
        return "tensor of shape " + repr(list(self._shape))

    def __format__(self, spec):
        return repr(self)

    def __iter__(self):
        if not self._shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(self._shape[0])])

    def __bool__(self):
        return bool(self.item())

    def item(self):
        if _outside(self) and _count(self._shape) == 1 and self._init[0] in ("constant", "values"):
            return self._init[1] if self._init[0] == "constant" else self._init[1][0]
        raise DataDependent("the value of a tensor is asked for")

    __float__ = item

    def __int__(self):
        return int(self.item())

    __index__ = __int__

    def tolist(self):
        if not self._shape:
            return self.item()
        return [t.tolist() for t in self]

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise Unsupported("Tensor." + name)

    # Same values: nothing to record

    def contiguous(self, *args, **kwargs):
        return self

    to = cpu = cuda = float = double = half = type = type_as = requires_grad_ = retain_grad = contiguous

    def clone(self, *args, **kwargs):
        return _data(self._shape, self._init) if _outside(self) else _traced(node_of(self), self._shape)

    def detach(self):
        if self._node is not None:
            raise Unsupported("Tensor.detach in forward")
        return self

    def __deepcopy__(self, memo):
        if self._node is not None:
            raise Unsupported("a copy of a traced tensor")
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._storage = Storage()
        made._version = 0
        if made._owned is not None:
            _own(made)
        memo[id(self)] = made
        return made

    # Comparisons

    def _compare(self, other):
        return Mask()

    __lt__ = __le__ = __gt__ = __ge__ = lt = le = gt = ge = eq = ne = _compare

    def __eq__(self, other):
        return Mask() if isinstance(other, Tensor) or _number(other) else False

    def __ne__(self, other):
        return Mask() if isinstance(other, Tensor) or _number(other) else True

    # Changes in place

    def __setitem__(self, index, value):
        raise Unsupported("assignment to a part of a tensor")

    def copy_(self, other):
        return _become(self, expand(other, self._shape))

    def fill_(self, value):
        return _become(self, full(self._shape, value))

    def zero_(self):
        return self.fill_(0.0)


def _setup(tensor, shape, node=None, init=None, storage=None):
    tensor.__dict__.update(
        _shape=tuple(shape),
        _node=node,
        _pass=State.number,
        _init=init,
        _owned=None,
        _as_node=None,
        _storage=storage or Storage(),
        _version=storage.version if storage else 0,
    )
    return tensor


def _traced(node, shape, storage=None):
    return _setup(object.__new__(Tensor), shape, node=node, storage=storage)


def _data(shape, init, storage=None):
    for n in shape:
        if n < 0:
            raise RuntimeError("Trying to create tensor with negative dimension " + str(n) + ": " + str(list(shape)))
    return _setup(object.__new__(Tensor), shape, init=init, storage=storage)


def _own(tensor):
    """Parameters and buffers have a number that lives as long as the network."""
    State.owned += 1
    tensor._owned = State.owned


def _outside(tensor):
    """Whether it is plain data now. In a pass, parameters and buffers are part of the graph."""
    _fresh(tensor)
    return tensor._node is None and (State.number == 0 or tensor._owned is None)


def _fresh(tensor):
    if tensor._version != tensor._storage.version:
        raise Unsupported("the use of a view after another view of the same tensor was changed in place")


def _become(tensor, new):
    """The change in place: `tensor` now is what `new` is."""
    _fresh(tensor)
    if not isinstance(new, Tensor):
        raise TypeError("expected a tensor, not " + type(new).__name__)
    if new._shape != tensor._shape and not (tensor._owned is not None and State.number == 0):
        raise RuntimeError("shape " + repr(list(new._shape)) + " does not fit in place of " + repr(list(tensor._shape)))
    if tensor._owned is not None:
        if State.number:
            raise Unsupported("a change of a parameter or buffer in forward")
        if not _outside(new):
            raise Unsupported("an initial value computed by tensor operations")
    tensor._storage.version += 1
    tensor.__dict__.update(_version=tensor._storage.version, _shape=new._shape, _node=new._node, _pass=new._pass, _init=new._init)
    return tensor


def node_of(tensor):
    if not isinstance(tensor, Tensor):
        raise TypeError("expected a tensor, not " + type(tensor).__name__)
    _fresh(tensor)
    if tensor._node is not None:
        if tensor._pass != State.number:
            raise DataDependent("a tensor is kept from one call of the network to another")
        return tensor._node
    known = tensor._as_node
    if known is not None and known[0] == State.number and known[1] is tensor._init:
        return known[2]
    if tensor._shape is None:
        raise RuntimeError("a lazy parameter is used before its first call")
    init = tensor._init
    if tensor._owned is not None:
        node = _record.node("tensor", [], [(tensor._owned, tensor._shape)], State.path)[0]
    elif init[0] == "values":
        node = _record.node({"constant": {"values": list(init[1]), "shape": tensor._shape}}, [], [], State.path)[0]
    elif init[0] == "constant" or State.number == 0:
        value = init[1] if init[0] == "constant" else 0.0
        node = _record.node({"constant": {"values": [value], "shape": []}}, [], [], State.path)[0]
        node = _record.node({"expand": {"shape": _fixed(tensor._shape)}}, [node], [], State.path)[0]
    else:
        raise Unsupported("random numbers in forward")
    tensor._as_node = (State.number, init, node)
    return node


def emit(op, inputs, owned=(), storage=None):
    """Records an operation; its shape comes from the tracer."""
    for tensor in owned:
        _fresh(tensor)
        if tensor._owned is None:
            raise Unsupported("a weight that is computed (only nn.Parameter and registered buffers)")
        if tensor._shape is None:
            raise RuntimeError("a lazy parameter is used before its first call")
    got = _record.node(op, [node_of(t) for t in inputs], [(t._owned, t._shape) for t in owned], State.path)
    return _traced(got[0], got[1:], storage)


def _dim(tensor, dim, extra=0):
    rank = len(tensor._shape) + extra
    if not isinstance(dim, int):
        raise TypeError("a dimension must be an int, not " + type(dim).__name__)
    if not -max(rank, 1) <= dim < max(rank, 1):
        raise IndexError("Dimension out of range (got " + str(dim) + " for " + str(rank) + " dimensions)")
    return dim % max(rank, 1)


def _dims(tensor, dim):
    if dim is None or dim == () or dim == []:
        return list(range(len(tensor._shape)))
    if isinstance(dim, int):
        dim = (dim,)
    return sorted(set(_dim(tensor, d) for d in dim))


# Data outside the graph


def full(shape, value, **kwargs):
    shape = _sizes((shape,))
    if isinstance(value, Tensor):
        value = value.item()
    return _data(shape, ("constant", float(value)))


def _flat(items, values):
    """Appends the numbers of nested lists and returns their shape."""
    if isinstance(items, Tensor):
        items = items.tolist()
    if _number(items):
        values.append(float(items))
        return ()
    if not isinstance(items, (list, tuple)):
        raise TypeError("cannot make a tensor of a " + type(items).__name__)
    shapes = [_flat(item, values) for item in items]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("expected sequences of equal length")
    return (len(items),) + (shapes[0] if shapes else ())


def _become_data(made, items):
    values = []
    shape = _flat(items, values)
    return _setup(made, shape, init=("values", values))


def tensor(items, **kwargs):
    return _become_data(object.__new__(Tensor), items)


def as_tensor(items, **kwargs):
    return items if isinstance(items, Tensor) else tensor(items)


from_list = as_tensor


def _affine_init(init, scale, shift):
    kind = init[0]
    if kind == "constant":
        return ("constant", init[1] * scale + shift)
    if kind == "uniform":
        ends = sorted((init[1] * scale + shift, init[2] * scale + shift))
        return ("uniform", ends[0], ends[1])
    if kind == "normal":
        return ("normal", init[1] * scale + shift, init[2] * abs(scale))
    if kind == "truncated_normal":
        ends = sorted((init[3] * scale + shift, init[4] * scale + shift))
        return ("truncated_normal", init[1] * scale + shift, init[2] * abs(scale), ends[0], ends[1])
    if kind == "orthogonal" and shift == 0:
        return ("orthogonal", init[1] * scale)
    if kind == "values":
        return ("values", [v * scale + shift for v in init[1]])
    raise Unsupported("arithmetic on a tensor that starts " + kind)


def _values(t):
    if t._init[0] == "constant":
        if _count(t._shape) > 1 << 20:
            raise Unsupported("arithmetic on a very large constant")
        return [t._init[1]] * _count(t._shape)
    if t._init[0] == "values":
        return t._init[1]
    raise Unsupported("arithmetic on random tensors")


def _broadcast_shape(a, b):
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    for m, n in zip(a, b):
        if m != n and m != 1 and n != 1:
            raise RuntimeError("shapes " + repr(list(a)) + " and " + repr(list(b)) + " do not broadcast")
    return tuple(n if m == 1 else m for m, n in zip(a, b))


def _spread(values, shape, to):
    """The values of `shape` broadcast to `to`."""
    if shape == to:
        return values
    shape = (1,) * (len(to) - len(shape)) + shape
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(0 if n == 1 else step)
        step *= n
    offsets = [0]
    for n, stride in zip(to, reversed(strides)):
        offsets = [o + i * stride for o in offsets for i in range(n)]
    return [values[o] for o in offsets]


_scalar = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "maximum": max,
    "minimum": min,
}


def _binary_data(kind, a, b):
    shape = _broadcast_shape(a._shape, b._shape)
    if b._init[0] == "constant" and shape == a._shape and kind in ("add", "sub", "mul", "div"):
        return _data(shape, _number_init(kind, a._init, b._init[1]))
    if a._init[0] == "constant" and shape == b._shape and kind in ("add", "mul"):
        return _data(shape, _number_init(kind, b._init, a._init[1]))
    left, right = _spread(_values(a), a._shape, shape), _spread(_values(b), b._shape, shape)
    f = _scalar[kind]
    return _data(shape, ("values", [f(x, y) for x, y in zip(left, right)]))


def _number_init(kind, init, value):
    scale, shift = {"add": (1.0, value), "sub": (1.0, -value), "mul": (value, 0.0)}.get(kind) or (1.0 / value, 0.0)
    return _affine_init(init, scale, shift)


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
    if _outside(t) and t._init[0] == "values" and len(t._shape) == 1:
        return tensor(t._init[1][start:end:step])
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
        exp=exp, log=log, sqrt=sqrt, rsqrt=rsqrt, abs=abs_, square=square, pow=power, reciprocal=reciprocal, clamp=clamp, clip=clamp, sin=sin, cos=cos,
        reshape=reshape, view=reshape, flatten=flatten, unflatten=unflatten, unsqueeze=unsqueeze, squeeze=squeeze, permute=permute,
        transpose=transpose, swapaxes=transpose, t=t_, movedim=movedim, expand=expand, narrow=narrow, select=select, split=split, chunk=chunk,
        unbind=unbind, repeat=repeat, roll=roll, mean=mean, sum=sum_, amax=amax, amin=amin, max=max_, min=min_, var=var, std=std, norm=norm,
        matmul=matmul, bmm=bmm, mm=mm,
    )
    for name, function in plain.items():
        setattr(Tensor, name, function)
    for name in ("add", "sub", "mul", "div", "neg", "exp", "log", "sqrt", "abs", "square", "pow", "clamp"):
        setattr(Tensor, name + "_", _in_place(plain[name]))
    for name, function in (("add", add), ("sub", sub), ("mul", mul), ("truediv", div), ("pow", power), ("matmul", matmul)):
        setattr(Tensor, "__" + name + "__", function)
        setattr(Tensor, "__r" + name + "__", lambda a, b, function=function: function(b, a))
        setattr(Tensor, "__i" + name + "__", _in_place(function))
    Tensor.__neg__ = neg
    Tensor.__abs__ = abs_
    Tensor.__getitem__ = getitem
    Tensor.expand_as = lambda a, b: expand(a, b._shape)
    Tensor.view_as = Tensor.reshape_as = lambda a, b: reshape(a, b._shape)
    Tensor.clamp_min = lambda t, low: clamp(t, low, None)
    Tensor.clamp_max = lambda t, high: clamp(t, None, high)
    Tensor.new_zeros = lambda t, *sizes, **kwargs: full(_sizes(sizes), 0.0)
    Tensor.new_ones = lambda t, *sizes, **kwargs: full(_sizes(sizes), 1.0)
    Tensor.T = property(lambda t: permute(t, *reversed(range(len(t._shape)))))
    Tensor.mT = property(lambda t: transpose(t, -2, -1))
    Tensor.normal_ = lambda t, mean=0.0, std=1.0: _become(t, _data(t._shape, ("normal", float(mean), float(std))))
    Tensor.uniform_ = lambda t, low=0.0, high=1.0: _become(t, _data(t._shape, ("uniform", float(low), float(high))))


_methods()
