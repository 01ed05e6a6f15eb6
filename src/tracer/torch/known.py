# What a source may use, read off the modules themselves: `eliteloop trace --operations`.
import _library
from _import import Placeholder, _arrive, _modules, public
from torch._tensor import Tensor

HIDDEN = ("Unsupported", "DataDependent", "missing", "module", "alias", "public", "Placeholder")


def _names(item):
    kind = type(_modules["torch"])
    for name in sorted(item.__dict__, key=str.lower):
        value = item.__dict__[name]
        if not name.startswith("_") and name not in HIDDEN and not isinstance(value, (Placeholder, kind)):
            yield name


def operations():
    for name in _library.names:
        _arrive(name)
    lines = ["Tensor: " + " ".join(sorted(name for name in dir(Tensor) if not name.startswith("_")))]
    seen = set()
    for name in sorted(public, key=lambda name: (name.partition(".")[0] != "torch", name)):
        item = _modules[name]
        if "._" in name or name.startswith("_") or id(item) in seen:
            continue
        seen.add(id(item))
        known = list(_names(item))
        if known:
            lines.append(name + ": " + " ".join(known))
    return "\n".join(lines)
