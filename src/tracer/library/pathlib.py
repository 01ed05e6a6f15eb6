# `pathlib`: paths as text; there are no files here.
import os

from _import import Unsupported, missing

__getattr__ = missing("pathlib")


class PurePath:
    def __init__(self, *parts):
        self.text = os.path.normpath(os.path.join(*[str(part) for part in parts])) if parts else "."

    def __truediv__(self, other):
        return type(self)(self.text, str(other))

    def __rtruediv__(self, other):
        return type(self)(str(other), self.text)

    def __str__(self):
        return self.text

    __fspath__ = __str__

    def __repr__(self):
        return type(self).__name__ + "(" + repr(self.text) + ")"

    def __eq__(self, other):
        return isinstance(other, PurePath) and self.text == other.text

    def __hash__(self):
        return hash(self.text)

    name = property(lambda self: os.path.basename(self.text))
    suffix = property(lambda self: os.path.splitext(self.text)[1])
    stem = property(lambda self: os.path.splitext(self.name)[0])
    parent = property(lambda self: type(self)(os.path.dirname(self.text) or "."))
    parts = property(lambda self: tuple(part for part in self.text.split("/") if part))

    @property
    def parents(self):
        found, at = [], self
        while at.parent.text != at.text:
            at = at.parent
            found.append(at)
        return found

    def joinpath(self, *others):
        return type(self)(self.text, *others)

    def with_suffix(self, suffix):
        return type(self)(os.path.splitext(self.text)[0] + suffix)

    def as_posix(self):
        return self.text


class Path(PurePath):
    def resolve(self, strict=False):
        return Path(os.path.abspath(self.text))

    absolute = expanduser = resolve

    def exists(self):
        return False

    is_file = is_dir = exists

    def _no_file(self, *args, **kwargs):
        raise Unsupported("a file: a source has no files here")

    open = read_text = read_bytes = write_text = mkdir = iterdir = glob = rglob = _no_file

    @classmethod
    def cwd(cls):
        return cls("/")

    home = cwd


PosixPath = Path
