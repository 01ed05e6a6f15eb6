"""Reads lines "workload who {json}" and prints the median rate of each and our ratio to it."""
import json
import statistics
import sys

rates, memory = {}, {}
for line in sys.stdin:
    parts = line.split(" ", 2)
    if len(parts) < 3:
        continue
    workload, who, numbers = parts[0], parts[1], json.loads(parts[2])
    rate = numbers.get("row_tokens_per_second") or numbers.get("tokens_per_second") or numbers.get("images_per_second")
    rates.setdefault(workload, {}).setdefault(who, []).append(rate)
    memory.setdefault((workload, who), []).append(numbers.get("peak_mib"))
print(f"{'workload':10} {'who':18} {'rate/s':>9} {'ours is':>8}  {'peak MiB':>8}")
for workload, by in rates.items():
    ours = next(statistics.median(v) for who, v in by.items() if who.startswith("ours"))
    for who, values in by.items():
        peak = [m for m in memory[workload, who] if m]
        middle = statistics.median(values)
        ratio = "" if who.startswith("ours") else f"{ours / middle:.2f}x"
        print(f"{workload:10} {who:18} {middle:9.0f} {ratio:>8}  {max(peak) if peak else 0:8.0f}")
