# What timm's networks are built of beside plain layers: norms with an activation behind them, padding by size, heads, weights that are normalised.
from functools import partial

import timm
import torch
from _import import Unsupported
from timm import BatchNormAct2d, LayerNorm2d, create_act_layer
from torch import nn


def _with_act(self, apply_act, act_layer, act_kwargs, inplace, drop_layer):
    self.drop = drop_layer() if drop_layer is not None else nn.Identity()
    act = create_act_layer(act_layer, **{"inplace": inplace, **(act_kwargs or {})}) if apply_act and act_layer else None
    self.act = nn.Identity() if act is None else act


class GroupNormAct(nn.GroupNorm):
    def __init__(
        self, num_channels, num_groups=32, eps=1e-5, affine=True, group_size=None, apply_act=True, act_layer=nn.ReLU, act_kwargs=None, inplace=True, drop_layer=None,
        device=None, dtype=None,
    ):
        super().__init__(num_channels // group_size if group_size else num_groups, num_channels, eps=eps, affine=affine)
        _with_act(self, apply_act, act_layer, act_kwargs, inplace, drop_layer)

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class GroupNorm1Act(GroupNormAct):
    def __init__(self, num_channels, eps=1e-5, affine=True, **kwargs):
        super().__init__(num_channels, 1, eps, affine, **kwargs)


class LayerNormAct(nn.LayerNorm):
    def __init__(
        self, normalization_shape, eps=1e-5, affine=True, apply_act=True, act_layer=nn.ReLU, act_kwargs=None, inplace=True, drop_layer=None, device=None, dtype=None,
    ):
        super().__init__(normalization_shape, eps=eps, elementwise_affine=affine)
        _with_act(self, apply_act, act_layer, act_kwargs, inplace, drop_layer)

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class LayerNormAct2d(LayerNormAct):
    def forward(self, x):
        x = nn.functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return self.act(self.drop(x.permute(0, 3, 1, 2)))


_by_name = {
    "batchnorm": BatchNormAct2d, "batchnorm2d": BatchNormAct2d, "groupnorm": GroupNormAct, "groupnorm1": GroupNorm1Act, "layernorm": LayerNormAct,
    "layernorm2d": LayerNormAct2d,
}


def get_norm_act_layer(norm_layer, act_layer=None):
    if norm_layer is None or norm_layer == "":
        return None
    given = {}
    if isinstance(norm_layer, partial):
        given.update(norm_layer.keywords)
        norm_layer = norm_layer.func
    if isinstance(norm_layer, str):
        found = _by_name.get(norm_layer.replace("_", "").lower().split("-")[0])
    elif isinstance(norm_layer, type):
        own = [norm for norm in _by_name.values() if issubclass(norm_layer, norm)]
        found = norm_layer if own else _by_name.get(norm_layer.__name__.lower())
    else:
        return partial(norm_layer, **given) if given else norm_layer
    if found is None:
        raise Unsupported("timm's norm with an activation " + repr(norm_layer if isinstance(norm_layer, str) else norm_layer.__name__))
    given.setdefault("act_layer", act_layer)
    return partial(found, **given)


def create_norm_act_layer(layer_name, num_features, act_layer=None, apply_act=True, jit=False, **kwargs):
    return get_norm_act_layer(layer_name, act_layer)(num_features, apply_act=apply_act, **kwargs)


class ConvNormAct(nn.Module):
    def __init__(
        self, in_channels, out_channels, kernel_size=1, stride=1, padding="", dilation=1, groups=1, bias=False, apply_norm=True, apply_act=True, norm_layer=nn.BatchNorm2d,
        act_layer=nn.ReLU, aa_layer=None, drop_layer=None, conv_kwargs=None, norm_kwargs=None, act_kwargs=None, device=None, dtype=None,
    ):
        super().__init__()
        smooth = aa_layer is not None and stride > 1
        self.conv = timm.create_conv2d(
            in_channels, out_channels, kernel_size, stride=1 if smooth else stride, padding=padding, dilation=dilation, groups=groups, bias=bias, **(conv_kwargs or {})
        )
        more = {"drop_layer": drop_layer} if drop_layer else {}
        if apply_norm:
            norm = get_norm_act_layer(norm_layer, act_layer)
            self.bn = norm(out_channels, apply_act=apply_act, act_kwargs=act_kwargs or {}, **{**(norm_kwargs or {}), **more})
        else:
            self.bn = nn.Sequential()
            if drop_layer:
                self.bn.add_module("drop", drop_layer())
        self.aa = timm.layers.create_aa(aa_layer, out_channels, stride=stride, enable=smooth, noop=None)

    in_channels = property(lambda self: self.conv.in_channels)
    out_channels = property(lambda self: self.conv.out_channels)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return x if self.aa is None else self.aa(x)


class BlurPool2d(nn.Module):
    """Binomial smoothing of each channel before it is thinned out (Zhang 2019)."""

    def __init__(self, channels=None, filt_size=3, stride=2, pad_mode="reflect", device=None, dtype=None):
        super().__init__()
        self.channels, self.filt_size, self.stride, self.pad_mode = channels, filt_size, stride, pad_mode
        self.padding = [(stride - 1 + filt_size - 1) // 2] * 4
        row = [1.0]
        for _ in range(filt_size - 1):
            row = [a + b for a, b in zip([0.0] + row, row + [0.0])]
        total = sum(row)
        self.register_buffer("filt", torch.tensor([[[[a * b / total**2 for b in row] for a in row]]]), persistent=False)

    def forward(self, x):
        channels = x.shape[1] if self.channels is None else self.channels
        filt = self.filt.expand(channels, 1, self.filt_size, self.filt_size)
        return nn.functional.conv2d(nn.functional.pad(x, self.padding, mode=self.pad_mode), filt, stride=self.stride, groups=channels)


class ClNormMlpClassifierHead(nn.Module):
    def __init__(
        self, in_features, num_classes, hidden_size=None, pool_type="avg", drop_rate=0.0, norm_layer="layernorm", act_layer="gelu", input_fmt="NHWC", device=None, dtype=None
    ):
        super().__init__()
        self.in_features, self.hidden_size, self.num_features = in_features, hidden_size, hidden_size or in_features
        self.pool_type, self.pool_dim = pool_type, 1 if input_fmt == "NLC" else (1, 2)
        self.norm = timm.layers.get_norm_layer(norm_layer)(in_features)
        self.pre_logits = nn.Identity()
        if hidden_size:
            layers = [("fc", nn.Linear(in_features, hidden_size)), ("act", timm.get_act_layer(act_layer)())]
            self.pre_logits = nn.Sequential(dict(layers))
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward(self, x, pre_logits=False):
        if self.pool_type:
            mean, most = x.mean(self.pool_dim), x.amax(self.pool_dim)
            x = {"avg": mean, "max": most, "avgmax": 0.5 * (mean + most)}[self.pool_type]
        x = self.drop(self.pre_logits(self.norm(x)))
        return x if pre_logits else self.fc(x)


class GatedMlp(nn.Module):
    def __init__(
        self, in_features, hidden_features=None, out_features=None, act_layer=nn.GELU, norm_layer=None, gate_layer=None, bias=True, drop=0.0, device=None, dtype=None
    ):
        super().__init__()
        width, (first, second), drops = hidden_features or in_features, timm.to_2tuple(bias), timm.to_2tuple(drop)
        self.fc1 = nn.Linear(in_features, width, bias=first)
        self.act = act_layer()
        self.drop1 = nn.Dropout(drops[0])
        if gate_layer is None:
            self.gate = nn.Identity()
        else:
            self.gate = gate_layer(width)
            width = width // 2
        self.norm = nn.Identity() if norm_layer is None else norm_layer(width)
        self.fc2 = nn.Linear(width, out_features or in_features, bias=second)
        self.drop2 = nn.Dropout(drops[1])

    def forward(self, x):
        return self.drop2(self.fc2(self.norm(self.gate(self.drop1(self.act(self.fc1(x)))))))


class ScaledStdConv2d(nn.Conv2d):
    """A convolution whose kernels are centred, scaled to one variance and then by a gain of their own (Brock et al. 2021)."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=None, dilation=1, groups=1, bias=True, gamma=1.0, eps=1e-6, gain_init=1.0, device=None, dtype=None
    ):
        padding = timm.get_padding(kernel_size, stride, dilation) if padding is None else padding
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias)
        self.gain = nn.Parameter(torch.full((out_channels, 1, 1, 1), gain_init))
        self.scale, self.eps = gamma * (self.weight.numel() // out_channels) ** -0.5, eps

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        kernels = nn.functional.batch_norm(flat, None, None, weight=(self.gain * self.scale).view(-1), bias=torch.zeros(self.out_channels), training=True, momentum=0.0, eps=self.eps)
        return nn.functional.conv2d(x, kernels.reshape_as(self.weight), self.bias, self.stride, self.padding, self.dilation, self.groups)


class StdConv2d(nn.Conv2d):
    """The same without a gain (Qiao et al. 2019)."""

    def __init__(self, in_channel, out_channels, kernel_size, stride=1, padding=None, dilation=1, groups=1, bias=False, eps=1e-6, device=None, dtype=None):
        padding = timm.get_padding(kernel_size, stride, dilation) if padding is None else padding
        super().__init__(in_channel, out_channels, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias)
        self.eps = eps

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        kernels = nn.functional.batch_norm(flat, None, None, training=True, momentum=0.0, eps=self.eps)
        return nn.functional.conv2d(x, kernels.reshape_as(self.weight), self.bias, self.stride, self.padding, self.dilation, self.groups)


def pad_same(x, kernel_size, stride, dilation=(1, 1), value=0):
    """As much, by halves, as makes a window of this stride give extent / stride, rounded up."""
    sides = []
    for extent, k, s, d in reversed(list(zip(x.shape[-2:], kernel_size, stride, dilation))):
        missing = max((-(extent // -s) - 1) * s + (k - 1) * d + 1 - extent, 0)
        sides += [missing // 2, missing - missing // 2]
    return nn.functional.pad(x, sides, value=value)


class Conv2dSame(nn.Conv2d):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, device=None, dtype=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)

    def forward(self, x):
        return super().forward(pad_same(x, self.kernel_size, self.stride, self.dilation))


class AvgPool2dSame(nn.AvgPool2d):
    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__(timm.to_2tuple(kernel_size), timm.to_2tuple(stride), (0, 0), ceil_mode, count_include_pad)

    def forward(self, x):
        return super().forward(pad_same(x, self.kernel_size, self.stride))


_LEAST = -3.4028234663852886e38  # of a 32-bit number


class MaxPool2dSame(nn.MaxPool2d):
    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        super().__init__(timm.to_2tuple(kernel_size), timm.to_2tuple(stride), (0, 0), timm.to_2tuple(dilation), ceil_mode=ceil_mode)

    def forward(self, x):
        return super().forward(pad_same(x, self.kernel_size, self.stride, self.dilation, _LEAST))


class SeparableConvNormAct(nn.Module):
    def __init__(
        self, in_channels, out_channels, kernel_size=3, stride=1, dilation=1, padding="", bias=False, channel_multiplier=1.0, pw_kernel_size=1, norm_layer=nn.BatchNorm2d,
        act_layer=nn.ReLU, apply_act=True, drop_layer=None, device=None, dtype=None,
    ):
        super().__init__()
        width = int(in_channels * channel_multiplier)
        self.conv_dw = timm.create_conv2d(in_channels, width, kernel_size, stride=stride, dilation=dilation, padding=padding, depthwise=True)
        self.conv_pw = timm.create_conv2d(width, out_channels, pw_kernel_size, padding=padding, bias=bias)
        self.bn = get_norm_act_layer(norm_layer, act_layer)(out_channels, apply_act=apply_act, **({} if drop_layer is None else {"drop_layer": drop_layer}))

    in_channels = property(lambda self: self.conv_dw.in_channels)
    out_channels = property(lambda self: self.conv_pw.out_channels)

    def forward(self, x):
        return self.bn(self.conv_pw(self.conv_dw(x)))


class SpaceToDepth(nn.Module):
    """Blocks of pixels as channels, the place in the block before the channel."""

    def __init__(self, block_size=4):
        super().__init__()
        self.bs = block_size

    def forward(self, x):
        n, channels, height, width = x.shape
        x = x.view(n, channels, height // self.bs, self.bs, width // self.bs, self.bs).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(n, channels * self.bs**2, height // self.bs, width // self.bs)


class DiffAttention(nn.Module):
    def __init__(self, *args, **kwargs):
        raise Unsupported("timm's DiffAttention")


# How the weights of timm's vision transformers start


def init_weight_vit(module, name="", needs_reset=True, **kwargs):
    if isinstance(module, nn.Linear):
        timm.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif hasattr(module, "init_weights"):
        module.init_weights()


def init_weight_jax(module, name="", head_bias=0.0, needs_reset=True):
    if isinstance(module, nn.Linear):
        if name.startswith("head"):
            nn.init.zeros_(module.weight)
            nn.init.constant_(module.bias, head_bias)
            return
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=1e-6) if "mlp" in name else nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        timm.lecun_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif hasattr(module, "init_weights"):
        module.init_weights()


def get_init_weights_vit(mode="jax", head_bias=0.0, needs_reset=True):
    if "moco" in mode:
        raise Unsupported("timm's weights of MoCo")
    return partial(init_weight_jax, head_bias=head_bias) if "jax" in mode else init_weight_vit


def ndgrid(*tensors):
    return torch.meshgrid(*tensors, indexing="ij")


def meshgrid(*tensors):
    return torch.meshgrid(*tensors, indexing="xy")


timm.__dict__.update({name: value for name, value in globals().items() if not name.startswith("_") and name not in ("timm", "torch", "nn", "partial", "Unsupported")})
