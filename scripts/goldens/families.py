"""The families of networks in tests/fixtures/networks as PyTorch sees them: python scripts/goldens/families.py (torch and numpy).

Writes tests/goldens/families.json: for each its trained parameters, the number and SHA-256 of its state-dict entries
("name 64x3x3x3", one a line), and its logits in evaluation mode for two images; and tests/goldens/family_gradients.json: for some
of them the loss of the first step in training mode without dropout (four images) and the gradient of each parameter, in 64 bits, as norm and three entries.
Weights and images are not stored: both sides compute them from the same integer hash.
"""

import hashlib
import json
import pathlib

import torch
import torch.nn.functional as F
from noise import filled, rounded, started, summary

torch.set_num_threads(1)
ROOT = pathlib.Path(__file__).resolve().parents[2]
# He's variance, so that deep networks without normalisation still tell images apart.
GAIN = 2.4
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
    ("hourglass", None, "Net", CLASSES),
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
# Of the smaller ones: each kind of operation once. Not densenet and googlenet: there PyTorch's own gradients in 32 and in 64 bits differ
# by a percent, since rounding opens or closes rectifiers.
GRADIENTS = ["autoencoder", "cnn_gru", "convmixer", "hourglass", "mlp_mixer", "mobilenet_v3", "regnet", "se_resnet", "shufflenet_v2", "squeezenet", "transformer", "vit"]


def build(stem, name, arguments):
    path = ROOT / "tests/fixtures/networks" / f"{stem}.py"
    space = {"__name__": "network"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    net = space[name](**arguments).eval()
    with torch.no_grad():
        net(torch.zeros(2, 3, 32, 32))  # lazy layers get their shapes
    return net


def family(stem, entry, name, arguments):
    torch.manual_seed(0)
    net = build(stem, name, arguments)
    state = net.state_dict()
    text = "".join(f"{key} {'x'.join(map(str, t.shape))}\n" for key, t in state.items())
    started(net, GAIN)
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


def gradients(stem, entry, name, arguments):
    torch.manual_seed(0)
    net = started(build(stem, name, arguments), GAIN).train().double()
    for module in net.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    loss = F.cross_entropy(net(filled("images", (4, 3, 32, 32)).double()), torch.tensor([3, 7, 0, 3]))
    loss.backward()
    found = {key: summary(p.grad, 3) for key, p in net.named_parameters() if p.grad is not None}
    return {"file": stem, "entry": entry, "loss": loss.item(), "gradients": found}


def main():
    first = {row[0]: row for row in reversed(FAMILIES)}
    lines = [json.dumps(rounded(gradients(*first[stem]), 6), separators=(",", ":")) for stem in GRADIENTS]
    (ROOT / "tests/goldens/family_gradients.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    lines = [json.dumps(family(*row), separators=(",", ":")) for row in FAMILIES]
    (ROOT / "tests/goldens/families.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
