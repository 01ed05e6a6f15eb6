# `F.interpolate`: maps resized by repetition, by index, or by constant matrices for rows and columns.
import _math
from _import import Unsupported
from torch import _ops as T
from torch._choice import index_select
from torch._shapes import reshape, unsqueeze
from torch._tensor import emit, tensor
from torch.nn import functional as F
from torch.nn.functional import pair

_LIKE = {"linear": "bilinear"}


def _single(x):
    """As 32-bit arithmetic rounds it, by which PyTorch finds the nearest pixel."""
    if x == 0:
        return x
    exponent = int(_math.log(abs(x)) / _math.log(2.0) // 1)
    step = 2.0 ** (exponent - 23)
    return round(x / step) * step


def _nearest(extent, out, factor, exact):
    """The pixel that each new one is taken of."""
    # Whatever the factor is then.
    if not exact and out in (extent, 2 * extent):
        return [i * extent // out for i in range(out)]
    scale = _single(1.0 / factor if factor else extent / out)
    return [min(int(_single((i + 0.5 if exact else i) * scale)), extent - 1) for i in range(out)]


def _cubic(extent, out, factor, align):
    """Weights of the old pixels, a row for each new one: cubic convolution with a = -3/4 (Keys 1981), edges repeated."""
    a, rows = -0.75, []
    for i in range(out):
        if align:
            at = i * (extent - 1) / (out - 1) if out > 1 else 0.0
        else:
            at = (i + 0.5) * (1.0 / factor if factor else extent / out) - 0.5
        first = int(at // 1)
        row, t = [0.0] * extent, at - first
        for tap in range(-1, 3):
            d = abs(t - tap)
            weight = ((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
            row[min(max(first + tap, 0), extent - 1)] += weight
        rows.append(row)
    return rows


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False):
    if len(input._shape) == 3 and not isinstance(size, (tuple, list)) or len(input._shape) == 3 and len(size) == 1:
        # A row of pixels.
        size = None if size is None else (1, size[0] if isinstance(size, (tuple, list)) else size)
        if scale_factor is not None:
            scale_factor = (1.0, scale_factor[0] if isinstance(scale_factor, (tuple, list)) else scale_factor)
        if mode == "bilinear":
            raise NotImplementedError("Got 3D input, but bilinear mode needs 4D input")
        got = interpolate(unsqueeze(input, 2), size, scale_factor, _LIKE.get(mode, mode), align_corners, recompute_scale_factor, antialias)
        return reshape(got, got._shape[:2] + got._shape[3:])
    if len(input._shape) != 4 or antialias:
        raise Unsupported("interpolate of other than 4-dimensional maps, or with antialias")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    old = input._shape[2:]
    if (size is None) == (scale_factor is None):
        raise ValueError("only one of size or scale_factor should be defined")
    factors = (None, None)
    if size is None:
        given = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
        size = tuple(int(n * factor) for n, factor in zip(old, given))
        factors = factors if recompute_scale_factor else given
    size = pair(size, "size")
    if 0 in size + old:
        raise RuntimeError("Input and output sizes should be greater than 0, but got input (H: %d, W: %d) output (H: %d, W: %d)" % (old + size))
    if mode in ("nearest", "nearest-exact"):
        return _by_index(input, size, factors, mode == "nearest-exact")
    if mode == "area":
        return F.adaptive_avg_pool2d(input, size)
    if mode == "bilinear":
        # PyTorch samples at the given factor, not at the ratio of the sizes, when the factor does not divide.
        if not align_corners and any(f is not None and n != o * f for n, o, f in zip(size, old, factors)):
            raise Unsupported("bilinear resizing by a factor that gives no whole size")
        return emit({"upsample_bilinear": {"out": size, "align": bool(align_corners)}}, [input])
    if mode == "bicubic":
        down, across = [tensor(_cubic(o, n, f, align_corners)) for o, n, f in zip(old, size, factors)]
        return T.matmul(down, T.matmul(input, across.transpose(0, 1)))
    raise Unsupported("interpolate with mode=" + repr(mode))


def _by_index(input, size, factors, exact):
    old = input._shape[2:]
    places = [_nearest(o, n, f, exact) for o, n, f in zip(old, size, factors)]
    if all(n % o == 0 and place == [i * o // n for i in range(n)] for o, n, place in zip(old, size, places)):
        return emit({"upsample_nearest": {"factor": (size[0] // old[0], size[1] // old[1])}}, [input])
    if all(o % n == 0 and place == list(range(0, o, o // n)) for o, n, place in zip(old, size, places)):
        return input[:, :, :: old[0] // size[0], :: old[1] // size[1]]
    # Whole steps, or none at all, are a slice.
    for dim, (extent, place) in enumerate(zip(old, places), 2):
        if place != list(range(extent)):
            input = index_select(input, dim, tensor(place))
    return input


F.__dict__.update(interpolate=interpolate, upsample=interpolate)
