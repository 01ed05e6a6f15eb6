"""Reads lines "kind name who {json}" of scripts/bench/proxy and prints rates in images/s, our ratio to PyTorch's and its geometric mean.

A line of `step` is one network. Lines of `candidates` of one name are trained one after the other (ours: in two workers at once).
"""
import json
import math
import statistics
import sys

steps, candidates = {}, {}
for line in sys.stdin:
    kind, name, who, numbers = line.split(" ", 3)
    numbers = json.loads(numbers)
    if kind == "step":
        rate = numbers["networks"][0]["images_per_second"] if who == "ours" else numbers["images_per_second"]
        steps.setdefault(name, {}).setdefault(who, []).append(rate)
    else:
        rows = numbers["networks"] if who == "ours" else [numbers]
        worker = sum(row["seconds_per_step"] for row in rows)
        candidates.setdefault(name, {}).setdefault(who, []).append((len(rows), worker))

if steps:
    print(f"{'network':18} {'ours':>9} {'PyTorch':>9} {'ratio':>7}   images/s")
    ratios = []
    for name, by in steps.items():
        ours, peer = statistics.median(by["ours"]), statistics.median(by["pytorch"])
        ratios.append(ours / peer)
        print(f"{name:18} {ours:9.0f} {peer:9.0f} {ours / peer:6.2f}x")
    print(f"{'geometric mean':38} {math.exp(statistics.fmean(map(math.log, ratios))):6.2f}x   least {min(ratios):.2f}x")
for name, by in candidates.items():
    ours = sum(n / s for n, s in by["ours"])
    peer = sum(n for n, _ in by["pytorch"]) / sum(s for _, s in by["pytorch"])
    print(f"{name:18} {64 * ours:9.0f} {64 * peer:9.0f} {ours / peer:6.2f}x   images/s, two workers of one thread against two threads")
