# Operations that move elements and change none: reshaping, slicing, joining.
from _import import Unsupported
from torch._tensor import (
    Tensor, _become, _broadcast_shape, _count, _data, _dim, _dims, _fixed, _grows, _kind, _kinds, _number, _outside, _sizes, _spread, _values, emit, full, tensor,
)

_alike = ("constant", "uniform", "normal", "truncated_normal")  # starts of which every part starts the same


def offsets(shape, strides, start=0):
    """Where the elements of a view stand in a list."""
    found = [start]
    for n, stride in zip(shape, strides):
        found = [at + i * stride for at in found for i in range(n)]
    return found


def strides(shape):
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= n
    return steps[::-1]


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
    if sizes == t._shape and not _outside(t):
        return t
    if _outside(t) and t._init[0] != "orthogonal":
        return _data(sizes, t._init, t._storage, t.dtype)
    return emit({"reshape": {"shape": _fixed(sizes)}}, [t], storage=t._storage, dtype=t.dtype)


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
    if _outside(t) and sorted(dims) == list(range(len(t._shape))):
        shape = tuple(t._shape[d] for d in dims)
        if t._init[0] in _alike:
            return _data(shape, t._init, t._storage, t.dtype)
        if t._init[0] == "values":
            steps = strides(t._shape)
            return _data(shape, ("values", [t._init[1][at] for at in offsets(shape, [steps[d] for d in dims])]), t._storage, t.dtype)
    return emit({"permute": {"dims": dims}}, [t], storage=t._storage, dtype=t.dtype)


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
    if _outside(t) and t._init[0] in ("constant", "values"):
        if _broadcast_shape(t._shape, sizes) != sizes:
            raise RuntimeError("cannot expand " + repr(list(t._shape)) + " to " + repr(list(sizes)))
        init = t._init if t._init[0] == "constant" else ("values", _spread(t._init[1], t._shape, sizes))
        if init[0] == "constant" or (_count(sizes) <= 1 << 20 and not _grows(sizes)):
            return _data(sizes, init, t._storage, t.dtype)
    return emit({"expand": {"shape": _fixed(sizes)}}, [t], storage=t._storage, dtype=t.dtype)


def cat(tensors, dim=0, *, axis=None):
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("torch.cat(): expected a non-empty list of tensors")
    dim = dim if axis is None else axis
    # PyTorch lets an empty vector join anything.
    tensors = [t for t in tensors if t._shape != (0,)] or tensors[:1]
    kind = _kinds[max(_kind(t) for t in tensors)]
    d, shape = _dim(tensors[0], dim), tensors[0]._shape
    if all(_outside(t) and t._init[0] in ("constant", "values") for t in tensors) and all(
        len(t._shape) == len(shape) and t._shape[:d] + t._shape[d + 1 :] == shape[:d] + shape[d + 1 :] for t in tensors
    ):
        made = shape[:d] + (sum(t._shape[d] for t in tensors),) + shape[d + 1 :]
        if all(t._init == tensors[0]._init and t._init[0] == "constant" for t in tensors):
            return _data(made, tensors[0]._init, dtype=kind)
        if _count(made) <= 1 << 20 and not _grows(made):
            parts = [(_values(t), _count(t._shape[d:])) for t in tensors]
            values = [v for row in range(_count(shape[:d])) for flat, inner in parts for v in flat[row * inner : (row + 1) * inner]]
            return _data(made, ("values", values), dtype=kind)
    return emit({"cat": {"dim": d}}, tensors, dtype=kind)


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
    made = _cut(t, dim, start, end, step)
    # A change in place of the part is one of the whole.
    made._of = (t, lambda whole, new: _replaced(whole, dim, range(start, max(start, end), step), new))
    return made


def _cut(t, dim, start, end, step):
    shape = t._shape[:dim] + (len(range(start, end, step)),) + t._shape[dim + 1 :]
    if _outside(t) and t._init[0] == "values":
        extent, inner, kept = t._shape[dim], _count(t._shape[dim + 1 :]), range(start, end, step)
        values = [v for row in range(0, len(t._init[1]), extent * inner or 1) for i in kept for v in t._init[1][row + i * inner : row + (i + 1) * inner]]
        return _data(shape, ("values", values), t._storage, t.dtype)
    if _outside(t) and t._init[0] in _alike:
        return _data(shape, t._init, t._storage, t.dtype)
    return emit({"slice": {"dim": dim, "start": start, "end": max(start, end), "step": step}}, [t], storage=t._storage, dtype=t.dtype)


def _replaced(t, dim, places, new):
    """`t` with `new` at these places of one dimension."""
    extent = t._shape[dim]
    if _outside(t) and _outside(new) and t._init[0] not in ("constant", "values") and len(places) < extent:
        raise Unsupported("an assignment to a part of a random tensor")
    if len(places) == extent:
        return new
    if len(places) == 0:
        return t
    if places.step == 1 or len(places) == 1:
        parts = [_cut(t, dim, 0, places[0], 1), new, _cut(t, dim, places[-1] + 1, extent, 1)]
        return cat([part for part in parts if part._shape[dim]], dim)
    # Of both side by side, the one or the other.
    from torch._choice import index_select

    order = [extent + places.index(i) if i in places else i for i in range(extent)]
    return index_select(cat([t, new], dim), dim, order)


def select(t, dim, index):
    d = _dim(t, dim)
    if not -t._shape[d] <= index < t._shape[d]:
        raise IndexError("index " + str(index) + " is out of bounds for dimension " + str(d) + " with size " + str(t._shape[d]))
    index %= t._shape[d]
    part = _slice(t, d, index, index + 1, 1)
    made = reshape(part, t._shape[:d] + t._shape[d + 1 :])
    if made is not part:
        made._of = (t, lambda whole, new: _replaced(whole, d, range(index, index + 1), reshape(new, part._shape)))
    return made


def _whole_index(t, index):
    """An index without `...`; lists and ranges are tensors in it."""
    if isinstance(index, list) and any(isinstance(part, (slice, Tensor)) or part is None for part in index):
        index = tuple(index)
    if not isinstance(index, tuple):
        index = (index,)
    index = tuple(tensor(list(part)) if isinstance(part, (list, range)) else part for part in index)
    used = sum(_rank(i) for i in index)
    if used > len(t._shape):
        raise IndexError("too many indices for tensor of dimension " + str(len(t._shape)))
    at = [i for i, part in enumerate(index) if part is Ellipsis]
    if at:
        index = index[: at[0]] + (slice(None),) * (len(t._shape) - used) + index[at[0] + 1 :]
    return index


def _rank(part):
    """How many dimensions an index of one kind takes."""
    if part is None or part is Ellipsis:
        return 0
    return len(part._shape) if isinstance(part, Tensor) and _kind(part) == 0 else 1


def _plain(index):
    """Zero-dimensional whole numbers that are known are ints."""
    return tuple(
        int(part) if isinstance(part, Tensor) and not part._shape and _kind(part) == 1 and _outside(part) else part for part in index
    )


def getitem(t, index):
    index = _plain(_whole_index(t, index))
    if any(isinstance(part, Tensor) for part in index):
        from torch._choice import take

        return take(t, index)
    d = 0
    for part in index:
        if part is None:
            t = unsqueeze(t, d)
            d += 1
        elif isinstance(part, bool):
            raise Unsupported("indexing with a truth value")
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
    if _number(value):
        value = full((), value)
    if not isinstance(value, Tensor):
        raise TypeError("can't assign a " + type(value).__name__ + " to a tensor")
    index = _plain(_whole_index(t, index))
    if value._of is not None and value._of[0] is t and value._version == value._storage.version == t._version:
        # `t[..] += x` has changed `t` already.
        return
    if any(isinstance(part, Tensor) for part in index):
        from torch._choice import put

        _become(t, put(t, index, value))
        return
    _become(t, _assigned(t, [part for part in index if part is not None], 0, value))


def _assigned(t, index, d, value):
    """`t` with the value at the part that the index leaves from dimension `d` on."""
    while index and isinstance(index[0], slice) and range(*index[0].indices(t._shape[d])) == range(t._shape[d]):
        index, d = index[1:], d + 1
    if not index:
        shape = t._shape
        while len(value._shape) > len(shape) and value._shape[0] == 1:
            value = reshape(value, value._shape[1:])
        if _broadcast_shape(value._shape, shape) != shape:
            raise RuntimeError("shape " + repr(list(value._shape)) + " does not fit in place of " + repr(list(shape)))
        return expand(value, shape)
    part = index[0]
    if isinstance(part, slice):
        places = range(*part.indices(t._shape[d]))
        if places.step < 1:
            raise ValueError("step must be greater than zero")
        new = _assigned(_cut(t, d, places.start, max(places.start, places.stop), places.step), index[1:], d + 1, value)
    elif isinstance(part, int):
        if not -t._shape[d] <= part < t._shape[d]:
            raise IndexError("index " + str(part) + " is out of bounds for dimension " + str(d) + " with size " + str(t._shape[d]))
        part %= t._shape[d]
        places = range(part, part + 1)
        rest = t._shape[:d] + t._shape[d + 1 :]
        new = _assigned(reshape(_cut(t, d, part, part + 1, 1), rest), index[1:], d, value)
        new = reshape(new, t._shape[:d] + (1,) + t._shape[d + 1 :])
    else:
        raise TypeError("indices must be ints, slices, None or ..., not " + type(part).__name__)
    return _replaced(t, d, places, new)


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
    if dims is None or dims == () or dims == []:
        if isinstance(shifts, (tuple, list)) and len(shifts) != 1:
            raise RuntimeError("shifts and dimensions must align")
        return reshape(roll(reshape(t, -1), shifts, 0), t._shape)
    shifts = (shifts,) if isinstance(shifts, int) else shifts
    dims = (dims,) if isinstance(dims, int) else dims
    for n, dim in zip(shifts, dims):
        extent = t._shape[_dim(t, dim)]
        n = n % extent if extent else 0
        if n:
            t = cat([narrow(t, dim, extent - n, n), narrow(t, dim, 0, extent - n)], dim)
    return t
