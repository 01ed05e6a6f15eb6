# What PyTorch's layers have beside their forward: reset_parameters, further attributes, base classes, and the files they are found in.
from _import import alias, missing, module, public
from torch import nn
from torch import _layers as L
from torch._tensor import Tensor, _count
from torch.nn import init
from torch.nn.modules import Module, Parameter


# reset_parameters, which a constructor calls last: a subclass may start otherwise


def _reset_uniform(self):
    bound = L._bound(_count(self.weight._shape[1:]))
    init.uniform_(self.weight, -bound, bound)
    if self.bias is not None:
        init.uniform_(self.bias, -bound, bound)


def _reset_affine(self):
    if getattr(self, "weight", None) is not None:
        init.ones_(self.weight)
    if getattr(self, "bias", None) is not None:
        init.zeros_(self.bias)


def _reset_statistics(self):
    if self.running_mean is not None:
        init.zeros_(self.running_mean)
        init.ones_(self.running_var)


def _reset_norm(self):
    self.reset_running_stats()
    _reset_affine(self)


def _reset_recurrent(self):
    bound = L._bound(self.hidden_size)
    for weight in self.parameters():
        init.uniform_(weight, -bound, bound)


def _resettable(names, reset):
    for name in names.split():
        cls = nn.__dict__.get(name)
        if cls is not None and "reset_parameters" not in cls.__dict__:
            _reset_last(cls, reset)


def _reset_last(cls, reset):
    begin = cls.__init__

    def __init__(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        if type(self).reset_parameters is not reset:
            self.reset_parameters()

    # For what asks which arguments there are.
    __init__.__wrapped__ = begin
    cls.__init__, cls.reset_parameters = __init__, reset


L._BatchNorm.reset_running_stats = _reset_statistics
_resettable("Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Linear", _reset_uniform)
_resettable("BatchNorm1d BatchNorm2d BatchNorm3d", _reset_norm)
_resettable("GroupNorm LayerNorm RMSNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d", _reset_affine)
_resettable("LSTM GRU RNN LSTMCell GRUCell RNNCell", _reset_recurrent)


# Attributes that sources ask for


class _Kinds(type):
    """A base class of PyTorch's that the layers here do not share: it knows them by name."""

    def __instancecheck__(cls, item):
        return any(kind.__name__ in cls.__dict__.get("covers", ()) for kind in type(item).__mro__) or type.__instancecheck__(cls, item)

    def __subclasscheck__(cls, other):
        return any(kind.__name__ in cls.__dict__.get("covers", ()) for kind in other.__mro__) or type.__subclasscheck__(cls, other)


def _family(name, covers):
    return _Kinds(name, (Module,), {"covers": tuple(covers.split()), "__module__": "torch.nn"})


def _twice(self):
    return tuple(n for n in reversed(self.padding) for _ in range(2))


for _name, _transposed in (("Conv1d", False), ("Conv2d", False), ("Conv3d", False), ("ConvTranspose1d", True), ("ConvTranspose2d", True), ("ConvTranspose3d", True)):
    _cls = nn.__dict__.get(_name)
    if _cls is not None:
        _cls.transposed = _transposed
        _cls._reversed_padding_repeated_twice = property(_twice)
        for _key, _value in (("padding_mode", "zeros"), ("output_padding", (0,) * int(_name[-2]))):
            if _key not in _cls.__dict__:
                setattr(_cls, _key, _value)


class _ConvNd(Module, metaclass=_Kinds):
    """For a convolution of the source's own: the weights, without a forward."""

    covers = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding, groups, bias, padding_mode="zeros", device=None, dtype=None
    ):
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError("in_channels and out_channels must be divisible by groups")
        self.in_channels, self.out_channels, self.kernel_size, self.stride = in_channels, out_channels, kernel_size, stride
        self.padding, self.dilation, self.transposed, self.output_padding = padding, dilation, transposed, output_padding
        self.groups, self.padding_mode = groups, padding_mode
        outer, inner = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        self.weight = L._uniform((outer, inner // groups) + tuple(kernel_size), 0.0)
        self.register_parameter("bias", L._uniform((out_channels,), 0.0) if bias else None)
        self.reset_parameters()

    reset_parameters = _reset_uniform


# torch.nn.modules.*: the same names by the files that PyTorch has them in


def _found(file):
    lacking = missing("torch.nn.modules." + file)

    def __getattr__(name):
        if name in nn.__dict__:
            return nn.__dict__[name]
        return lacking(name)

    return __getattr__


for _file in (
    "activation adaptive batchnorm channelshuffle container conv distance dropout flatten fold instancenorm lazy linear loss normalization padding "
    "pixelshuffle pooling rnn sparse transformer upsampling"
).split():
    module("torch.nn.modules." + _file).update(__getattr__=_found(_file))
nn.modules.conv._ConvNd = _ConvNd
nn.modules.batchnorm._BatchNorm = L._BatchNorm
nn.modules.batchnorm._NormBase = _family("_NormBase", "_BatchNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d")
nn.modules.instancenorm._InstanceNorm = _family("_InstanceNorm", "InstanceNorm1d InstanceNorm2d InstanceNorm3d")
nn.modules.dropout._DropoutNd = L._Dropout
nn.modules.pooling._MaxPoolNd = _family("_MaxPoolNd", "MaxPool1d MaxPool2d MaxPool3d")
nn.modules.pooling._AvgPoolNd = _family("_AvgPoolNd", "AvgPool1d AvgPool2d AvgPool3d")
nn.modules.pooling._AdaptiveAvgPoolNd = _family("_AdaptiveAvgPoolNd", "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d")
nn.modules.linear.NonDynamicallyQuantizableLinear = nn.Linear


def _ntuple(n, name="parse"):
    def parse(x):
        return tuple(x) if hasattr(type(x), "__iter__") else (x,) * n

    return parse


def _list_with_default(sizes, defaults):
    if isinstance(sizes, int):
        return sizes
    return [size if size is not None else default for size, default in zip(sizes, defaults[-len(sizes) :])]


module("torch.nn.modules.utils").update(
    _ntuple=_ntuple, _single=_ntuple(1), _pair=_ntuple(2), _triple=_ntuple(3), _quadruple=_ntuple(4), _list_with_default=_list_with_default,
    _reverse_repeat_tuple=lambda t, n: tuple(x for x in reversed(t) for _ in range(n)),
)
module("torch.nn.common_types").update(
    {"_size_" + part + "_t": object for part in ("any", "1", "2", "3", "4", "5", "6")}, **{"_size_" + part + "_opt_t": object for part in ("any", "1", "2", "3")}
)
