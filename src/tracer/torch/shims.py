# Modules of a few lines each that other files of the stand-in, or the import itself, need.
import sys as _machine

from _import import Unsupported, in_place_of, module


def _same(item=None, *args, **kwargs):
    return item


_future = module("__future__")
_future.update(annotations=None, division=None, print_function=None, absolute_import=None, unicode_literals=None, generator_stop=None)


class ABC:
    pass


module("abc").update(
    ABC=ABC, ABCMeta=type, abstractmethod=_same, abstractproperty=property, abstractclassmethod=classmethod, abstractstaticmethod=staticmethod
)


def _copy(item):
    if isinstance(item, (list, dict, set)):
        return item.copy()
    if isinstance(item, (int, float, str, tuple, bool, type, type(None))) or callable(item) and not hasattr(item, "__dict__"):
        return item
    if hasattr(item, "__copy__"):
        return item.__copy__()
    if _plain(item) or "_modules" in getattr(item, "__dict__", ()):
        made = object.__new__(type(item))
        made.__dict__.update(item.__dict__)
        return made
    raise Unsupported("copy.copy of a " + type(item).__name__)


def _plain(item):
    """Whether it is an instance of a class of the source that is not a module."""
    return type(item).__module__ == "network" and "_modules" not in getattr(item, "__dict__", {"_modules": None})


def deepcopy(item, memo=None):
    memo = {} if memo is None else memo
    if id(item) in memo:
        return memo[id(item)]
    if hasattr(item, "__deepcopy__") and not isinstance(item, type):
        return item.__deepcopy__(memo)
    if isinstance(item, (int, float, str, bool, type(None), type)) or callable(item):
        return item
    if isinstance(item, dict):
        made = memo[id(item)] = type(item)()
        for key, value in item.items():
            made[key] = deepcopy(value, memo)
        return made
    if isinstance(item, tuple):
        made = [deepcopy(value, memo) for value in item]
        return type(item)(*made) if hasattr(item, "_fields") else type(item)(made)
    if type(item) in (list, set):
        made = memo[id(item)] = type(item)()
        for value in item:
            (made.append if type(item) is list else made.add)(deepcopy(value, memo))
        return made
    if _plain(item) or type(item).__module__ in ("torch.optim", "types"):
        made = memo[id(item)] = object.__new__(type(item))
        for name, value in item.__dict__.items():
            made.__dict__[name] = deepcopy(value, memo)
        return made
    raise Unsupported("copy.deepcopy of a " + type(item).__name__)


module("copy").update(copy=_copy, deepcopy=deepcopy)


# `sys`, of which the source sees itself and nothing of the machine.


class _Stream:
    def write(self, text):
        return len(text)

    def flush(self):
        return None

    def isatty(self):
        return False


class _Version(tuple):
    major, minor, micro = 3, 11, 0
    releaselevel, serial = "final", 0


_seen = type(_machine)("sys")
_seen.modules = {}
_seen.version_info = _Version((3, 11, 0, "final", 0))
_seen.version = "3.11.0"
_seen.maxsize = 2**63 - 1
_seen.platform = "linux"
_seen.byteorder = "little"
_seen.argv, _seen.path = [""], [""]
_seen.executable = ""
_seen.stdout = _seen.stderr = _Stream()
_seen.getrecursionlimit = lambda: 1000
_seen.setrecursionlimit = lambda most: None
_seen.getsizeof = lambda item, default=0: 64
_seen.float_info = type("float_info", (), {"max": 1.7976931348623157e308, "min": 2.2250738585072014e-308, "epsilon": 2.220446049250313e-16})
in_place_of["sys"] = _seen


def _lacking(name):
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    from _import import Placeholder

    return Placeholder("sys." + name)


_seen.__getattr__ = _lacking


# `threading`: one thread is all there is.


class _Lock:
    def acquire(self, *args, **kwargs):
        return True

    def release(self):
        return None

    def __enter__(self):
        return True

    def __exit__(self, *error):
        return False


module("threading").update(local=type("local", (), {}), Lock=_Lock, RLock=_Lock)


def candidate(itself):
    """The source's own module, under its name and as the main one."""
    itself.__file__ = "/network.py"
    _seen.modules.update({"network": itself, "__main__": itself})
