"""Writes tests/goldens/pre_tokenizers.json: small tokenizers of other pipelines than the known ones, and the ids of some texts by the
`tokenizers` package.

    python scripts/goldens/pre_tokenizers.py        needs tokenizers
"""

import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/pre_tokenizers.json"
CORPUS = ["def forward(self, x):\n    return self.head(x)\n", "self.conv1 = nn.LazyConv2d(32, 3, padding=1)\n", "It's x's F.relu(self.norm(x)) + 1234\n"] * 4
TEXTS = ["", "x = self.conv1(x)\n", "  12345  ", "\u00e9t\u00e9 \u4f60\u597d \U0001f680", "It's WE'LL don't", "\tif x:\r\n\t\ty = 22\r\n", "HTTPServer camelCase_and/path//x\n\n\n  end"]
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


bare = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
cutting = pre_tokenizers.ByteLevel(add_prefix_space=False)
PIPELINES = {
    "gpt2": cutting,
    "gpt2 in a sequence": pre_tokenizers.Sequence([cutting]),
    "cl100k": pre_tokenizers.Sequence([split(CL100K), bare]),
    "tekken": pre_tokenizers.Sequence([split(TEKKEN), bare]),
    "llama3, removing what is not": pre_tokenizers.Sequence([split(LLAMA3, "removed", True), bare]),
    "lines, words, digits": pre_tokenizers.Sequence([split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), pre_tokenizers.Digits(True), bare]),
    "digits in threes": pre_tokenizers.Sequence([split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5]+"), cutting]),
}
golden = []
for name, pipeline in PIPELINES.items():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pipeline
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=316, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    cases = [{"text": text, "ids": made.encode(text, add_special_tokens=False).ids} for text in TEXTS]
    golden.append({"name": name, "tokenizer": json.loads(made.to_str()), "cases": cases})
OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
