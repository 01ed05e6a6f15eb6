"""The families of networks in tests/fixtures/networks as PyTorch sees them: python scripts/goldens/families.py (torch and numpy).

Writes tests/goldens/families.json: for each its trained parameters, the number and SHA-256 of its state-dict entries
("name 64x3x3x3", one a line), and its logits in evaluation mode for two images. Weights and images are not stored: both
sides compute them from the same integer hash.
"""

import hashlib
import json
import pathlib
import zlib

import numpy as np
import torch

torch.set_num_threads(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = {"num_classes": 10}
LEMUR = {"in_shape": (1, 3, 32, 32), "out_shape": (10,), "prm": {"lr": 0.01, "momentum": 0.9, "dropout": 0.2}, "device": torch.device("cpu")}
# Source, entry (where the program does not find it by itself), the class or function to call here, its arguments.
FAMILIES = [
    ("alexnet", "alexnet", "alexnet", CLASSES),
    ("autoencoder", None, "Net", CLASSES),
    ("cnn_gru", None, "Net", CLASSES),
    ("cnn_lstm", None, "Net", CLASSES),
    ("convmixer", "convmixer_small", "convmixer_small", CLASSES),
    ("convmixer", "convmixer_rectified", "convmixer_rectified", CLASSES),
    ("convnext", "convnext_tiny", "convnext_tiny", CLASSES),
    ("densenet", None, "Net", CLASSES),
    ("efficientnet", "efficientnet_b0", "efficientnet_b0", CLASSES),
    ("fractalnet", None, "FractalNet", CLASSES),
    ("googlenet", None, "Net", CLASSES),
    ("lemur", None, "Net", LEMUR),
    ("mlp_mixer", None, "Net", CLASSES),
    ("mnasnet", None, "Net", CLASSES),
    ("mobilenet_v2", None, "Net", CLASSES),
    ("mobilenet_v3", "mobilenet_v3_small", "mobilenet_v3_small", CLASSES),
    ("regnet", None, "RegNet", CLASSES),
    ("resnet", "resnet18", "resnet18", CLASSES),
    ("resnet", "resnet50", "resnet50", CLASSES),
    ("resnet", "resnext50", "resnext50", CLASSES),
    ("se_resnet", None, "Net", {"in_channels": 3, "num_classes": 10}),
    ("shufflenet_v2", "shufflenet_one", "shufflenet_one", CLASSES),
    ("squeezenet", None, "Net", CLASSES),
    ("transformer", None, "Net", CLASSES),
    ("vgg", "vgg11_plain", "vgg11_plain", CLASSES),
    ("vgg", "vgg16", "vgg16", CLASSES),
    ("vit", "vit_tiny", "vit_tiny", {"img_size": 32, **CLASSES}),
    ("wide_resnet", "wide_resnet16", "wide_resnet16", CLASSES),
]


def noise(name, count):
    """Numbers from -1 to 1: a hash of the name and the position."""
    h = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(zlib.crc32(name.encode()))
    h &= np.uint64(0xFFFFFFFF)
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    return (h.astype(np.float64) / 2.0**31 - 1.0).astype(np.float32)


def filled(name, shape):
    return torch.from_numpy(noise(name, int(np.prod(shape, dtype=int))).reshape(tuple(shape)))


def start(name, shape):
    v = filled(name, shape)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        return 1 + 0.5 * v
    if len(shape) <= 1:
        return 0.2 * v + (1.0 if last == "weight" else 0.0)
    # He's variance, so that deep networks without normalisation still tell images apart.
    return v * float(np.float32(2.4 / np.sqrt(np.prod(shape[1:]))))


def build(stem, name, arguments):
    path = ROOT / "tests/fixtures/networks" / f"{stem}.py"
    space = {"__name__": "network"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space[name](**arguments)


def family(stem, entry, name, arguments):
    torch.manual_seed(0)
    net = build(stem, name, arguments).eval()
    state = net.state_dict()
    text = "".join(f"{key} {'x'.join(map(str, t.shape))}\n" for key, t in state.items())
    for key, t in state.items():
        t.copy_(torch.zeros_like(t) if t.dtype == torch.int64 else start(key, t.shape))
    with torch.no_grad():
        logits = net(filled("images", (2, 3, 32, 32)))
    size, spread = logits.abs().max().item(), (logits[0] - logits[1]).abs().max().item()
    assert spread > 1e-3 * size, f"{stem}: the images make no difference ({spread} of {size})"
    return {
        "file": stem,
        "entry": entry,
        "parameters": sum(p.numel() for p in net.parameters() if p.requires_grad),
        "tensors": len(state),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "logits": [float(f"{v:.8g}") for v in logits.flatten()],
    }


def main():
    lines = [json.dumps(family(*row), separators=(",", ":")) for row in FAMILIES]
    (ROOT / "tests/goldens/families.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
