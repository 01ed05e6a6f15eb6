# Imports of a candidate: the modules we have, and placeholders that fail only when they are used.
import sys
import builtins


class Unsupported(Exception):
    pass


class DataDependent(Exception):
    pass


class NoNetwork(Exception):
    pass


class WrongOutput(Exception):
    pass


class Placeholder:
    """A name we do not have. It may be imported, named in annotations and looked into; any use of it fails."""

    def __init__(self, name):
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Placeholder(self._name + "." + name)

    def _refuse(self, *args, **kwargs):
        raise Unsupported(self._name)

    __call__ = __mro_entries__ = __iter__ = __next__ = __getitem__ = __setitem__ = __len__ = __bool__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __neg__ = _refuse
    __setattr__ = __enter__ = __exit__ = __contains__ = __lt__ = __gt__ = __le__ = __ge__ = __matmul__ = __rmatmul__ = _refuse
    __instancecheck__ = __index__ = __int__ = __float__ = _refuse

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __repr__(self):
        return "<" + self._name + ", not supported>"


def missing(module):
    """A module's __getattr__: what it lacks is a placeholder."""

    def __getattr__(name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Placeholder(module + "." + name)

    return __getattr__


# What a candidate may import; the stand-in adds its own modules as it loads.
public = {"itertools"}
_machinery = ("sys", "builtins", "_import", "_record", "_math")
_modules = sys.modules
_native_import = builtins.__import__
_native_import("itertools")
_native_import("_collections")
_native_import("_functools")


def _find(name, inside):
    if name in public or (inside and name in _modules):
        return _modules[name]
    return Placeholder(name)


def _import(name, globals=None, locals=None, fromlist=None, level=0):
    if level:
        return Placeholder("." * level + name)
    inside = globals is not None and globals.get("__name__") != "network"
    if fromlist:
        return _find(name, inside)
    path = ""
    for part in name.split("."):
        path = path + "." + part if path else part
        if isinstance(_find(path, inside), Placeholder):
            return Placeholder(name.partition(".")[0])
    return _find(name.partition(".")[0], inside)


def module(name):
    """A new public module, for the shims that are a few lines each."""
    made = type(sys)(name)
    made.__getattr__ = missing(name)
    _modules[name] = made
    public.add(name)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(_modules[parent], child, made)
    return made.__dict__


builtins.__import__ = _import
builtins.print = lambda *args, **kwargs: None
