# Builds the network once and calls it at two batch sizes.
import _record
import torch
from _import import Arguments, NoNetwork, Unsupported, WrongOutput
from torch import nn
from torch._tensor import State, Tensor, _fixed, _kind, _traced, node_of, written
from torch.nn.modules import Parameter, _state

# What holds the number of classes, with a default or without.
CLASSES = ("num_classes", "n_classes", "nb_classes", "num_class", "nclasses", "n_class", "class_num", "classes", "numclasses", "nclass", "num_labels")
VARIABLE_KEYWORDS = 8
# What a name may mean where the constructor cannot do without: a default is the source's word, and stays.
LOOSE_CLASSES = ("out_features", "out_dim", "output_dim", "num_outputs", "n_outputs", "output_size", "out_size", "c", "nc", "k", "out_channels", "output_channels", "out_ch", "num_out")
LOOSE_CHANNELS = ("channels", "channel", "ch_in", "c_in", "in_c", "in_dim", "input_dim", "in_planes", "inplanes", "ch", "inp", "nc_in")
SIZES = ("input_size", "in_size", "resolution", "input_resolution", "image_size", "img_size", "im_size", "imgsize", "img_dim", "image_resolution", "size")
SHAPES = ("input_shape", "in_shape", "image_shape", "img_shape", "shape")
# Functions of a file that make no network, whatever they mention.
NO_FACTORY = ("test", "main", "train", "eval", "demo", "debug", "profile", "count", "load", "convert", "run", "summary", "print", "plot", "get_args", "parse", "_")


def source_classes(globals):
    return [v for v in globals.values() if isinstance(v, type) and issubclass(v, nn.Module) and v.__module__ == "network"]


def codes(item):
    """The code objects of a function, or of all that a class defines."""
    if isinstance(item, type):
        for value in list(item.__dict__.values()):
            for function in (value, getattr(value, "__func__", None), getattr(value, "fget", None), getattr(value, "__wrapped__", None)):
                if hasattr(function, "__code__"):
                    yield function.__code__
    elif hasattr(item, "__code__"):
        yield item.__code__


def mentioned(item):
    """The global names that a function or class uses."""
    names, waiting = set(), list(codes(item))
    while waiting:
        code = waiting.pop()
        names.update(code.co_names)
        waiting.extend(const for const in code.co_consts if hasattr(const, "co_names"))
    if isinstance(item, type):
        names.update(base.__name__ for base in item.__bases__)
    return names


def candidates(globals):
    """What may be meant where nobody said it: functions that make the last network class no other class uses, that class, and one of it
    that the file makes itself."""
    classes = source_classes(globals)
    if not classes:
        return []
    used = set()
    for cls in classes:
        used.update(name for name in mentioned(cls) if globals.get(name) is not cls)
    free = [cls for cls in classes if cls.__name__ not in used]
    chosen = free[-1] if free else classes[-1]
    makers, known = [], {chosen.__name__}
    functions = [(name, value) for name, value in globals.items() if hasattr(value, "__code__") and getattr(value, "__module__", None) == "network"]
    for _ in functions:
        for name, function in functions:
            if name not in known and mentioned(function) & known:
                known.add(name)
    for name, function in functions:
        if name in known and name == function.__name__ and not name.lower().startswith(NO_FACTORY):
            makers.append(function)
    return makers + [chosen] + [value for value in globals.values() if type(value) is chosen][-1:]


def find(globals, entry):
    if entry is not None:
        if not callable(globals.get(entry)):
            raise NoNetwork(entry)
        return [globals[entry]]
    found = globals.get("Net")
    if found is not None:
        if not callable(found):
            raise NoNetwork(None)
        return [found]
    found = candidates(globals)
    if not found:
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


def handed_on(globals, function, classes):
    """What `**kwargs` of a factory carries on: the number of classes, as the network classes that it uses name it."""
    wanted = mentioned(function)
    every = source_classes(globals)
    for value in [cls for cls in every if cls.__name__ in wanted] + every:
        code = getattr(value.__init__, "__code__", None)
        for name in code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount] if code else ():
            if name in CLASSES:
                return {name: classes}
    return {}


def guessed(name, input, classes):
    """What a parameter without a default means by its name, or None."""
    plain = name.lower()
    parts = plain.split("_")
    if plain in SHAPES:
        return input
    if plain in SIZES:
        return input[1] if input[1] == input[2] else (input[1], input[2])
    if plain in LOOSE_CLASSES:
        return classes
    inner = [part for part in parts if part in ("in", "input", "img", "image", "im")]
    wide = [part for part in parts if part in ("channel", "channels", "chan", "chans", "ch", "planes")]
    if plain in LOOSE_CHANNELS or inner and wide or plain in ("num_channels", "n_channels", "nb_channels"):
        return input[0]
    return None


def is_count(value):
    return value is None or isinstance(value, int) and not isinstance(value, bool)


def arguments(globals, entry, function, skip, input, classes, said, meant):
    """What the constructor is given: what was said, the number of classes, and what has no default by its name. If it is `meant`, one
    more argument can only be the number of classes."""
    code = getattr(function, "__code__", None)
    if code is None:
        return dict(said)
    names = code.co_varnames[skip : code.co_argcount]
    defaults = dict(zip(names[len(names) - len(function.__defaults__ or ()) :], function.__defaults__ or ()))
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults.update(function.__kwdefaults__ or {})
    given, unknown = {}, []
    if "in_shape" in names and "out_shape" in names:
        known = lemur(globals, input, classes)
        given = {name: known[name] for name in names if name in known}
        names = tuple(name for name in names if name not in known)
    for name in names + only:
        if name in said:
            continue
        if name in CLASSES and is_count(defaults.get(name)):
            given[name] = classes
        elif name not in defaults:
            value = guessed(name, input, classes)
            if value is None:
                unknown.append(name)
            else:
                given[name] = value
    loose = code.co_flags & VARIABLE_KEYWORDS
    strange = [name for name in said if name not in given and name not in names + only]
    if strange and not loose:
        raise TypeError(entry + "() has no argument " + repr(strange[0]) + "; it takes " + ", ".join(names + only))
    if meant and len(unknown) == 1 and not said and not any(value == classes for value in given.values()):
        given[unknown.pop()] = classes
    if unknown:
        raise Arguments(entry, " ".join(unknown), code.co_firstlineno)
    given.update(said)
    if skip == 0 and loose and not any(name in CLASSES for name in given):
        for name, value in handed_on(globals, function, classes).items():
            given.setdefault(name, value)
    return given


def shown(value):
    if isinstance(value, nn.Module) or isinstance(value, type) or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + ".."


def make(globals, found, input, classes, said, meant):
    """The network, and what it was given; `found` is a network already, a class or a function."""
    name = getattr(found, "__name__", type(found).__name__)
    if isinstance(found, nn.Module):
        return found, name, {}
    is_class = isinstance(found, type)
    given = arguments(globals, name, found.__init__ if is_class else found, 1 if is_class else 0, input, classes, said, meant)
    try:
        return found(**given), name, given
    except TypeError as error:
        # A factory may set the number of classes itself.
        carried = handed_on(globals, found, classes) if not is_class else {}
        if not any(key in given and key not in said and "multiple values" in str(error) and key in str(error) for key in carried):
            raise
        given = {key: value for key, value in given.items() if key not in carried}
        return found(**given), name, given


def build(globals, entry, input, classes, said):
    found = find(globals, entry)
    for i, one in enumerate(found):
        is_last = i == len(found) - 1
        try:
            net, name, given = make(globals, one, input, classes, said, is_last)
        except Arguments:
            if is_last:
                raise
            continue
        if isinstance(net, nn.Module) or is_last:
            break
    _record.built(name, [(key, shown(value)) for key, value in given.items()])
    return net


def values(globals, said):
    """What was said on the command line, as the source would read it: an expression, or else text."""
    made = {}
    for name, text in said.items():
        try:
            made[name] = eval(text, globals)
        except (NameError, SyntaxError):
            made[name] = text
    return made


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


def init(start, names):
    kind, numbers = start[0], start[1:]
    if kind == "norm":
        of, law, shape, dim = numbers
        return {kind: {"name": names[of._owned], "shape": list(shape), "init": init(law, names), "dim": dim}}
    if kind == "values":
        return {kind: written(numbers[0])}
    if kind == "constant":
        return {kind: numbers[0]}
    laws = {"uniform": ("low", "high"), "normal": ("mean", "std"), "truncated_normal": ("mean", "std", "low", "high"), "orthogonal": ("gain",)}
    if kind not in laws:
        raise Unsupported("a parameter or buffer that starts as draws of " + kind)
    return {kind: dict(zip(laws[kind], numbers))}


def state(net):
    seen, tensors, aliases = set(), [], []
    names = {}
    for name, tensor in _state(net):
        names.setdefault(tensor._owned, name)
    for name, tensor in _state(net):
        if tensor._owned in seen:
            aliases.append((name, tensor._owned))
            continue
        seen.add(tensor._owned)
        if tensor._shape is None:
            raise RuntimeError("the lazy parameter " + name + " never got a shape: its layer is not called")
        start = tensor._init
        if role(tensor) == "counter" and tensor._shape == () and start[0] == "values":
            start = ("constant", start[1][0])
        if role(tensor) == "buffer" and start[0] == "constant" and start[1] - start[1] != 0:
            start = ("values", [start[1]] * tensor.numel())
        tensors.append((tensor._owned, name, tensor._shape, role(tensor), init(start, names)))
    return tensors, aliases


def called(net, batch, input):
    """One pass. An error in it may be one of the images' size, so it says that."""
    State.counted = None
    try:
        output = net(_traced(0, (batch,) + input))
        if State.counted is not None:
            raise Unsupported("a change of a parameter or buffer in forward")
        return output
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(map(str, input))
        if type(error) in (RuntimeError, ValueError, AssertionError) and size not in str(error):
            error.args = (((str(error) or type(error).__name__) + " (with images of " + size + ")"),)
        raise


def run(globals, entry, input, classes, said):
    _record.begin(_fixed((1,) + input))
    net = build(globals, entry, input, classes, values(globals, said))
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
        output = called(net, batch, input)
        if not isinstance(output, Tensor) or output._shape != (batch, classes):
            raise WrongOutput(describe(output, batch), "[N, " + str(classes) + "]")
        alike = _record.end(node_of(output))
        if number == State.EVALUATION and alike:
            break
    _record.state(*state(net))
