"""What PyTorch says of each network in tests/fixtures/sources, and of torchvision's ready-made ones: names and shapes of the state dict.

    python scripts/goldens/sources.py        writes tests/goldens/sources.json; needs torch, torchvision, timm, einops and numpy
"""

import contextlib
import hashlib
import io
import json
import pathlib
import sys
import types

import torch
from torchvision import models

ROOT = pathlib.Path(__file__).resolve().parents[2]
# How a person would make it, where that is not Net().
CALLS = {
    "argument_name": "Net(3, 10)",
    "factory_kwargs_img_size": "vit_32(num_classes=10)",
    "factory_of_the_last_class": "Deep18()",
    "inert_training": "Trained()",
    "last_class_no_other_uses": "Whole()",
    "silent_img_size": "Vit()",
    "timm_vit": "small_patch8_32(num_classes=10)",
    "torchvision_parts": "small(num_classes=10)",
}
# Their forward takes images of another size.
OTHER_SIZE = {"silent_img_size": 224}
BACKBONES = (
    "resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2 vgg11 vgg11_bn vgg13 vgg13_bn "
    "vgg16 vgg16_bn vgg19 vgg19_bn alexnet squeezenet1_0 squeezenet1_1 densenet121 densenet161 densenet169 densenet201 mobilenet_v2 mobilenet_v3_large "
    "mobilenet_v3_small efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 "
    "efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0"
)


def described(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad), [[name, list(t.shape)] for name, t in net.state_dict().items()]


def source(path):
    module = sys.modules["network"] = types.ModuleType("network")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
        net = eval(CALLS.get(path.stem, "Net()"), module.__dict__)
        side = OTHER_SIZE.get(path.stem, 32)
        assert net(torch.zeros(2, 3, side, side)).shape == (2, 10)
    parameters, state = described(net)
    return {"parameters": parameters, "state_dict": state}


def backbone(name):
    with torch.device("meta"):
        parameters, state = described(getattr(models, name)(weights=None, num_classes=10))
    text = "".join(f"{tensor} {shape}\n" for tensor, shape in state)
    return {"parameters": parameters, "tensors": len(state), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def main():
    paths = sorted((ROOT / "tests/fixtures/sources").glob("*.py"))
    lines = [f'"{path.stem}": {json.dumps(source(path))}' for path in paths]
    ready = [f'"{name}": {json.dumps(backbone(name))}' for name in BACKBONES.split()]
    text = '{"sources": {\n' + ",\n".join(lines) + '\n},\n"backbones": {\n' + ",\n".join(ready) + "\n}}\n"
    (ROOT / "tests/goldens/sources.json").write_text(text)


main()
