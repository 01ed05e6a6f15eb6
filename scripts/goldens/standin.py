"""Whether the stand-in for torch records what PyTorch computes: value and gradients of whole sources, without building anything.

    python scripts/goldens/standin.py FILE ..      runs src/tracer/torch/*.py in this Python, replays what they record in PyTorch, and
                                                   compares the logits in evaluation, and without random numbers in training too, and
                                                   the gradients of every parameter, with the source's own

The network is the file's `Net`, or what `--entry NAME` says; it is built with its defaults.
"""

import builtins
import json
import math
import pathlib
import re
import sys
import types

import torch
from graphs import apply, parts

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


def modules():
    """Names and files of the stand-in, in the order of src/tracer/sandbox.rs, and those of the library."""
    text = (ROOT / "src/tracer/sandbox.rs").read_text()
    parts = text[text.index("const MODULES") :].split("const LIBRARY")
    return [re.findall(r'\("([\w.]+)", include_str!\("(\w+/\w+\.py)"\)\)', part) for part in parts]


class Recorder:
    """The module `_record`: values instead of shapes."""

    def __init__(self):
        self.passes, self.nodes, self.values, self.own = [], [], [], {}

    def begin(self, shape):
        self.nodes = [("input", [], [])]
        self.values = [torch.zeros([d["fixed"] for d in shape])]

    def node(self, op, inputs, tensors, module):
        op = json.loads(json.dumps(op, allow_nan=False))
        w = [self.own.setdefault(number, torch.zeros(shape)) for number, shape in tensors]
        self.nodes.append((op, list(inputs), [number for number, _ in tensors]))
        try:
            with torch.no_grad():
                y = apply(op, [self.values[i] for i in inputs], w, None)
        except IndexError:
            raise
        except Exception as error:
            raise RuntimeError(f"{op}: {error}") from error
        self.values.append(y)
        return (len(self.values) - 1, *y.shape)

    def end(self, output):
        self.passes.append((self.nodes, output))
        return False

    def state(self, tensors, aliases):
        self.names = {number: name for number, name, *_ in tensors}
        self.shapes = [(name, list(shape)) for _, name, shape, *_ in tensors]
        self.aliases = [name for name, _ in aliases]


def replay(nodes, output, names, state, x, training):
    needed, stack = set(), [output]
    while stack:
        id = stack.pop()
        if id not in needed:
            needed.add(id)
            stack += nodes[id][1]
    values = [x]
    for id, (op, inputs, owned) in enumerate(nodes[1:], 1):
        values.append(apply(op, [values[i] for i in inputs], [state[names[n]] for n in owned], None, training) if id in needed else None)
    return values[output]


def trace(source, entry=None, input=(3, 32, 32), classes=10):
    """Runs the stand-in on a source."""
    record = Recorder()
    native = types.ModuleType("_record")
    native.__dict__.update(begin=record.begin, node=record.node, end=record.end, state=record.state, built=lambda entry, arguments: None)
    own_sys, own_builtins = types.ModuleType("sys"), types.ModuleType("builtins")
    standin, files = modules()
    files = dict(files)
    library = types.ModuleType("_library")
    library.names = tuple(files)
    known = {"_record": native, "_math": math, "_library": library, "sys": own_sys, "builtins": own_builtins}
    own_sys.modules = known

    def first_import(name, globals=None, locals=None, fromlist=None, level=0):
        if name not in known:
            known[name] = __import__(name)
        return known[name]

    own_builtins.__dict__.update(builtins.__dict__)
    own_builtins.__dict__["__import__"] = first_import

    def load(name, file):
        made = types.ModuleType(name)
        made.__dict__["__builtins__"] = own_builtins.__dict__
        known[name] = made
        exec(compile((ROOT / "src/tracer" / file).read_text(), f"<{name}>", "exec"), made.__dict__)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(known[parent], child, made)

    library.load = lambda name: load(name, files[name])
    for name, file in standin:
        load(name, file)
    # Small batches of other sizes than the tracer's: here each element is computed.
    known["torch._tensor"].State.BATCHES = (5, 7)
    space = {"__name__": "network", "__builtins__": own_builtins.__dict__}
    exec(compile(source, "network.py", "exec"), space)
    known["_drive"].run(space, entry, input, classes, {})
    return record


def spread(net):
    """Values everywhere, so that no weight is lost in a zero or a one; statistics stay as they are."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter + 0.1 * torch.randn(parameter.shape, generator=generator))
    for module in net.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return net


def difference(a, b):
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-3)).item()


def compare(path, entry=None):
    source = path.read_text()
    record = trace(source, entry)
    space = {"__name__": "network"}
    exec(compile(source, str(path), "exec"), space)
    net = space[entry or "Net"]()
    for module in net.modules():
        if isinstance(module, (torch.nn.modules.batchnorm._BatchNorm,)):
            module.momentum = 0.0
    x = torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    net(x)
    net = spread(net)
    expected = [(name, list(t.shape)) for name, t in net.state_dict().items()]
    found = [(name, shape) for name, shape in record.shapes]
    if [e for e in expected if e[0] not in record.aliases] != found:
        return f"STATE DICT {found} for {expected}"
    state = dict(net.named_parameters())
    state.update(net.named_buffers())
    worst = [0.0, 0.0, 0.0]
    random = any(parts(op)[0] == "random" for op, *_ in record.passes[2][0])
    weight = torch.linspace(-1, 1, 70).reshape(7, 10)
    for training, (nodes, output) in ((True, record.passes[0]), (False, record.passes[2])):
        net.train(training)
        if any(parts(op)[0] == "random" for op, *_ in nodes):
            continue
        parameters = [p for p in net.parameters() if p.requires_grad]
        y = net(x.clone())
        z = replay(nodes, output, record.names, state, x.clone(), training)
        worst[0 if training else 1] = difference(z, y)
        if training:
            a = torch.autograd.grad((y * weight).sum(), parameters, allow_unused=True)
            b = torch.autograd.grad((z * weight).sum(), parameters, allow_unused=True)
            for (name, _), g, h in zip(((n, p) for n, p in net.named_parameters() if p.requires_grad), a, b):
                g, h = (torch.zeros(1) if t is None else t for t in (g, h))
                size = max(t.abs().max().item() for t in a if t is not None)
                error = (g - h).abs().max().item() / max(g.abs().max().item(), 1e-3 * size, 1e-9)
                worst[2] = max(worst[2], error if error == error else float("inf"))
    text = f"training {worst[0]:.1e}, evaluation {worst[1]:.1e}, gradients {worst[2]:.1e}, {sum(1 for _ in record.passes[0][0])} operations"
    return text + (" (random in evaluation)" if random else "") + ("" if max(worst) < TOLERANCE else " DIFFERS")


def main():
    words, entry = sys.argv[1:], None
    if "--entry" in words:
        at = words.index("--entry")
        entry = words[at + 1]
        del words[at : at + 2]
    for path in map(pathlib.Path, words):
        try:
            print(f"{path.stem:26} {compare(path, entry)}", flush=True)
        except Exception as error:  # every source is to be reported
            at = error.__traceback__
            while at.tb_next is not None and not (at.tb_frame.f_code.co_filename == "network.py" and at.tb_next.tb_frame.f_code.co_filename != "network.py"):
                at = at.tb_next
            print(f"{path.stem:26} FAILED line {at.tb_lineno}: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
