# The losses of torch.nn: modules without parameters, which a network may have and forward must not call.
from _import import Unsupported
from torch import nn
from torch._tensor import Tensor
from torch.nn.modules import Module


class _Loss(Module):
    """A constructor's arguments are kept under their names; tensors among them are buffers where PyTorch registers them."""

    names = ("size_average", "reduce", "reduction")
    buffers = ()

    def __init__(self, *args, **kwargs):
        super().__init__()
        name = type(self).__name__
        if len(args) > len(self.names):
            raise TypeError(name + "() takes at most " + str(len(self.names)) + " arguments (" + str(len(args)) + " given)")
        given = dict(zip(self.names, args))
        for key, value in kwargs.items():
            if key in given or key not in self.names + ("size_average", "reduce", "reduction"):
                raise TypeError(name + "() got an unexpected keyword argument " + repr(key))
            given[key] = value
        given.setdefault("reduction", "mean")
        for key in self.names:
            given.setdefault(key, None)
        for key, value in given.items():
            if key in self.buffers:
                if value is not None and not isinstance(value, Tensor):
                    raise TypeError("cannot assign a " + type(value).__name__ + " as buffer " + repr(key))
                self.register_buffer(key, value)
            else:
                setattr(self, key, value)

    def forward(self, *args, **kwargs):
        raise Unsupported("a loss in forward (torch.nn." + type(self).__name__ + "): a network gives logits, and the recipe has the loss; calling it")


class _WeightedLoss(_Loss):
    names = ("weight",) + _Loss.names
    buffers = ("weight",)


_average = _Loss.names
_losses = {
    "L1Loss": _average,
    "MSELoss": _average,
    "NLLLoss": ("weight", "size_average", "ignore_index", "reduce", "reduction"),
    "NLLLoss2d": ("weight", "size_average", "ignore_index", "reduce", "reduction"),
    "CrossEntropyLoss": ("weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"),
    "PoissonNLLLoss": ("log_input", "full", "size_average", "eps", "reduce", "reduction"),
    "GaussianNLLLoss": ("full", "eps", "reduction"),
    "KLDivLoss": ("size_average", "reduce", "reduction", "log_target"),
    "BCELoss": ("weight", "size_average", "reduce", "reduction"),
    "BCEWithLogitsLoss": ("weight", "size_average", "reduce", "reduction", "pos_weight"),
    "HingeEmbeddingLoss": ("margin",) + _average,
    "MultiLabelMarginLoss": _average,
    "SmoothL1Loss": _average + ("beta",),
    "HuberLoss": ("reduction", "delta"),
    "SoftMarginLoss": _average,
    "MultiLabelSoftMarginLoss": ("weight",) + _average,
    "CosineEmbeddingLoss": ("margin",) + _average,
    "MarginRankingLoss": ("margin",) + _average,
    "MultiMarginLoss": ("p", "margin", "weight") + _average,
    "TripletMarginLoss": ("margin", "p", "eps", "swap") + _average,
    "TripletMarginWithDistanceLoss": ("distance_function", "margin", "swap", "reduction"),
    "CTCLoss": ("blank", "reduction", "zero_infinity"),
}
nn.__dict__.update(_Loss=_Loss, _WeightedLoss=_WeightedLoss)
for _name, _names in _losses.items():
    _buffers = tuple(key for key in _names if key in ("weight", "pos_weight"))
    _base = _WeightedLoss if "weight" in _buffers else _Loss
    nn.__dict__[_name] = type(_name, (_base,), {"names": _names, "buffers": _buffers, "__module__": "torch.nn"})
