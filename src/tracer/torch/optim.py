# torch.optim: optimizers and schedulers that a constructor may make and that never take a step.
from _import import Unsupported, missing, module, public
from torch._tensor import Tensor

public.add("torch.optim")
__getattr__ = missing("torch.optim")


class Optimizer:
    def __init__(self, params, defaults=None, **kwargs):
        self.defaults = dict(defaults or {})
        self.state = {}
        self.param_groups = []
        params = list(params.values() if isinstance(params, dict) else [params] if isinstance(params, Tensor) else params)
        if not params:
            raise ValueError("optimizer got an empty parameter list")
        groups = params if isinstance(params[0], dict) else [{"params": params}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group):
        group = dict(self.defaults, **group)
        group["params"] = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        if group["params"] and isinstance(group["params"][0], tuple):
            group["params"] = [tensor for _, tensor in group["params"]]
        group.setdefault("initial_lr", group.get("lr"))
        self.param_groups.append(group)

    def zero_grad(self, set_to_none=True):
        return None

    def step(self, closure=None):
        raise Unsupported("a step of an optimizer: the network is built and called, not trained, here; calling it")

    def state_dict(self):
        return {"state": {}, "param_groups": self.param_groups}

    def load_state_dict(self, state):
        return None

    def __repr__(self):
        return type(self).__name__ + " (" + ", ".join(map(repr, self.defaults)) + ")"


def _optimizer(name, lr, **defaults):
    def __init__(self, params, *args, **kwargs):
        given = dict({"lr": lr}, **defaults)
        given.update(zip(given, args))
        given.update(kwargs)
        Optimizer.__init__(self, params, given)

    return type(name, (Optimizer,), {"__init__": __init__, "__module__": "torch.optim"})


_betas = (0.9, 0.999)
SGD = _optimizer("SGD", 1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False)
ASGD = _optimizer("ASGD", 1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0)
Adam = _optimizer("Adam", 1e-3, betas=_betas, eps=1e-8, weight_decay=0, amsgrad=False)
AdamW = _optimizer("AdamW", 1e-3, betas=_betas, eps=1e-8, weight_decay=1e-2, amsgrad=False)
NAdam = _optimizer("NAdam", 2e-3, betas=_betas, eps=1e-8, weight_decay=0, momentum_decay=4e-3)
RAdam = _optimizer("RAdam", 1e-3, betas=_betas, eps=1e-8, weight_decay=0)
Adamax = _optimizer("Adamax", 2e-3, betas=_betas, eps=1e-8, weight_decay=0)
SparseAdam = _optimizer("SparseAdam", 1e-3, betas=_betas, eps=1e-8)
Adagrad = _optimizer("Adagrad", 1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10)
Adadelta = _optimizer("Adadelta", 1.0, rho=0.9, eps=1e-6, weight_decay=0)
RMSprop = _optimizer("RMSprop", 1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False)
Rprop = _optimizer("Rprop", 1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50))
Adafactor = _optimizer("Adafactor", 1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0)
LBFGS = _optimizer("LBFGS", 1.0, max_iter=20)


class LRScheduler:
    def __init__(self, optimizer, *args, **kwargs):
        self.optimizer = optimizer
        self.last_epoch = 0
        self.base_lrs = [group.get("lr") for group in optimizer.param_groups]

    def step(self, *args, **kwargs):
        return None

    def get_lr(self):
        return list(self.base_lrs)

    def get_last_lr(self):
        return [group.get("lr") for group in self.optimizer.param_groups]

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        return None


def _scheduler(name):
    return type(name, (LRScheduler,), {"__module__": "torch.optim.lr_scheduler"})


_schedulers = (
    "LambdaLR MultiplicativeLR StepLR MultiStepLR ConstantLR LinearLR ExponentialLR CosineAnnealingLR PolynomialLR CyclicLR OneCycleLR "
    "CosineAnnealingWarmRestarts ReduceLROnPlateau ChainedScheduler SequentialLR"
)


class _Chain(LRScheduler):
    """A scheduler of schedulers."""

    def __init__(self, optimizer, *args, **kwargs):
        if isinstance(optimizer, (list, tuple)):
            optimizer = optimizer[0].optimizer
        LRScheduler.__init__(self, optimizer)


# The package's import and the module's dictionary: each name once.
module("torch.optim.lr_scheduler").update(
    {name: _scheduler(name) for name in _schedulers.split()}, LRScheduler=LRScheduler, _LRScheduler=LRScheduler,
    ChainedScheduler=_Chain, SequentialLR=_Chain,
)
module("torch.optim.optimizer").update(Optimizer=Optimizer, required=object())
for _name in ("adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "radam", "nadam", "adamax"):
    _kinds = {name: kind for name, kind in globals().items() if name.lower() == _name}
    module("torch.optim." + _name).update(_kinds)




module("torch.optim.swa_utils")
