# torchvision.models: ready-made networks with torchvision's names. Weights are never loaded, and asking for them says so.
from enum import Enum
from functools import partial, wraps

import torch
import torchvision
from _import import Unsupported, missing, module
from torch import nn
from torchvision import _make_divisible, _ovewrite_named_param

__getattr__ = missing("torchvision.models")


class Weights:
    def __init__(self, url=None, transforms=None, meta=None):
        self.url, self.transforms, self.meta = url, transforms, dict(meta or {})


class WeightsEnum(Enum):
    @classmethod
    def verify(cls, obj):
        return obj if obj is None or isinstance(obj, cls) else cls[obj.replace(cls.__name__ + ".", "")]

    def get_state_dict(self, *args, **kwargs):
        raise Unsupported("weights of torchvision: " + torchvision.NO_WEIGHTS)

    meta = property(lambda self: self.value.meta)
    url = property(lambda self: self.value.url)
    transforms = property(lambda self: self.value.transforms)


def register_model(name=None):
    return lambda function: function


def _untrained(weights, pretrained=False):
    if weights is not None or pretrained:
        raise Unsupported("weights= or pretrained= of torchvision: " + torchvision.NO_WEIGHTS)


def handle_legacy_interface(**legacy):
    def outer(builder):
        @wraps(builder)
        def inner(*args, **kwargs):
            for weights, (old, _) in legacy.items():
                if old in kwargs:
                    _untrained(None, kwargs.pop(old))
                    kwargs.setdefault(weights, None)
                kwargs.setdefault(weights, None) if not args else None
            return builder(*args, **kwargs)

        return inner

    return outer


def _categories():
    return ["class " + str(i) for i in range(1000)]


module("torchvision.models._api").update(Weights=Weights, WeightsEnum=WeightsEnum, register_model=register_model)
module("torchvision.models._utils").update(
    _make_divisible=_make_divisible, _ovewrite_named_param=_ovewrite_named_param, handle_legacy_interface=handle_legacy_interface,
    _ovewrite_value_param=lambda name, actual, expected: expected,
)
module("torchvision.models._meta").update(_IMAGENET_CATEGORIES=_categories())
module("torchvision.models.utils").update(load_state_dict_from_url=lambda *args, **kwargs: _untrained(True))


class IntermediateLayerGetter(nn.ModuleDict):
    """The children of a network up to the last one wanted, whose outputs come under new names."""

    def __init__(self, model, return_layers):
        children = dict(model.named_children())
        if not set(return_layers) <= set(children):
            raise ValueError("return_layers are not present in model")
        waiting, layers = set(map(str, return_layers)), {}
        for name, child in children.items():
            layers[name] = child
            waiting.discard(name)
            if not waiting:
                break
        super().__init__(layers)
        self.return_layers = {str(key): str(value) for key, value in return_layers.items()}

    def forward(self, x):
        found = {}
        for name, child in self.items():
            x = child(x)
            if name in self.return_layers:
                found[self.return_layers[name]] = x
        return found


def get_model(name, **config):
    found = torchvision.models.__dict__.get(name)
    if not callable(found):
        raise Unsupported("torchvision.models." + name)
    return found(**config)


torchvision.models._utils.IntermediateLayerGetter = IntermediateLayerGetter


def _published(file, *items):
    """The names of one of torchvision's files, there and in the package."""
    names = {item.__name__: item for item in items}
    module("torchvision.models." + file).update(names)
    torchvision.models.__dict__.update(names)


def _builder(name, build):
    """A function of torchvision's: weights, progress, and what the network takes."""

    def make(*, weights=None, progress=True, pretrained=False, **kwargs):
        _untrained(weights, pretrained)
        kwargs.pop("weights_backbone", None)
        return build(**kwargs)

    def function(*args, **kwargs):
        # The first argument was `pretrained` once.
        if len(args) > 2:
            raise TypeError(name + "() takes keywords")
        return make(**dict(zip(("weights", "progress"), (args[0] or None,) + args[1:] if args else ())), **kwargs)

    function.__name__ = function.__qualname__ = name
    # One enumeration for each, since sources name them.
    return function


def _fan_out(net):
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)


# ResNet, ResNeXt, wide ResNet


def conv3x3(in_planes, out_planes, stride=1, groups=1, dilation=1):
    return nn.Conv2d(in_planes, out_planes, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(in_planes, out_planes, stride=1):
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None, groups=1, base_width=64, dilation=1, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        if groups != 1 or base_width != 64:
            raise ValueError("BasicBlock only supports groups=1 and base_width=64")
        if dilation > 1:
            raise NotImplementedError("Dilation > 1 not supported in BasicBlock")
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inplanes, planes, stride=1, downsample=None, groups=1, base_width=64, dilation=1, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(
        self, block, layers, num_classes=1000, zero_init_residual=False, groups=1, width_per_group=64, replace_stride_with_dilation=None, norm_layer=None
    ):
        super().__init__()
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = 64, 1, groups, width_per_group
        dilated = replace_stride_with_dilation or [False, False, False]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilated[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilated[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilated[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        _fan_out(self)
        if zero_init_residual:
            for m in self.modules():
                if isinstance(m, (Bottleneck, BasicBlock)):
                    nn.init.zeros_((m.bn3 if isinstance(m, Bottleneck) else m.bn2).weight)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        before, downsample = self.dilation, None
        if dilate:
            self.dilation *= stride
            stride = 1
        wide = planes * block.expansion
        if stride != 1 or self.inplanes != wide:
            downsample = nn.Sequential(conv1x1(self.inplanes, wide, stride), self._norm_layer(wide))
        layers = [block(self.inplanes, planes, stride, downsample, self.groups, self.base_width, before, self._norm_layer)]
        self.inplanes = wide
        for _ in range(1, blocks):
            layers.append(block(wide, planes, groups=self.groups, base_width=self.base_width, dilation=self.dilation, norm_layer=self._norm_layer))
        return nn.Sequential(*layers)

    def _forward_impl(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))

    def forward(self, x):
        return self._forward_impl(x)


def _resnet(name, block, layers, **fixed):
    return _builder(name, lambda **kwargs: ResNet(block, layers, **dict(fixed, **kwargs)))


_published(
    "resnet", ResNet, BasicBlock, Bottleneck, conv3x3, conv1x1,
    _resnet("resnet18", BasicBlock, [2, 2, 2, 2]), _resnet("resnet34", BasicBlock, [3, 4, 6, 3]), _resnet("resnet50", Bottleneck, [3, 4, 6, 3]),
    _resnet("resnet101", Bottleneck, [3, 4, 23, 3]), _resnet("resnet152", Bottleneck, [3, 8, 36, 3]),
    _resnet("resnext50_32x4d", Bottleneck, [3, 4, 6, 3], groups=32, width_per_group=4),
    _resnet("resnext101_32x8d", Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=8),
    _resnet("resnext101_64x4d", Bottleneck, [3, 4, 23, 3], groups=64, width_per_group=4),
    _resnet("wide_resnet50_2", Bottleneck, [3, 4, 6, 3], width_per_group=128), _resnet("wide_resnet101_2", Bottleneck, [3, 4, 23, 3], width_per_group=128),
)


# VGG, AlexNet, SqueezeNet


class VGG(nn.Module):
    def __init__(self, features, num_classes=1000, init_weights=True, dropout=0.5):
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(p=dropout), nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(p=dropout), nn.Linear(4096, num_classes)
        )
        if init_weights:
            _fan_out(self)
            for m in self.modules():
                if isinstance(m, nn.Linear):
                    nn.init.normal_(m.weight, 0, 0.01)
                    nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def make_layers(cfg, batch_norm=False):
    layers, channels = [], 3
    for width in cfg:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(channels, width, 3, padding=1))
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)] if batch_norm else [nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers)


def _vgg(name, counts, batch_norm):
    cfg = [part for width, n in zip((64, 128, 256, 512, 512), counts) for part in [width] * n + ["M"]]
    return _builder(name, lambda **kwargs: VGG(make_layers(cfg, batch_norm), **kwargs))


_depths = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_published("vgg", VGG, make_layers, *[_vgg(n + end, c, end != "") for n, c in _depths.items() for end in ("", "_bn")])


class AlexNet(nn.Module):
    def __init__(self, num_classes=1000, dropout=0.5):
        super().__init__()
        layers, channels = [], 3
        for width, kernel, stride, padding, pooled in ((64, 11, 4, 2, True), (192, 5, 1, 2, True), (384, 3, 1, 1, False), (256, 3, 1, 1, False), (256, 3, 1, 1, True)):
            layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU(inplace=True)] + ([nn.MaxPool2d(3, 2)] if pooled else [])
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True), nn.Dropout(p=dropout), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, num_classes)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


_published("alexnet", AlexNet, _builder("alexnet", AlexNet))


class Fire(nn.Module):
    def __init__(self, inplanes, squeeze_planes, expand1x1_planes, expand3x3_planes):
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat([self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self, version="1_0", num_classes=1000, dropout=0.5):
        super().__init__()
        self.num_classes = num_classes
        if version not in ("1_0", "1_1"):
            raise ValueError("Unsupported SqueezeNet version " + str(version) + ": 1_0 or 1_1 expected")
        first = (96, 7) if version == "1_0" else (64, 3)
        pools = (2, 6) if version == "1_0" else (1, 3)
        layers = [nn.Conv2d(3, first[0], first[1], 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True)]
        channels = first[0]
        for i, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
            layers.append(Fire(channels, squeeze, squeeze * 4, squeeze * 4))
            channels = squeeze * 8
            if i in pools:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight, 0.0, 0.01) if m is last else nn.init.kaiming_uniform_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


_published(
    "squeezenet", SqueezeNet, Fire, _builder("squeezenet1_0", partial(SqueezeNet, "1_0")), _builder("squeezenet1_1", partial(SqueezeNet, "1_1"))
)


# The rest of the package.
import torchvision.models._dense
import torchvision.models._mobile
