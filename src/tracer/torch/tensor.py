# Symbolic tensors. A traced tensor is a node of the current pass; a tensor outside the graph has a way it starts ("init").
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
    elif init[0] == "bernoulli":
        node = _draw(tensor._shape, *init[1:])
    else:
        raise Unsupported("random numbers in forward")
    tensor._as_node = (State.number, init, node)
    return node


def _draw(shape, keep, value):
    """`value` with probability `keep`, else 0: dropout of a constant, so evaluation sees the expectation `keep * value`."""
    node = _record.node({"constant": {"values": [keep * value], "shape": []}}, [], [], State.path)[0]
    node = _record.node({"expand": {"shape": _fixed(shape)}}, [node], [], State.path)[0]
    if keep == 1:
        return node
    return _record.node({"dropout": {"p": 1.0 - keep, "channels": False}}, [node], [], State.path)[0]


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
    if kind == "bernoulli" and shift == 0:
        return ("bernoulli", init[1], init[2] * scale)
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
