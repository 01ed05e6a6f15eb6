# Modules of a few lines each.
from _import import Unsupported, module


def _same(item=None, *args, **kwargs):
    return item


_future = module("__future__")
_future.update(annotations=None, division=None, print_function=None, absolute_import=None, unicode_literals=None)

_abc = module("abc")
_abc.update(ABC=object, ABCMeta=type, abstractmethod=_same, abstractproperty=property)

_warnings = module("warnings")
_warnings.update(warn=lambda *args, **kwargs: None, filterwarnings=lambda *args, **kwargs: None, simplefilter=lambda *args, **kwargs: None)


class _Logger:
    def _nothing(self, *args, **kwargs):
        return None

    debug = info = warning = error = critical = setLevel = addHandler = _nothing


_logging = module("logging")
_logging.update(getLogger=lambda *args: _Logger(), INFO=20, DEBUG=10, WARNING=30, basicConfig=lambda **kwargs: None)
_logging.update(info=lambda *args: None, warning=lambda *args: None, debug=lambda *args: None)

_operator = module("operator")
_operator.update(
    add=lambda a, b: a + b,
    sub=lambda a, b: a - b,
    mul=lambda a, b: a * b,
    truediv=lambda a, b: a / b,
    floordiv=lambda a, b: a // b,
    itemgetter=lambda key: lambda item: item[key],
    attrgetter=lambda name: lambda item: getattr(item, name),
)


def _copy(item):
    if isinstance(item, (list, dict, set)):
        return item.copy()
    if isinstance(item, (int, float, str, tuple, bool, type(None))):
        return item
    if _plain(item):
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
    if isinstance(item, (int, float, str, bool, type(None), type)) or callable(item) and not hasattr(item, "__deepcopy__"):
        return item
    if hasattr(item, "__deepcopy__"):
        return item.__deepcopy__(memo)
    if isinstance(item, dict):
        made = memo[id(item)] = type(item)()
        for key, value in item.items():
            made[key] = deepcopy(value, memo)
        return made
    if type(item) in (list, tuple, set):
        return type(item)(deepcopy(value, memo) for value in item)
    if _plain(item):
        made = memo[id(item)] = object.__new__(type(item))
        for name, value in item.__dict__.items():
            made.__dict__[name] = deepcopy(value, memo)
        return made
    raise Unsupported("copy.deepcopy of a " + type(item).__name__)


module("copy").update(copy=_copy, deepcopy=deepcopy)


class _Field:
    def __init__(self, default, factory):
        self.default = default
        self.factory = factory


_missing = object()


def _field(*, default=_missing, default_factory=_missing, **kwargs):
    return _Field(default, default_factory)


def _dataclass(cls=None, **options):
    def decorate(cls):
        fields = []
        for base in reversed(cls.__mro__):
            for name in getattr(base, "__annotations__", {}) if base is not object else ():
                if name not in fields:
                    fields.append(name)
        given = {name: getattr(cls, name) for name in fields if hasattr(cls, name)}

        def __init__(self, *args, **kwargs):
            if len(args) > len(fields):
                raise TypeError(cls.__name__ + "() got too many arguments")
            values = dict(zip(fields, args))
            for name, value in kwargs.items():
                if name not in fields or name in values:
                    raise TypeError(cls.__name__ + "() got an unexpected argument " + repr(name))
                values[name] = value
            for name in fields:
                if name in values:
                    value = values[name]
                elif name not in given:
                    raise TypeError(cls.__name__ + "() misses the argument " + repr(name))
                elif isinstance(given[name], _Field):
                    value = given[name].default if given[name].factory is _missing else given[name].factory()
                else:
                    value = given[name]
                setattr(self, name, value)
            if hasattr(self, "__post_init__"):
                self.__post_init__()

        if "__init__" not in cls.__dict__:
            cls.__init__ = __init__
        cls.__dataclass_fields__ = tuple(fields)
        return cls

    return decorate if cls is None else decorate(cls)


module("dataclasses").update(
    dataclass=_dataclass,
    field=_field,
    asdict=lambda item: {name: getattr(item, name) for name in item.__dataclass_fields__},
    replace=lambda item, **changes: type(item)(**{**{n: getattr(item, n) for n in item.__dataclass_fields__}, **changes}),
)
