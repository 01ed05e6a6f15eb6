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


class no_grad:
    """A context, and a decorator with or without its brackets."""

    def __init__(self, function=None):
        self.function = function

    def __call__(self, *args, **kwargs):
        if self.function is None:
            return args[0]
        return self.function(*args, **kwargs)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


inference_mode = no_grad


class enable_grad(no_grad):
    pass


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
