# einops: patterns become reshapes, permutations, reductions and expansions.
import torch
from _import import Unsupported, missing, module
from torch._tensor import Tensor
from torch.nn.modules import Module, Parameter

__getattr__ = missing("einops")


class EinopsError(RuntimeError):
    pass


def _side(text):
    """A side of a pattern: groups of names, each a list; a number stands for itself, `...` for what there is."""
    groups, held = [], None
    for part in text.replace("(", " ( ").replace(")", " ) ").replace("...", " ... ").split():
        if part == "(":
            if held is not None:
                raise EinopsError("brackets inside brackets in " + repr(text))
            held = []
        elif part == ")":
            if held is None:
                raise EinopsError("brackets are not balanced in " + repr(text))
            groups.append(held)
            held = None
        elif part != "..." and not part.isidentifier() and not part.isdigit():
            raise EinopsError("not a name: " + repr(part))
        elif held is not None:
            held.append(part)
        else:
            groups.append([part] if part != "1" else [])
    if held is not None:
        raise EinopsError("brackets are not balanced in " + repr(text))
    return [[name for name in group if name != "1"] for group in groups]


def _names(groups):
    return [name for group in groups for name in group]


def _product(numbers):
    total = 1
    for n in numbers:
        total *= n
    return total


def _spelled(groups, rank, hidden):
    """`...` as so many names of its own."""
    if ["..."] not in groups and all("..." not in group for group in groups):
        return groups
    names = ["..." + str(i) for i in range(rank)]
    made = []
    for group in groups:
        if group == ["..."]:
            made.extend([name] for name in names)
        else:
            made.append([part for name in group for part in (names if name == "..." else [name])])
    return made


def _split(pattern):
    left, arrow, right = pattern.partition("->")
    if not arrow or "->" in right:
        raise EinopsError("a pattern needs one ->: " + repr(pattern))
    return _side(left), _side(right)


def _extents(groups, shape, given, pattern):
    """The extent of each name on the left."""
    if len(groups) != len(shape):
        raise EinopsError("Wrong shape: expected {} dims. Received {}-dim tensor (pattern {!r})".format(len(groups), len(shape), pattern))
    known = {}
    for name, n in given.items():
        known[name] = int(n)
    for group, extent in zip(groups, shape):
        for name in group:
            if name.isdigit():
                known[name] = int(name)
        open_ = [name for name in group if name not in known]
        product = _product(known[name] for name in group if name in known)
        if len(open_) > 1:
            raise EinopsError("Could not infer sizes for " + repr(open_) + " in " + repr(pattern))
        if open_:
            if product == 0 or extent % product:
                raise EinopsError("Shape mismatch, can't divide axis of length " + str(extent) + " in chunks of " + str(product))
            known[open_[0]] = extent // product
        elif product != extent:
            raise EinopsError("Shape mismatch, " + str(extent) + " != " + str(product) + " in " + repr(pattern))
    return known


def _gathered(tensor):
    return torch.stack(list(tensor)) if isinstance(tensor, (list, tuple)) else tensor


def _transform(tensor, pattern, given, reduction):
    tensor = _gathered(tensor)
    if not isinstance(tensor, Tensor):
        raise Unsupported("einops of a " + type(tensor).__name__)
    left, right = _split(pattern)
    hidden = len(tensor.shape) - sum(1 for group in left if group != ["..."])
    left, right = _spelled(left, hidden, None), _spelled(right, hidden, None)
    before, after = _names(left), _names(right)
    for names in (before, after):
        if len(set(names)) != len(names):
            raise EinopsError("a name stands twice on one side of " + repr(pattern))
    sizes = _extents(left, tensor.shape, {name: n for name, n in given.items() if name in before}, pattern)
    new = [name for name in after if name not in before]
    gone = [name for name in before if name not in after]
    if gone and reduction in (None, "repeat"):
        raise EinopsError("Identifiers only on one side of expression (should be on both): " + repr(gone))
    if new and reduction != "repeat":
        raise EinopsError("Identifiers only on one side of expression (should be on both): " + repr(new))
    for name in new:
        if not name.isdigit() and name not in given:
            raise EinopsError("Specify sizes for all new axes in pattern: " + repr(name))
        sizes[name] = int(name) if name.isdigit() else int(given[name])
    unused = [name for name in given if name not in before and name not in after]
    if unused:
        raise EinopsError("Identifier " + repr(unused[0]) + " is not in the pattern " + repr(pattern))
    shape = tuple(sizes[name] for name in before)
    x = tensor if tuple(tensor.shape) == shape else tensor.reshape(shape)
    if gone:
        dims = tuple(before.index(name) for name in gone)
        if reduction == "prod":
            raise Unsupported("einops.reduce with prod")
        if callable(reduction):
            x = reduction(x, dims)
        else:
            x = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax, "min": torch.amin}[reduction](x, dims)
        before = [name for name in before if name not in gone]
    kept = [name for name in after if name in before]
    order = [before.index(name) for name in kept]
    if order != list(range(len(order))):
        x = x.permute(order)
    if new:
        x = x.reshape(tuple(sizes[name] if name in kept else 1 for name in after)).expand(tuple(sizes[name] for name in after))
    final = tuple(_product(sizes[name] for name in group) for group in right)
    return x if tuple(x.shape) == final else x.reshape(final)


def rearrange(tensor, pattern, **axes_lengths):
    return _transform(tensor, pattern, axes_lengths, None)


def reduce(tensor, pattern, reduction, **axes_lengths):
    if not callable(reduction) and reduction not in ("mean", "sum", "max", "min", "prod"):
        raise EinopsError("Unknown reduction " + repr(reduction))
    return _transform(tensor, pattern, axes_lengths, reduction)


def repeat(tensor, pattern, **axes_lengths):
    return _transform(tensor, pattern, axes_lengths, "repeat")


def parse_shape(x, pattern):
    names = pattern.split()
    if len(names) != len(x.shape):
        raise EinopsError("Can't parse shape with different number of dimensions: " + repr(pattern))
    return {name: n for name, n in zip(names, x.shape) if name != "_"}


def asnumpy(tensor):
    raise Unsupported("einops.asnumpy")


def einsum(*tensors_and_pattern):
    *tensors, pattern = tensors_and_pattern
    left, arrow, right = pattern.partition("->")
    if "..." in pattern or "(" in pattern:
        raise Unsupported("einops.einsum of " + repr(pattern))
    letters = {}

    def short(text):
        return "".join(letters.setdefault(name, chr(ord("a") + len(letters)) if len(letters) < 26 else chr(ord("A") + len(letters) - 26)) for name in text.split())

    return torch.einsum(",".join(short(term) for term in left.split(",")) + "->" + short(right), *tensors)


def pack(tensors, pattern):
    names = pattern.split()
    at, after = names.index("*"), len(names) - names.index("*") - 1
    shapes, flat = [], []
    for tensor in tensors:
        shape = tuple(tensor.shape)
        end = len(shape) - after
        shapes.append(shape[at:end])
        flat.append(tensor.reshape(shape[:at] + (_product(shape[at:end]),) + shape[end:]))
    return torch.cat(flat, at), shapes


def unpack(tensor, packed_shapes, pattern):
    at = pattern.split().index("*")
    sizes = [_product(shape) for shape in packed_shapes]
    if -1 in [n for shape in packed_shapes for n in shape]:
        raise Unsupported("einops.unpack with -1")
    shape = tuple(tensor.shape)
    return [part.reshape(shape[:at] + tuple(inner) + shape[at + 1 :]) for part, inner in zip(tensor.split(sizes, at), packed_shapes)]


# Layers


class _Layer(Module):
    def __init__(self, pattern, **axes_lengths):
        super().__init__()
        self.pattern, self.axes_lengths = pattern, axes_lengths
        _split(pattern)

    def extra_repr(self):
        return repr(self.pattern)


class Rearrange(_Layer):
    def forward(self, input):
        return _transform(input, self.pattern, self.axes_lengths, None)


class Reduce(_Layer):
    def __init__(self, pattern, reduction, **axes_lengths):
        super().__init__(pattern, **axes_lengths)
        self.reduction = reduction

    def forward(self, input):
        return _transform(input, self.pattern, self.axes_lengths, self.reduction)


class EinMix(Module):
    """A weight of its own shape, contracted with the input."""

    def __init__(self, pattern, weight_shape, bias_shape=None, **axes_lengths):
        super().__init__()
        self.pattern, self.weight_shape, self.bias_shape, self.axes_lengths = pattern, weight_shape, bias_shape, axes_lengths
        left, right = _split(pattern)
        self.left, self.right = left, right
        names = weight_shape.split()
        self.names = names
        shape = [axes_lengths[name] for name in names]
        fan_in = _product(axes_lengths[name] for name in names if name not in _names(right))
        bound = (3.0 / fan_in) ** 0.5
        self.weight = Parameter(torch.empty(shape).uniform_(-bound, bound))
        if bias_shape is None:
            self.bias = None
        else:
            known = bias_shape.split()
            bound = fan_in**-0.5
            self.bias = Parameter(torch.empty([axes_lengths[name] if name in known else 1 for name in _names(right)]).uniform_(-bound, bound))

    def forward(self, input):
        before, after = _names(self.left), _names(self.right)
        x = rearrange(input, self.pattern.split("->")[0] + "->" + " ".join(before), **{n: v for n, v in self.axes_lengths.items() if n in before})
        got = einsum(x, self.weight, " ".join(before) + "," + " ".join(self.names) + "->" + " ".join(after))
        if self.bias is not None:
            got = got + self.bias
        wanted = self.pattern.split("->")[1]
        return rearrange(got, " ".join(after) + "->" + wanted) if "(" in wanted else got


module("einops.layers")
module("einops.layers.torch").update(Rearrange=Rearrange, Reduce=Reduce, EinMix=EinMix)
module("einops.einops").update(rearrange=rearrange, reduce=reduce, repeat=repeat, parse_shape=parse_shape)
