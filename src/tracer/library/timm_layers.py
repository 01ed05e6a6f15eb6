# timm.layers: pooling heads, attention, the blocks of its vision transformer; and timm's modules, old and new names.
import timm
import torch
from _import import Unsupported, alias, missing, module
from timm import DropPath, LayerScale, Mlp, _refused, to_2tuple
from torch import nn
from torch.nn import functional as F

_lacking = missing("timm.layers")


class SelectAdaptivePool2d(nn.Module):
    def __init__(self, output_size=1, pool_type="fast", flatten=False, input_fmt="NCHW"):
        super().__init__()
        self.pool_type = pool_type or ""
        if input_fmt != "NCHW" or output_size != 1:
            raise Unsupported("timm's SelectAdaptivePool2d to other than one pixel")
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
            mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
            x = {"avg": mean, "max": most, "avgmax": 0.5 * (mean + most), "catavgmax": None}[kind]
            x = torch.cat((mean, most), 1) if x is None else x
        return self.flatten(x)


def create_classifier(num_features, num_classes, pool_type="avg", use_conv=False, input_fmt="NCHW", drop_rate=None):
    pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=bool(pool_type) and not use_conv)
    width = num_features * pool.feat_mult()
    fc = nn.Identity() if num_classes <= 0 else nn.Conv2d(width, num_classes, 1) if use_conv else nn.Linear(width, num_classes)
    return (pool, fc) if drop_rate is None else (pool, nn.Dropout(drop_rate), fc)


class ClassifierHead(nn.Module):
    def __init__(self, in_features, num_classes, pool_type="avg", drop_rate=0.0, use_conv=False, input_fmt="NCHW"):
        super().__init__()
        self.in_features, self.use_conv = in_features, use_conv
        self.global_pool, self.fc = create_classifier(in_features, num_classes, pool_type, use_conv)
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
    for name in kwargs_filter or ():
        kwargs.pop(name, None)
    for name in ("pretrained_cfg_overlay", "cache_dir", "out_indices"):
        kwargs.pop(name, None)
    net = model_cls(**kwargs) if model_cfg is None else model_cls(cfg=model_cfg, **kwargs)
    net.default_cfg = net.pretrained_cfg = {}
    return net


def _registered(function):
    return function


def _configurations(configurations=None, *args, **kwargs):
    return configurations if configurations is not None else {}


# The modules, each a namespace of these


def __getattr__(name):
    if name in timm.__dict__ and not name.startswith("__"):
        return timm.__dict__[name]
    return _lacking(name)


SqueezeExcite = timm.SEModule
ConvBnAct = ConvNormAct = timm.ConvNormAct
EffectiveSqueezeExcite = timm.EffectiveSEModule
module("timm.models").update(create_model=timm.create_model, register_model=_registered)
alias("timm.models.layers", "timm.layers")
for _file in "drop weight_init helpers mlp patch_embed norm norm_act squeeze_excite create_act create_conv2d conv_bn_act adaptive_avgmax_pool classifier activations padding".split():
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
module("timm.models._features").update(register_notrace_function=_registered, register_notrace_module=_registered)
module("timm.models._features_fx").update(register_notrace_function=_registered, register_notrace_module=_registered)
module("timm.models.fx_features").update(register_notrace_function=_registered, register_notrace_module=_registered)
for _name in ("efficientnet_blocks", "_efficientnet_blocks"):
    module("timm.models." + _name).update(SqueezeExcite=timm.BlockSqueezeExcite)
_parts = dict(Attention=Attention, Block=Block, LayerScale=LayerScale, Mlp=Mlp, PatchEmbed=timm.PatchEmbed, DropPath=DropPath, _cfg=lambda **kwargs: dict(kwargs))
module("timm.models.vision_transformer").update(_parts)
_constants = dict(
    IMAGENET_DEFAULT_MEAN=(0.485, 0.456, 0.406), IMAGENET_DEFAULT_STD=(0.229, 0.224, 0.225), IMAGENET_INCEPTION_MEAN=(0.5, 0.5, 0.5),
    IMAGENET_INCEPTION_STD=(0.5, 0.5, 0.5), OPENAI_CLIP_MEAN=(0.48145466, 0.4578275, 0.40821073), OPENAI_CLIP_STD=(0.26862954, 0.26130258, 0.27577711),
)
module("timm.data").update(_constants)
module("timm.data.constants").update(_constants)
