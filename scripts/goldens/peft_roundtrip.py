"""Adapters in both directions between this program and PEFT, on tests/fixtures/tiny-llama3.

    ELITELOOP_ADAPTER=tests/fixtures/adapter-tuned-here cargo test --release --test it adapters::an_adapter_tuned_here
    python scripts/goldens/peft_roundtrip.py                 needs torch, transformers, peft

Reads tests/fixtures/adapter-tuned-here and writes tests/goldens/adapter-tuned-here.json, PEFT's logits with it. Then trains an
adapter with PEFT into tests/fixtures/adapter-by-peft and writes tests/goldens/adapter-by-peft.json: the logits with it, and the
losses of three further steps of AdamW.

    python scripts/goldens/peft_roundtrip.py logits MODEL ADAPTER IDS    prints the logits of any model folder (or GGUF file) and adapter
"""

import json
import os
import pathlib
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

tests = pathlib.Path(__file__).resolve().parents[2] / "tests"
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = [(i * i * 11 + 5 * i + 2) % 320 for i in range(40)]
# Three completions, two of one prompt.
PROMPTS = [[(7 * i + 3) % 320 for i in range(12)], [(5 * i + 40) % 320 for i in range(9)]]
EXAMPLES = [(PROMPTS[0], [11, 60, 2]), (PROMPTS[0], [12, 61, 90, 91, 2]), (PROMPTS[1], [200, 2])]


def base(path):
    folder, file = os.path.split(os.path.abspath(path))
    if file.endswith(".gguf"):
        return AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def loss(model):
    """Mean over examples of the summed negative log-likelihood of the completion."""
    sums = []
    for prompt, completion in EXAMPLES:
        rows = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        sums.append(torch.nn.functional.cross_entropy(rows, torch.tensor(completion), reduction="sum"))
    return torch.stack(sums).mean()


def steps(model, count):
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(count):
        optimiser.zero_grad()
        value = loss(model)
        value.backward()
        optimiser.step()
        losses.append(value.item())
    return losses


def golden(name, model, **more):
    rows = [[round(v, 5) for v in row] for row in logits(model, IDS)[-4:].tolist()]
    (tests / "goldens" / f"{name}.json").write_text(json.dumps({"ids": IDS, "logits": rows, **more}) + "\n")


def main():
    path = tests / "fixtures" / "tiny-llama3"
    golden("adapter-tuned-here", PeftModel.from_pretrained(base(path), tests / "fixtures" / "adapter-tuned-here"))

    torch.manual_seed(0)
    config = LoraConfig(r=3, lora_alpha=9, lora_dropout=0.0, target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(base(path), config)
    steps(model, 5)
    folder = tests / "fixtures" / "adapter-by-peft"
    model.save_pretrained(folder)
    # The card and the path of the model on this machine say nothing.
    (folder / "README.md").unlink(missing_ok=True)
    described = json.loads((folder / "adapter_config.json").read_text())
    described["base_model_name_or_path"] = "tiny-llama3"
    (folder / "adapter_config.json").write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")
    model = PeftModel.from_pretrained(base(path), folder, is_trainable=True)
    model.eval()
    before = [[round(v, 5) for v in row] for row in logits(model, IDS)[-4:].tolist()]
    losses = steps(model, 4)
    (tests / "goldens" / "adapter-by-peft.json").write_text(json.dumps({"ids": IDS, "logits": before, "losses": losses}) + "\n")


if len(sys.argv) == 5 and sys.argv[1] == "logits":
    model = base(sys.argv[2])
    model = model if sys.argv[3] == "none" else PeftModel.from_pretrained(model, sys.argv[3])
    print(json.dumps(logits(model, json.loads(sys.argv[4])).flatten().tolist()))
else:
    main()
