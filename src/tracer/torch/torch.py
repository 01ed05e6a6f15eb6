# `torch` before its functions: sizes, types, devices, contexts. `torch._api` adds the functions.
from _import import missing, module, public

public.add("torch")
__getattr__ = missing("torch")
__version__ = "2.0.0"


class Size(tuple):
    def numel(self):
        total = 1
        for n in self:
            total *= n
        return total

    def __getitem__(self, index):
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))

    def __repr__(self):
        return "torch.Size(" + repr(list(self)) + ")"


class dtype:
    def __init__(self, name):
        self.name = name
        self.is_floating_point = "float" in name
        self.is_complex = False
        self.kind = 2 if self.is_floating_point else 0 if name == "bool" else 1
        self.itemsize = {"float64": 8, "int64": 8, "float32": 4, "int32": 4}.get(name, 1 if name in ("bool", "int8", "uint8") else 2)

    def __repr__(self):
        return "torch." + self.name


float32 = float = dtype("float32")
float64 = double = dtype("float64")
float16 = half = dtype("float16")
bfloat16 = dtype("bfloat16")
int64 = long = dtype("int64")
int32 = int = dtype("int32")
int16 = short = dtype("int16")
int8 = dtype("int8")
uint8 = dtype("uint8")
bool = dtype("bool")
contiguous_format = channels_last = preserve_format = strided = None


class device:
    def __init__(self, type="cpu", index=None):
        self.type = "cpu"
        self.index = None

    def __repr__(self):
        return "device(type='cpu')"


_without_gradient = False  # whether what runs now passes no gradient
_tape = None  # a list of the operations that are recorded now, where someone wants to know


class set_grad_enabled:
    """A context, a decorator with or without its brackets, and, of a truth value, a switch."""

    wanted = True

    def __init__(self, mode=True):
        self.function = None
        self.outer = []
        if callable(mode):
            self.function = mode
        else:
            self.wanted = mode
            self.outer.append(_switch(mode))

    def __call__(self, *args, **kwargs):
        if self.function is None:
            return _under(type(self), self.wanted, args[0])
        return _under(type(self), self.wanted, self.function)(*args, **kwargs)

    def __get__(self, instance, owner=None):
        return self if instance is None else lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __enter__(self):
        if type(self) is not set_grad_enabled:
            self.outer.append(_switch(self.wanted))
        return self

    def __exit__(self, *error):
        _switch(self.outer.pop())
        return False


def _switch(enabled):
    """Gives what was before."""
    space = globals()
    before = not space["_without_gradient"]
    space["_without_gradient"] = not enabled
    return before


def _under(context, wanted, function):
    def call(*args, **kwargs):
        before = _switch(wanted)
        try:
            return function(*args, **kwargs)
        finally:
            _switch(before)

    return call


class enable_grad(set_grad_enabled):
    def __init__(self, function=None):
        self.function, self.outer = function, []


class no_grad(enable_grad):
    wanted = False


class inference_mode(no_grad):
    def __init__(self, mode=True):
        super().__init__(mode if callable(mode) else None)
        self.wanted = mode is False


def is_grad_enabled():
    return not _without_gradient


class finfo:
    def __init__(self, type=None):
        name = (type or float32).name
        if name not in _limits:
            raise TypeError("torch.finfo() requires a floating point dtype")
        self.max, self.eps, self.tiny, self.bits = _limits[name]
        self.min, self.smallest_normal, self.resolution, self.dtype = -self.max, self.tiny, self.eps, name


_limits = {
    "float32": (3.4028234663852886e38, 1.1920928955078125e-07, 1.1754943508222875e-38, 32),
    "float64": (1.7976931348623157e308, 2.220446049250313e-16, 2.2250738585072014e-308, 64),
    "float16": (65504.0, 0.0009765625, 6.103515625e-05, 16),
    "bfloat16": (3.3895313892515355e38, 0.0078125, 1.1754943508222875e-38, 16),
}


class iinfo:
    def __init__(self, type):
        if type.kind != 1:
            raise TypeError("torch.iinfo() requires an integer dtype")
        self.bits = 8 * type.itemsize
        self.max = 2 ** (self.bits - (type.name != "uint8")) - 1
        self.min = 0 if type.name == "uint8" else -self.max - 1


pi, e, inf, nan = 3.141592653589793, 2.718281828459045, 1e999, 1e999 - 1e999
newaxis = None


def get_default_dtype():
    return float32


def manual_seed(seed):
    return None


_cuda = module("torch.cuda")
_cuda.update(is_available=lambda: False, device_count=lambda: 0, manual_seed=manual_seed, manual_seed_all=manual_seed)


class _Script:
    def __call__(self, item=None, *args, **kwargs):
        return item


module("torch.jit").update(script=_Script(), ignore=_Script(), unused=_Script(), export=_Script(), Final=dict, is_scripting=lambda: False)
module("torch.utils")
module("torch.utils.checkpoint").update(checkpoint=lambda function, *args, use_reentrant=None: function(*args))
