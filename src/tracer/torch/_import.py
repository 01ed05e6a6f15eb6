# Imports of a candidate: the modules we have, and placeholders that fail only when they are used.
import sys
import builtins
import _library


class Unsupported(Exception):
    pass


class DataDependent(Exception):
    pass


class NoNetwork(Exception):
    pass


class WrongOutput(Exception):
    pass


class Arguments(Exception):
    pass


_kinds_of_python = ("torch", "typing", "collections", "numbers", "types", "numpy", "abc", "enum", "builtins", "io", "pathlib", "decimal")


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
    __index__ = __int__ = __float__ = _refuse

    def __instancecheck__(self, item):
        """Nothing is of a class that cannot be made here; but Python's own things may be of its unknown kinds."""
        if self._name.partition(".")[0] in _kinds_of_python and not self._name.startswith("torch.nn."):
            self._refuse()
        return False

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __repr__(self):
        return "<" + self._name + ", not supported>"


def missing(module):
    """A module's __getattr__: what it lacks is loaded, or else a placeholder."""

    def __getattr__(name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        path = module + "." + name
        if path in _waiting or path in public:
            _arrive(path)
            return _modules[path]
        return Placeholder(path)

    return __getattr__


# What a candidate may import; the stand-in adds its own modules as it loads.
public = {"itertools"}
_machinery = ("sys", "builtins", "_import", "_record", "_math", "_library")
_modules = sys.modules
# What a candidate gets under the name of a module that it must not have.
in_place_of = {}
# Files of the library that nothing has asked for yet.
_waiting = set(_library.names)
_native_import = builtins.__import__
_native_import("itertools")
_native_import("_collections")
_native_import("_functools")


def _arrive(name):
    """Loads the files of the library that a dotted name asks for, the parent's first."""
    path = ""
    for part in name.split("."):
        path = path + "." + part if path else part
        if path in _waiting:
            _waiting.discard(path)
            public.add(path)
            _library.load(path)


def _find(name, inside):
    _arrive(name)
    if name in in_place_of and not inside:
        return in_place_of[name]
    if name in public or (inside and name in _modules):
        return _modules[name]
    return Placeholder(name)


def unknown(path):
    """The part of a dotted name that is not known, or None: what a use of it would be refused for."""
    if path.startswith("."):
        return path
    parts = path.split(".")
    item = _find(parts[0], False)
    for part in parts[1:]:
        if isinstance(item, Placeholder) or not isinstance(item, type(sys)):
            break
        item = getattr(item, part, None)
    return object.__getattribute__(item, "_name") if isinstance(item, Placeholder) else None


def _import(name, globals=None, locals=None, fromlist=None, level=0):
    if level:
        return Placeholder("." * level + name)
    inside = globals is not None and globals.get("__name__") != "network"
    found = _find(name, inside)
    # What the first part lacks, it says itself when it is asked for it.
    return found if fromlist else _find(name.partition(".")[0], inside)


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


def alias(name, target):
    """The same module under another name."""
    _modules[name] = _modules[target]
    public.add(name)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(_modules[parent], child, _modules[target])


builtins.__import__ = _import
builtins.print = lambda *args, **kwargs: None
