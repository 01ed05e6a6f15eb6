# timm.layers: pooling heads, attention, the blocks of its vision transformer; and timm's modules, old and new names.
import math
from collections import OrderedDict
from functools import partial

import timm
import torch
from _import import Unsupported, alias, missing, module
from timm import DropPath, LayerScale, Mlp, _refused, to_2tuple
from torch import nn
from torch.nn.modules.utils import _ntuple

_lacking = missing("timm.layers")


class SelectAdaptivePool2d(nn.Module):
    def __init__(self, output_size=1, pool_type="fast", flatten=False, input_fmt="NCHW", device=None, dtype=None):
        super().__init__()
        self.pool_type = pool_type or ""
        if input_fmt not in ("NCHW", "NHWC") or output_size != 1:
            raise Unsupported("timm's SelectAdaptivePool2d to other than one pixel")
        self.dims = (2, 3) if input_fmt == "NCHW" else (1, 2)
        self.kept = input_fmt == "NCHW"
        self.flatten = nn.Flatten(1) if flatten else nn.Identity()
        self.pool = nn.Identity()

    def is_identity(self):
        return not self.pool_type

    def feat_mult(self):
        return 2 if self.pool_type.endswith("catavgmax") else 1

    def forward(self, x):
        kind = self.pool_type[4:] if self.pool_type.startswith("fast") else self.pool_type
        if self.pool_type == "fast":
            kind = "avg"
        if kind:
            mean, most = x.mean(self.dims, keepdim=self.kept), x.amax(self.dims, keepdim=self.kept)
            x = {"avg": mean, "max": most, "avgmax": 0.5 * (mean + most), "catavgmax": None}[kind]
            x = torch.cat((mean, most), 1) if x is None else x
        return self.flatten(x)


def create_classifier(num_features, num_classes, pool_type="avg", use_conv=False, input_fmt="NCHW", drop_rate=None, **kwargs):
    if use_conv and input_fmt != "NCHW":
        raise Unsupported("timm's classifier of other than channels first")
    pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=bool(pool_type) and not use_conv, input_fmt=input_fmt)
    width = num_features * pool.feat_mult()
    fc = nn.Identity() if num_classes <= 0 else nn.Conv2d(width, num_classes, 1) if use_conv else nn.Linear(width, num_classes)
    return (pool, fc) if drop_rate is None else (pool, nn.Dropout(drop_rate), fc)


class ClassifierHead(nn.Module):
    def __init__(self, in_features, num_classes, pool_type="avg", drop_rate=0.0, use_conv=False, input_fmt="NCHW", device=None, dtype=None):
        super().__init__()
        self.in_features = self.num_features = in_features
        self.use_conv = use_conv
        self.global_pool, self.fc = create_classifier(in_features, num_classes, pool_type, use_conv, input_fmt)
        self.drop = nn.Dropout(drop_rate)
        self.flatten = nn.Flatten(1) if use_conv and pool_type else nn.Identity()

    def forward(self, x, pre_logits=False):
        x = self.drop(self.global_pool(x))
        return self.flatten(x) if pre_logits else self.flatten(self.fc(x))


class Attention(nn.Module):
    def __init__(self, dim, num_heads=8, qkv_bias=False, qk_norm=False, proj_bias=True, attn_drop=0.0, proj_drop=0.0, norm_layer=nn.LayerNorm, **kwargs):
        super().__init__()
        if dim % num_heads:
            raise AssertionError("dim should be divisible by num_heads")
        self.num_heads, self.head_dim, self.scale, self.fused_attn = num_heads, dim // num_heads, (dim // num_heads) ** -0.5, False
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.q_norm = norm_layer(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = norm_layer(self.head_dim) if qk_norm else nn.Identity()
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim, bias=proj_bias)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x, **kwargs):
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        weights = self.attn_drop((self.q_norm(q) * self.scale @ self.k_norm(k).transpose(-2, -1)).softmax(dim=-1))
        return self.proj_drop(self.proj((weights @ v).transpose(1, 2).reshape(n, length, width)))


class Block(nn.Module):
    def __init__(
        self, dim, num_heads, mlp_ratio=4.0, qkv_bias=False, qk_norm=False, proj_bias=True, proj_drop=0.0, attn_drop=0.0, init_values=None, drop_path=0.0,
        act_layer=nn.GELU, norm_layer=nn.LayerNorm, mlp_layer=Mlp, drop=None, **kwargs,
    ):
        super().__init__()
        proj_drop = proj_drop if drop is None else drop
        self.norm1 = norm_layer(dim)
        self.attn = Attention(dim, num_heads, qkv_bias, qk_norm, proj_bias, attn_drop, proj_drop, norm_layer)
        self.ls1 = LayerScale(dim, init_values) if init_values else nn.Identity()
        self.drop_path1 = DropPath(drop_path) if drop_path > 0.0 else nn.Identity()
        self.norm2 = norm_layer(dim)
        self.mlp = mlp_layer(in_features=dim, hidden_features=int(dim * mlp_ratio), act_layer=act_layer, drop=proj_drop)
        self.ls2 = LayerScale(dim, init_values) if init_values else nn.Identity()
        self.drop_path2 = DropPath(drop_path) if drop_path > 0.0 else nn.Identity()

    def forward(self, x, **kwargs):
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class NormMlpClassifierHead(nn.Module):
    def __init__(
        self, in_features, num_classes, hidden_size=None, pool_type="avg", drop_rate=0.0, norm_layer="layernorm2d", act_layer="tanh", device=None, dtype=None
    ):
        super().__init__()
        self.in_features, self.num_features, self.hidden_size, self.use_conv = in_features, hidden_size or in_features, hidden_size, not pool_type
        linear = (lambda i, o: nn.Conv2d(i, o, 1)) if self.use_conv else nn.Linear
        self.global_pool = SelectAdaptivePool2d(pool_type=pool_type)
        self.norm = get_norm_layer(norm_layer)(in_features)
        self.flatten = nn.Flatten(1) if pool_type else nn.Identity()
        self.pre_logits = nn.Identity()
        if hidden_size:
            self.pre_logits = nn.Sequential(OrderedDict([("fc", linear(in_features, hidden_size)), ("act", timm.get_act_layer(act_layer)())]))
        self.drop = nn.Dropout(drop_rate)
        self.fc = linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward(self, x, pre_logits=False):
        x = self.drop(self.pre_logits(self.flatten(self.norm(self.global_pool(x)))))
        return x if pre_logits else self.fc(x)


class RmsNorm(nn.RMSNorm):
    def __init__(self, channels, eps=1e-6, affine=True, device=None, dtype=None):
        super().__init__(channels, eps=eps, elementwise_affine=affine)


class EcaModule(nn.Module):
    """A convolution along the channels, as wide as their number asks for."""

    def __init__(self, channels=None, kernel_size=3, gamma=2, beta=1, act_layer=None, gate_layer="sigmoid", rd_ratio=1 / 8, rd_channels=None, rd_divisor=8, use_mlp=False, **kwargs):
        super().__init__()
        if use_mlp:
            raise Unsupported("timm's EcaModule with use_mlp")
        if channels is not None:
            t = int(abs(math.log(channels, 2) + beta) / gamma)
            kernel_size = max(t if t % 2 else t + 1, 3)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=(kernel_size - 1) // 2, bias=False)
        self.gate = timm.create_act_layer(gate_layer)

    def forward(self, x):
        y = self.gate(self.conv(x.mean((2, 3)).unsqueeze(1)))
        return x * y.transpose(1, 2).unsqueeze(-1)


_norms = {
    "batchnorm": nn.BatchNorm2d, "batchnorm2d": nn.BatchNorm2d, "batchnorm1d": nn.BatchNorm1d, "groupnorm": timm.GroupNorm, "groupnorm1": timm.GroupNorm1,
    "layernorm": timm.LayerNorm, "layernorm2d": timm.LayerNorm2d, "rmsnorm": RmsNorm,
}
_attentions = {"se": timm.SEModule, "ese": timm.EffectiveSEModule, "eca": EcaModule}


def get_norm_layer(norm_layer):
    if not isinstance(norm_layer, str) or not norm_layer:
        return norm_layer or None
    found = _norms.get(norm_layer.lower().replace("_", ""))
    if found is None:
        raise Unsupported("timm's norm " + repr(norm_layer))
    return found


def create_norm_layer(layer_name, num_features, **kwargs):
    return get_norm_layer(layer_name)(num_features, **kwargs)


def get_attn(attn_type):
    if not attn_type:
        return None
    if not isinstance(attn_type, str):
        return timm.SEModule if attn_type is True else attn_type
    if attn_type.lower() not in _attentions:
        raise Unsupported("timm's attention " + repr(attn_type))
    return _attentions[attn_type.lower()]


def create_attn(attn_type, channels, **kwargs):
    layer = get_attn(attn_type)
    return None if layer is None else layer(channels, **kwargs)


def get_aa_layer(aa_layer):
    if not aa_layer or not isinstance(aa_layer, str):
        return aa_layer or None
    layers = {"avg": nn.AvgPool2d, "avgpool": nn.AvgPool2d, "blur": timm.BlurPool2d, "blurpool": timm.BlurPool2d, "blurpc": partial(timm.BlurPool2d, pad_mode="constant")}
    if aa_layer.lower().replace("_", "").replace("-", "") not in layers:
        raise Unsupported("timm's anti-aliasing " + repr(aa_layer))
    return layers[aa_layer.lower().replace("_", "").replace("-", "")]


def create_aa(aa_layer, channels=None, stride=2, enable=True, noop=nn.Identity, **kwargs):
    layer = get_aa_layer(aa_layer)
    if not layer or not enable:
        return noop() if noop is not None else None
    is_mean = isinstance(layer, type) and issubclass(layer, nn.AvgPool2d)
    return layer(stride) if is_mean else layer(channels=channels, stride=stride, **kwargs)


def create_pool2d(pool_type, kernel_size, stride=None, *, padding="", **kwargs):
    stride = stride or kernel_size
    if padding == "same" and not timm._is_static(kernel_size, stride):
        return (timm.AvgPool2dSame if pool_type == "avg" else timm.MaxPool2dSame)(kernel_size, stride=stride, **kwargs)
    padding = 0 if padding == "valid" else timm.get_padding(kernel_size, stride) if isinstance(padding, str) else padding
    if pool_type not in ("avg", "max"):
        raise AssertionError("Unsupported pool type " + str(pool_type))
    return (nn.AvgPool2d if pool_type == "avg" else nn.MaxPool2d)(kernel_size, stride=stride, padding=padding, **kwargs)


def calculate_drop_path_rates(drop_path_rate, depths, stagewise=False):
    if isinstance(depths, int):
        return torch.linspace(0, drop_path_rate, depths).tolist()
    rates = torch.linspace(0, drop_path_rate, sum(depths))
    return [part.tolist() for part in rates.split(depths)] if stagewise else rates.tolist()


def get_device_dtype(module, *args, **kwargs):
    return {}


def feature_take_indices(num_features, indices=None, as_set=False):
    indices = range(num_features) if indices is None else range(num_features - indices, num_features) if isinstance(indices, int) else indices
    chosen = [i % num_features for i in indices]
    return (set(chosen) if as_set else chosen), max(chosen)


class ConvBlock(nn.Module):
    """A convolution of EfficientNet's blocks in timm, there under the name ConvBnAct."""

    def __init__(
        self, in_chs, out_chs, kernel_size, stride=1, dilation=1, group_size=0, pad_type="", skip=False, act_layer=nn.ReLU, norm_layer=nn.BatchNorm2d, aa_layer=None,
        drop_path_rate=0.0, device=None, dtype=None,
    ):
        super().__init__()
        create_aa(aa_layer)
        self.has_skip = skip and stride == 1 and in_chs == out_chs
        groups = 1 if not group_size else in_chs // group_size
        self.conv = timm.create_conv2d(in_chs, out_chs, kernel_size, stride=stride, dilation=dilation, groups=groups, padding=pad_type)
        self.bn1 = timm.get_norm_act_layer(norm_layer, act_layer)(out_chs, inplace=True)
        self.aa = nn.Identity()
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def forward(self, x):
        y = self.aa(self.bn1(self.conv(x)))
        return self.drop_path(y) + x if self.has_skip else y


def use_fused_attn(*args, **kwargs):
    return False


def is_scriptable(*args):
    return False


is_exportable = is_no_jit = is_scriptable


def register_notrace_function(item):
    return item


register_notrace_module = register_notrace_function


def _decorator(*args, **kwargs):
    return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else lambda item: item


def _assert(condition, message=""):
    torch._assert(condition, message)


def named_apply(fn, module, name="", depth_first=True, include_root=False):
    if not depth_first and include_root:
        fn(module=module, name=name)
    for child, inner in module.named_children():
        named_apply(fn, inner, name + "." + child if name else child, depth_first, True)
    if depth_first and include_root:
        fn(module=module, name=name)
    return module


def checkpoint_seq(functions, x, *args, **kwargs):
    for function in functions:
        x = function(x)
    return x


def build_model_with_cfg(model_cls, variant, pretrained, pretrained_cfg=None, model_cfg=None, feature_cfg=None, pretrained_strict=True, pretrained_filter_fn=None, kwargs_filter=None, **kwargs):
    if pretrained:
        raise Unsupported("pretrained=True of timm: nothing is downloaded while a network is traced; calling it")
    if kwargs.pop("features_only", False):
        raise Unsupported("features_only of timm")
    kwargs.setdefault("in_chans", 3)
    configuration = next((own for key, own in _known_configurations.items() if key.split(".")[0] == variant), None)
    if isinstance(configuration, dict) and configuration.get("fixed_input_size") and configuration.get("input_size"):
        kwargs.setdefault("img_size", tuple(configuration["input_size"][-2:]))
    for name in kwargs_filter or ():
        kwargs.pop(name, None)
    for name in ("pretrained_cfg_overlay", "cache_dir", "out_indices"):
        kwargs.pop(name, None)
    net = model_cls(**kwargs) if model_cfg is None else model_cls(cfg=model_cfg, **kwargs)
    net.default_cfg = net.pretrained_cfg = {}
    return net


def _registered(function):
    return function


_known_configurations = {}


def _configurations(configurations=None, *args, **kwargs):
    if isinstance(configurations, dict):
        _known_configurations.update(configurations)
    return configurations if configurations is not None else {}


# The modules, each a namespace of these
globals().update({name: value for name, value in timm.__dict__.items() if not name.startswith("_") and name not in ("math", "torch", "nn", "F", "init")})


def __getattr__(name):
    if name in timm.__dict__ and not name.startswith("__"):
        return timm.__dict__[name]
    return _lacking(name)


Linear, to_ntuple, LayerType = nn.Linear, _ntuple, object
SqueezeExcite = timm.SEModule
ConvBnAct = ConvNormAct = timm.ConvNormAct
EffectiveSqueezeExcite = timm.EffectiveSEModule
module("timm.models").update(create_model=timm.create_model, register_model=_registered)
alias("timm.models.layers", "timm.layers")
for _file in "drop weight_init helpers mlp patch_embed norm norm_act squeeze_excite create_act create_conv2d conv_bn_act adaptive_avgmax_pool classifier activations padding separable_conv blur_pool pool2d_same std_conv space_to_depth grid conv2d_same create_norm create_norm_act create_attn".split():
    alias("timm.layers." + _file, "timm.layers")
    alias("timm.models.layers." + _file, "timm.layers")
for _name in ("registry", "_registry"):
    module("timm.models." + _name).update(register_model=_registered, generate_default_cfgs=_configurations, register_model_deprecations=_configurations)
_build = dict(
    build_model_with_cfg=build_model_with_cfg, named_apply=named_apply, checkpoint_seq=checkpoint_seq, checkpoint=torch.utils.checkpoint.checkpoint,
    load_pretrained=_refused("load_pretrained"), load_checkpoint=_refused("load_checkpoint"), resolve_pretrained_cfg=_configurations, overlay_external_default_cfg=_configurations,
)
for _name in ("helpers", "_builder", "_manipulate"):
    module("timm.models." + _name).update(_build)
module("timm.models.features")
module("timm.models._features").update(
    register_notrace_function=_registered, register_notrace_module=_registered, feature_take_indices=feature_take_indices
)
module("timm.models._features_fx").update(register_notrace_function=_registered, register_notrace_module=_registered)
module("timm.models.fx_features").update(register_notrace_function=_registered, register_notrace_module=_registered)
for _name in ("efficientnet_blocks", "_efficientnet_blocks"):
    module("timm.models." + _name).update(SqueezeExcite=timm.BlockSqueezeExcite, ConvBnAct=ConvBlock)
_parts = dict(get_init_weights_vit=timm.get_init_weights_vit, Attention=Attention, Block=Block, LayerScale=LayerScale, Mlp=Mlp, PatchEmbed=timm.PatchEmbed, DropPath=DropPath, _cfg=lambda **kwargs: dict(kwargs))
module("timm.models.vision_transformer").update(_parts)
_constants = dict(
    IMAGENET_DEFAULT_MEAN=(0.485, 0.456, 0.406), IMAGENET_DEFAULT_STD=(0.229, 0.224, 0.225), IMAGENET_INCEPTION_MEAN=(0.5, 0.5, 0.5),
    IMAGENET_INCEPTION_STD=(0.5, 0.5, 0.5), OPENAI_CLIP_MEAN=(0.48145466, 0.4578275, 0.40821073), OPENAI_CLIP_STD=(0.26862954, 0.26130258, 0.27577711),
)
module("timm.data").update(_constants)
module("timm.data.constants").update(_constants)
