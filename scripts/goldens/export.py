"""Whether PyTorch and onnxruntime compute what eliteloop does (torch, safetensors, onnx and onnxruntime needed).

    python scripts/goldens/export.py FOLDER ..       exported folders: the largest differences of the logits
    python scripts/goldens/export.py                 trains and exports every network under tests/fixtures, then the same
    python scripts/goldens/export.py --of KIND ..    those of tests/fixtures/KIND, and sources of your own (FILE.py)
    python scripts/goldens/export.py --operations F  models of single operations against tests/goldens/proxy_operations.json; F is
                                                     filled by: ELITELOOP_ONNX=F cargo test --release --test it export::every_operation
"""

import importlib.util
import inspect
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/eliteloop"
TOLERANCE = 1e-4
CHANNELS = ("in_channels", "in_chans", "channels")


def construct(path, classes):
    spec = importlib.util.spec_from_file_location("network", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry = getattr(module, "Net", None) or [v for v in vars(module).values() if inspect.isclass(v) and issubclass(v, torch.nn.Module)][-1]
    # As the tracer builds the networks of the LEMUR data set (src/network/torch/drive.py).
    hyperparameters = {name: 0.5 for name in getattr(module, "supported_hyperparameters", set)()}
    lemur = {"in_shape": (1, 3, 32, 32), "out_shape": (classes,), "prm": hyperparameters, "device": torch.device("cpu")}
    given = {}
    for name, parameter in inspect.signature(entry).parameters.items():
        if name in ("num_classes", "classes", "n_classes"):
            given[name] = classes
        elif name in CHANNELS:
            given[name] = 3
        elif name in lemur:
            given[name] = lemur[name]
        elif parameter.default is inspect.Parameter.empty and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            given[name] = classes
    return entry(**given)


def runtime(path):
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def difference(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max()) if a.shape == b.shape and np.isfinite(a).all() else float("inf")


def relative(a, b):
    return difference(a, b) / max(1.0, float(np.abs(np.asarray(b)).max()))


def folder(path):
    """Largest differences: PyTorch - ours, onnxruntime - ours, onnxruntime - PyTorch at another batch size.

    Of logits beyond 1 they are relative to the largest: f32 has no more than seven digits, whatever the size.
    """
    sample = load_file(path / "sample.safetensors")
    images, logits = sample["images"], sample["logits"]
    net = construct(path / "network.py", logits.shape[1])
    net.load_state_dict(load_file(path / "weights.safetensors"), strict=True)
    net.eval()
    session = runtime(path / "network.onnx")
    more = torch.randn(3, *images.shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, others = net(images.clone()), net(more.clone())
    return (
        relative(ours, logits),
        relative(session.run(None, {"images": images.numpy()})[0], logits),
        relative(session.run(None, {"images": more.numpy()})[0], others),
    )


def report(paths):
    worst = [0.0, 0.0, 0.0]
    failed = False
    print(f"{'network':28} {'PyTorch':>9} {'onnxruntime':>12} {'batch of 3':>11}")
    for path in paths:
        try:
            found = folder(path)
        except Exception as error:  # every network is to be reported
            print(f"{path.name:28} FAILED {type(error).__name__}: {str(error)[:300]}")
            failed = True
            continue
        failed |= max(found) > TOLERANCE
        worst = [max(a, b) for a, b in zip(worst, found)]
        print(f"{path.name:28} {found[0]:9.1e} {found[1]:12.1e} {found[2]:11.1e}")
    print(f"{'largest':28} {worst[0]:9.1e} {worst[1]:12.1e} {worst[2]:11.1e}")
    return failed


KINDS = ("export", "networks", "operations", "proxy")


def sources(base, kinds):
    """Name and file of every network; a network of a run is its file's `Net`, so families that have a function get one around it."""
    families = json.loads((ROOT / "tests/goldens/families.json").read_text())
    entries = {family["file"]: family["entry"] for family in families if family["entry"]}
    folders = [kind for kind in kinds if not kind.endswith(".py")]
    found = sorted(p for kind in folders for p in (ROOT / "tests/fixtures" / kind).glob("*.py"))
    for source in found + [pathlib.Path(kind) for kind in kinds if kind.endswith(".py")]:
        name, entry = f"{source.parent.name}-{source.stem}", entries.get(source.stem)
        if entry and source.parent.name == "networks":
            around = f"""

class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.body = {entry}(num_classes=num_classes)

    def forward(self, x):
        return self.body(x)
"""
            text = source.read_text()
            source = base / source.name
            source.write_text(text + around)
        yield name, source


def exported(base, kinds):
    """Every one as the start network of a run of its own, trained for a moment and exported."""
    for name, source in sources(base, kinds):
        run, out = base / f"run-{name}", base / name
        settings = [
            f"parents.start={json.dumps([str(source)])}",
            *("policy=random", "cycles=1", "candidates=1", "proxy.dataset=synthetic", "proxy.train_images=64"),
            *("proxy.valid_images=50", "proxy.batch=8", "proxy.epochs=1", "proxy.repeats=0", "screen.max_parameters=200000000"),
            *("screen.max_macs=9000000000", "screen.max_memory_mib=6000"),
        ]
        arguments = [word for setting in settings for word in ("--set", setting)]
        done = subprocess.run([PROGRAM, "run", "--out", run, *arguments], capture_output=True, text=True)
        if done.returncode == 0:
            done = subprocess.run([PROGRAM, "export", run, "--candidate", f"start/{source.stem}", "--out", out], capture_output=True, text=True)
        if done.returncode:
            print(f"{name:28} not exported: {done.stderr.strip().splitlines()[-1]}")
        else:
            yield out


def operations(base):
    cases = json.loads((ROOT / "tests/goldens/proxy_operations.json").read_text())
    worst, failed = 0.0, False
    for number, case in enumerate(cases):
        expected = case["y"]
        try:
            (y,) = runtime(base / f"{number}.onnx").run(None, {"images": np.zeros((1, 1, 1, 1), np.float32)})
        except Exception as error:  # every operation is to be reported
            print(f"{case['label']:28} FAILED {str(error)[:300]}")
            failed = True
            continue
        v = y.astype(np.float64).ravel()
        entries = [v[i * (len(v) - 1) // 7] for i in range(8)]
        size = max(expected["norm"] / len(v) ** 0.5, *map(abs, expected["entries"]))
        error = max(difference(entries, expected["entries"]), abs(np.linalg.norm(v) - expected["norm"]) / len(v) ** 0.5) / size
        worst = max(worst, error)
        if list(y.shape) != case["shape"] or not error < TOLERANCE:
            print(f"{case['label']:28} DIFFERS {error:.1e}, shape {list(y.shape)} for {case['shape']}")
            failed = True
    print(f"{len(cases)} operations, largest difference {worst:.1e} of the values' size")
    return failed


def main():
    if sys.argv[1:2] == ["--operations"]:
        sys.exit(operations(pathlib.Path(sys.argv[2])))
    kinds = sys.argv[2:] if sys.argv[1:2] == ["--of"] else KINDS
    if sys.argv[1:] and kinds is KINDS:
        sys.exit(report(map(pathlib.Path, sys.argv[1:])))
    with tempfile.TemporaryDirectory() as base:
        sys.exit(report(exported(pathlib.Path(base), kinds)))


main()
