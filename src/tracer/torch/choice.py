# Choices by a condition, by index and by size, and tables of indices; what is known while tracing is computed at once.
from _import import DataDependent, Unsupported
from torch import _ops as T
from torch._shapes import cat, expand, narrow, offsets, permute, reshape, squeeze, stack, strides, unsqueeze
from torch._tensor import (
    Tensor, _become, _broadcast_shape, _count, _data, _dim, _fixed, _grows, _kind, _kinds, _number, _outside, _spread, _typed, _values, emit, full, tensor,
)
import torch


def _is_known(*tensors):
    return all(_outside(t) and t._init[0] in ("constant", "values") for t in tensors)


def _tensor(x):
    return full((), x) if _number(x) else x


def floor_of_known(a, b, rounding_mode):
    """Of fractions only where they are known: 32-bit quotients near a whole number are rounded by rules of their own."""
    a, b = _tensor(a), _tensor(b)
    if rounding_mode != "floor" or not _is_known(a, b):
        raise Unsupported("torch.div of fractions with rounding_mode")
    shape = _broadcast_shape(a._shape, b._shape)
    pairs = zip(_spread(_values(a), a._shape, shape), _spread(_values(b), b._shape, shape))
    return _data(shape, ("values", [float(x // y) for x, y in pairs]))


def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    if not _is_known(input) or dim is not None:
        raise Unsupported("torch.unique of what forward computed, or along a dimension")
    all_values = _values(input)
    values = in_order(set(all_values))
    found = [_data((len(values),), ("values", values), dtype=input.dtype)]
    if return_inverse:
        found.append(_data(input._shape, ("values", [float(values.index(v)) for v in all_values]), dtype=torch.int64))
    if return_counts:
        found.append(_data((len(values),), ("values", [float(all_values.count(v)) for v in values]), dtype=torch.int64))
    return found[0] if len(found) == 1 else tuple(found)


in_order = sorted


# By a condition


def where(condition, input=None, other=None, *, out=None):
    if input is None:
        return nonzero(condition, as_tuple=True)
    a, b = _tensor(input), _tensor(other)
    for x in (condition, a, b):
        if not isinstance(x, Tensor):
            raise TypeError("where(): expected a tensor, not " + type(x).__name__)
    dtype = _kinds[max(_kind(a), _kind(b))]
    shape = _broadcast_shape(_broadcast_shape(condition._shape, a._shape), b._shape)
    if _is_known(condition, a, b) and not _grows(shape) and _count(shape) <= 1 << 20:
        parts = [_spread(_values(t), t._shape, shape) for t in (condition, a, b)]
        return _data(shape, ("values", [x if c else y for c, x, y in zip(*parts)]), dtype=dtype)
    return emit("where", [condition, a, b], dtype=dtype)


def masked_fill(input, mask, value):
    if isinstance(value, Tensor) and value._shape:
        raise RuntimeError("masked_fill only supports a 0-dimensional value tensor, but got tensor with " + str(len(value._shape)) + " dimension(s).")
    if not isinstance(mask, Tensor) or _kind(mask):
        raise RuntimeError("masked_fill only supports boolean masks")
    got = _typed(where(mask, value, input), input.dtype)
    return got if got._shape == _broadcast_shape(mask._shape, input._shape) else expand(got, input._shape)


def nonzero(input, *, as_tuple=False):
    if not _is_known(input):
        raise DataDependent("the number of elements depends on the values of a tensor")
    found, steps = [], strides(input._shape)
    for at, value in enumerate(_values(input)):
        if value:
            found.append([at // step % n for step, n in zip(steps, input._shape)])
    columns = tuple(_vector([row[d] for row in found]) for d in range(len(input._shape)))
    return columns if as_tuple else stack(columns, 1)


def _vector(numbers):
    return _data((len(numbers),), ("values", [float(n) for n in numbers]), dtype=torch.int64)


def masked_select(input, mask):
    return take(input, (mask,))


def _triangle(t, keep):
    if len(t._shape) < 2:
        raise RuntimeError("tril and triu need a tensor of at least 2 dimensions")
    rows, columns = t._shape[-2:]
    mask = _data((rows, columns), ("values", [float(keep(i, j)) for i in range(rows) for j in range(columns)]), dtype=torch.bool)
    return _typed(where(mask, t, 0), t.dtype)


def tril(input, diagonal=0):
    return _triangle(input, lambda i, j: j - i <= diagonal)


def triu(input, diagonal=0):
    return _triangle(input, lambda i, j: j - i >= diagonal)


def tril_indices(row, col, offset=0, **kwargs):
    pairs = [(i, j) for i in range(row) for j in range(col) if j - i <= offset]
    return stack([_vector([i for i, _ in pairs]), _vector([j for _, j in pairs])])


def triu_indices(row, col, offset=0, **kwargs):
    pairs = [(i, j) for i in range(row) for j in range(col) if j - i >= offset]
    return stack([_vector([i for i, _ in pairs]), _vector([j for _, j in pairs])])


# By index


def _index(index):
    if not isinstance(index, Tensor):
        raise TypeError("an index must be a tensor, not " + type(index).__name__)
    if _kind(index) != 1:
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return index


def _checked(index, extent, negative=True):
    """Indices that are known lie inside; they count from the end where `negative`."""
    start = index._init
    numbers = start[1] if start and start[0] == "values" else start[1:2] if start and start[0] == "constant" and index._node is None else ()
    for number in numbers:
        if not (-extent if negative else 0) <= number < extent:
            raise IndexError("index " + str(int(number)) + " is out of bounds for dimension with size " + str(extent))
    return index


def _along(t, d, index, negative=True):
    """The elements of one dimension, which the index's shape takes the place of."""
    index = _checked(_index(index), t._shape[d], negative)
    shape = t._shape[:d] + index._shape + t._shape[d + 1 :]
    if _is_known(t, index) and not _grows(shape) and _count(shape) <= 1 << 20:
        if t._init[0] == "constant":
            return _data(shape, t._init, dtype=t.dtype)
        extent, inner, flat = t._shape[d], _count(t._shape[d + 1 :]), t._init[1]
        places = [int(i) % extent for i in _values(index)]
        rows = range(0, len(flat), extent * inner or 1)
        return _data(shape, ("values", [v for row in rows for i in places for v in flat[row + i * inner : row + (i + 1) * inner]]), dtype=t.dtype)
    return emit({"index": {"dim": d}}, [t, index], dtype=t.dtype)


def index_select(input, dim, index):
    index = _vector(index) if isinstance(index, list) else index
    if len(index._shape) > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    return _along(input, _dim(input, dim), reshape(index, -1), False)


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    if padding_idx is not None or max_norm is not None or scale_grad_by_freq or sparse:
        raise Unsupported("an embedding with padding_idx, max_norm, scale_grad_by_freq or sparse")
    if len(weight._shape) != 2:
        raise RuntimeError("'weight' must be 2-D")
    return _along(weight, 0, input, False)


def _joint(t, index):
    """`t` with the indexed dimensions side by side as one, that dimension, and one index of it; slices are done with."""
    from torch._shapes import getitem

    index = index + (slice(None),) * (len(t._shape) - sum(len(i._shape) if isinstance(i, Tensor) and _kind(i) == 0 else i is not None for i in index))
    whole = []
    for part in index:
        if isinstance(part, Tensor) and _kind(part) == 0:
            whole += nonzero(part, as_tuple=True)
        else:
            whole.append(part)
    # An int beside tensors is a tensor of one.
    whole = [full((), part) if isinstance(part, int) and not isinstance(part, bool) else part for part in whole]
    t = getitem(t, tuple(slice(None) if isinstance(part, Tensor) else part for part in whole))
    places = [d for d, part in enumerate(whole) if isinstance(part, Tensor)]
    indices, shape = [_index(whole[d]) for d in places], ()
    for i in indices:
        shape = _broadcast_shape(shape, i._shape)
    first = places[0]
    apart = places != list(range(first, first + len(places)))
    if apart:
        # The dimensions of an index in several places go to the front.
        t = permute(t, *places, *[d for d in range(len(t._shape)) if d not in places])
        first = 0
    if len(indices) == 1:
        return t, first, indices[0]
    extents = t._shape[first : first + len(indices)]
    flat = None
    for i, extent in zip(indices, extents):
        i = _checked(i, extent)
        if not _is_known(i):
            i = where(T.compare("lt", i, 0), T.add(i, extent), i)
        else:
            i = _data(i._shape, ("values", [v % extent for v in _values(i)]), dtype=i.dtype)
        flat = i if flat is None else T.add(T.mul(flat, extent), i)
    rest = t._shape[first + len(indices) :]
    return reshape(t, t._shape[:first] + (_count(extents),) + rest), first, expand(flat, shape)


def take(t, index):
    """`t[index]` with tensors in the index."""
    t, d, index = _joint(t, index)
    return _along(t, d, index)


def put(t, index, value):
    """`t` after `t[index] = value` with tensors in the index."""
    masks = [part for part in index if isinstance(part, Tensor) and _kind(part) == 0]
    if len(index) == 1 and masks and not value._shape:
        mask = masks[0]
        mask = reshape(mask, mask._shape + (1,) * (len(t._shape) - len(mask._shape)))
        return _typed(expand(where(mask, value, t), t._shape), t.dtype)
    if len(index) != 1 or masks or len(index[0]._shape) != 1:
        raise Unsupported("an assignment by several indices")
    places = index[0]
    shape = places._shape + t._shape[1:]
    value = expand(value, shape)
    if not _is_known(places):
        raise Unsupported("an assignment at places that depend on the values of a tensor")
    order = list(range(t._shape[0]))
    for at, place in enumerate(_values(_checked(places, t._shape[0]))):
        order[int(place)] = t._shape[0] + at
    return index_select(cat([t, value], 0), 0, order)


def _first(t, shape, d):
    """The part of `t` that an index of this shape reaches over in the other dimensions."""
    for other, n in enumerate(shape):
        if other != d and t._shape[other] != n:
            t = narrow(t, other, 0, n)
    return t


def gather(input, dim, index, *, sparse_grad=False):
    d, index = _dim(input, dim), _index(index)
    if len(index._shape) != len(input._shape) or any(n > m for i, (n, m) in enumerate(zip(index._shape, input._shape)) if i != d):
        raise RuntimeError("Size does not match at dimension " + str(d) + " expected index " + repr(list(index._shape)) + " to be smaller than self")
    return emit({"gather": {"dim": d}}, [_first(input, index._shape, d), _checked(index, input._shape[d], False)], dtype=input.dtype)


def take_along_dim(input, indices, dim):
    d = _dim(input, dim)
    shape = tuple(n if i == d else m for i, (n, m) in enumerate(zip(indices._shape, input._shape)))
    return gather(input, d, expand(indices, shape))


def scatter(input, dim, index, src=None, *, value=None, reduce=None):
    if reduce not in (None, "add"):
        raise Unsupported("torch.scatter with reduce=" + repr(reduce))
    src = value if src is None else src
    return _scattered(input, dim, index, src, reduce == "add")


def scatter_add(input, dim, index, src):
    return _scattered(input, dim, index, src, True)


def _scattered(input, dim, index, src, add):
    d, index = _dim(input, dim), _checked(_index(index), input._shape[_dim(input, dim)], False)
    src = full(index._shape, src, dtype=input.dtype) if _number(src) else src
    if len(index._shape) != len(input._shape) or len(src._shape) != len(index._shape) or any(n > m for n, m in zip(index._shape, src._shape)):
        raise RuntimeError("Expected index " + repr(list(index._shape)) + " to be smaller than src " + repr(list(src._shape)))
    for other, n in enumerate(index._shape):
        if other != d and n != input._shape[other]:
            raise Unsupported("torch.scatter into a part of the other dimensions")
        src = src if src._shape[other] == n else narrow(src, other, 0, n)
    return emit({"scatter": {"dim": d, "add": add}}, [input, index, src], dtype=input.dtype)


def index_add(input, dim, index, source, *, alpha=1):
    d = _dim(input, dim)
    index = expand(reshape(index, (1,) * d + (-1,) + (1,) * (len(input._shape) - d - 1)), source._shape)
    return scatter_add(input, d, index, source if alpha == 1 else T.mul(source, alpha))


def one_hot(input, num_classes=-1):
    if num_classes < 0:
        if not _is_known(input):
            raise DataDependent("the number of classes depends on the values of a tensor")
        num_classes = int(max(_values(input))) + 1
    return T.cast(T.compare("eq", unsqueeze(_index(input), -1), _vector(range(num_classes))), torch.int64)


def flip(input, *dims):
    dims = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    for dim in dims:
        d = _dim(input, dim)
        input = index_select(input, d, list(range(input._shape[d] - 1, -1, -1)))
    return input


def rot90(input, k=1, dims=(0, 1)):
    a, b = _dim(input, dims[0]), _dim(input, dims[1])
    for _ in range(k % 4):
        input = flip(input, b).transpose(a, b)
    return input


def repeat_interleave(input, repeats, dim=None, *, output_size=None):
    if dim is None:
        input, dim = reshape(input, -1), 0
    if not isinstance(repeats, int):
        raise Unsupported("torch.repeat_interleave with a tensor of counts")
    d = _dim(input, dim)
    shape = input._shape
    input = expand(unsqueeze(input, d + 1), shape[: d + 1] + (repeats,) + shape[d + 1 :])
    return reshape(input, shape[:d] + (shape[d] * repeats,) + shape[d + 1 :])


def tile(input, *dims):
    from torch._shapes import repeat

    dims = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    return repeat(input, (1,) * (len(input._shape) - len(dims)) + dims)


def diagonal(input, offset=0, dim1=0, dim2=1):
    a, b = _dim(input, dim1), _dim(input, dim2)
    others = [d for d in range(len(input._shape)) if d not in (a, b)]
    rows, columns = input._shape[a], input._shape[b]
    t = permute(input, *others, a, b)
    t = reshape(t, t._shape[:-2] + (rows * columns,))
    return index_select(t, -1, [i * columns + i + offset for i in range(rows) if 0 <= i + offset < columns])


def diag(input, diagonal=0):
    if len(input._shape) == 2:
        return globals()["diagonal"](input, diagonal)
    return diag_embed(input, diagonal)


def diag_embed(input, offset=0):
    if offset:
        raise Unsupported("torch.diag_embed with an offset")
    return where(torch.eye(input._shape[-1]) != 0, unsqueeze(input, -1), 0)


# By size


class Chosen(tuple):
    values = property(lambda self: self[0])
    indices = property(lambda self: self[1])


def topk(input, k, dim=-1, largest=True, sorted=True):
    d = _dim(input, dim)
    if not 0 <= k <= (input._shape[d] if input._shape else 1):
        raise RuntimeError("selected index k out of range")
    places = emit({"top_k": {"k": k, "dim": d, "largest": bool(largest)}}, [input], dtype=torch.int64)
    return Chosen((emit({"gather": {"dim": d}}, [input, places], dtype=input.dtype), places))


def sort(input, dim=-1, descending=False, *, stable=False):
    return topk(input, input._shape[_dim(input, dim)], dim, descending)


def argsort(input, dim=-1, descending=False, *, stable=False):
    return sort(input, dim, descending)[1]


def extreme(t, dim, keepdim, largest):
    """The values and places of maxima along a dimension, the first of equals."""
    values, places = topk(t, 1, dim, largest)
    return Chosen((values, places) if keepdim else (squeeze(values, dim), squeeze(places, dim)))


def argmax(input, dim=None, keepdim=False):
    return _place(input, dim, keepdim, True)


def argmin(input, dim=None, keepdim=False):
    return _place(input, dim, keepdim, False)


def _place(input, dim, keepdim, largest):
    if dim is None:
        input, dim = reshape(input, -1), 0
    return extreme(input, dim, keepdim, largest)[1]


def _running(function, input, d, kind):
    """Of known numbers: each with all before it along a dimension."""
    values, extent, inner = list(_values(input)), input._shape[d], _count(input._shape[d + 1 :])
    for at in range(len(values)):
        if at // inner % extent:
            values[at] = function(values[at], values[at - inner])
    return _data(input._shape, ("values", values), dtype=kind)


def cumprod(input, dim, *, dtype=None):
    d = _dim(input, dim)
    kind = torch.int64 if _kind(input) < 2 else input.dtype
    if _is_known(input) and not _grows(input._shape):
        return _running(lambda a, b: a * b, input, d, kind)
    if input._shape[d] > 64:
        raise Unsupported("torch.cumprod over " + str(input._shape[d]) + " numbers that forward computed")
    products = [narrow(input, d, 0, 1)]
    for at in range(1, input._shape[d]):
        products.append(T.mul(products[-1], narrow(input, d, at, 1)))
    return cat(products, d)


def diff(input, n=1, dim=-1, prepend=None, append=None):
    d = _dim(input, dim)
    parts = [part for part in (prepend, input, append) if part is not None]
    got = input if len(parts) == 1 else cat(parts, d)
    for _ in range(min(n, got._shape[d])):
        count = got._shape[d] - 1
        got = T.sub(narrow(got, d, 1, count), narrow(got, d, 0, count))
    return got


def cumsum(input, dim, *, dtype=None):
    d = _dim(input, dim)
    kind = torch.int64 if _kind(input) < 2 else input.dtype
    if _is_known(input) and not _grows(input._shape):
        return _running(lambda a, b: a + b, input, d, kind)
    return emit({"cum_sum": {"dim": d}}, [input], dtype=kind)


# Tables


def meshgrid(*tensors, indexing="ij"):
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError("torch.meshgrid: indexing must be one of 'xy' or 'ij'")
    swap = indexing == "xy" and len(tensors) > 1
    order = list(tensors)
    if swap:
        order[0], order[1] = order[1], order[0]
    shape = tuple(_count(t._shape) for t in order)
    grids = [expand(reshape(t, (1,) * d + (-1,) + (1,) * (len(order) - d - 1)), shape) for d, t in enumerate(order)]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def outer(input, vec2):
    return T.mul(unsqueeze(input, 1), vec2)


def isnan(input):
    return T.compare("ne", input, input)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    a, b = [T.div(x, T.clamp(T.norm(x, 2, dim, True), eps, None)) for x in (x1, x2)]
    return T.sum_(T.mul(a, b), dim)


_methods = dict(
    where=lambda t, condition, other: where(condition, t, other), masked_fill=masked_fill, nonzero=nonzero, masked_select=masked_select, tril=tril, triu=triu,
    index_select=index_select, gather=gather, scatter=scatter, scatter_add=scatter_add, index_add=index_add, flip=flip, rot90=rot90,
    repeat_interleave=repeat_interleave, tile=tile, diagonal=diagonal, diag=diag, topk=topk, sort=sort, argsort=argsort, argmax=argmax,
    argmin=argmin, cumsum=cumsum, cumprod=cumprod, diff=diff, unique=unique, isnan=isnan, outer=outer, diag_embed=diag_embed, take_along_dim=take_along_dim, ger=outer,
)
for _name, _function in _methods.items():
    setattr(Tensor, _name, _function)
for _name in ("masked_fill", "tril", "triu", "scatter", "scatter_add", "index_add", "cumsum", "cumprod"):
    setattr(Tensor, _name + "_", T._in_place(_methods[_name]))
