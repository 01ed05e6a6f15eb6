# Weights that each forward computes from others: `weight_norm`, and the parametrisations of torch.nn.utils.
import torch
from _import import Unsupported, module
from torch import _ops as T
from torch._tensor import Tensor, _data, _outside
from torch.nn.modules import Module, ModuleList, Parameter


def _length(v, dim):
    """Norms over all dimensions but `dim`, which stay with extent 1; over all of them where that is None."""
    if dim is None:
        return T.norm(v)
    return T.norm(v, 2, [d for d in range(v.dim()) if d != dim % v.dim()], True)


def _length_at_first(v, dim):
    """Where the norm of a parameter that is drawn starts."""
    if v._shape is None:
        raise Unsupported("weight_norm of a lazy parameter")
    kept = () if dim is None else tuple(n if d == dim % v.dim() else 1 for d, n in enumerate(v._shape))
    if v._init[0] in ("constant", "values"):
        return _length(Tensor.clone(v), dim)
    return _data(kept, ("norm", v, v._init, v._shape, None if dim is None else dim % v.dim()))


def _of_tensor(module, name):
    weight = module._parameters.get(name)
    if weight is None:
        raise ValueError("Module '" + repr(module) + "' does not have a parameter with name '" + name + "'")
    return weight


# The older way: two parameters beside each other, and a hook


class WeightNorm:
    def __init__(self, name, dim):
        self.name, self.dim = name, None if dim == -1 else dim

    def compute_weight(self, module):
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return T.mul(v, T.div(g, _length(v, self.dim)))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module, name="weight", dim=0):
    weight, norm = _of_tensor(module, name), WeightNorm(name, dim)
    if (name + "_g") in module._parameters:
        raise RuntimeError("Cannot register two weight_norm hooks on the same parameter " + name)
    del module._parameters[name]
    module.register_parameter(name + "_g", Parameter(_length_at_first(weight, norm.dim)))
    module.register_parameter(name + "_v", weight)
    # Until the first forward it is read by nobody but for its shape.
    setattr(module, name, _data(weight._shape, ("constant", 0.0)))
    handle = module.register_forward_pre_hook(norm)
    module.__dict__.setdefault("_weight_norms", {})[name] = (norm, handle)
    return module


def remove_weight_norm(module, name="weight"):
    norms = module.__dict__.get("_weight_norms", {})
    if name not in norms:
        raise ValueError("weight_norm of '" + name + "' not found in " + repr(module))
    handle = norms.pop(name)[1]
    handle.remove()
    weight = module._parameters.pop(name + "_v")
    del module._parameters[name + "_g"]
    module.__dict__.pop(name, None)
    module.register_parameter(name, weight)
    return module


# The newer one: a module of parametrisations, and a property of the class


class ParametrizationList(ModuleList):
    def __init__(self, modules, originals):
        super().__init__(modules)
        for name, original in originals:
            self.register_parameter(name, original)

    def forward(self):
        own = [self._parameters[name] for name in self._parameters]
        got = self[0](*own)
        for i in range(1, len(self)):
            got = self[i](got)
        return got


class _WeightNorm(Module):
    def __init__(self, dim=0):
        super().__init__()
        self.dim = None if dim in (None, -1) else dim

    def forward(self, g, v):
        return T.mul(v, T.div(g, _length(v, self.dim)))


def is_parametrized(module, tensor_name=None):
    own = module._modules.get("parametrizations")
    return own is not None and (len(own._modules) > 0 if tensor_name is None else tensor_name in own._modules)


def _parametrize(module, name, parametrization, originals):
    if not is_parametrized(module):
        module.__class__ = type("Parametrized" + type(module).__name__, (type(module),), {})
        module.parametrizations = torch.nn.ModuleDict()
    del module._parameters[name]
    module.parametrizations[name] = ParametrizationList([parametrization], originals)
    setattr(type(module), name, property(lambda self: self.parametrizations[name]()))


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    if is_parametrized(module, tensor_name):
        module.parametrizations[tensor_name].append(parametrization)
        return module
    weight = _of_tensor(module, tensor_name)
    if hasattr(parametrization, "right_inverse"):
        raise Unsupported("register_parametrization with a right_inverse")
    _parametrize(module, tensor_name, parametrization, [("original", weight)])
    return module


def _weight_norm_of_today(module, name="weight", dim=0):
    weight = _of_tensor(module, name)
    norm = _WeightNorm(dim)
    g = Parameter(_length_at_first(weight, norm.dim))
    _parametrize(module, name, norm, [("original0", g), ("original1", weight)])
    return module


def _publish():
    utils = module("torch.nn.utils")
    utils.update(weight_norm=weight_norm, remove_weight_norm=remove_weight_norm)
    module("torch.nn.utils.weight_norm").update(WeightNorm=WeightNorm, weight_norm=weight_norm, remove_weight_norm=remove_weight_norm)
    utils["weight_norm"] = weight_norm
    module("torch.nn.utils.parametrizations").update(weight_norm=_weight_norm_of_today)
    module("torch.nn.utils.parametrize").update(
        register_parametrization=register_parametrization, is_parametrized=is_parametrized, ParametrizationList=ParametrizationList
    )


_publish()
