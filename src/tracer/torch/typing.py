# `typing`: annotations are never looked at, but instance checks, bases and named tuples are.
from _import import Unsupported, public

public.add("typing")
TYPE_CHECKING = False


def _is_callable(item):
    return callable(item)


def _has(*names):
    return lambda item: all(hasattr(type(item), name) for name in names)


def _is_sequence(item):
    return isinstance(item, (list, tuple, str, range, bytes, bytearray)) or type(item).__name__ == "deque"


# What an unsubscripted name means in an instance check: kinds, or a function.
_kinds = {
    "List": list, "Tuple": tuple, "Dict": dict, "Set": set, "FrozenSet": frozenset, "Type": type, "Text": str, "AnyStr": (str, bytes),
    "MutableSequence": (list, bytearray), "MutableMapping": dict, "Mapping": dict, "MutableSet": set, "AbstractSet": (set, frozenset),
    "DefaultDict": dict, "OrderedDict": dict, "Counter": dict, "ByteString": (bytes, bytearray), "SupportsInt": _has("__int__"), "SupportsFloat": _has("__float__"),
    "Sequence": _is_sequence, "Callable": _is_callable, "Iterable": _has("__iter__"), "Iterator": _has("__iter__", "__next__"),
    "Generator": _has("__iter__", "__next__", "send"), "Hashable": lambda item: type(item).__hash__ is not None, "Sized": _has("__len__"),
    "Container": _has("__contains__"), "Collection": _has("__len__", "__iter__", "__contains__"), "Reversible": _has("__reversed__"),
}


class _Form:
    """A name of `typing`, or one with arguments."""

    def __init__(self, name, args=None):
        self._name, self._args = name, args

    @property
    def __origin__(self):
        if self._args is None:
            raise AttributeError("__origin__")
        kind = _kinds.get(self._name)
        return kind if isinstance(kind, type) else _Form(self._name)

    @property
    def __args__(self):
        if self._args is None:
            raise AttributeError("__args__")
        return self._args

    def __getitem__(self, args):
        args = args if isinstance(args, tuple) else (args,)
        if self._name == "Optional":
            return _Form("Union", args + (type(None),))
        return _Form(self._name, args)

    def __call__(self, *args, **kwargs):
        kind = _kinds.get(self._name)
        if isinstance(kind, type) and self._name != "Type":
            return kind(*args, **kwargs)
        raise TypeError("typing." + self._name + " cannot be instantiated")

    def __or__(self, other):
        return _Form("Union", (self, other))

    def __ror__(self, other):
        return _Form("Union", (other, self))

    def __eq__(self, other):
        return isinstance(other, _Form) and (self._name, self._args) == (other._name, other._args)

    def __hash__(self):
        return hash(self._name)

    def __mro_entries__(self, bases):
        kind = _kinds.get(self._name)
        if isinstance(kind, type) and self._name != "Type":
            return (kind,)
        return () if any(not isinstance(base, _Form) for base in bases) or self is not bases[0] else (Generic,)

    def _members(self):
        members = [type(None) if kind is None else kind for kind in self._args]
        if any(isinstance(kind, _Form) and kind._args is not None and kind._name != "Union" for kind in members):
            raise TypeError("Subscripted generics cannot be used with class and instance checks")
        return members

    def __instancecheck__(self, item):
        if self._name == "Union" and self._args is not None:
            return any(isinstance(item, kind) for kind in self._members())
        if self._args is not None:
            raise TypeError("Subscripted generics cannot be used with class and instance checks")
        kind = _kinds.get(self._name)
        if kind is None:
            raise TypeError("typing." + self._name + " cannot be used with isinstance()")
        return isinstance(item, kind) if isinstance(kind, (type, tuple)) else kind(item)

    def __subclasscheck__(self, cls):
        if self._name == "Union" and self._args is not None:
            return any(issubclass(cls, kind) for kind in self._members())
        kind = _kinds.get(self._name)
        if kind is None or self._args is not None:
            raise TypeError("typing." + self._name + " cannot be used with issubclass()")
        if isinstance(kind, (type, tuple)):
            return issubclass(cls, kind)
        if kind is _is_sequence:
            return issubclass(cls, (list, tuple, str, range, bytes, bytearray))
        raise Unsupported("issubclass with typing." + self._name)

    def __repr__(self):
        if self._args is None:
            return "typing." + self._name
        return "typing." + self._name + "[" + ", ".join(map(repr, self._args)) + "]"


class Generic:
    def __class_getitem__(cls, item):
        return cls


class Protocol(Generic):
    pass


class TypeVar:
    def __init__(self, name, *constraints, bound=None, covariant=False, contravariant=False, default=None, **kwargs):
        self.__name__, self.__constraints__, self.__bound__ = name, constraints, bound

    def __or__(self, other):
        return _Form("Union", (self, other))

    __ror__ = __or__


ParamSpec = TypeVarTuple = TypeVar


def NewType(name, kind):
    return lambda value: value


def cast(kind, value):
    return value


def _same(item=None, *args, **kwargs):
    return item


final = overload = no_type_check = runtime_checkable = override = assert_type = reveal_type = _same


def get_origin(kind):
    return getattr(kind, "__origin__", None)


def get_args(kind):
    return getattr(kind, "__args__", ())


def get_type_hints(item, *args, **kwargs):
    return dict(getattr(item, "__annotations__", {}) or {})


class _NamedTupleMeta(type):
    def __new__(meta, name, bases, body):
        from collections import namedtuple

        if "_root" in body:
            return type.__new__(meta, name, bases, body)
        # The annotations of a class body are known once there is a class.
        notes = getattr(type("_Notes", (), {k: v for k, v in body.items() if k.startswith("__annot")}), "__annotations__", {})
        defaults = [body[field] for field in notes if field in body]
        base = namedtuple(name, list(notes), defaults=defaults)
        kept = {key: value for key, value in body.items() if key not in notes and key not in ("__dict__", "__weakref__")}
        made = type(name, (base,), kept)
        made._field_defaults = {field: body[field] for field in notes if field in body}
        return made


class _NamedTuple(metaclass=_NamedTupleMeta):
    _root = True


class _NamedTupleForm:
    def __call__(self, name, fields=(), **kwargs):
        from collections import namedtuple

        return namedtuple(name, [field for field, _ in fields] + list(kwargs))

    def __mro_entries__(self, bases):
        return (_NamedTuple,)


NamedTuple = _NamedTupleForm()


class _TypedDictForm:
    def __call__(self, name, fields=None, *, total=True, **kwargs):
        return dict

    def __mro_entries__(self, bases):
        return (_TypedDict,)


class _TypedDict(dict):
    def __init_subclass__(cls, total=True):
        return None


TypedDict = _TypedDictForm()


class Any:
    pass


_made = {}


def __getattr__(name):
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    if name not in _made:
        _made[name] = _Form(name)
    return _made[name]
