# The layers of torch.nn. The order in which each registers its tensors is PyTorch's: it is the order of the state dict.
import torch
from _import import Unsupported
from torch import nn
from torch._ops import flatten, unflatten
from torch._tensor import State, _count, _data
from torch.nn import functional as F
from torch.nn import modules as base
from torch.nn.functional import pair
from torch.nn.modules import Module, Parameter, UninitializedParameter


def _uniform(shape, bound):
    return Parameter(_data(shape, ("uniform", -bound, bound)))


def _constant(shape, value):
    return Parameter(_data(shape, ("constant", value)))


def _whole(value, what):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(what + " must be an int, not " + type(value).__name__)
    if value < 0:
        raise RuntimeError("Trying to create tensor with negative dimension " + str(value))
    return value


def _bound(fan_in):
    return 1.0 / fan_in**0.5 if fan_in > 0 else 0.0


# Convolution and linear layers


class Conv2d(Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        super().__init__()
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode)
        shape = (self.out_channels, self.in_channels // self.groups) + self.kernel_size
        bound = _bound(_count(shape[1:]))
        self.weight = _uniform(shape, bound)
        self.register_parameter("bias", _uniform((self.out_channels,), bound) if bias else None)

    def _configure(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode):
        self.in_channels = _whole(in_channels, "in_channels")
        self.out_channels = _whole(out_channels, "out_channels")
        self.groups = _whole(groups, "groups")
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        if self.out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError("padding_mode must be one of zeros, reflect, replicate, circular, but got " + repr(padding_mode))
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = pair(stride, "stride")
        self.padding = padding if isinstance(padding, str) else pair(padding, "padding")
        self.dilation = pair(dilation, "dilation")
        self.padding_mode = padding_mode
        self.output_padding = (0, 0)
        F._sides(self.padding, self.kernel_size, self.stride, self.dilation)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input, weight, bias):
        padding = self.padding
        if self.padding_mode != "zeros":
            top, bottom, left, right = F._sides(padding, self.kernel_size, self.stride, self.dilation)
            input = F.pad(input, (left, right, top, bottom), self.padding_mode)
            padding = 0
        return F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self):
        return "{}, {}, kernel_size={}, stride={}".format(self.in_channels, self.out_channels, self.kernel_size, self.stride)


class Conv1d(Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        super().__init__()
        if padding_mode != "zeros":
            raise Unsupported("nn.Conv1d with padding_mode=" + repr(padding_mode))
        self.in_channels, self.out_channels = _whole(in_channels, "in_channels"), _whole(out_channels, "out_channels")
        if _whole(groups, "groups") == 0 or in_channels % groups or out_channels % groups:
            raise ValueError("in_channels and out_channels must be divisible by groups")
        self.kernel_size, self.stride, self.dilation = (F.single(kernel_size, "kernel_size"),), (F.single(stride, "stride"),), (F.single(dilation, "dilation"),)
        self.padding = padding if isinstance(padding, str) else (F.single(padding, "padding"),)
        self.groups = groups
        shape = (out_channels, in_channels // groups) + self.kernel_size
        bound = _bound(_count(shape[1:]))
        self.weight = _uniform(shape, bound)
        self.register_parameter("bias", _uniform((out_channels,), bound) if bias else None)

    def forward(self, input):
        return F.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class LazyConv2d(Conv2d):
    def __init__(self, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        Module.__init__(self)
        self._configure(0, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode)
        self.weight = UninitializedParameter()
        self.register_parameter("bias", UninitializedParameter() if bias else None)

    def forward(self, input):
        if len(input._shape) != 4:
            raise RuntimeError("Expected 4D (batched) input to LazyConv2d, but got input of size: " + repr(list(input._shape)))
        self.in_channels = input._shape[1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        shape = (self.out_channels, self.in_channels // self.groups) + self.kernel_size
        bound = _bound(_count(shape[1:]))
        self.weight.materialize(shape, ("uniform", -bound, bound))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,), ("uniform", -bound, bound))
        self.__class__ = Conv2d
        return self.forward(input)


class ConvTranspose2d(Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None):
        super().__init__()
        self._configure(in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, dilation, padding_mode)
        shape = (self.in_channels, self.out_channels // self.groups) + self.kernel_size
        bound = _bound(_count(shape[1:]))
        self.weight = _uniform(shape, bound)
        self.register_parameter("bias", _uniform((self.out_channels,), bound) if bias else None)

    def _configure(self, in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, dilation, padding_mode):
        self.in_channels, self.out_channels = _whole(in_channels, "in_channels"), _whole(out_channels, "out_channels")
        self.groups = _whole(groups, "groups")
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError("in_channels and out_channels must be divisible by groups")
        if padding_mode != "zeros":
            raise ValueError('Only "zeros" padding mode is supported for ConvTranspose2d')
        self.kernel_size, self.stride = pair(kernel_size, "kernel_size"), pair(stride, "stride")
        self.padding, self.output_padding, self.dilation = pair(padding, "padding"), pair(output_padding, "output_padding"), pair(dilation, "dilation")
        self.padding_mode = padding_mode

    def forward(self, input, output_size=None):
        if output_size is not None:
            raise Unsupported("nn.ConvTranspose2d with output_size (use output_padding)")
        return F.conv_transpose2d(input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation)

    def extra_repr(self):
        return "{}, {}, kernel_size={}, stride={}".format(self.in_channels, self.out_channels, self.kernel_size, self.stride)


class LazyConvTranspose2d(ConvTranspose2d):
    def __init__(self, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None):
        Module.__init__(self)
        self._configure(0, out_channels, kernel_size, stride, padding, output_padding, groups, dilation, padding_mode)
        self.weight = UninitializedParameter()
        self.register_parameter("bias", UninitializedParameter() if bias else None)

    def forward(self, input, output_size=None):
        if len(input._shape) != 4:
            raise RuntimeError("Expected 4D (batched) input to LazyConvTranspose2d, but got input of size: " + repr(list(input._shape)))
        self.in_channels = input._shape[1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        shape = (self.in_channels, self.out_channels // self.groups) + self.kernel_size
        bound = _bound(_count(shape[1:]))
        self.weight.materialize(shape, ("uniform", -bound, bound))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,), ("uniform", -bound, bound))
        self.__class__ = ConvTranspose2d
        return self.forward(input, output_size)


class Linear(Module):
    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        self.in_features = _whole(in_features, "in_features")
        self.out_features = _whole(out_features, "out_features")
        self.weight = _uniform((out_features, in_features), _bound(in_features))
        self.register_parameter("bias", _uniform((out_features,), _bound(in_features)) if bias else None)

    def forward(self, input):
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self):
        return "in_features={}, out_features={}, bias={}".format(self.in_features, self.out_features, self.bias is not None)


class LazyLinear(Linear):
    def __init__(self, out_features, bias=True, device=None, dtype=None):
        Module.__init__(self)
        self.in_features = 0
        self.out_features = _whole(out_features, "out_features")
        self.weight = UninitializedParameter()
        self.register_parameter("bias", UninitializedParameter() if bias else None)

    def forward(self, input):
        self.in_features = input._shape[-1]
        bound = _bound(self.in_features)
        self.weight.materialize((self.out_features, self.in_features), ("uniform", -bound, bound))
        if self.bias is not None:
            self.bias.materialize((self.out_features,), ("uniform", -bound, bound))
        self.__class__ = Linear
        return self.forward(input)


# Normalisation


class _BatchNorm(Module):
    def __init__(self, num_features, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None):
        super().__init__()
        self._configure(_whole(num_features, "num_features"), eps, momentum, affine, track_running_stats)
        shape = (num_features,)
        self.register_parameter("weight", _constant(shape, 1.0) if affine else None)
        self.register_parameter("bias", _constant(shape, 0.0) if affine else None)
        self._register_statistics(shape)

    def _configure(self, num_features, eps, momentum, affine, track_running_stats):
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats

    def _register_statistics(self, shape):
        track = self.track_running_stats
        self.register_buffer("running_mean", _data(shape, ("constant", 0.0)) if track else None)
        self.register_buffer("running_var", _data(shape, ("constant", 1.0)) if track else None)
        self.register_buffer("num_batches_tracked", _data((), ("constant", 0.0)) if track else None)
        if track:
            self.num_batches_tracked._dtype = torch.int64
            self.num_batches_tracked._counter = True

    def forward(self, input):
        if len(input._shape) not in self.ranks:
            raise ValueError("expected {}D input (got {}D input)".format(" or ".join(map(str, self.ranks)), len(input._shape)))
        if input._shape[1] != self.num_features:
            raise RuntimeError("running_mean should contain {} elements not {}".format(input._shape[1], self.num_features))
        if self.momentum is None:
            raise Unsupported("batch normalisation with momentum=None")
        if State.number and self.training == (State.number >= State.EVALUATION):
            raise Unsupported("batch normalisation that trains in evaluation" if self.training else "batch normalisation in evaluation mode")
        if len(input._shape) > 4:
            return self.forward_maps(input)
        op = {"eps": float(self.eps), "momentum": float(self.momentum), "affine": self.affine, "track": self.track_running_stats}
        owned = [self.weight, self.bias] if self.affine else []
        if self.track_running_stats:
            owned += [self.running_mean, self.running_var, self.num_batches_tracked]
        return F.emit({"batch_norm": op}, [input], owned)

    def forward_maps(self, input):
        """Of volumes: their pixels in rows."""
        n, c, depth, height, width = input._shape
        self.__dict__["ranks"] = (4,)
        got = self.forward(input.reshape(n, c, depth * height, width))
        del self.__dict__["ranks"]
        return got.reshape(input._shape)

    def extra_repr(self):
        return "{}, eps={}, momentum={}".format(self.num_features, self.eps, self.momentum)


class BatchNorm2d(_BatchNorm):
    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    ranks = (5,)


class BatchNorm1d(_BatchNorm):
    ranks = (2, 3)


class _LazyBatchNorm(_BatchNorm):
    def __init__(self, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None):
        Module.__init__(self)
        self._configure(0, eps, momentum, affine, track_running_stats)
        self.register_parameter("weight", UninitializedParameter() if affine else None)
        self.register_parameter("bias", UninitializedParameter() if affine else None)
        self._register_statistics((0,))

    def forward(self, input):
        if len(input._shape) not in self.ranks:
            raise ValueError("expected {}D input (got {}D input)".format(" or ".join(map(str, self.ranks)), len(input._shape)))
        self.num_features = input._shape[1]
        shape = (self.num_features,)
        if self.affine:
            self.weight.materialize(shape, ("constant", 1.0))
            self.bias.materialize(shape, ("constant", 0.0))
        if self.track_running_stats:
            self.running_mean._shape = self.running_var._shape = shape
        self.__class__ = self.becomes
        return self.forward(input)


class LazyBatchNorm2d(_LazyBatchNorm):
    ranks = (4,)
    becomes = BatchNorm2d


class LazyBatchNorm1d(_LazyBatchNorm):
    ranks = (2, 3)
    becomes = BatchNorm1d


class GroupNorm(Module):
    def __init__(self, num_groups, num_channels, eps=1e-05, affine=True, device=None, dtype=None):
        super().__init__()
        if _whole(num_groups, "num_groups") == 0 or _whole(num_channels, "num_channels") % num_groups:
            raise ValueError("num_channels must be divisible by num_groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.register_parameter("weight", _constant((num_channels,), 1.0) if affine else None)
        self.register_parameter("bias", _constant((num_channels,), 0.0) if affine else None)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class InstanceNorm2d(Module):
    def __init__(self, num_features, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False, device=None, dtype=None):
        super().__init__()
        if track_running_stats:
            raise Unsupported("nn.InstanceNorm2d with running statistics")
        self.num_features, self.eps, self.affine = num_features, eps, affine
        self.register_parameter("weight", _constant((num_features,), 1.0) if affine else None)
        self.register_parameter("bias", _constant((num_features,), 0.0) if affine else None)

    def forward(self, input):
        return F.group_norm(input, input._shape[1], self.weight, self.bias, self.eps)


class LayerNorm(Module):
    def __init__(self, normalized_shape, eps=1e-05, elementwise_affine=True, bias=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter("weight", _constant(self.normalized_shape, 1.0) if elementwise_affine else None)
        self.register_parameter("bias", _constant(self.normalized_shape, 0.0) if elementwise_affine and bias else None)

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.register_parameter("weight", _constant(self.normalized_shape, 1.0) if elementwise_affine else None)

    def forward(self, input):
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)


# Layers without tensors: the constructor's arguments are kept and handed to the functional twin


def _layer(name, function, *fields):
    """A layer with these (name, default) arguments; without a default the argument is required."""
    names = [field[0] for field in fields]

    def __init__(self, *args, **kwargs):
        Module.__init__(self)
        if len(args) > len(names):
            raise TypeError(name + "() takes at most " + str(len(names)) + " arguments (" + str(len(args)) + " given)")
        given = dict(zip(names, args))
        for key, value in kwargs.items():
            if key not in names or key in given:
                raise TypeError(name + "() got an unexpected argument " + repr(key))
            given[key] = value
        for field in fields:
            if field[0] not in given and len(field) == 1:
                raise TypeError(name + "() misses the argument " + repr(field[0]))
            setattr(self, field[0], given[field[0]] if field[0] in given else field[1])

    def forward(self, input):
        return function(input, *[getattr(self, key) for key in names])

    def extra_repr(self):
        return ", ".join(key + "=" + repr(getattr(self, key)) for key in names)

    return type(name, (Module,), {"__init__": __init__, "forward": forward, "extra_repr": extra_repr, "__module__": "torch.nn"})


_inplace = ("inplace", False)
_pool = (("kernel_size",), ("stride", None), ("padding", 0))


def _tensor_layers():
    return dict(
        ReLU=_layer("ReLU", F.relu, _inplace),
        ReLU6=_layer("ReLU6", F.relu6, _inplace),
        LeakyReLU=_layer("LeakyReLU", F.leaky_relu, ("negative_slope", 0.01), _inplace),
        ELU=_layer("ELU", F.elu, ("alpha", 1.0), _inplace),
        CELU=_layer("CELU", F.celu, ("alpha", 1.0), _inplace),
        SELU=_layer("SELU", F.selu, _inplace),
        GELU=_layer("GELU", F.gelu, ("approximate", "none")),
        SiLU=_layer("SiLU", F.silu, _inplace),
        Mish=_layer("Mish", F.mish, _inplace),
        Threshold=_layer("Threshold", F.threshold, ("threshold",), ("value",), _inplace),
        Hardshrink=_layer("Hardshrink", F.hardshrink, ("lambd", 0.5)),
        Softshrink=_layer("Softshrink", F.softshrink, ("lambd", 0.5)),
        Softmin=_layer("Softmin", F.softmin, ("dim", None)),
        Softplus=_layer("Softplus", F.softplus, ("beta", 1.0), ("threshold", 20.0)),
        Hardswish=_layer("Hardswish", F.hardswish, _inplace),
        Hardsigmoid=_layer("Hardsigmoid", F.hardsigmoid, _inplace),
        Hardtanh=_layer("Hardtanh", F.hardtanh, ("min_val", -1.0), ("max_val", 1.0), _inplace),
        Sigmoid=_layer("Sigmoid", F.sigmoid),
        Tanh=_layer("Tanh", F.tanh),
        LogSigmoid=_layer("LogSigmoid", F.logsigmoid),
        Tanhshrink=_layer("Tanhshrink", F.tanhshrink),
        Softsign=_layer("Softsign", F.softsign),
        Softmax=_layer("Softmax", F.softmax, ("dim", None)),
        LogSoftmax=_layer("LogSoftmax", F.log_softmax, ("dim", None)),
        LocalResponseNorm=_layer("LocalResponseNorm", F.local_response_norm, ("size",), ("alpha", 1e-4), ("beta", 0.75), ("k", 1.0)),
        GLU=_layer("GLU", F.glu, ("dim", -1)),
        MaxPool2d=_layer(
            "MaxPool2d",
            lambda x, k, s, p, d, indices, ceil: F.max_pool2d(x, k, s, p, d, ceil, indices),
            *_pool,
            ("dilation", 1),
            ("return_indices", False),
            ("ceil_mode", False),
        ),
        AvgPool2d=_layer("AvgPool2d", F.avg_pool2d, *_pool, ("ceil_mode", False), ("count_include_pad", True), ("divisor_override", None)),
        AdaptiveAvgPool2d=_layer("AdaptiveAvgPool2d", F.adaptive_avg_pool2d, ("output_size",)),
        AdaptiveMaxPool2d=_layer("AdaptiveMaxPool2d", F.adaptive_max_pool2d, ("output_size",), ("return_indices", False)),
        Flatten=_layer("Flatten", flatten, ("start_dim", 1), ("end_dim", -1)),
        Unflatten=_layer("Unflatten", unflatten, ("dim",), ("unflattened_size",)),
        Upsample=_layer("Upsample", F.interpolate, ("size", None), ("scale_factor", None), ("mode", "nearest"), ("align_corners", None)),
        UpsamplingNearest2d=_layer("UpsamplingNearest2d", F.interpolate, ("size", None), ("scale_factor", None)),
        UpsamplingBilinear2d=_layer(
            "UpsamplingBilinear2d", lambda x, size, factor: F.interpolate(x, size, factor, "bilinear", True), ("size", None), ("scale_factor", None)
        ),
        PixelShuffle=_layer("PixelShuffle", F.pixel_shuffle, ("upscale_factor",)),
        PixelUnshuffle=_layer("PixelUnshuffle", F.pixel_unshuffle, ("downscale_factor",)),
        ChannelShuffle=_layer("ChannelShuffle", F.channel_shuffle, ("groups",)),
        ZeroPad2d=_layer("ZeroPad2d", lambda x, p: F.pad(x, _border(p)), ("padding",)),
        ConstantPad2d=_layer("ConstantPad2d", lambda x, p, value: F.pad(x, _border(p), "constant", value), ("padding",), ("value",)),
        ReflectionPad2d=_layer("ReflectionPad2d", lambda x, p: F.pad(x, _border(p), "reflect"), ("padding",)),
        ReplicationPad2d=_layer("ReplicationPad2d", lambda x, p: F.pad(x, _border(p), "replicate"), ("padding",)),
        CircularPad2d=_layer("CircularPad2d", lambda x, p: F.pad(x, _border(p), "circular"), ("padding",)),
    )


def _border(padding):
    return (padding,) * 4 if isinstance(padding, int) else tuple(padding)


class _Dropout(Module):
    channels = False

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        self.p = F.probability(p)
        self.inplace = inplace

    def forward(self, input):
        return F._dropout(input, self.p, self.training, self.inplace, self.channels)

    def extra_repr(self):
        return "p={}, inplace={}".format(self.p, self.inplace)


class Dropout(_Dropout):
    pass


class Dropout2d(_Dropout):
    channels = True


class Dropout1d(_Dropout):
    channels = True


class Identity(Module):
    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class PReLU(Module):
    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = _constant((_whole(num_parameters, "num_parameters"),), float(init))

    def forward(self, input):
        return F.prelu(input, self.weight)


class Embedding(Module):
    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False, _weight=None, _freeze=False, device=None, dtype=None):
        super().__init__()
        if padding_idx is not None or max_norm is not None or scale_grad_by_freq or sparse or _weight is not None:
            raise Unsupported("nn.Embedding with padding_idx, max_norm, scale_grad_by_freq, sparse or given weights")
        self.num_embeddings, self.embedding_dim = _whole(num_embeddings, "num_embeddings"), _whole(embedding_dim, "embedding_dim")
        self.padding_idx, self.max_norm = None, None
        self.weight = Parameter(_data((num_embeddings, embedding_dim), ("normal", 0.0, 1.0)), not _freeze)

    def forward(self, input):
        return F.embedding(input, self.weight)

    def extra_repr(self):
        return "{}, {}".format(self.num_embeddings, self.embedding_dim)


class EmbeddingBag(Module):
    def __init__(self, num_embeddings, embedding_dim, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, mode="mean", sparse=False, _weight=None, include_last_offset=False, padding_idx=None, device=None, dtype=None):
        super().__init__()
        if max_norm is not None or scale_grad_by_freq or _weight is not None or include_last_offset or padding_idx is not None:
            raise Unsupported("nn.EmbeddingBag with max_norm, scale_grad_by_freq, given weights, include_last_offset or padding_idx")
        self.num_embeddings, self.embedding_dim = _whole(num_embeddings, "num_embeddings"), _whole(embedding_dim, "embedding_dim")
        self.mode = mode
        self.weight = Parameter(_data((num_embeddings, embedding_dim), ("normal", 0.0, 1.0)))

    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(input, self.weight, offsets, mode=self.mode, per_sample_weights=per_sample_weights)

    def extra_repr(self):
        return "{}, {}, mode={!r}".format(self.num_embeddings, self.embedding_dim, self.mode)


class Softmax2d(Module):
    def forward(self, input):
        return F.softmax(input, -3)


def _publish():
    space = nn.__dict__
    space.update(_tensor_layers())
    for cls in (
        Conv1d, Conv2d, LazyConv2d, ConvTranspose2d, LazyConvTranspose2d, Linear, LazyLinear, BatchNorm1d, BatchNorm2d, BatchNorm3d, Embedding, EmbeddingBag, LazyBatchNorm1d, LazyBatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm,
        RMSNorm, Dropout, Dropout1d, Dropout2d, Identity, PReLU, Softmax2d,
    ):
        space[cls.__name__] = cls
    for name in ("Module", "Parameter", "UninitializedParameter", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"):
        space[name] = getattr(base, name)
    for name, value in space.items():
        if isinstance(value, type):
            base.__dict__.setdefault(name, value)


_publish()
