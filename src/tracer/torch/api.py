# The functions of `torch`.
import torch
from _import import Unsupported, module
from torch import _ops as T
from torch import nn
from torch._einsum import einsum
from torch._tensor import Tensor, _data, _sizes, as_tensor, full, tensor
from torch.nn import functional as F


def _made(kind, *numbers):
    def make(*size, **kwargs):
        size = kwargs.pop("size", size)
        return _grad(_data(_sizes((size,) if isinstance(size, int) else size), (kind,) + numbers, dtype=kwargs.get("dtype")), kwargs)

    return make


def _like(make):
    return lambda input, **kwargs: make(input._shape, **{"dtype": input.dtype, **kwargs})


def _grad(tensor, kwargs):
    if kwargs.get("requires_grad"):
        tensor.requires_grad = True
    return tensor


zeros, ones = _made("constant", 0.0), _made("constant", 1.0)
rand, randn = _made("uniform", 0.0, 1.0), _made("normal", 0.0, 1.0)


def arange(start, end=None, step=1, **kwargs):
    if end is None:
        start, end = 0, start
    values, n = [], 0
    if step == 0 or (end - start) / step > 1 << 20:
        raise Unsupported("torch.arange of more than a million numbers")
    while (start + n * step < end) if step > 0 else (start + n * step > end):
        values.append(start + n * step)
        n += 1
    return tensor(values, dtype=kwargs.get("dtype") or (None if values else torch.int64))


def linspace(start, end, steps, **kwargs):
    start, end = float(start), float(end)
    if steps == 1:
        return tensor([start], dtype=kwargs.get("dtype"))
    return tensor([start + (end - start) * i / (steps - 1) for i in range(steps)], dtype=kwargs.get("dtype"))


def eye(n, m=None, **kwargs):
    m = n if m is None else m
    return tensor([[1.0 if i == j else 0.0 for j in range(m)] for i in range(n)], dtype=kwargs.get("dtype"))


def is_tensor(item):
    return isinstance(item, Tensor)


def numel(input):
    return input.numel()


def addcmul(input, a, b, *, value=1):
    return T.add(input, T.mul(a, b), alpha=value)


def baddbmm(input, a, b, *, beta=1, alpha=1):
    return T.add(T.mul(input, beta), T.mul(T.bmm(a, b), alpha))


def _functions():
    space = torch.__dict__
    same = (
        "add sub mul div maximum minimum neg exp log sqrt rsqrt square reciprocal clamp reshape flatten unflatten unsqueeze squeeze permute "
        "transpose movedim cat stack narrow select split chunk unbind roll mean amax amin var std norm matmul bmm mm full tensor as_tensor sin cos floor bernoulli einsum"
    )
    for name in same.split():
        space[name] = getattr(T, name) if hasattr(T, name) else globals()[name]
    space.update(
        Tensor=Tensor, FloatTensor=Tensor, nn=nn, concat=T.cat, concatenate=T.cat, abs=T.abs_, sum=T.sum_, max=T.max_, min=T.min_, pow=T.power,
        clip=T.clamp, t=T.t_, swapaxes=T.transpose, multiply=T.mul, divide=T.div, true_divide=T.div, subtract=T.sub, from_numpy=as_tensor,
        zeros=zeros, ones=ones, rand=rand, randn=randn, empty=zeros, zeros_like=_like(zeros), ones_like=_like(ones), empty_like=_like(zeros),
        randn_like=_like(randn), rand_like=_like(rand), full_like=lambda input, value, **kwargs: full(input._shape, value), arange=arange,
        linspace=linspace, eye=eye, is_tensor=is_tensor, clone=Tensor.clone, numel=numel, addcmul=addcmul, baddbmm=baddbmm,
        relu=F.relu, relu_=F.relu_, sigmoid=F.sigmoid, tanh=F.tanh, softmax=F.softmax, log_softmax=F.log_softmax, dropout=F.dropout, prelu=F.prelu,
        conv1d=F.conv1d, conv2d=F.conv2d, conv_transpose2d=F.conv_transpose2d, celu=F.celu, selu=F.selu, layer_norm=F.layer_norm, pixel_shuffle=F.pixel_shuffle, channel_shuffle=F.channel_shuffle,
    )
    for name in ("relu", "sigmoid", "tanh", "softmax", "log_softmax"):
        setattr(Tensor, name, getattr(F, name))
    for name in ("relu", "sigmoid", "tanh"):
        setattr(Tensor, name + "_", T._in_place(getattr(F, name)))
    F.__dict__["Tensor"] = Tensor


_functions()

module("torch.nn.parameter").update(Parameter=nn.Parameter, UninitializedParameter=nn.UninitializedParameter)
module("torch.nn.modules.module").update(Module=nn.Module)
module("torch.autograd").update(Variable=lambda tensor, **kwargs: tensor)
