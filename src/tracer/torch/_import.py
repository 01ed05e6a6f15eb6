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
    """The dotted name itself where it is not known: what a use of it would be refused for; else None."""
    parts = path.split(".")
    item = Placeholder(path) if path.startswith(".") else _find(parts[0], False)
    for part in parts[1:]:
        if isinstance(item, Placeholder) or not isinstance(item, type(sys)):
            break
        item = getattr(item, part, None)
    return path if isinstance(item, Placeholder) else None


# Files of torchvision and timm whose names nobody else has: a network's file that was one of theirs still says them so.
_of_a_package = {
    "torchvision": ("ops.misc", "ops.stochastic_depth", "transforms._presets", "models._api", "models._meta", "models._utils"),
    "timm.models": ("_builder", "_efficientnet_blocks", "_features", "_features_fx", "_manipulate", "_registry", "vision_transformer"),
}


def _home(name, fromlist):
    """The whole name of a file that a relative import means, where there is no doubt."""
    if name == "utils" and fromlist and set(fromlist) <= {"_log_api_usage_once"}:
        return "torchvision.utils"
    for package, files in _of_a_package.items():
        for file in files:
            if name and (file == name or file == "models." + name):
                return package + "." + file
    return None


# Modules that the source tries for and can do without; what Python itself has is always there.
guarded = ()
_of_python = set(
    "abc argparse ast asyncio base64 bisect calendar cmath codecs collections colorsys concurrent configparser contextlib copy csv ctypes dataclasses datetime decimal "
    "difflib enum errno fractions functools gc glob gzip hashlib heapq html http importlib inspect io itertools json logging math multiprocessing numbers operator os "
    "pathlib pickle pkgutil platform pprint queue random re secrets shutil signal socket sqlite3 statistics string struct subprocess sys tempfile textwrap threading time "
    "timeit traceback types typing unittest urllib uuid warnings weakref xml zipfile torch torchvision timm numpy einops".split()
)


def _import(name, globals=None, locals=None, fromlist=None, level=0):
    inside = globals is not None and globals.get("__name__") != "network"
    if level:
        home = _home(name, fromlist)
        if home is not None:
            return _find(home, inside)
        if "." * level + name in guarded:
            raise ImportError("attempted relative import with no known parent package")
        return Placeholder("." * level + name)
    found = _find(name, inside)
    if name in guarded and isinstance(found, Placeholder) and name.partition(".")[0] not in _of_python:
        raise ModuleNotFoundError("No module named " + repr(name))
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
    # A function of a file's own name stays that.
    if parent and isinstance(getattr(_modules[parent], child), Placeholder):
        setattr(_modules[parent], child, _modules[target])


builtins.__import__ = _import
del _native_import
builtins.print = lambda *args, **kwargs: None
