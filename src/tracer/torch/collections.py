# The part of `collections` that networks use.
from _import import missing, module, public
from _collections import deque

public.add("collections")
_lacking = missing("collections")


class defaultdict(dict):
    def __init__(self, default_factory=None, *args, **kwargs):
        dict.__init__(self, *args, **kwargs)
        self.default_factory = default_factory

    def __missing__(self, key):
        if self.default_factory is None:
            raise KeyError(key)
        value = self[key] = self.default_factory()
        return value


class OrderedDict(dict):
    def move_to_end(self, key, last=True):
        value = self.pop(key)
        if last:
            self[key] = value
        else:
            rest = list(self.items())
            self.clear()
            self[key] = value
            self.update(rest)

    def popitem(self, last=True):
        key = list(self)[-1 if last else 0] if self else None
        if not self:
            raise KeyError("dictionary is empty")
        return key, self.pop(key)

    def copy(self):
        return type(self)(self)

    def __reversed__(self):
        return iter(list(self)[::-1])

    def __or__(self, other):
        return type(self)({**self, **other})

    @classmethod
    def fromkeys(cls, keys, value=None):
        return cls((key, value) for key in keys)

    def __repr__(self):
        return "OrderedDict(" + repr(list(self.items())) + ")"


class Counter(dict):
    def __init__(self, items=(), **kwargs):
        self.update(items, **kwargs)

    def update(self, items=(), **kwargs):
        for item, n in items.items() if isinstance(items, dict) else [(item, 1) for item in items]:
            self[item] = self.get(item, 0) + n
        for item, n in kwargs.items():
            self[item] = self.get(item, 0) + n

    def most_common(self, n=None):
        return sorted(self.items(), key=lambda pair: -pair[1])[:n]

    def elements(self):
        return [item for item, n in self.items() for _ in range(n)]

    def __missing__(self, key):
        return 0


def namedtuple(typename, field_names, *, rename=False, defaults=None, module=None):
    if isinstance(field_names, str):
        field_names = field_names.replace(",", " ").split()
    fields = tuple(field_names)
    optional = dict(zip(fields[len(fields) - len(defaults or ()):], defaults or ()))

    def __new__(cls, *args, **kwargs):
        values = list(args)
        for name in fields[len(args):]:
            if name in kwargs:
                values.append(kwargs.pop(name))
            elif name in optional:
                values.append(optional[name])
            else:
                raise TypeError(typename + "() misses the argument " + repr(name))
        if kwargs or len(values) > len(fields):
            raise TypeError(typename + "() got too many arguments")
        return tuple.__new__(cls, values)

    def _make(cls, items):
        return cls(*items)

    def _asdict(self):
        return dict(zip(fields, self))

    def _replace(self, **kwargs):
        return type(self)(**{**self._asdict(), **kwargs})

    def __repr__(self):
        return typename + "(" + ", ".join(n + "=" + repr(v) for n, v in zip(fields, self)) + ")"

    body = {"__new__": __new__, "_fields": fields, "_make": classmethod(_make), "_field_defaults": dict(optional), "_asdict": _asdict, "_replace": _replace, "__repr__": __repr__, "__slots__": ()}
    for index, name in enumerate(fields):
        body[name] = property(lambda self, index=index: self[index])
    return type(typename, (tuple,), body)


def _abstract(name):
    import typing

    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    return getattr(typing, {"Set": "AbstractSet"}.get(name, name))


module("collections.abc").update(__getattr__=_abstract)


class ChainMap(dict):
    def __init__(self, *maps):
        for one in reversed(maps):
            self.update(one)


class UserDict(dict):
    pass


class UserList(list):
    pass


def __getattr__(name):
    """The abstract classes stood here until Python 3.10, and sources still ask for them."""
    if name in ("Iterable", "Sequence", "Mapping", "Callable", "MutableMapping", "Hashable", "Sized"):
        return _abstract(name)
    return _lacking(name)
