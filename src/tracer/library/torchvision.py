# torchvision's building blocks: what networks are put together from. The ready-made ones are in torchvision.models.
import torch
from _import import Unsupported, missing, module
from torch import nn
from torch.nn.modules.utils import _ntuple

__getattr__ = missing("torchvision")
__version__ = "0.15.0"
NO_WEIGHTS = "nothing is downloaded while a network is traced: leave weights= at None and pretrained= at False; calling it"


def _nothing(*args, **kwargs):
    return None


# torchvision.ops


class ConvNormActivation(nn.Sequential):
    def __init__(
        self, in_channels, out_channels, kernel_size=3, stride=1, padding=None, groups=1, norm_layer=nn.BatchNorm2d, activation_layer=nn.ReLU, dilation=1, inplace=True,
        bias=None, conv_layer=nn.Conv2d,
    ):
        if padding is None:
            if isinstance(kernel_size, int) and isinstance(dilation, int):
                padding = (kernel_size - 1) // 2 * dilation
            else:
                many = _ntuple(len(kernel_size) if isinstance(kernel_size, (tuple, list)) else len(dilation))
                padding = tuple((k - 1) // 2 * d for k, d in zip(many(kernel_size), many(dilation)))
        bias = norm_layer is None if bias is None else bias
        layers = [conv_layer(in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, groups=groups, bias=bias)]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**({} if inplace is None else {"inplace": inplace})))
        super().__init__(*layers)
        self.out_channels = out_channels


class Conv2dNormActivation(ConvNormActivation):
    pass


class SqueezeExcitation(nn.Module):
    def __init__(self, input_channels, squeeze_channels, activation=nn.ReLU, scale_activation=nn.Sigmoid):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input):
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(input))))) * input


class MLP(nn.Sequential):
    def __init__(self, in_channels, hidden_channels, norm_layer=None, activation_layer=nn.ReLU, inplace=None, bias=True, dropout=0.0):
        given = {} if inplace is None else {"inplace": inplace}
        layers = []
        for width in hidden_channels[:-1]:
            layers.append(nn.Linear(in_channels, width, bias=bias))
            if norm_layer is not None:
                layers.append(norm_layer(width))
            layers.append(activation_layer(**given))
            layers.append(nn.Dropout(dropout, **given))
            in_channels = width
        layers.append(nn.Linear(in_channels, hidden_channels[-1], bias=bias))
        layers.append(nn.Dropout(dropout, **given))
        super().__init__(*layers)


class Permute(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return torch.permute(x, self.dims)


class FrozenBatchNorm2d(nn.Module):
    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((num_features,), value))

    def forward(self, x):
        scale = self.weight.reshape(1, -1, 1, 1) * (self.running_var.reshape(1, -1, 1, 1) + self.eps).rsqrt()
        return x * scale + (self.bias.reshape(1, -1, 1, 1) - self.running_mean.reshape(1, -1, 1, 1) * scale)


def stochastic_depth(input, p, mode, training=True):
    if not 0.0 <= p <= 1.0:
        raise ValueError("drop probability has to be between 0 and 1, but got " + str(p))
    if mode not in ("batch", "row"):
        raise ValueError("mode has to be either 'batch' or 'row', but got " + str(mode))
    if not training or p == 0.0:
        return input
    size = [input.shape[0] if mode == "row" else 1] + [1] * (input.ndim - 1)
    noise = torch.empty(size).bernoulli_(1.0 - p)
    if p < 1.0:
        noise.div_(1.0 - p)
    return input * noise


class StochasticDepth(nn.Module):
    def __init__(self, p, mode):
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, input):
        return stochastic_depth(input, self.p, self.mode, self.training)


module("torchvision.ops").update(
    Conv2dNormActivation=Conv2dNormActivation, SqueezeExcitation=SqueezeExcitation, MLP=MLP, Permute=Permute, FrozenBatchNorm2d=FrozenBatchNorm2d,
    StochasticDepth=StochasticDepth, stochastic_depth=stochastic_depth,
)
module("torchvision.ops.misc").update(
    ConvNormActivation=ConvNormActivation, Conv2dNormActivation=Conv2dNormActivation, SqueezeExcitation=SqueezeExcitation, MLP=MLP, Permute=Permute,
    FrozenBatchNorm2d=FrozenBatchNorm2d, Conv2d=nn.Conv2d, BatchNorm2d=nn.BatchNorm2d, interpolate=nn.functional.interpolate,
)
module("torchvision.ops.stochastic_depth").update(StochasticDepth=StochasticDepth, stochastic_depth=stochastic_depth)
from torchvision import ops

# As in torchvision, the function has the name of its file.
ops.stochastic_depth = stochastic_depth


# What surrounds a network's file


def _make_divisible(v, divisor, min_value=None):
    least = divisor if min_value is None else min_value
    made = max(least, int(v + divisor / 2) // divisor * divisor)
    return made + divisor if made < 0.9 * v else made


def _ovewrite_named_param(kwargs, param, new_value):
    if param in kwargs and kwargs[param] != new_value:
        raise ValueError("The parameter {!r} expected value {} but got {} instead.".format(param, new_value, kwargs[param]))
    kwargs[param] = new_value


class _Preset:
    """A transform of images: a network's file names it beside weights and never runs it."""

    def __init__(self, *args, **kwargs):
        self.settings = kwargs

    def __call__(self, *args, **kwargs):
        raise Unsupported("a transform of torchvision in a network; calling it")


module("torchvision.utils").update(_log_api_usage_once=_nothing)
_modes = type("InterpolationMode", (), {name: name.lower() for name in ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")})
_transforms = "Compose Resize CenterCrop ToTensor Normalize RandomCrop RandomHorizontalFlip RandomResizedCrop ColorJitter RandomErasing"
module("torchvision.transforms").update({name: type(name, (_Preset,), {}) for name in _transforms.split()}, InterpolationMode=_modes)
module("torchvision.transforms._presets").update(ImageClassification=_Preset)
module("torchvision.transforms.functional").update(InterpolationMode=_modes)

import torchvision._deform
