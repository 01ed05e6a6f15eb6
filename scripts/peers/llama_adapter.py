#!/usr/bin/env python3
"""Whether llama.cpp reads an adapter that `eliteloop adapter export --gguf` wrote as it is meant.

    scripts/peers/llama_adapter.py MODEL.gguf ADAPTER.gguf MERGED

MERGED is the Hugging Face folder that `eliteloop adapter merge` made of the same adapter (f32); it is answered by transformers. Of some prompts the
log-probabilities of the next token are compared, llama.cpp without the adapter and with it. llama.cpp gets a copy of the model with its
weights in f32, since it rounds activations where weights are quantised. Needs xllamacpp, gguf, torch and transformers.
"""

import argparse
import sys
import tempfile

import gguf
import numpy
import torch
import xllamacpp
from transformers import AutoModelForCausalLM

PROMPTS = [[1, 4093, 198, 5, 700], list(range(300, 340)), [11, 22, 33, 44, 55, 66, 77, 88, 99, 111, 122], [17, 8123, 45, 2000, 31000, 7]]
TOP = 40


def llama(model, adapter):
    """For each prompt the log-probabilities of llama.cpp's likeliest next tokens."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_gpu_layers = 512, 0
    if adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
    server = xllamacpp.Server(params)
    answers = []
    for prompt in PROMPTS:
        request = {"prompt": prompt, "n_predict": 1, "logprobs": TOP, "temperature": 1.0, "cache_prompt": False}
        content = server.handle_completions(request)["choices"][0]["logprobs"]["content"]
        answers.append({entry["id"]: entry["logprob"] for entry in content[0]["top_logprobs"]})
    return answers


def as_f32(model, copy):
    """The same GGUF file with all weights dequantised."""
    reader = gguf.GGUFReader(model)
    writer = gguf.GGUFWriter(copy, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def apart(ours, theirs):
    """Mean absolute difference over the tokens that llama.cpp tells, and the largest."""
    all_of = [abs(of[token] - value) for of, answer in zip(ours, theirs) for token, value in answer.items()]
    return sum(all_of) / len(all_of), max(all_of)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "adapter", "merged"):
        parser.add_argument(name)
    options = parser.parse_args()
    merged = AutoModelForCausalLM.from_pretrained(options.merged, dtype=torch.float32).eval()
    with torch.no_grad():
        ours = [torch.log_softmax(merged(torch.tensor([prompt])).logits[0, -1], -1).tolist() for prompt in PROMPTS]
    with tempfile.TemporaryDirectory() as folder:
        model = f"{folder}/model.gguf"
        as_f32(options.model, model)
        without, applied = (apart(ours, llama(model, adapter)) for adapter in (None, options.adapter))
    print(f"log-probability of the next token, {len(PROMPTS)} prompts, {TOP} tokens each, against transformers on the merged model:")
    print(f"  llama.cpp without the adapter: mean difference {without[0]:.2g}, largest {without[1]:.2g}")
    print(f"  llama.cpp with the adapter:    mean difference {applied[0]:.2g}, largest {applied[1]:.2g}")
    # What is left: a cache of keys and values in f16, and another order of sums.
    return 0 if applied[0] < without[0] / 100 else 1


sys.exit(main())
