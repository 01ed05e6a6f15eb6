# The part of `collections` that networks use.
from _import import missing, module, public
from _collections import deque

public.add("collections")
__getattr__ = missing("collections")


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

    def __repr__(self):
        return "OrderedDict(" + repr(list(self.items())) + ")"


class Counter(dict):
    def __init__(self, items=()):
        for item in items:
            self[item] = self.get(item, 0) + 1

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

    def _asdict(self):
        return dict(zip(fields, self))

    def _replace(self, **kwargs):
        return type(self)(**{**self._asdict(), **kwargs})

    def __repr__(self):
        return typename + "(" + ", ".join(n + "=" + repr(v) for n, v in zip(fields, self)) + ")"

    body = {"__new__": __new__, "_fields": fields, "_asdict": _asdict, "_replace": _replace, "__repr__": __repr__, "__slots__": ()}
    for index, name in enumerate(fields):
        body[name] = property(lambda self, index=index: self[index])
    return type(typename, (tuple,), body)


_abc = module("collections.abc")
_abc.update(Iterable=(list, tuple, dict, set, range, str), Sequence=(list, tuple, range, str), Mapping=dict, Callable=object)
