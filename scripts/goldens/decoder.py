"""Reference logits of the default model: the same GGUF, read and run by transformers in f32 over a 300-token source.

    python scripts/goldens/decoder.py models/SmolLM2-135M-Instruct.Q4_1.gguf tests/goldens/decoder.json
"""
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

SOURCE = '''import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    """Two convolutions with a shortcut around them."""

    def __init__(self, width, stride=1):
        super().__init__()
        self.first = nn.LazyConv2d(width, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.LazyBatchNorm2d()
        self.second = nn.LazyConv2d(width, 3, padding=1, bias=False)
        self.last = nn.LazyBatchNorm2d()
        self.shortcut = nn.LazyConv2d(width, 1, stride=stride)

    def forward(self, x):
        y = F.relu(self.norm(self.first(x)))
        y = self.last(self.second(y))
        return F.relu(y + self.shortcut(x))


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.LazyConv2d(24, 3, padding=1)
        self.stages = nn.ModuleList([Block(24), Block(48, 2), Block(96, 2)])
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean(dim=(2, 3)))
'''


def main(model_path, golden_path):
    torch.set_num_threads(2)
    folder, file = os.path.split(os.path.abspath(model_path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    ids = tokenizer(SOURCE).input_ids
    assert len(ids) >= 300, len(ids)
    ids = ids[:300]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    positions = [0, 1, 17, 100, 211, 299]
    entries = [(i * 769 + 5) % logits.shape[1] for i in range(64)]
    golden = {
        "ids": ids,
        "positions": positions,
        "entries": entries,
        "logits": [[round(logits[p, e].item(), 5) for e in entries] for p in positions],
        "argmax": logits.argmax(-1).tolist(),
    }
    with open(golden_path, "w") as out:
        json.dump(golden, out)
        out.write("\n")


main(*sys.argv[1:])
