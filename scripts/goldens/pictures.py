"""Small images of every format that is read, and the pixels that Pillow sees in them, into tests/fixtures/pictures (pillow, numpy needed).

    python scripts/goldens/pictures.py
"""

import json
import pathlib

import numpy as np
from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/pictures"
W, H = 19, 11


def samples(channels, seed=0):
    y, x = np.mgrid[0:H, 0:W]
    smooth = [(x * 9 + y * 5 + 40 * c) % 256 for c in range(channels)]
    noise = np.random.default_rng(seed).integers(0, 30, (H, W, channels))
    return (np.stack(smooth, -1) * 0.85 + noise).clip(0, 255).astype(np.uint8)


def on_white(image):
    """As the program does: what is transparent is laid on white, 16 bits become 8 by rounding."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)
    rgba = np.asarray(image.convert("RGBA")).astype(np.uint32)
    alpha = rgba[..., 3:]
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def main():
    FOLDER.mkdir(exist_ok=True)
    rgb, grey = Image.fromarray(samples(3)), Image.fromarray(samples(1)[..., 0])
    alpha = samples(4)
    alpha[..., 3] = np.where(alpha[..., 3] < 60, 0, alpha[..., 3])
    rgba = Image.fromarray(alpha)
    palette = rgb.quantize(17)
    other = Image.fromarray(samples(3, 1)[:, ::-1].copy())
    smooth = Image.fromarray(np.stack([np.add.outer(np.arange(H), np.arange(W)) * 5 + 40 * c for c in range(3)], -1).astype(np.uint8))
    turned = Image.Exif()
    turned[0x112] = 6
    deep = Image.fromarray((samples(1)[..., 0].astype(np.uint16) * 251 + 13))
    files = {
        "lossless.webp": (rgb, {"lossless": True}),
        "alpha.webp": (rgba, {"lossless": True, "exact": True}),
        "lossy.webp": (smooth, {"quality": 95}),
        "moving.webp": (rgb, {"lossless": True, "save_all": True, "append_images": [other]}),
        "turned.webp": (rgb, {"lossless": True, "exif": turned}),
        "rgb.bmp": (rgb, {}),
        "grey.bmp": (grey, {}),
        "palette.bmp": (palette, {}),
        "two.bmp": (grey.convert("1"), {}),
        "alpha.bmp": (rgba, {}),
        "rgb.tif": (rgb, {}),
        "lzw.tif": (rgb, {"compression": "tiff_lzw"}),
        "deflate.tiff": (rgb, {"compression": "tiff_adobe_deflate"}),
        "grey.tif": (grey, {}),
        "alpha.tif": (rgba, {}),
        "deep.tif": (deep, {}),
        "turned.tif": (rgb, {"exif": turned}),
        "palette.gif": (palette, {}),
        "grey.gif": (grey, {}),
        "moving.gif": (palette, {"save_all": True, "append_images": [other.quantize(9)]}),
        "clear.gif": (palette, {"transparency": 3}),
        "progressive.jpg": (rgb, {"quality": 95, "progressive": True, "subsampling": 0}),
        "restarts.jpg": (rgb, {"quality": 95, "restart_marker_blocks": 1, "subsampling": 0}),
        "optimised.jpg": (grey, {"quality": 90, "optimize": True}),
    }
    golden = {}
    for name, (image, options) in files.items():
        image.save(FOLDER / name, **options)
        with Image.open(FOLDER / name) as read:
            pixels = on_white(read)
        golden[name] = [pixels.shape[1], pixels.shape[0], pixels.reshape(-1, 3).tolist()]
    (FOLDER / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
