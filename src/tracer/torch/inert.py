# What of torch a source names while it is built and what changes nothing here: precision, scripting, devices, backends, distribution.
import torch
from _import import Unsupported, missing, module
from torch import nn, no_grad
from torch._tensor import Tensor
from torch.nn.modules import Module


def _same(item=None, *args, **kwargs):
    return item


def _nothing(*args, **kwargs):
    return None


def _false(*args, **kwargs):
    return False


def _decorator(*args, **kwargs):
    """With or without its brackets."""
    if len(args) == 1 and not kwargs and callable(args[0]):
        return args[0]
    return lambda item: item


def _refused(name, why):
    def function(*args, **kwargs):
        raise Unsupported(name + ": " + why + "; calling it")

    return function


NO_NETWORK = "nothing is downloaded while a network is traced, and no weights are read"


# Precision


class autocast:
    """A context and a decorator; one number type is computed in."""

    def __init__(self, device_type="cuda", dtype=None, enabled=True, cache_enabled=None):
        self.device, self.enabled = device_type, enabled

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def __call__(self, function):
        return function


class _OldAutocast(autocast):
    def __init__(self, enabled=True, dtype=None, cache_enabled=True):
        autocast.__init__(self, "cuda", dtype, enabled)


class GradScaler:
    def __init__(self, device="cuda", init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000, enabled=True):
        self.enabled = enabled

    def is_enabled(self):
        return False

    def get_scale(self):
        return 1.0

    def scale(self, loss):
        return loss

    def unscale_(self, optimizer):
        return None

    def update(self, new_scale=None):
        return None

    def step(self, optimizer, *args, **kwargs):
        return optimizer.step(*args, **kwargs)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        return None


_amp = {"autocast": autocast, "GradScaler": GradScaler, "custom_fwd": _decorator, "custom_bwd": _decorator}
module("torch.amp").update(_amp, is_autocast_available=_false)
module("torch.amp.autocast_mode").update(autocast=autocast)
module("torch.amp.grad_scaler").update(GradScaler=GradScaler)
module("torch.cuda.amp").update(_amp, autocast=_OldAutocast)
module("torch.cuda.amp.autocast_mode").update(autocast=_OldAutocast)
module("torch.cuda.amp.grad_scaler").update(GradScaler=GradScaler)
module("torch.cpu")
module("torch.cpu.amp").update(autocast=_OldAutocast, GradScaler=GradScaler)


# Scripting and tracing


class ScriptModule(Module):
    pass


class _Final:
    def __class_getitem__(cls, kind):
        return kind

    def __getitem__(self, kind):
        return kind


class _Strict:
    """`torch.jit.strict_fusion`, `torch.jit.optimized_execution` and their like."""

    def __init__(self, *args, **kwargs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


torch.jit.__dict__.update(
    script=_decorator, ignore=_decorator, unused=_decorator, export=_decorator, script_method=_same, script_if_tracing=_same, interface=_same, _script_if_tracing=_same,
    _overload=_same, _overload_method=_same, Final=_Final, is_scripting=_false, is_tracing=_false, ScriptModule=ScriptModule, ScriptFunction=_Final,
    annotate=lambda kind, value: value, isinstance=isinstance, Attribute=lambda value, kind: value, optimized_execution=_Strict, strict_fusion=_Strict,
    trace=_refused("torch.jit.trace", "the network is traced already"), load=_refused("torch.jit.load", NO_NETWORK), fork=lambda f, *a, **k: f(*a, **k), wait=_same,
)
module("torch.jit.annotations").update(BroadcastingList1=list, BroadcastingList2=list, BroadcastingList3=list)
module("torch.fx").update(wrap=_same, Proxy=type("Proxy", (), {}), Node=type("Node", (), {}), GraphModule=type("GraphModule", (Module,), {}))
module("torch.fx.proxy").update(Proxy=torch.fx.Proxy)
module("torch._dynamo").update(disable=_decorator, allow_in_graph=_same, is_compiling=_false, reset=_nothing, optimize=_decorator)
module("torch.compiler").update(disable=_decorator, allow_in_graph=_same, is_compiling=_false, is_dynamo_compiling=_false)
module("torch._C").update(_log_api_usage_once=_nothing, _get_tracing_state=_nothing)
module("torch.onnx").update(is_in_onnx_export=_false)
module("torch.overrides").update(has_torch_function=_false, has_torch_function_unary=_false, has_torch_function_variadic=_false, is_tensor_like=lambda item: isinstance(item, Tensor))


# Devices, backends, many machines


class _Settable:
    """Switches of a backend: what is set is kept and does nothing."""

    def __init__(self, name, **known):
        self.__dict__.update(known)
        self.__dict__["_known_as"] = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return missing(self.__dict__["_known_as"])(name)


module("torch.backends").update(
    cudnn=_Settable("torch.backends.cudnn", benchmark=False, deterministic=False, enabled=True, allow_tf32=True, is_available=_false, version=_nothing),
    cuda=_Settable("torch.backends.cuda", matmul=_Settable("torch.backends.cuda.matmul", allow_tf32=False), is_built=_false, enable_flash_sdp=_nothing, enable_mem_efficient_sdp=_nothing, enable_math_sdp=_nothing, sdp_kernel=_Strict),
    mps=_Settable("torch.backends.mps", is_available=_false, is_built=_false),
    mkldnn=_Settable("torch.backends.mkldnn", is_available=_false, enabled=True),
    mkl=_Settable("torch.backends.mkl", is_available=_false),
)
for _name in ("cudnn", "cuda", "mps"):
    module("torch.backends." + _name).update({key: value for key, value in getattr(torch.backends, _name).__dict__.items() if key != "_known_as"})
module("torch.mps").update(is_available=_false, manual_seed=_nothing, empty_cache=_nothing)
torch.cuda.__dict__.update(
    empty_cache=_nothing, synchronize=_nothing, is_bf16_supported=_false, is_initialized=_false, init=_nothing, seed_all=_nothing, seed=_nothing,
    reset_peak_memory_stats=_nothing, max_memory_allocated=lambda *args: 0, memory_allocated=lambda *args: 0, memory_reserved=lambda *args: 0,
)
module("torch.distributed").update(
    is_available=_false, is_initialized=_false, get_world_size=lambda group=None: 1, get_rank=lambda group=None: 0, barrier=_nothing, ProcessGroup=object,
)
module("torch.random").update(manual_seed=_nothing, seed=lambda: 0, initial_seed=lambda: 0, fork_rng=_Strict, get_rng_state=_nothing, set_rng_state=_nothing)


# Data, hub, profiling


class Dataset:
    def __class_getitem__(cls, kind):
        return cls

    def __getitem__(self, index):
        raise NotImplementedError

    def __add__(self, other):
        raise Unsupported("a concatenation of data sets")


module("torch.utils.data").update(
    Dataset=Dataset, IterableDataset=Dataset, TensorDataset=type("TensorDataset", (Dataset,), {"__init__": lambda self, *tensors: setattr(self, "tensors", tensors)}),
    Sampler=type("Sampler", (), {"__class_getitem__": classmethod(lambda cls, kind: cls)}),
)
module("torch.utils.data.dataset").update(Dataset=Dataset, IterableDataset=Dataset)
module("torch.utils.model_zoo").update(load_url=_refused("torch.utils.model_zoo.load_url", NO_NETWORK))
module("torch.hub").update(
    load_state_dict_from_url=_refused("torch.hub.load_state_dict_from_url", NO_NETWORK), load=_refused("torch.hub.load", NO_NETWORK),
    download_url_to_file=_refused("torch.hub.download_url_to_file", NO_NETWORK), get_dir=lambda: "/", set_dir=_nothing,
)
module("torch.profiler").update(record_function=_Strict)
module("torch.autograd.profiler").update(record_function=_Strict, profile=_Strict)
module("torch.autograd.variable").update(Variable=_same)
torch.utils.checkpoint.__dict__.update(
    checkpoint_sequential=lambda functions, segments, input, **kwargs: nn.Sequential(*functions)(input) if not isinstance(functions, Module) else functions(input),
    set_checkpoint_early_stop=_Strict,
)
module("torch.utils._pytree")
module("torch.serialization")
module("torch.types").update(Device=object, Number=(int, float, bool), _size=(list, tuple))


class _Generator:
    def __init__(self, device="cpu"):
        self.device = torch.device()

    def manual_seed(self, seed):
        return self

    def seed(self):
        return 0


def _assert(condition, message=""):
    if not condition:
        raise AssertionError(message)


class set_grad_enabled(no_grad):
    def __init__(self, mode=True):
        self.function = None


torch.device.__eq__ = lambda self, other: isinstance(other, torch.device) and self.type == other.type
torch.device.__hash__ = lambda self: hash(self.type)
torch.device.__str__ = lambda self: self.type
_functions = dict(
    autocast=autocast, compile=_decorator, _assert=_assert, Generator=_Generator, set_grad_enabled=set_grad_enabled, is_grad_enabled=lambda: True,
    is_inference_mode_enabled=_false, set_default_dtype=_nothing, set_default_tensor_type=_nothing, set_float32_matmul_precision=_nothing,
    get_float32_matmul_precision=lambda: "highest", set_num_threads=_nothing, get_num_threads=lambda: 1, set_printoptions=_nothing,
    use_deterministic_algorithms=_nothing, set_deterministic=_nothing, set_default_device=_nothing, seed=lambda: 0, initial_seed=lambda: 0,
    is_autocast_enabled=_false, get_autocast_gpu_dtype=lambda: torch.float16, is_storage=_false,
    save=_refused("torch.save", "a source has no files here"), load=_refused("torch.load", NO_NETWORK), pi=3.141592653589793, e=2.718281828459045,
    inf=float("inf"), nan=float("nan"),
)
for _name, _function in _functions.items():
    torch.__dict__.setdefault(_name, _function)


# Wrappers of a whole network


class DataParallel(Module):
    """On one machine without cards the network itself, under the name that the wrapper gives it."""

    def __init__(self, module, device_ids=None, output_device=None, dim=0, **kwargs):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


nn.__dict__["DataParallel"] = DataParallel
module("torch.nn.parallel").update(DataParallel=DataParallel, DistributedDataParallel=DataParallel)


def _convert(module, process_group=None):
    return module


# One machine: the statistics of its own batch.


class SyncBatchNorm(nn.BatchNorm2d):
    ranks = (2, 3, 4, 5)
    convert_sync_batchnorm = staticmethod(_convert)

    def __init__(self, num_features, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, process_group=None, device=None, dtype=None):
        super().__init__(num_features, eps, momentum, affine, track_running_stats)


nn.__dict__["SyncBatchNorm"] = SyncBatchNorm
