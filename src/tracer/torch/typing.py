# Annotations are never looked at, so every name of `typing` may be the same thing.
from _import import public

public.add("typing")


class _Any:
    def __getitem__(self, item):
        return self

    def __call__(self, *args, **kwargs):
        return self

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __mro_entries__(self, bases):
        return ()


_any = _Any()
TYPE_CHECKING = False


def cast(kind, value):
    return value


def _same(item=None, *args, **kwargs):
    return item


final = overload = no_type_check = runtime_checkable = override = _same


def NamedTuple(name, fields):
    from collections import namedtuple

    return namedtuple(name, [field for field, _ in fields])


def __getattr__(name):
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    return _any
