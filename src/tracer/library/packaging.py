# `packaging.version`, as far as sources ask which PyTorch they run in.
from _import import missing, module

__getattr__ = missing("packaging")


class InvalidVersion(ValueError):
    pass


def _parts(text):
    number = text.strip().lstrip("v").split("+")[0]
    release, rest = [], ""
    for i, part in enumerate(number.split(".")):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            rest = part or rest
            break
        release.append(int(digits))
        rest = part[len(digits) :]
        if rest:
            break
    if not release:
        raise InvalidVersion("Invalid version: " + repr(text))
    return tuple(release), rest


class Version:
    def __init__(self, version):
        self.text = version
        self.release, self.rest = _parts(version)

    major = property(lambda self: self.release[0])
    minor = property(lambda self: self.release[1] if len(self.release) > 1 else 0)
    micro = property(lambda self: self.release[2] if len(self.release) > 2 else 0)
    base_version = property(lambda self: ".".join(map(str, self.release)))
    public = property(lambda self: self.text.split("+")[0])
    is_prerelease = property(lambda self: bool(self.rest))

    def _key(self):
        release = self.release
        while release and release[-1] == 0:
            release = release[:-1]
        return release, self.rest == "", self.rest

    def __str__(self):
        return self.text

    def __repr__(self):
        return "<Version(" + repr(self.text) + ")>"

    def __hash__(self):
        return hash(self._key())

    def __eq__(self, other):
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other):
        return self._key() < other._key()

    def __le__(self, other):
        return self._key() <= other._key()

    def __gt__(self, other):
        return self._key() > other._key()

    def __ge__(self, other):
        return self._key() >= other._key()


module("packaging.version").update(Version=Version, LegacyVersion=Version, parse=Version, InvalidVersion=InvalidVersion)
