# Builds the network once and calls it at two batch sizes.
import _record
import torch
from _import import NoNetwork, Unsupported, WrongOutput
from torch import nn
from torch._tensor import State, Tensor, _fixed, _kind, _traced, node_of, written
from torch.nn.modules import Parameter, _state

CLASSES = ("num_classes", "n_classes", "nb_classes", "num_class", "nclasses", "n_class", "class_num", "classes")
CHANNELS = ("in_channels", "input_channels", "in_chans", "in_channel", "num_channels", "img_channels", "image_channels", "n_channels")
IMAGE_SIZES = ("image_size", "img_size")
SIZES = ("input_size", "in_size", "resolution") + IMAGE_SIZES
MEANT = CLASSES + CHANNELS + IMAGE_SIZES
VARIABLE_KEYWORDS = 8
# Names that mean one of these only where the constructor cannot do without.
LOOSE_CLASSES = ("out_features", "out_dim", "output_dim", "num_outputs", "n_outputs", "num_labels", "output_size", "c", "nc", "k", "out_channels")
LOOSE_CHANNELS = ("channels", "in_ch", "ch_in", "c_in", "in_c", "in_dim", "input_dim", "in_planes", "ch")


def find(globals, entry):
    if entry is not None:
        if not callable(globals.get(entry)):
            raise NoNetwork(entry)
        return globals[entry]
    found = globals.get("Net")
    if found is None:
        for value in globals.values():
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == "network":
                found = value
    if not callable(found):
        raise NoNetwork(None)
    return found


HYPERPARAMETERS = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "dropout": 0.2, "batch": 64, "epoch": 1, "transform": "norm"}


def lemur(globals, input, classes):
    """The arguments of LEMUR's `Net(in_shape, out_shape, prm, device)`: shapes with the batch first, hyperparameters in [0, 1]."""
    supported = globals.get("supported_hyperparameters")
    prm = dict(HYPERPARAMETERS)
    for name in supported() if callable(supported) else ():
        prm.setdefault(name, 0.5)
    return {"in_shape": (1,) + input, "out_shape": (classes,), "prm": prm, "device": torch.device("cpu")}


def handed_on(globals, input, classes):
    """What `**kwargs` of a factory may carry: the number of classes, as the network class of the file names it."""
    for value in globals.values():
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == "network":
            code = getattr(value.__init__, "__code__", None)
            names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount] if code else ()
            if any(name in CLASSES for name in names):
                return {name: classes if name in CLASSES else input[0] if name in CHANNELS else input[1] for name in names if name in MEANT}
    return {}


def arguments(globals, function, skip, input, classes):
    """What the constructor is given, by the names of its parameters."""
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    names = code.co_varnames[skip : code.co_argcount]
    optional = set(names[len(names) - len(function.__defaults__ or ()) :]) if function.__defaults__ else set()
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    optional.update(function.__kwdefaults__ or ())
    given, unknown = {}, []
    if "in_shape" in names and "out_shape" in names:
        known = lemur(globals, input, classes)
        given = {name: known[name] for name in names if name in known}
        names = tuple(name for name in names if name not in known)
    for name in names + only:
        plain = name.lower()
        if plain in CLASSES:
            given[name] = classes
        elif plain in CHANNELS:
            given[name] = input[0]
        elif plain in IMAGE_SIZES and input[1] == input[2]:
            given[name] = input[1]
        elif name in optional:
            continue
        elif plain in SIZES:
            given[name] = input[1]
        elif plain in ("input_shape", "in_shape", "image_shape", "img_shape"):
            given[name] = input
        elif plain in LOOSE_CLASSES:
            given[name] = classes
        elif plain in LOOSE_CHANNELS:
            given[name] = input[0]
        else:
            unknown.append(name)
    if len(unknown) == 1 and not any(value == classes for value in given.values()):
        given[unknown.pop()] = classes
    if unknown:
        raise Unsupported("the constructor's argument " + repr(unknown[0]))
    if skip == 0 and code.co_flags & VARIABLE_KEYWORDS and not any(name in CLASSES for name in names + only):
        given.update(handed_on(globals, input, classes))
    return given


def build(globals, entry, input, classes):
    found = find(globals, entry)
    if isinstance(found, nn.Module):
        return found
    if isinstance(found, type):
        return found(**arguments(globals, found.__init__, 1, input, classes))
    return found(**arguments(globals, found, 0, input, classes))


def name_modules(net):
    for name, module in net.named_modules():
        module.__dict__["_path"] = name


def describe(output, batch):
    if not isinstance(output, Tensor):
        return "a " + type(output).__name__
    return "[" + ", ".join(["N" if i == 0 and n == batch else str(n) for i, n in enumerate(output._shape)]) + "]"


def role(tensor):
    if isinstance(tensor, Parameter):
        return "parameter" if tensor.requires_grad else "frozen"
    return "counter" if tensor.__dict__.get("_counter") or _kind(tensor) == 1 else "buffer"


def init(start):
    kind, numbers = start[0], start[1:]
    if kind == "values":
        return {kind: written(numbers[0])}
    if kind == "constant":
        return {kind: numbers[0]}
    names = {"uniform": ("low", "high"), "normal": ("mean", "std"), "truncated_normal": ("mean", "std", "low", "high"), "orthogonal": ("gain",)}
    if kind not in names:
        raise Unsupported("a parameter or buffer that starts as draws of " + kind)
    return {kind: dict(zip(names[kind], numbers))}


def state(net):
    seen, tensors, aliases = set(), [], []
    for name, tensor in _state(net):
        if tensor._owned in seen:
            aliases.append((name, tensor._owned))
            continue
        seen.add(tensor._owned)
        if tensor._shape is None:
            raise RuntimeError("the lazy parameter " + name + " never got a shape: its layer is not called")
        start = tensor._init
        if role(tensor) == "buffer" and start[0] == "constant" and start[1] - start[1] != 0:
            start = ("values", [start[1]] * tensor.numel())
        tensors.append((tensor._owned, name, tensor._shape, role(tensor), init(start)))
    return tensors, aliases


def run(globals, entry, input, classes):
    _record.begin(_fixed((1,) + input))
    net = build(globals, entry, input, classes)
    if not isinstance(net, nn.Module):
        raise NoNetwork(entry)
    # Training at two batch sizes, then evaluation; where that does something else, at two sizes too.
    for number in (1, 2, 3, 4):
        batch = State.batch = State.BATCHES[number % 2]
        net.train() if number < State.EVALUATION else net.eval()
        name_modules(net)
        State.number = number
        State.path = ""
        _record.begin(_fixed((batch,) + input))
        output = net(_traced(0, (batch,) + input))
        if not isinstance(output, Tensor) or output._shape != (batch, classes):
            raise WrongOutput(describe(output, batch), "[N, " + str(classes) + "]")
        alike = _record.end(node_of(output))
        if number == State.EVALUATION and alike:
            break
    _record.state(*state(net))
