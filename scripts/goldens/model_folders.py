"""Writes tests/fixtures/tiny-{llama,llama3,qwen2,qwen3,mistral}: Hugging Face folders of tiny random models, as transformers saves them.

    python scripts/goldens/model_folders.py [NAME ..]        needs transformers, tokenizers, torch

The Llamas' output layer is not tied, the first is sharded, the second has Llama 3's position encoding, heads wider than the stream and
tokenizer; the Qwens are tied and bfloat16. Beside each lies golden.json:
token ids of some strings by the `tokenizers` package, a few weights, and the logits of one sequence.
"""

import json
import pathlib
import shutil
import sys

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers import MistralConfig, MistralForCausalLM
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

fixtures = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures"

CORPUS = ["def forward(self, x):\n    return self.head(x)\n", "self.conv1 = nn.LazyConv2d(32, 3, padding=1)\n", "x = F.relu(self.norm(x)) + 1234\n"] * 4
STRINGS = ["", "x = self.conv1(x)\n", "  12345  ", "\u00e9t\u00e9 \u4f60\u597d \U0001f680", "<|im_start|>user\nhi<|im_end|>", "<tool>x</tool>", "\tif x:\r\n\t\ty = 22\r\n"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def tokenizer(name):
    made = Tokenizer(models.BPE(ignore_merges=name == "tiny-llama3"))
    if name != "tiny-llama":
        pattern = LLAMA3 if name == "tiny-llama3" else QWEN
        steps = [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    else:
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=316, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    )
    made.add_tokens([AddedToken("<tool>", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<|im_start|>", eos_token="<|im_end|>", chat_template=TEMPLATE)


shape = dict(
    vocab_size=320, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
)
SCALED = dict(
    rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32,
)
for name, config, kind in [
    ("tiny-llama", LlamaConfig(**shape, rope_theta=10000.0, tie_word_embeddings=False), LlamaForCausalLM),
    ("tiny-llama3", LlamaConfig(**shape, head_dim=16, rope_parameters=SCALED, tie_word_embeddings=False), LlamaForCausalLM),
    ("tiny-qwen2", Qwen2Config(**shape, rope_theta=1000000.0, tie_word_embeddings=True), Qwen2ForCausalLM),
    ("tiny-qwen3", Qwen3Config(**shape, head_dim=8, rope_theta=1000000.0, tie_word_embeddings=True), Qwen3ForCausalLM),
    ("tiny-mistral", MistralConfig(**shape, head_dim=8, rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False), MistralForCausalLM),
]:
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    folder = fixtures / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (1 if parameter.dim() == 1 and parameter.numel() in (16, 8) else 0))
    llama = kind in (LlamaForCausalLM, MistralForCausalLM)
    model = model.to(torch.float32 if llama else torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="30KB" if name == "tiny-llama" else "1GB")
    made = tokenizer(name)
    made.save_pretrained(folder)
    # Read anew: the conversion to bfloat16 above took the frequencies of the position encoding along.
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    ids = [1, 40, 7, 300, 88, 88, 19, 2, 150, 260, 3, 77]
    if name == "tiny-llama3":
        ids = [(i * i * 7 + 3 * i + 1) % 320 for i in range(60)]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    state = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight" or llama}
    golden = {
        "strings": [{"text": s, "ids": made(s)["input_ids"]} for s in STRINGS],
        "weights": {k: {"shape": list(v.shape), "first": v.flatten()[:4].tolist(), "sum": v.double().sum().item()} for k, v in state.items()},
        "input": ids,
        "logits": [[round(x, 5) for x in row] for row in logits[-12:, :32].tolist()],
    }
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
