# Operations that move elements and change none: reshaping, slicing, joining.
from _import import Unsupported
from torch._tensor import (
    Mask, Tensor, _become, _broadcast_shape, _count, _data, _dim, _dims, _fixed, _number, _outside, _sizes, _spread, _values, emit, full, tensor,
)


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
    if index is Ellipsis or isinstance(index, slice) and index == slice(None):
        _become(t, expand(value, t._shape))
        return
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
