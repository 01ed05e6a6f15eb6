# `enum`: members are instances of their class, found by name and by value; aliases are the first member again.
from _import import missing

__getattr__ = missing("enum")


class auto:
    pass


class nonmember:
    def __init__(self, value):
        self.value = value


class _Body(dict):
    """The class body, in the order of its names."""

    def __init__(self):
        dict.__init__(self)
        self.members = []

    def __setitem__(self, name, value):
        hidden = name.startswith("_") or hasattr(value, "__get__") or isinstance(value, (staticmethod, classmethod, property, nonmember))
        if isinstance(value, nonmember):
            value = value.value
        elif not hidden or (isinstance(value, type) is False and type(value).__name__ == "partial"):
            if name in self.members:
                raise TypeError(repr(name) + " already defined as " + repr(self[name]))
            self.members.append(name)
        dict.__setitem__(self, name, value)


def _next(cls, kind, name, members):
    make = kind.get("_generate_next_value_")
    if make is None:
        for base in cls.__mro__:
            make = make or base.__dict__.get("_generate_next_value_")
    values = [member._value_ for member in members]
    if make is not None:
        make = getattr(make, "__func__", make)
        return make(name, 1, len(values), values)
    if issubclass(cls, str):
        return name.lower()
    numbers = [value for value in values if isinstance(value, int)]
    if issubclass(cls, _Bits):
        return 1 if not numbers else 1 << max(numbers).bit_length()
    return max(numbers) + 1 if numbers else 1


class EnumMeta(type):
    @classmethod
    def __prepare__(meta, name, bases, **kwargs):
        return _Body()

    def __new__(meta, name, bases, body, **kwargs):
        for base in bases:
            if isinstance(base, EnumMeta) and base.__dict__.get("_member_map_"):
                raise TypeError("<enum " + repr(name) + "> cannot extend " + repr(base))
        names = body.members if isinstance(body, _Body) else []
        cls = type.__new__(meta, name, bases, {key: value for key, value in body.items() if key not in names})
        cls._member_map_ = {}
        made = []
        for key in names:
            value = body[key]
            if isinstance(value, auto):
                value = _next(cls, body, key, made)
            member = None
            for known in made:
                if known._value_ == value and type(known._value_) is type(value):
                    member = known
            if member is None:
                member = _member(cls, key, value)
                made.append(member)
            cls._member_map_[key] = member
            type.__setattr__(cls, key, member)
        return cls

    def __call__(cls, value, names=None, **kwargs):
        if names is not None:
            if isinstance(names, str):
                names = names.replace(",", " ").split()
            body = _Body()
            for index, item in enumerate(names.items() if isinstance(names, dict) else names):
                key, given = (item, index + 1) if isinstance(item, str) else item
                body[key] = given
            return EnumMeta.__new__(EnumMeta, value, (cls,), body)
        if type(value) is cls:
            return value
        for member in cls._member_map_.values():
            if member._value_ == value:
                return member
        if issubclass(cls, _Bits) and isinstance(value, int):
            return _member(cls, None, value)
        found = getattr(cls, "_missing_", None)
        found = found(value) if found is not None else None
        if isinstance(found, cls):
            return found
        raise ValueError(repr(value) + " is not a valid " + cls.__qualname__)

    def __iter__(cls):
        return iter(_distinct(cls))

    def __len__(cls):
        return len(_distinct(cls))

    def __getitem__(cls, name):
        return cls._member_map_[name]

    def __contains__(cls, item):
        return any(member is item or member._value_ == item for member in cls._member_map_.values())

    def __bool__(cls):
        return True

    def __setattr__(cls, name, value):
        if name in cls.__dict__.get("_member_map_", ()):
            raise AttributeError("cannot reassign member " + repr(name))
        type.__setattr__(cls, name, value)

    @property
    def __members__(cls):
        return dict(cls._member_map_)


def _distinct(cls):
    """Each member once: a second name for the same one is not another."""
    return [member for name, member in cls._member_map_.items() if member._name_ == name]


def _member(cls, name, value):
    arguments = value if isinstance(value, tuple) else (value,)
    make = None
    for base in cls.__mro__:
        if base is not object and not issubclass(base, Enum) and base.__dict__.get("__new__") or (base not in _own and "__new__" in base.__dict__):
            make = base.__dict__["__new__"]
            break
    if make is None or make is object.__new__:
        member = object.__new__(cls)
    else:
        member = (make.__func__ if isinstance(make, staticmethod) else make)(cls, *arguments)
    if "_value_" not in member.__dict__:
        member._value_ = value
    member._name_ = name
    if cls.__init__ is not object.__init__ and not issubclass(cls, (int, str, float)):
        cls.__init__(member, *arguments)
    return member


_own = []


class Enum(metaclass=EnumMeta):
    @property
    def name(self):
        return self._name_

    @property
    def value(self):
        return self._value_

    def __repr__(self):
        return "<" + type(self).__name__ + "." + str(self._name_) + ": " + repr(self._value_) + ">"

    def __str__(self):
        return type(self).__name__ + "." + str(self._name_)

    def __format__(self, spec):
        return format(str(self), spec)

    def __hash__(self):
        return hash(self._name_)

    def __reduce_ex__(self, protocol):
        return type(self), (self._value_,)

    def __deepcopy__(self, memo):
        return self

    def __copy__(self):
        return self


_own.append(Enum)


class IntEnum(int, Enum):
    def __str__(self):
        return int.__repr__(self)

    def __format__(self, spec):
        return format(int(self), spec)

    __hash__ = int.__hash__


class StrEnum(str, Enum):
    def __str__(self):
        return str.__str__(self._value_)

    def __format__(self, spec):
        return format(self._value_, spec)

    __hash__ = str.__hash__


class _Bits:
    def __or__(self, other):
        return type(self)(self._value_ | getattr(other, "_value_", other))

    def __and__(self, other):
        return type(self)(self._value_ & getattr(other, "_value_", other))

    def __xor__(self, other):
        return type(self)(self._value_ ^ getattr(other, "_value_", other))

    def __invert__(self):
        every = 0
        for member in type(self):
            every |= member._value_
        return type(self)(every & ~self._value_)

    def __contains__(self, other):
        return other._value_ & self._value_ == other._value_

    def __bool__(self):
        return bool(self._value_)

    def __eq__(self, other):
        return type(self) is type(other) and self._value_ == other._value_

    def __hash__(self):
        return hash(self._value_)


class Flag(_Bits, Enum):
    pass


class IntFlag(int, _Bits, Enum):
    pass


EnumType = EnumMeta


def unique(cls):
    for name, member in cls._member_map_.items():
        if member._name_ != name:
            raise ValueError("duplicate values found in " + repr(cls) + ": " + name + " -> " + member._name_)
    return cls


def member(value):
    return value
