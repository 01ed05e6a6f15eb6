# `os` without a machine: an empty environment, no files, paths as text.
from _import import Unsupported, missing, module

__getattr__ = missing("os")

sep, linesep, pathsep, curdir, name, extsep = "/", "\n", ":", ".", "posix", "."


class _Environment(dict):
    def __missing__(self, key):
        raise KeyError(key)


environ = _Environment()


def getenv(key, default=None):
    return environ.get(key, default)


def getcwd():
    return "/"


def fspath(path):
    return path


def cpu_count():
    return 1


def getpid():
    return 1


def _no_file(what):
    def function(*args, **kwargs):
        raise Unsupported("os." + what + ": a source has no files here")

    return function


listdir, scandir, walk, remove, rename, stat = [_no_file(what) for what in ("listdir", "scandir", "walk", "remove", "rename", "stat")]


def _join(first, *rest):
    for part in rest:
        first = part if part.startswith("/") else first + part if first.endswith("/") or not first else first + "/" + part
    return first


def _split(path):
    head, slash, tail = path.rpartition("/")
    return (head or slash, tail)


def _splitext(path):
    folder, tail = path[: path.rfind("/") + 1], path[path.rfind("/") + 1 :]
    stem, dot, ending = tail.rpartition(".")
    return (folder + stem, dot + ending) if stem.strip(".") else (path, "")


def _normal(path):
    parts = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return ("/" if path.startswith("/") else "") + "/".join(parts) or "."


def _never(path):
    return False


module("os.path").update(
    join=_join, split=_split, splitext=_splitext, normpath=_normal, basename=lambda path: _split(path)[1], dirname=lambda path: _split(path)[0],
    abspath=lambda path: _normal(_join("/", path)), realpath=lambda path: _normal(_join("/", path)), expanduser=lambda path: path,
    exists=_never, isfile=_never, isdir=_never, islink=_never, isabs=lambda path: path.startswith("/"), sep="/",
)
