"""Reference gradients of a LoRA step on the default model (transformers + PEFT, f32), and a few steps of torch's AdamW.

    python scripts/goldens/lora.py models/SmolLM2-135M-Instruct.Q4_1.gguf tests/goldens/lora.json

The adapter's matrices come from a formula that tests/it/llm_goldens.rs repeats; the loss is the mean over two examples, which share
their prompt, of the summed negative log-likelihood of their completions.
"""
import json
import math
import os
import sys

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROMPT = "### Network\n1 class Net(nn.Module):\n2 def __init__(self):\n3 super().__init__()\n4 self.conv = nn.LazyConv2d(16, 3)\n### Change\n"
COMPLETIONS = ["4\nself.conv = nn.LazyConv2d(32, 3)\n", "4+\nself.norm = nn.LazyBatchNorm2d()\n"]
SHOWN = [
    "layers.0.self_attn.q_proj.lora_A",
    "layers.0.mlp.down_proj.lora_B",
    "layers.7.self_attn.k_proj.lora_B",
    "layers.15.self_attn.v_proj.lora_A",
    "layers.22.mlp.gate_proj.lora_A",
    "layers.29.self_attn.o_proj.lora_B",
    "layers.29.mlp.up_proj.lora_B",
]


def matrix(layer, module, kind, shape):
    size = 1 / math.sqrt(shape[1]) if kind == 0 else 0.02
    j = np.arange(shape[0] * shape[1], dtype=np.float64)
    return torch.from_numpy((size * np.sin(0.7 * j + layer + 3 * module + 11 * kind)).astype(np.float32).reshape(shape))


def gradients(model_path):
    folder, file = os.path.split(os.path.abspath(model_path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=MODULES, task_type="CAUSAL_LM"))
    named = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer = int(name.split(".layers.")[1].split(".")[0])
            module = next(i for i, m in enumerate(MODULES) if f".{m}." in name)
            parameter.data = matrix(layer, module, 0 if "lora_A" in name else 1, parameter.shape)
            named["layers." + name.split(".layers.")[1].replace(".default.weight", "")] = parameter
    prompt = tokenizer(PROMPT).input_ids
    completions = [tokenizer(c).input_ids + [tokenizer.eos_token_id] for c in COMPLETIONS]
    losses = []
    for completion in completions:
        ids = torch.tensor([prompt + completion])
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(completion), reduction="sum"))
    loss = torch.stack(losses).mean()
    loss.backward()
    shown = {}
    for name in SHOWN:
        grad = named[name].grad.double().flatten()
        at = [(i * 6151 + 3) % grad.numel() for i in range(8)]
        shown[f"model.{name}.weight"] = {"norm": grad.norm().item(), "at": at, "values": grad[at].tolist()}
    total = math.sqrt(sum(p.grad.double().square().sum().item() for p in named.values()))
    return {"prompt": prompt, "completions": completions, "nll": [v.item() for v in losses], "norm": total, "gradients": shown}


def adamw():
    parameter = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.001, 3.0], dtype=torch.float64))
    optimiser = torch.optim.AdamW([parameter], lr=0.01, weight_decay=0.1)
    after = []
    for step in range(6):
        parameter.grad = torch.tensor([math.sin(1.3 * step + i) * 10 ** (i - 2) for i in range(5)], dtype=torch.float64)
        optimiser.step()
        after.append(parameter.tolist())
    return after


def main(model_path, golden_path):
    torch.set_num_threads(2)
    golden = {"lora": gradients(model_path), "adamw": adamw()}
    with open(golden_path, "w") as out:
        json.dump(golden, out)
        out.write("\n")


main(*sys.argv[1:])
