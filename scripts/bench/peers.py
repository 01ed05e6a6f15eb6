"""What eliteloop is measured against, one workload a call, one JSON line on stdout.

    python peers.py tune MODEL_DIR [--bf16]     PyTorch + PEFT: padded rows of a prompt and a completion, one LoRA step
    python peers.py gradient MODEL_DIR          PyTorch + PEFT: how far the adapter's gradient under bf16 autocast is from f32's, by the norm
    python peers.py generate MODEL_DIR          transformers.generate: samples of one prompt
    python peers.py llama MODEL.gguf            llama.cpp: the same, parallel sequences with a shared prompt
    python peers.py proxy NETWORK.py            PyTorch: SGD steps at batch 64 on 32x32 images
    python peers.py model MODEL_DIR [--tiny]    writes a model of the default's shapes with random weights, or a tiny one

With `--device cuda` on a card: base weights in bf16 where the workload says so, attention by PyTorch's SDPA.
Shapes are those of `eliteloop bench`; token ids are random, which costs the same as text.
"""
import argparse
import glob
import json
import os
import resource
import time

import numpy as np

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def report(**numbers):
    numbers["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(numbers))


def load(folder):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    files = glob.glob(os.path.join(folder, "*.gguf"))
    if files:
        return AutoModelForCausalLM.from_pretrained(folder, gguf_file=os.path.basename(files[0]), dtype=torch.float32)
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").to(args.device)


def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3)
    if args.tiny:
        shape = dict(vocab_size=40001, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=8192, tie_word_embeddings=True)).save_pretrained(args.target)


def finish():
    """Waits for the card, so that the clock tells the truth."""
    if args.device != "cpu":
        import torch

        torch.cuda.synchronize()


def tune():
    """Median seconds of one optimiser step on rows of a prompt and a completion."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(load(args.target), LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0)
    length = args.prompt + args.completion
    ids = torch.randint(100, 40000, (args.rows, length)).to(args.device)
    labels = ids.clone()
    labels[:, : args.prompt] = -100

    def step():
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        finish()

    step()
    seconds = []
    for _ in range(args.steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    middle = float(np.median(seconds))
    report(seconds_per_step=middle, tokens_per_second=ids.numel() / middle)


def gradient():
    """Of two short examples of tests/it/narrow.rs, by an adapter that is not zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(load(args.target), LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"))
    trained = [p for p in model.parameters() if p.requires_grad]
    for p in trained:
        p.data += 0.01 * torch.sin(0.7 * torch.arange(p.numel())).reshape(p.shape)
    tokens = lambda n, step: [(i * step + 13) % 30000 for i in range(n)]

    def of(is_narrow):
        model.zero_grad()
        loss = 0.0
        for step, length in ((5, 6), (11, 9)):
            ids = torch.tensor([tokens(24, 31) + tokens(length, step)])
            with torch.autocast(args.device, torch.bfloat16, enabled=is_narrow):
                logits = model(ids).logits
            nll = -torch.log_softmax(logits[0, 23:-1].float(), -1).gather(1, ids[0, 24:, None]).sum()
            nll.backward()
            loss += nll.item()
        return loss, torch.cat([p.grad.flatten() for p in trained])

    (exact, by_f32), (loss, by_bf16) = of(False), of(True)
    report(gradient_apart=((by_bf16 - by_f32).norm() / by_f32.norm()).item(), loss_apart=abs(loss / exact - 1))


def generate():
    import torch

    model = load(args.target).eval()
    prompt = torch.randint(100, 40000, (1, args.prompt)).to(args.device)
    seconds = []
    for i in range(args.steps + 1):
        began = time.perf_counter()
        with torch.no_grad():
            model.generate(prompt, do_sample=True, num_return_sequences=args.rows, min_new_tokens=args.completion, max_new_tokens=args.completion, top_k=0, pad_token_id=0)
        finish()
        seconds.append(time.perf_counter() - began)
    middle = float(np.median(seconds[1:]))
    report(seconds=middle, tokens_per_second=args.rows * args.completion / middle)


def llama():
    import llama_cpp as L

    quiet = L.llama_log_callback(lambda *_: None)  # kept: llama.cpp calls it as long as the process lives
    L.llama_log_set(quiet, None)
    L.llama_backend_init()
    model = L.llama_model_load_from_file(args.target.encode(), L.llama_model_default_params())
    settings = L.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_seq_max = args.rows * 512, 2048, args.rows + 1
    settings.n_threads = settings.n_threads_batch = args.threads
    settings.kv_unified = True
    context = L.llama_init_from_model(model, settings)
    vocabulary = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
    memory = L.llama_get_memory(context)
    random = np.random.default_rng(0)

    def decode(items):
        batch = L.llama_batch_init(len(items), 0, 1)
        batch.n_tokens = len(items)
        for i, (token, position, sequence, wanted) in enumerate(items):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        assert L.llama_decode(context, batch) == 0
        L.llama_batch_free(batch)

    prompt = random.integers(100, 40000, args.prompt)
    seconds = []
    for _ in range(args.steps):
        L.llama_memory_clear(memory, True)
        began = time.perf_counter()
        decode([(int(t), i, 0, i == args.prompt - 1) for i, t in enumerate(prompt)])
        for s in range(1, args.rows):
            L.llama_memory_seq_cp(memory, 0, s, -1, -1)
        tokens = random.integers(100, 40000, args.rows)
        for n in range(args.completion):
            decode([(int(tokens[s]), args.prompt + n, s, True) for s in range(args.rows)])
            for s in range(args.rows):
                logits = np.ctypeslib.as_array(L.llama_get_logits_ith(context, s), shape=(vocabulary,))
                tokens[s] = int(logits.argmax())
        seconds.append(time.perf_counter() - began)
    middle = float(np.median(seconds))
    report(seconds=middle, tokens_per_second=args.rows * args.completion / middle)


def proxy():
    import torch

    torch.set_num_threads(args.threads)
    scope = {}
    exec(open(args.target).read(), scope)
    model = scope["Net"]().to(args.device)
    x, y = torch.randn(args.batch, 3, 32, 32).to(args.device), torch.randint(0, 10, (args.batch,)).to(args.device)
    model(x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        finish()

    for _ in range(3):
        step()
    seconds = []
    for _ in range(10 * args.steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    middle = float(np.median(seconds))
    report(seconds_per_step=middle, images_per_second=args.batch / middle)


parser = argparse.ArgumentParser()
parser.add_argument("workload", choices=["tune", "gradient", "generate", "llama", "proxy", "model"])
parser.add_argument("target")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--prompt", type=int, default=250)
parser.add_argument("--completion", type=int, default=60)
parser.add_argument("--rows", type=int, default=16)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--device", default="cpu")
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--tiny", action="store_true")
args = parser.parse_args()
{"tune": tune, "gradient": gradient, "generate": generate, "llama": llama, "proxy": proxy, "model": model}[args.workload]()
