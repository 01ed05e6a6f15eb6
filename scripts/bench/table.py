"""Reads lines "workload who {json}" of scripts/bench/compare and prints a Markdown table of medians: our rate, each peer's, the ratio and its goal, the
peaks of memory, and how near our products come to the machine's limit. Generation counts the prefill on both sides.
"""
import argparse
import json
import statistics
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--peak", type=float, default=200.0, help="GFLOP/s of the machine in f32")
args = parser.parse_args()

WORKLOADS = {
    "tune": "LoRA step on plain rows",
    "update": "the loop's update, 4 parents, padded rows for the peer",
    "generate": "samples of one prompt, prefill counted",
}
GOALS = {
    ("tune", "peft-f32"): 1.0,
    ("update", "peft-f32"): 3.0,
    ("generate", "llama.cpp"): 1.5,
    ("generate", "transformers"): 2.5,
}

found = {}
for line in sys.stdin:
    workload, _, rest = line.partition(" ")
    who, _, numbers = rest.partition(" ")
    if numbers.strip():
        found.setdefault(workload, {}).setdefault(who, []).append(json.loads(numbers))


def median(rows, key):
    values = [row[key] for row in rows if row.get(key)]
    return statistics.median(values) if values else None


def rate(row):
    return row.get("row_tokens_per_second") or row.get("tokens_per_second")


# Ours times the decoding alone; the prompt is read once before it.
prefill = median(found.pop("prefill", {}).get("ours", []), "seconds")
for row in found.get("generate", {}).get("ours", []):
    if prefill:
        row["tokens_per_second"] *= row["seconds"] / (row["seconds"] + prefill)
        row["gflops"] *= row["seconds"] / (row["seconds"] + prefill)

print("| workload | ours | peer | ours is | goal | peak MiB, ours and peer | ours, GFLOP/s | of the f32 limit |")
print("|---|---|---|---|---|---|---|---|")
for workload, by in found.items():
    for own, who in ((own, who) for own in by for who in by if own.startswith("ours") and not who.startswith("ours")):
        ours, memory, speed = statistics.median(map(rate, by[own])), median(by[own], "peak_mib"), median(by[own], "gflops")
        peer, peak = statistics.median(map(rate, by[who])), median(by[who], "peak_mib")
        goal = GOALS.get((workload, who))
        goal = f"{goal:.1f}x" if goal else ""
        if workload == "update" and memory and peak:
            goal += f"{', ' if goal else ''}memory at most half: {memory / peak:.2f}"
        both = f"{memory:,.0f} and {peak:,.0f}" if memory and peak else ""
        near = f"{speed:.0f} | {100 * speed / args.peak:.0f}%" if speed else " | "
        name = f"{own.removeprefix('ours').removeprefix('-')} {ours:.0f}".strip()
        rates = f"{name} | {who} {peer:.0f} | {ours / peer:.2f}x"
        print(f"| {WORKLOADS.get(workload, workload)} | {rates} | {goal} | {both} | {near} |")
