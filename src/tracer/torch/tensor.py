# Symbolic tensors. A traced tensor is a node of the current pass; a tensor outside the graph has a way it starts ("init").
import _record
import torch
from _import import DataDependent, Unsupported
from torch import Size


class State:
    EVALUATION = 3
    BATCHES = (58, 37)  # of the passes by turns: extents that hardly anything else has
    batch = 0
    number = 0  # 0 while the network is built (what runs then is forgotten), 1 and 2 for the passes in training, 3 and 4 for those in evaluation
    path = ""  # the module that runs
    owned = 0  # numbers given to parameters and buffers
    counted = None  # a buffer that this pass counted up, until the normalisation whose batches it counts takes it


class Storage:
    """What views share: a view is stale once another one was changed in place."""

    __slots__ = ("version", "owned")

    def __init__(self):
        self.version = 0
        self.owned = False  # of a parameter or buffer


def _number(x):
    return isinstance(x, (int, float))


def _grows(shape):
    """Whether data of this shape grows with the batch: it is left to the graph then."""
    return State.number > 0 and State.batch in shape[:1]


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

    @property
    def data(self):
        """The tensor itself while the network is built; in forward no gradient passes."""
        return self if _outside(self) else emit("detach", [self], storage=self._storage, dtype=self.dtype)

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
        if not _outside(self):
            raise DataDependent("a condition depends on the values of a tensor")
        return bool(self.item())

    def item(self):
        if _outside(self) and _count(self._shape) == 1 and self._init[0] in ("constant", "values"):
            value = self._init[1] if self._init[0] == "constant" else self._init[1][0]
            kind = _kind(self)
            return value if kind == 2 else int(value) if kind == 1 else bool(value)
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

    cpu = cuda = requires_grad_ = retain_grad = contiguous

    def clone(self, *args, **kwargs):
        made = _data(self._shape, self._init) if _outside(self) else _traced(node_of(self), self._shape)
        return _typed(made, self.dtype)

    def detach(self):
        return self.data

    def detach_(self):
        return _become(self, self.data)

    def __deepcopy__(self, memo):
        if self._node is not None:
            raise Unsupported("a copy of a traced tensor")
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._storage = Storage()
        made._version = 0
        made._of = None
        if made._owned is not None:
            _own(made)
        memo[id(self)] = made
        return made

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
        _of=None,
        _storage=storage or Storage(),
        _version=storage.version if storage else 0,
    )
    return tensor


def _traced(node, shape, storage=None):
    return _setup(object.__new__(Tensor), shape, node=node, storage=storage)


_laws = {"uniform": ("low", "high"), "normal": ("mean", "std"), "bernoulli": ("p",)}


def _data(shape, init, storage=None, dtype=None):
    for n in shape:
        if n < 0:
            raise RuntimeError("Trying to create tensor with negative dimension " + str(n) + ": " + str(list(shape)))
    if State.number and init[0] in _laws:
        # What forward draws is drawn anew in each step.
        law = {init[0]: dict(zip(_laws[init[0]], init[1:]))}
        return emit({"random": {"law": law, "shape": _fixed(shape)}}, [])
    return _typed(_setup(object.__new__(Tensor), shape, init=init, storage=storage), dtype)


def _typed(tensor, dtype):
    if dtype is not None and dtype is not torch.float32:
        tensor._dtype = dtype
    return tensor


def _kind(x):
    """0 for truth values, 1 for whole numbers, 2 for others: what arithmetic promotes to."""
    if isinstance(x, Tensor):
        dtype = x.__dict__.get("_dtype")
        return 2 if dtype is None else dtype.kind
    return 0 if isinstance(x, bool) else 1 if isinstance(x, int) else 2


_kinds = (torch.bool, torch.int64, torch.float32)


def _own(tensor):
    """Parameters and buffers have a number that lives as long as the network."""
    State.owned += 1
    tensor._owned = State.owned
    tensor._storage.owned = True


def _outside(tensor):
    """Whether it is plain data now. In a pass, parameters and buffers are part of the graph."""
    _fresh(tensor)
    if tensor._node is not None or (State.number and tensor._owned is not None):
        return False
    if State.number and tensor._init[0] not in ("constant", "values"):
        raise Unsupported("a random tensor in forward that is neither a parameter nor a buffer")
    return True


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
    if tensor._storage.owned:
        if State.number:
            return counted(tensor, new)
        if not _outside(new):
            raise Unsupported("an initial value computed by tensor operations")
    before = tensor._storage.version
    tensor._storage.version += 1
    changed = tensor
    while True:
        changed.__dict__.update(_version=tensor._storage.version, _shape=new._shape, _node=new._node, _pass=new._pass, _init=new._init)
        if changed._of is None or changed._of[0]._version != before:
            return tensor
        # What it is a part of changes with it.
        whole, write = changed._of
        new = write(_like(whole), new)
        changed = whole


def is_counter(x):
    return State.number > 0 and isinstance(x, Tensor) and x._owned is not None and x._shape == () and _kind(x) == 1


def counted(tensor, new):
    """The one change of a buffer that forward may make itself: up by one, as the count of batches of a normalisation, which takes it."""
    if new.__dict__.get("_counts") is not tensor or State.counted is not None:
        raise Unsupported("a change of a parameter or buffer in forward")
    State.counted = tensor
    tensor.__dict__.update(_counter=True, _counted_in=State.number)
    return tensor


def _like(tensor):
    """The same value, and nothing shared."""
    made = _setup(object.__new__(Tensor), tensor._shape, node=tensor._node, init=tensor._init)
    made._pass = tensor._pass
    return _typed(made, tensor.dtype)


def node_of(tensor):
    if not isinstance(tensor, Tensor):
        raise TypeError("expected a tensor, not " + type(tensor).__name__)
    _fresh(tensor)
    if tensor._node is not None:
        if tensor._pass != State.number:
            raise DataDependent("a tensor is kept from one call of the network to another")
        return tensor._node
    if tensor.__dict__.get("_counted_in") == State.number:
        raise Unsupported("the use of a count of batches")
    known = tensor._as_node
    if known is not None and known[0] == State.number and known[1] is tensor._init:
        return known[2]
    if tensor._shape is None:
        raise RuntimeError("a lazy parameter is used before its first call")
    init = tensor._init
    if tensor._owned is not None:
        node = _record.node("tensor", [], [(tensor._owned, tensor._shape)], State.path)[0]
    elif init[0] == "values":
        node = _record.node({"constant": {"values": written(init[1]), "shape": tensor._shape}}, [], [], State.path)[0]
    elif init[0] == "constant" or State.number == 0:
        value = init[1] if init[0] == "constant" else 0.0
        node = _record.node({"constant": {"values": written([value]), "shape": []}}, [], [], State.path)[0]
        if tensor._shape:
            node = _record.node({"expand": {"shape": _fixed(tensor._shape)}}, [node], [], State.path)[0]
    else:
        raise Unsupported("a random tensor in forward that is neither a parameter nor a buffer")
    tensor._as_node = (State.number, init, node)
    return node


def written(values):
    """Numbers as the recorder takes them: infinities are words."""
    return [v if v - v == 0 else "inf" if v > 0 else "-inf" if v < 0 else "nan" for v in values]


def emit(op, inputs, owned=(), storage=None, dtype=None):
    """Records an operation; its shape comes from the tracer."""
    for tensor in owned:
        _fresh(tensor)
        if tensor._owned is None:
            raise Unsupported("a weight that is computed, of " + (op if isinstance(op, str) else list(op)[0]))
        if tensor._shape is None:
            raise RuntimeError("a lazy parameter is used before its first call")
    got = _record.node(op, [node_of(t) for t in inputs], [(t._owned, t._shape) for t in owned], State.path)
    if torch._tape is not None:
        torch._tape.append((op, [node_of(t) for t in inputs], got[0], list(inputs)))
    if torch._without_gradient and (inputs or owned) and op != "detach":
        got = _record.node("detach", [got[0]], [], State.path)
    return _typed(_traced(got[0], got[1:], storage), dtype)


def is_owned(*tensors):
    return all(t is None or t._owned is not None for t in tensors)


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


def full(size, fill_value, *, dtype=None, requires_grad=False, **kwargs):
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    made = _data(_sizes((size,)), ("constant", float(fill_value)), dtype=dtype or _kinds[_kind(fill_value)])
    made.requires_grad = requires_grad
    return made


def _flat(items, values):
    """Appends the numbers of nested lists and returns their shape."""
    if isinstance(items, Tensor):
        items = items.tolist()
    if _number(items):
        values.append(items)
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
    made = _setup(made, shape, init=("values", [float(v) for v in values]))
    return made if not values else _typed(made, _kinds[max(_kind(v) for v in values)])


def tensor(data, *, dtype=None, requires_grad=False, **kwargs):
    made = _become_data(object.__new__(Tensor), data)
    if dtype is not None:
        made = made.to(dtype)
    made.requires_grad = requires_grad
    return made


def as_tensor(data, dtype=None, **kwargs):
    made = data if isinstance(data, Tensor) else tensor(data)
    return made if dtype is None else made.to(dtype)


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
    "power": lambda a, b: a**b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


_comparisons = ("lt", "le", "gt", "ge", "eq", "ne")


def _binary_data(kind, a, b):
    shape = _broadcast_shape(a._shape, b._shape)
    if b._init[0] == "constant" and shape == a._shape and kind in ("add", "sub", "mul", "div"):
        return _data(shape, _number_init(kind, a._init, b._init[1]))
    if a._init[0] == "constant" and shape == b._shape and kind in ("add", "mul"):
        return _data(shape, _number_init(kind, b._init, a._init[1]))
    f = _scalar[kind]
    if _grows(shape) and a._init[0] + b._init[0] != "constantconstant":
        return emit({"compare": kind} if kind in _comparisons else {"binary": kind}, [a, b])
    if a._init[0] == b._init[0] == "constant":
        return _data(shape, ("constant", float(f(a._init[1], b._init[1]))))
    left, right = _spread(_values(a), a._shape, shape), _spread(_values(b), b._shape, shape)
    return _data(shape, ("values", [float(f(x, y)) for x, y in zip(left, right)]))


def _number_init(kind, init, value):
    scale, shift = {"add": (1.0, value), "sub": (1.0, -value), "mul": (value, 0.0)}.get(kind) or (1.0 / value, 0.0)
    return _affine_init(init, scale, shift)
