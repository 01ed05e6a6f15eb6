# Convolutions and pools of one and three dimensions, windows, and sampling at any place: put together from those of two dimensions.
from _import import Unsupported
from torch import _choice as C
from torch import _ops as T
from torch import nn
from torch._layers import _bound, _constant, _count, _layer, _uniform, _whole
from torch._shapes import cat, expand, permute, reshape, stack, unsqueeze
from torch._tensor import Tensor, _data, full, tensor
from torch.nn import functional as F
from torch.nn.functional import pair, single
from torch.nn.modules import Module
import torch


def triple(value, what):
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,) * 3
    if len(value) == 1:
        value *= 3
    if len(value) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in value):
        raise ValueError(what + " must be one or three whole numbers")
    return value


# Of one dimension: maps of one row


def _of_row(input, function):
    if len(input._shape) not in (2, 3):
        raise RuntimeError("Expected 2D (unbatched) or 3D (batched) input, but got input of size: " + repr(list(input._shape)))
    got = function(unsqueeze(input, 2) if len(input._shape) == 3 else reshape(input, (1, input._shape[0], 1, input._shape[1])))
    return reshape(got, input._shape[:-1] + got._shape[3:])


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    kernel = single(kernel_size, "kernel_size")
    stride = kernel if stride is None or stride == () else single(stride, "stride")
    return _of_row(
        input, lambda x: F.max_pool2d(x, (1, kernel), (1, stride), (0, single(padding, "padding")), (1, single(dilation, "dilation")), ceil_mode, return_indices)
    )


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    kernel = single(kernel_size, "kernel_size")
    stride = kernel if stride is None or stride == () else single(stride, "stride")
    return _of_row(input, lambda x: F.avg_pool2d(x, (1, kernel), (1, stride), (0, single(padding, "padding")), ceil_mode, count_include_pad))


def adaptive_avg_pool1d(input, output_size):
    return _of_row(input, lambda x: F.adaptive_avg_pool2d(x, (1, single(output_size, "output_size"))))


def adaptive_max_pool1d(input, output_size, return_indices=False):
    return _of_row(input, lambda x: F.adaptive_max_pool2d(x, (1, single(output_size, "output_size")), return_indices))


def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    if len(weight._shape) != 3:
        raise RuntimeError("conv_transpose1d needs a 3-dimensional weight")
    stride, dilation = single(stride, "stride"), single(dilation, "dilation")
    padding, output_padding = single(padding, "padding"), single(output_padding, "output_padding")
    if len(input._shape) != 3:
        raise Unsupported("conv_transpose1d of an input without a batch dimension")
    got = F.conv_transpose2d(
        unsqueeze(input, 2), unsqueeze(weight, 2), bias, (1, stride), (0, padding), (0, output_padding), groups, (1, dilation)
    )
    return reshape(got, got._shape[:2] + got._shape[3:])


# Of three dimensions: the maps of each depth, then the depths


def _maps(x):
    """The maps of each depth as images of their own."""
    n, c, depth, height, width = x._shape
    return reshape(permute(x, 0, 2, 1, 3, 4), n * depth, c, height, width)


def _volumes(maps, depth):
    """The inverse of `_maps`."""
    n, c, height, width = maps._shape
    return permute(reshape(maps, n // depth, depth, c, height, width), 0, 2, 1, 3, 4)


def _volume(input):
    if len(input._shape) != 5:
        raise RuntimeError("Expected 5D (batched) input, but got input of size: " + repr(list(input._shape)))
    return input._shape


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The sum over the kernel's depths of convolutions of maps."""
    n, channels, _, _, _ = _volume(input)
    stride, dilation = triple(stride, "stride"), triple(dilation, "dilation")
    out, width, kernel = weight._shape[0], weight._shape[1], weight._shape[2:]
    if groups <= 0 or channels != width * groups or out % groups:
        raise RuntimeError("Given groups={}, weight of size {}, expected input{} to have {} channels, but got {} channels instead".format(
            groups, list(weight._shape), list(input._shape), width * groups, channels
        ))
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError("Invalid padding string " + repr(padding) + ", should be one of 'valid', 'same'")
        if padding == "same" and stride != (1, 1, 1):
            raise ValueError("padding='same' is not supported for strided convolutions")
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel)]
        sides = [(t // 2, t - t // 2) for t in total]
    else:
        sides = [(p, p) for p in triple(padding, "padding")]
    x = F.pad(input, (0, 0, 0, 0) + sides[0]) if any(sides[0]) else input
    depth = (x._shape[2] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    if depth < 1:
        raise RuntimeError("Kernel size can't be greater than actual input size")
    x = F.pad(x, sides[2] + sides[1]) if any(sides[1] + sides[2]) else x
    total = None
    for k in range(kernel[0]):
        start = k * dilation[0]
        maps = _maps(x[:, :, start : start + (depth - 1) * stride[0] + 1 : stride[0]])
        part = F.conv2d(maps, weight[:, :, k], None, stride[1:], 0, dilation[1:], groups)
        total = part if total is None else T.add(total, part)
    got = _volumes(total, depth)
    return got if bias is None else F._add_channels(got, bias)


def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    kernel, padding, dilation = triple(kernel_size, "kernel_size"), triple(padding, "padding"), triple(dilation, "dilation")
    stride = kernel if stride is None or stride == () else triple(stride, "stride")
    return _pooled(
        input,
        lambda x: F.max_pool2d(x, kernel[1:], stride[1:], padding[1:], dilation[1:], ceil_mode, return_indices),
        lambda x: F.max_pool2d(x, (kernel[0], 1), (stride[0], 1), (padding[0], 0), (dilation[0], 1), ceil_mode, return_indices),
    )


def avg_pool3d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    kernel, padding = triple(kernel_size, "kernel_size"), triple(padding, "padding")
    stride = kernel if stride is None or stride == () else triple(stride, "stride")
    if divisor_override is not None:
        raise Unsupported("avg_pool3d with divisor_override")
    return _pooled(
        input,
        lambda x: F.avg_pool2d(x, kernel[1:], stride[1:], padding[1:], ceil_mode, count_include_pad),
        lambda x: F.avg_pool2d(x, (kernel[0], 1), (stride[0], 1), (padding[0], 0), ceil_mode, count_include_pad),
    )


def _pooled(input, across, along):
    """Windows of volumes: those of the maps, then those along the depth."""
    depth = _volume(input)[2]
    x = _volumes(across(_maps(input)), depth)
    n, c, _, height, width = x._shape
    x = along(reshape(x, n, c, depth, height * width))
    return reshape(x, n, c, x._shape[2], height, width)


def _adaptive3d(pool):
    def function(input, output_size, return_indices=False):
        size = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 3
        size = triple([n if o is None else o for o, n in zip(size, _volume(input)[2:])], "output_size")
        extra = (return_indices,) if return_indices else ()
        return _pooled(input, lambda x: pool(x, size[1:], *extra), lambda x: pool(x, (size[0], x._shape[3]), *extra))

    return function


adaptive_avg_pool3d, adaptive_max_pool3d = _adaptive3d(F.adaptive_avg_pool2d), _adaptive3d(F.adaptive_max_pool2d)


# Windows


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    kernel = pair(kernel_size, "kernel_size")
    mean = F.avg_pool2d(T.power(input, norm_type), kernel, stride, 0, ceil_mode)
    size = T.mul(T.sign(mean), F.relu(T.abs_(mean)))
    return T.power(T.mul(size, kernel[0] * kernel[1]), 1.0 / norm_type)


def _positions(extent, kernel, stride, dilation):
    count = (extent - dilation * (kernel - 1) - 1) // stride + 1
    if count < 1:
        raise RuntimeError("the sliding blocks of size " + str(kernel) + " do not fit the input of " + str(extent))
    return count


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    if len(input._shape) != 4:
        raise Unsupported("F.unfold of an input without a batch dimension")
    (kh, kw), (dh, dw) = pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    (ph, pw), (sh, sw) = pair(padding, "padding"), pair(stride, "stride")
    x = F.pad(input, (pw, pw, ph, ph)) if ph or pw else input
    n, c, height, width = x._shape
    rows, columns = _positions(height, kh, sh, dh), _positions(width, kw, sw, dw)
    if (kh, kw) == (sh, sw) and (dh, dw) == (1, 1):
        x = x[:, :, : rows * kh, : columns * kw]
        return reshape(permute(reshape(x, n, c, rows, kh, columns, kw), 0, 1, 3, 5, 2, 4), n, c * kh * kw, rows * columns)
    lines = [x[:, :, i * dh : i * dh + (rows - 1) * sh + 1 : sh] for i in range(kh)]
    taps = [line[:, :, :, j * dw : j * dw + (columns - 1) * sw + 1 : sw] for line in lines for j in range(kw)]
    return reshape(stack(taps, 2), n, c * kh * kw, rows * columns)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """The adjoint of `unfold`: a transposed convolution of each channel by itself, whose kernels put each tap in its place."""
    if len(input._shape) != 3:
        raise Unsupported("F.fold of an input without a batch dimension")
    size, (kh, kw), (dh, dw) = pair(output_size, "output_size"), pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    (ph, pw), (sh, sw) = pair(padding, "padding"), pair(stride, "stride")
    n, taps, count = input._shape
    rows, columns = _positions(size[0] + 2 * ph, kh, sh, dh), _positions(size[1] + 2 * pw, kw, sw, dw)
    if taps % (kh * kw) or rows * columns != count:
        raise RuntimeError("Given output_size={} and kernel_size={}, expected {} blocks, but got {}".format(size, (kh, kw), rows * columns, count))
    c = taps // (kh * kw)
    if (kh, kw) == (sh, sw) and (dh, dw) == (1, 1) and (ph, pw) == (0, 0):
        x = reshape(permute(reshape(input, n, c, kh, kw, rows, columns), 0, 1, 4, 2, 5, 3), n, c, rows * kh, columns * kw)
    else:
        one = [[[[float(i * kw + j == tap) for j in range(kw)] for i in range(kh)]] for tap in range(kh * kw)]
        x = reshape(input, n * c, kh * kw, rows, columns)
        x = F.conv_transpose2d(x, tensor(one), None, (sh, sw), 0, 0, 1, (dh, dw))
        x = reshape(x, n, c, x._shape[2], x._shape[3])
    missing = [size[0] + 2 * ph - x._shape[2], size[1] + 2 * pw - x._shape[3]]
    return F.pad(x, (-pw, missing[1] - pw, -ph, missing[0] - ph))


# Sampling


def affine_grid(theta, size, align_corners=None):
    if len(size) != 4 or theta._shape[1:] != (2, 3):
        raise Unsupported("F.affine_grid of other than maps")
    n, _, height, width = size

    def line(extent):
        if extent == 1:
            return tensor([0.0])
        steps = [2.0 * i / (extent - 1) - 1 for i in range(extent)]
        return tensor(steps if align_corners else [s * (extent - 1) / extent for s in steps])

    xs, ys = expand(line(width), (height, width)), expand(reshape(line(height), -1, 1), (height, width))
    base = reshape(stack([xs, ys, full((height, width), 1.0)], -1), 1, height * width, 3)
    return reshape(T.matmul(base, theta.transpose(1, 2)), n, height, width, 2)


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The four neighbours of each place, by index, and their weights."""
    if mode != "bilinear" or padding_mode not in ("zeros", "border") or len(input._shape) != 4:
        raise Unsupported("F.grid_sample with mode=" + repr(mode) + ", padding_mode=" + repr(padding_mode))
    n, c, height, width = input._shape
    out = grid._shape[1:3]
    places = []
    for axis, extent in ((0, width), (1, height)):
        at = grid[:, :, :, axis]
        at = T.affine(at, (extent - 1) / 2, (extent - 1) / 2) if align_corners else T.affine(at, extent / 2, (extent - 1) / 2)
        places.append(T.clamp(at, 0, extent - 1) if padding_mode == "border" else at)
    return sampled(input, places[1], places[0], out)


def sampled(input, ys, xs, out):
    """Bilinear values of maps at rows `ys` and columns `xs` (n, *out); outside a map is 0."""
    n, c, height, width = input._shape
    flat, total = reshape(input, n, c, height * width), None
    top, left = T.floor(ys), T.floor(xs)
    for down in (0, 1):
        for right in (0, 1):
            row, column = T.affine(top, 1.0, down), T.affine(left, 1.0, right)
            weight = T.mul(
                T.sub(ys, top) if down else T.sub(T.affine(top, 1.0, 1.0), ys),
                T.sub(xs, left) if right else T.sub(T.affine(left, 1.0, 1.0), xs),
            )
            inside = T.logical_and(
                T.logical_and(T.compare("ge", row, 0), T.compare("lt", row, height)), T.logical_and(T.compare("ge", column, 0), T.compare("lt", column, width))
            )
            index = T.add(T.mul(T.clamp(row, 0, height - 1), width), T.clamp(column, 0, width - 1))
            index = T.cast(reshape(index, n, 1, _count(out)), torch.int64)
            found = reshape(C.gather(flat, 2, expand(index, n, c, _count(out))), (n, c) + tuple(out))
            part = T.mul(found, unsqueeze(T.mul(weight, inside), 1))
            total = part if total is None else T.add(total, part)
    return total


# Layers


class Conv3d(Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        super().__init__()
        if padding_mode != "zeros":
            raise Unsupported("nn.Conv3d with padding_mode=" + repr(padding_mode))
        self.in_channels, self.out_channels = _whole(in_channels, "in_channels"), _whole(out_channels, "out_channels")
        if _whole(groups, "groups") == 0 or in_channels % groups or out_channels % groups:
            raise ValueError("in_channels and out_channels must be divisible by groups")
        self.kernel_size, self.stride, self.dilation = triple(kernel_size, "kernel_size"), triple(stride, "stride"), triple(dilation, "dilation")
        self.padding = padding if isinstance(padding, str) else triple(padding, "padding")
        self.groups, self.padding_mode, self.transposed, self.output_padding = groups, padding_mode, False, (0, 0, 0)
        shape = (out_channels, in_channels // groups) + self.kernel_size
        bound = _bound(_count(shape[1:]))
        self.weight = _uniform(shape, bound)
        self.register_parameter("bias", _uniform((out_channels,), bound) if bias else None)

    def forward(self, input):
        return conv3d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose1d(Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None):
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError('Only "zeros" padding mode is supported for ConvTranspose1d')
        self.in_channels, self.out_channels, self.groups = _whole(in_channels, "in_channels"), _whole(out_channels, "out_channels"), _whole(groups, "groups")
        self.kernel_size, self.stride, self.dilation = (single(kernel_size, "kernel_size"),), (single(stride, "stride"),), (single(dilation, "dilation"),)
        self.padding, self.output_padding = (single(padding, "padding"),), (single(output_padding, "output_padding"),)
        shape = (in_channels, out_channels // groups) + self.kernel_size
        bound = _bound(_count(shape[1:]))
        self.weight = _uniform(shape, bound)
        self.register_parameter("bias", _uniform((out_channels,), bound) if bias else None)

    def forward(self, input, output_size=None):
        if output_size is not None:
            raise Unsupported("nn.ConvTranspose1d with output_size (use output_padding)")
        return conv_transpose1d(input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation)


class _InstanceNorm(Module):
    def __init__(self, num_features, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False, device=None, dtype=None):
        super().__init__()
        if track_running_stats:
            raise Unsupported("instance normalisation with running statistics")
        self.num_features, self.eps, self.affine = num_features, eps, affine
        self.register_parameter("weight", _constant((num_features,), 1.0) if affine else None)
        self.register_parameter("bias", _constant((num_features,), 0.0) if affine else None)

    def forward(self, input):
        if len(input._shape) != self.rank:
            raise Unsupported("instance normalisation of an input without a batch dimension")
        return F.group_norm(input, input._shape[1], self.weight, self.bias, self.eps)


class InstanceNorm1d(_InstanceNorm):
    rank = 3


class InstanceNorm3d(_InstanceNorm):
    rank = 5


def _publish():
    functions = dict(
        max_pool1d=max_pool1d, avg_pool1d=avg_pool1d, adaptive_avg_pool1d=adaptive_avg_pool1d, adaptive_max_pool1d=adaptive_max_pool1d,
        conv_transpose1d=conv_transpose1d, conv3d=conv3d, max_pool3d=max_pool3d, avg_pool3d=avg_pool3d, adaptive_avg_pool3d=adaptive_avg_pool3d,
        adaptive_max_pool3d=adaptive_max_pool3d, lp_pool2d=lp_pool2d, unfold=unfold, fold=fold, affine_grid=affine_grid, grid_sample=grid_sample,
    )
    F.__dict__.update(functions)
    kernel, stride, padding, ceil = ("kernel_size",), ("stride", None), ("padding", 0), ("ceil_mode", False)
    layers = {}
    for rank in ("1d", "3d"):
        maximum, mean = functions["max_pool" + rank], functions["avg_pool" + rank]
        layers["MaxPool" + rank] = _layer(
            "MaxPool" + rank, lambda x, k, s, p, d, indices, ceil, pool=maximum: pool(x, k, s, p, d, ceil, indices), kernel, stride, padding, ("dilation", 1),
            ("return_indices", False), ceil,
        )
        extra = () if rank == "1d" else (("divisor_override", None),)
        layers["AvgPool" + rank] = _layer("AvgPool" + rank, mean, kernel, stride, padding, ceil, ("count_include_pad", True), *extra)
        layers["AdaptiveAvgPool" + rank] = _layer("AdaptiveAvgPool" + rank, functions["adaptive_avg_pool" + rank], ("output_size",))
        layers["AdaptiveMaxPool" + rank] = _layer("AdaptiveMaxPool" + rank, functions["adaptive_max_pool" + rank], ("output_size",), ("return_indices", False))
    layers["LPPool2d"] = _layer("LPPool2d", lp_pool2d, ("norm_type",), kernel, stride, ceil)
    layers["Unfold"] = _layer("Unfold", unfold, kernel, ("dilation", 1), padding, ("stride", 1))
    layers["Fold"] = _layer("Fold", fold, ("output_size",), kernel, ("dilation", 1), padding, ("stride", 1))
    layers["CosineSimilarity"] = type("CosineSimilarity", (Module,), {
        "__init__": lambda self, dim=1, eps=1e-8: (Module.__init__(self), self.__dict__.update(dim=dim, eps=eps))[0],
        "forward": lambda self, a, b: C.cosine_similarity(a, b, self.dim, self.eps),
        "__module__": "torch.nn",
    })
    for cls in (Conv3d, ConvTranspose1d, InstanceNorm1d, InstanceNorm3d):
        layers[cls.__name__] = cls
    nn.__dict__.update(layers)
    nn.modules.__dict__.update(layers)
    torch.__dict__.update({name: functions[name] for name in ("conv3d", "conv_transpose1d", "max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", "max_pool3d")})


_publish()
