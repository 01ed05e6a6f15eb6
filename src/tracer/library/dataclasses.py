# `dataclasses`: fields out of annotations, in the order of the bases; the constructor, comparison, text.
from _import import missing

__getattr__ = missing("dataclasses")


class _Missing:
    def __repr__(self):
        return "MISSING"


MISSING = _Missing()


class KW_ONLY:
    pass


class InitVar:
    def __init__(self, kind):
        self.kind = kind

    def __class_getitem__(cls, kind):
        return InitVar(kind)


class FrozenInstanceError(AttributeError):
    pass


class Field:
    def __init__(self, default=MISSING, default_factory=MISSING, init=True, repr=True, hash=None, compare=True, metadata=None, kw_only=MISSING):
        if default is not MISSING and default_factory is not MISSING:
            raise ValueError("cannot specify both default and default_factory")
        self.name = self.type = None
        self.default, self.default_factory = default, default_factory
        self.init, self.repr, self.hash, self.compare = init, repr, hash, compare
        self.metadata, self.kw_only = metadata or {}, kw_only
        self.passed_on = False


def field(*, default=MISSING, default_factory=MISSING, init=True, repr=True, hash=None, compare=True, metadata=None, kw_only=MISSING):
    return Field(default, default_factory, init, repr, hash, compare, metadata, kw_only)


def _is_class_variable(kind):
    return "ClassVar" in (kind if isinstance(kind, str) else repr(kind))


def _own_fields(cls, kw_only):
    made = {}
    for name, kind in getattr(cls, "__annotations__", {}).items():
        if kind is KW_ONLY or kind in ("KW_ONLY", "dataclasses.KW_ONLY"):
            kw_only = True
            continue
        if _is_class_variable(kind):
            continue
        default = cls.__dict__.get(name, MISSING)
        one = default if isinstance(default, Field) else Field(default)
        if isinstance(one.default, (list, dict, set)):
            raise ValueError("mutable default " + repr(type(one.default)) + " for field " + name + " is not allowed: use default_factory")
        one.name, one.type = name, kind
        one.passed_on = isinstance(kind, InitVar) or isinstance(kind, str) and "InitVar" in kind
        one.kw_only = kw_only if one.kw_only is MISSING else one.kw_only
        if one.default is not MISSING:
            setattr(cls, name, one.default)
        elif isinstance(default, Field):
            delattr(cls, name)
        made[name] = one
    return made


def _constructor(cls, every):
    given = [f for f in every if f.init]
    places = [f for f in given if not f.kw_only]
    optional = False
    for f in places:
        has = f.default is not MISSING or f.default_factory is not MISSING
        if optional and not has:
            raise TypeError("non-default argument " + repr(f.name) + " follows default argument")
        optional = optional or has

    def __init__(self, *args, **kwargs):
        if len(args) > len(places):
            raise TypeError(cls.__name__ + ".__init__() takes " + str(len(places) + 1) + " positional arguments but " + str(len(args) + 1) + " were given")
        values = {f.name: value for f, value in zip(places, args)}
        for name, value in kwargs.items():
            if name in values or all(f.name != name for f in given):
                raise TypeError(cls.__name__ + ".__init__() got an unexpected keyword argument " + repr(name))
            values[name] = value
        handed = []
        for f in every:
            if f.name in values:
                value = values[f.name]
            elif f.default_factory is not MISSING:
                value = f.default_factory()
            elif f.default is not MISSING:
                value = f.default
            elif f.init:
                raise TypeError(cls.__name__ + ".__init__() missing 1 required positional argument: " + repr(f.name))
            else:
                continue
            if f.passed_on:
                handed.append(value)
            else:
                object.__setattr__(self, f.name, value) if cls.__dict__["_frozen"] else setattr(self, f.name, value)
        if hasattr(self, "__post_init__"):
            self.__post_init__(*handed)

    return __init__


def _frozen_setattr(self, name, value):
    raise FrozenInstanceError("cannot assign to field " + repr(name))


def _make(cls, init, repr_, eq, order, frozen, unsafe_hash, kw_only):
    fields_ = {}
    for base in reversed(cls.__mro__[1:]):
        fields_.update(base.__dict__.get("__dataclass_fields__", {}))
    for name, one in _own_fields(cls, kw_only).items():
        fields_[name] = one
    cls.__dataclass_fields__ = fields_
    cls._frozen = frozen
    every = list(fields_.values())
    if init:
        cls.__init__ = _constructor(cls, every)

    def key(self):
        return tuple(getattr(self, f.name) for f in every if f.compare and not f.passed_on)

    def text(self):
        shown = [f.name + "=" + repr(getattr(self, f.name)) for f in every if f.repr and not f.passed_on]
        return type(self).__qualname__ + "(" + ", ".join(shown) + ")"

    if repr_ and "__repr__" not in cls.__dict__:
        cls.__repr__ = text
    if eq and "__eq__" not in cls.__dict__:
        cls.__eq__ = lambda self, other: key(self) == key(other) if type(self) is type(other) else NotImplemented
        if not frozen and not unsafe_hash and "__hash__" not in cls.__dict__:
            cls.__hash__ = None
    if order:
        cls.__lt__ = lambda self, other: key(self) < key(other)
        cls.__le__ = lambda self, other: key(self) <= key(other)
        cls.__gt__ = lambda self, other: key(self) > key(other)
        cls.__ge__ = lambda self, other: key(self) >= key(other)
    if unsafe_hash or eq and frozen:
        cls.__hash__ = lambda self: hash(key(self))
    if frozen:
        cls.__setattr__ = _frozen_setattr
    cls.__match_args__ = tuple(f.name for f in every if f.init and not f.kw_only)
    return cls


def dataclass(cls=None, *, init=True, repr=True, eq=True, order=False, unsafe_hash=False, frozen=False, match_args=True, kw_only=False, slots=False, weakref_slot=False):
    def decorate(cls):
        return _make(cls, init, repr, eq, order, frozen, unsafe_hash, kw_only)

    return decorate if cls is None else decorate(cls)


def fields(item):
    if not hasattr(item, "__dataclass_fields__"):
        raise TypeError("must be called with a dataclass type or instance")
    return tuple(f for f in item.__dataclass_fields__.values() if not f.passed_on)


def is_dataclass(item):
    return hasattr(item, "__dataclass_fields__")


def _plain(item, make):
    if is_dataclass(item) and not isinstance(item, type):
        return make([(f.name, _plain(getattr(item, f.name), make)) for f in fields(item)])
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*[_plain(value, make) for value in item])
    if isinstance(item, (list, tuple)):
        return type(item)(_plain(value, make) for value in item)
    if isinstance(item, dict):
        return {key: _plain(value, make) for key, value in item.items()}
    return item


def asdict(item, *, dict_factory=dict):
    return _plain(item, dict_factory)


def astuple(item, *, tuple_factory=tuple):
    return _plain(item, lambda pairs: tuple_factory([value for _, value in pairs]))


def replace(item, **changes):
    values = {f.name: getattr(item, f.name) for f in fields(item) if f.init}
    values.update(changes)
    return type(item)(**values)


def make_dataclass(name, fields, *, bases=(), namespace=None, **options):
    body = dict(namespace or {})
    kinds = {}
    for part in fields:
        part = (part, object) if isinstance(part, str) else part
        kinds[part[0]] = part[1]
        if len(part) > 2:
            body[part[0]] = part[2]
    body["__annotations__"] = kinds
    return dataclass(type(name, bases, body), **options)
