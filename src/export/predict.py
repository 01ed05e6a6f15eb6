"""Classifies pictures with the network in this folder (numpy and pillow needed, and onnxruntime or torch with safetensors).

    python predict.py PICTURE ..            the three likeliest classes of each
    python predict.py --torch PICTURE ..    by network.py and weights.safetensors instead of network.onnx
    python predict.py --json PICTURE ..     one JSON object a picture: its logits and the likeliest class
"""

import argparse
import importlib.util
import inspect
import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).resolve().parent


def taps(size, wanted):
    """For each new pixel the old ones it is made of, and their weights: Catmull-Rom, as much wider as the picture gets smaller."""
    ratio = np.float32(size) / np.float32(wanted)
    scale = max(ratio, np.float32(1))
    for i in range(wanted):
        center = (np.float32(i) + np.float32(0.5)) * ratio
        first = max(int(np.floor(center - 2 * scale)), 0)
        last = min(int(np.ceil(center + 2 * scale)), size)
        x = np.abs((np.arange(first, last, dtype=np.float32) + np.float32(0.5) - center) / scale)
        near, far = (9 * x**3 - 15 * x**2 + 6) / 6, (-3 * x**3 + 15 * x**2 - 24 * x + 12) / 6
        weights = np.where(x < 1, near, np.where(x < 2, far, 0)).astype(np.float32)
        yield first, last, weights / weights.sum()


def scaled(pixels, height, width):
    """Rows x columns x 3 bytes to height x width x 3."""
    if pixels.shape[:2] == (height, width):
        return pixels
    pixels = pixels.astype(np.float32)
    rows = np.stack([np.tensordot(w, pixels[a:b], 1) for a, b, w in taps(pixels.shape[0], height)])
    columns = np.stack([np.tensordot(w, rows[:, a:b], (0, 1)) for a, b, w in taps(pixels.shape[1], width)], 1)
    return np.floor(columns.clip(0, 255) + 0.5).astype(np.uint8)


def part(whole, share, of):
    return max((2 * whole * share + of) // (2 * of), 1)


def fitted(pixels, fit, height, width):
    h, w = pixels.shape[:2]
    if fit == "stretch":
        return scaled(pixels, height, width)
    if fit == "pad":
        inner = (part(width, h, w), width) if w * height > h * width else (height, part(height, w, h))
        out = np.zeros((height, width, 3), np.uint8)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        out[top : top + inner[0], left : left + inner[1]] = scaled(pixels, *inner)
        return out
    ph, pw = (h, part(h, width, height)) if w * height > h * width else (part(w, height, width), w)
    top, left = (h - ph) // 2, (w - pw) // 2
    return scaled(pixels[top : top + ph, left : left + pw], height, width)


def pixels_of(image):
    """Upright, of three channels of 8 bits, on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    rgba = np.asarray(image.convert("RGBA")).astype(np.uint32)
    alpha = rgba[..., 3:]
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def prepared(path, told):
    """The input of the network: 1 x channels x height x width."""
    with Image.open(path) as image:
        pixels = fitted(pixels_of(image), told["fit"], told["height"], told["width"]).astype(np.float32) / np.float32(255)
    if told["channels"] == 1:
        pixels = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    mean, std = (np.array(told[key], np.float32) for key in ("mean", "std"))
    return ((pixels - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)


def by_onnxruntime(told):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(HERE / "network.onnx"), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]


def by_torch(told):
    import torch
    from safetensors.torch import load_file

    spec = importlib.util.spec_from_file_location("network", HERE / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [v for v in vars(module).values() if inspect.isclass(v) and issubclass(v, torch.nn.Module) and v.__module__ == "network"]
    entry = getattr(module, "Net", None) or classes[-1]
    needed = [
        name
        for name, parameter in inspect.signature(entry).parameters.items()
        if name in ("num_classes", "classes", "n_classes")
        or (parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
    ]
    counts = dict.fromkeys(("in_channels", "in_chans", "channels", "num_channels"), told["channels"])
    # Sources of the LEMUR collection are built with these.
    shape = (1, told["channels"], told["height"], told["width"])
    lemur = {"in_shape": shape, "out_shape": (len(told["class_names"]),), "prm": {}, "device": torch.device("cpu")}
    lemur["prm"] = dict.fromkeys(getattr(module, "supported_hyperparameters", set)(), 0.5)
    net = entry(**{name: {**counts, **lemur}.get(name, len(told["class_names"])) for name in needed}).eval()
    with torch.no_grad():
        # Lazy layers take their shapes from a first picture.
        net(torch.zeros(1, told["channels"], told["height"], told["width"]))
    net.load_state_dict(load_file(HERE / "weights.safetensors"))
    net.eval()

    def logits(images):
        with torch.no_grad():
            return net(torch.from_numpy(images)).numpy()

    return logits


def main():
    parser = argparse.ArgumentParser(description="Classifies pictures with the network in this folder.")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--torch", action="store_true", help="by network.py and weights.safetensors")
    parser.add_argument("--json", action="store_true", help="one JSON object a picture")
    arguments = parser.parse_args()
    told = json.loads((HERE / "input.json").read_text(encoding="utf-8"))
    network = by_torch(told) if arguments.torch else by_onnxruntime(told)
    names = told["class_names"]
    for path in arguments.pictures:
        try:
            images = prepared(path, told)
        except (OSError, ValueError) as why:
            sys.exit(f"{path}: {why}")
        logits = network(images)[0].astype(np.float64)
        odds = np.exp(logits - logits.max())
        odds /= odds.sum()
        order = np.argsort(-odds, kind="stable")
        if arguments.json:
            print(json.dumps({"picture": path, "class": names[order[0]], "logits": logits.tolist()}))
        else:
            print(f"{path}: " + ", ".join(f"{names[i]} {odds[i]:.1%}" for i in order[:3]))


if __name__ == "__main__":
    main()
