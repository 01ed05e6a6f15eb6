"""The numbers that goldens are made of: both sides compute them, so none is stored."""

import zlib

import numpy as np
import torch


def noise(name, count):
    """Numbers from -1 to 1: an integer hash of the name and the position."""
    h = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(zlib.crc32(name.encode()))
    h &= np.uint64(0xFFFFFFFF)
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    return (h.astype(np.float64) / 2.0**31 - 1.0).astype(np.float32)


def filled(name, shape):
    return torch.from_numpy(noise(name, int(np.prod(shape, dtype=int))).reshape(tuple(shape)))


def start(name, shape, gain):
    """Starting value of a state-dict tensor; weights have the given gain over one by the root of their inputs."""
    v = filled(name, shape)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        return 1 + 0.5 * v
    if len(shape) <= 1:
        return 0.2 * v + (1.0 if last == "weight" else 0.0)
    return v * float(np.float32(gain / np.sqrt(np.prod(shape[1:]))))


def started(net, gain):
    """The network with all of its state dict so; counters are zero."""
    with torch.no_grad():
        for key, t in net.state_dict().items():
            t.copy_(torch.zeros_like(t) if t.dtype == torch.int64 else start(key, t.shape, gain))
    return net


def summary(t, count):
    """Norm, and `count` entries spread over the tensor."""
    v = t.detach().double().flatten()
    at = [i * (len(v) - 1) // (count - 1) for i in range(count)]
    return {"norm": float(v.norm()), "entries": [float(v[i]) for i in at]}


def rounded(v, digits=7):
    if isinstance(v, dict):
        return {k: rounded(x, digits) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [rounded(x, digits) for x in v]
    return float(f"{v:.{digits}g}") if isinstance(v, float) else v
