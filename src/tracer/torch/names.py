# Names of `torch` for the operations of the stand-in, where the name is all there is to say.
import torch
from _import import Unsupported, module
from torch import _choice as C
from torch import _ops as T
from torch._shapes import cat, expand, movedim, reshape, stack, unsqueeze
from torch._tensor import Tensor, _data, _dim, _sizes, full, tensor
from torch.nn import functional as F


def _stacked(dim):
    return lambda tensors, *, out=None: (stack if tensors[0]._shape == () else cat)([_at_least(t, dim + 1) for t in tensors], dim)


def _at_least(t, rank):
    while len(t._shape) < rank:
        t = unsqueeze(t, 0)
    return t


def broadcast_to(input, *shape):
    return expand(input, _sizes(shape))


def broadcast_tensors(*tensors):
    shape = ()
    for t in tensors:
        shape = torch._tensor._broadcast_shape(shape, t._shape)
    return tuple(expand(t, shape) for t in tensors)


def lerp(input, end, weight):
    return T.add(input, T.mul(T.sub(end, input), weight))


def addmm(input, mat1, mat2, *, beta=1, alpha=1):
    return T.add(T.mul(input, beta), T.mul(T.mm(mat1, mat2), alpha))


def nan_to_num(input, nan=0.0, posinf=None, neginf=None):
    limits = torch.finfo(torch.float32)
    high, low = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    got = C.where(T.compare("eq", input, float("inf")), high, input)
    got = C.where(T.compare("eq", input, -float("inf")), low, got)
    return C.where(C.isnan(input), nan, got)


def isinf(input):
    return T.compare("eq", T.abs_(input), float("inf"))


def isfinite(input):
    return T.compare("lt", T.abs_(input), float("inf"))


def is_floating_point(input):
    return input.dtype.is_floating_point


def normal(mean, std=1.0, size=None, **kwargs):
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        shape = (mean if isinstance(mean, Tensor) else std)._shape
        return T.add(T.mul(_data(shape, ("normal", 0.0, 1.0)), std), mean)
    return _data(_sizes((size,)), ("normal", float(mean), float(std)))


def randint(low, high=None, size=None, *, dtype=None, **kwargs):
    """Whole numbers: the floor of a uniform draw."""
    if size is None:
        low, high, size = 0, low, high
    if not torch._tensor.State.number:
        values = [float(low + int((high - low) * _coin())) for _ in range(torch._tensor._count(_sizes((size,))))]
        return _data(_sizes((size,)), ("values", values), dtype=dtype or torch.int64)
    return T.cast(T.floor(_data(_sizes((size,)), ("uniform", float(low), float(high)))), dtype or torch.int64)


def randperm(n, *, dtype=None, **kwargs):
    """While the network is built an order that is always the same; in forward the order of random numbers."""
    if torch._tensor.State.number:
        return C.argsort(_data((n,), ("uniform", 0.0, 1.0)))
    return C._vector(sorted(range(n), key=[_coin() for _ in range(n)].__getitem__))


_state = [88172645463325252]


def _coin():
    x = _state[0]
    x ^= x << 13 & (2**64 - 1)
    x ^= x >> 7
    x ^= x << 17 & (2**64 - 1)
    _state[0] = x
    return (x >> 11) / 2.0**53


def multinomial(*args, **kwargs):
    raise T.Unsupported("torch.multinomial")


def _publish():
    space = torch.__dict__
    for name in (
        "where masked_fill nonzero masked_select tril triu tril_indices triu_indices index_select gather take_along_dim scatter scatter_add index_add flip "
        "rot90 repeat_interleave tile diagonal diag diag_embed topk sort argsort argmax argmin cumsum cumprod diff unique meshgrid outer isnan cosine_similarity"
    ).split():
        space[name] = getattr(C, name)
    for name in (
        "log1p expm1 sin cos tan atan sinh cosh erf erfc floor ceil trunc sign log2 log10 exp2 frac logical_not logical_and logical_or logical_xor "
        "logsumexp prod floor_divide remainder var_mean std_mean bernoulli"
    ).split():
        space[name] = getattr(T, name)
    for kind in ("lt", "le", "gt", "ge", "eq", "ne"):
        space[kind] = T._comparison(kind)
    for name, kind in (("greater", "gt"), ("less", "lt"), ("greater_equal", "ge"), ("less_equal", "le"), ("not_equal", "ne")):
        space[name] = T._comparison(kind)
    space.update(
        round=T.round_, all=T.all_, any=T.any_, arctan=T.atan, fix=T.trunc, absolute=T.abs_, negative=T.neg, dot=T.matmul, mv=T.matmul, ger=C.outer,
        hstack=_stacked(1), vstack=_stacked(0), row_stack=_stacked(0), broadcast_to=broadcast_to, broadcast_tensors=broadcast_tensors, lerp=lerp,
        full_like=lambda input, fill_value, *, dtype=None, **kwargs: full(input._shape, fill_value, dtype=dtype or input.dtype),
        addmm=addmm, nan_to_num=nan_to_num, isinf=isinf, isfinite=isfinite, is_floating_point=is_floating_point, is_complex=lambda input: False, normal=normal, rms_norm=F.rms_norm,
        randint=randint, randperm=randperm, multinomial=multinomial, moveaxis=movedim,
        LongTensor=_of_type(torch.int64), BoolTensor=_of_type(torch.bool), IntTensor=_of_type(torch.int32), scalar_tensor=tensor,
    )
    F.__dict__.update(embedding=C.embedding, embedding_bag=embedding_bag, l1_loss=_loss(T.abs_), mse_loss=_loss(T.square), one_hot=C.one_hot, cosine_similarity=C.cosine_similarity)
    for name in ("addmm", "lerp", "nan_to_num", "isinf", "isfinite", "broadcast_to", "is_floating_point"):
        setattr(Tensor, name, globals()[name])
    Tensor.moveaxis = movedim
    Tensor.is_complex = lambda input: False
    Tensor.index_fill = lambda t, dim, index, value: _filled(t, dim, index, value)
    Tensor.ravel = lambda t: reshape(t, -1)
    space["ravel"] = Tensor.ravel
    linear_algebra = module("torch.linalg")
    linear_algebra.update(norm=T.vector_norm, vector_norm=T.vector_norm)
    module("torch.special").update(erf=T.erf, expm1=T.expm1, log1p=T.log1p, exp2=T.exp2, logsumexp=T.logsumexp, softmax=F.softmax)


def _loss(of):
    """Distances as a number that forward goes on with; the loss that a network is trained by is the recipe's."""

    def loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
        if size_average is not None or reduce is not None or weight is not None or reduction not in ("none", "mean", "sum"):
            raise Unsupported("a loss in forward with size_average, reduce or weight")
        got = of(T.sub(input, target))
        return got if reduction == "none" else T.mean(got) if reduction == "mean" else T.sum_(got)

    return loss


def embedding_bag(
    input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode="mean", sparse=False, per_sample_weights=None,
    include_last_offset=False, padding_idx=None,
):
    """Bags of one size: rows of indices."""
    if len(input._shape) != 2 or offsets is not None:
        raise Unsupported("F.embedding_bag with offsets")
    if max_norm is not None or scale_grad_by_freq or padding_idx is not None:
        raise Unsupported("F.embedding_bag with max_norm, scale_grad_by_freq or padding_idx")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    rows = C.embedding(input, weight)
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError("embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum'")
        rows = T.mul(rows, per_sample_weights.unsqueeze(-1))
    return T.amax(rows, 1) if mode == "max" else T.mean(rows, 1) if mode == "mean" else T.sum_(rows, 1)


def _of_type(dtype):
    return lambda *items: tensor(items[0], dtype=dtype) if len(items) == 1 and isinstance(items[0], (list, tuple)) else full(items, 0, dtype=dtype)


def _filled(t, dim, index, value):
    d = _dim(t, dim)
    places = [int(i) % t._shape[d] for i in index.tolist()]
    mask = _data((t._shape[d],), ("values", [float(i in places) for i in range(t._shape[d])]), dtype=torch.bool)
    return C.masked_fill(t, reshape(mask, (-1,) + (1,) * (len(t._shape) - d - 1)), value)


_publish()
