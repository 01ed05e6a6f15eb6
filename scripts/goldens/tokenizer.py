"""Writes tests/goldens/tokenizer.json, chat.json and weights.json from llama.cpp and transformers.

    python scripts/goldens/tokenizer.py [MODEL.gguf]        needs llama-cpp-python, transformers, torch, gguf, jinja2

tokenizer.json: the ids llama.cpp gives for each string, special tokens parsed or not, for the file's own pre-tokenizer and,
with the key `tokenizer.ggml.pre` overridden, for the others that are supported.
chat.json: what transformers' apply_chat_template makes of the template in the file.
weights.json: a few numbers of each kind of weight as transformers loads them from the file.
"""

import json
import pathlib
import sys

import torch
from gguf import GGUFReader
from llama_cpp import Llama
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from tokenizers import Tokenizer, models

root = pathlib.Path(__file__).resolve().parents[2]
path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
goldens = root / "tests" / "goldens"

NETWORK = '''import torch
from torch import nn
import torch.nn.functional as F


class Net(nn.Module):
    """Two stages, then a classifier."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.LazyConv2d(32, 3, padding=1, bias=False)
        self.norm = nn.LazyBatchNorm2d()
        self.blocks = nn.ModuleList([nn.LazyConv2d(64 * (i + 1), 3, stride=2) for i in range(2)])
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = F.silu(block(x)) if x.shape[-1] >= 4 else x
        return self.head(x.mean(dim=(2, 3)))
'''

STRINGS = [
    "",
    " ",
    "  ",
    "  5",
    "5  ",
    "a  5",
    "\n",
    "\n\n\n",
    "\t\tx = 1\n\ty\t=\t2\n",
    "Hello, world!",
    "  leading and trailing  ",
    "don't you've we'll I'M HE'D it's 'tis",
    NETWORK,
    NETWORK.replace("\n", "\r\n"),
    NETWORK.replace("    ", "\t"),
    "def f(a, b=3):\n    return a*b + 12345 // 7\n",
    "        x = self.conv2(x)  # 64 -> 128, 3x3\n",
    "if x:\n  if y:\n   z = 1\n      w = 22\n",
    "5-8\n    self.conv1 = nn.LazyConv2d(48, 5, padding=2)\n12+\n    x = F.relu(x)\n",
    "@@ -3,7 +3,8 @@\n-        self.a = 1\n+        self.a = 2\n ",
    "0123456789",
    "3.14159265358979e-10",
    "1000000 1,000,000 0xDEADBEEF 0b1011 1_000",
    "007 + 42 = 49",
    "v2.5.13",
    "x1y22z333",
    "\u0661\u0662\u0663 \u00bd \u2163 \u00b2",
    "caf\u00e9 cafe\u0301 na\u00efve \u00dcber stra\u00dfe",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\U0001f600\U0001f680\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1eb\U0001f1f7",
    "\u00a0non\u00a0breaking\u2003em\u3000ideographic",
    "a\u200bb\u2028c\u2029d",
    "CRLF\r\nline\r\n\r\n  indented\r\n",
    "\r\r\n\r",
    "tab\tand  two spaces   three    four",
    "trailing spaces    \n    next",
    "snake_case camelCase SCREAMING_CASE __dunder__ a.b.c a->b a::b",
    "!@#$%^&*()_+-=[]{}|;':\",./<>?`~\\",
    "====================\n--------------------\n####################",
    "(((((((((())))))))))",
    "<|im_start|>user\nhi<|im_end|>\n",
    "text<|im_end|>more <|endoftext|> <|im_start|",
    "<|im_end|><|im_end|>  <|im_start|>",
    "<repo_name>x<file_sep>y<filename>z",
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n  5 + 17 = ?<|im_end|>\n<|im_start|>assistant\n",
    "\u0000\u0001\u001f\u007f\u0080",
    "http://example.org/a?b=c&d=%20e#f",
    '{"key": [1, 2.5, null, true], "s": "\\u00e9\\n"}',
    "x" * 70,
    "a\u0004b\u0006 \U00040000c",
    " " * 70,
    "ab " * 30,
]

tokenizers = {}
for pre in ["smollm", "qwen2", "llama-bpe"]:
    llama = Llama(str(path), vocab_only=True, verbose=False, kv_overrides={"tokenizer.ggml.pre": pre})
    ids = lambda text, special: llama.tokenize(text.encode(), add_bos=False, special=special)
    tokenizers[pre] = [{"text": s, "special": ids(s, True), "plain": ids(s, False)} for s in STRINGS]
lines = [json.dumps(pre) + ": [\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]" for pre, cases in tokenizers.items()]
(goldens / "tokenizer.json").write_text("{" + ",\n".join(lines) + "}\n")

fields = GGUFReader(str(path)).fields
template = fields["tokenizer.chat_template"].contents()
tokens = fields["tokenizer.ggml.tokens"].contents()
special = lambda key: tokens[fields[f"tokenizer.ggml.{key}_token_id"].contents()]
renderer = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.BPE()), bos_token=special("bos"), eos_token=special("eos"), chat_template=template
)
say = lambda role, content: {"role": role, "content": content}
TALKS = [
    [say("user", "Hi")],
    [say("system", "You edit networks.\n"), say("user", NETWORK)],
    [say("user", "  1 + 2?  "), say("assistant", "3\n"), say("user", "and <b>\u00e9\"'&</b>?")],
    [say("system", ""), say("user", ""), say("assistant", "{{ x }} {% y %}")],
]
chats = [
    {"messages": talk, "prompt": prompt, "text": renderer.apply_chat_template(talk, tokenize=False, add_generation_prompt=prompt)}
    for talk in TALKS
    for prompt in (False, True)
]
(goldens / "chat.json").write_text(json.dumps(chats, indent=0) + "\n")

model = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
state = model.state_dict()
names = ["model.embed_tokens.weight", "model.norm.weight"] + [
    f"model.layers.{layer}.{part}.weight"
    for layer in (0, 17)
    for part in ["input_layernorm", "post_attention_layernorm"]
    + [f"self_attn.{p}_proj" for p in "qkvo"]
    + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
]
weights = []
for name in names:
    tensor = state[name]
    flat = tensor.flatten()
    places = [(i * 7919 + 13 * i * i) % flat.numel() for i in range(24)]
    weights.append({"name": name, "shape": list(tensor.shape), "places": places, "values": [flat[i].item() for i in places]})
(goldens / "weights.json").write_text("[\n" + ",\n".join(json.dumps(w) for w in weights) + "\n]\n")
