# The part of `functools` that networks use.
from _import import missing, public
from _functools import reduce

public.add("functools")
__getattr__ = missing("functools")


class partial:
    def __init__(self, func, *args, **keywords):
        if not callable(func):
            raise TypeError("the first argument must be callable")
        if isinstance(func, partial):
            args = func.args + args
            keywords = {**func.keywords, **keywords}
            func = func.func
        self.func = func
        self.args = args
        self.keywords = keywords

    def __call__(self, *args, **keywords):
        return self.func(*self.args, *args, **{**self.keywords, **keywords})

    def __repr__(self):
        return "functools.partial(" + repr(self.func) + ")"


def update_wrapper(wrapper, wrapped, *args, **kwargs):
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        if hasattr(wrapped, name):
            setattr(wrapper, name, getattr(wrapped, name))
    wrapper.__dict__.update(getattr(wrapped, "__dict__", {}))
    wrapper.__wrapped__ = wrapped
    return wrapper


def wraps(wrapped, *args, **kwargs):
    return lambda wrapper: update_wrapper(wrapper, wrapped)


def lru_cache(maxsize=128, typed=False):
    def decorate(function):
        known = {}

        def cached(*args, **kwargs):
            key = (args, tuple(sorted(kwargs.items())))
            if key not in known:
                known[key] = function(*args, **kwargs)
            return known[key]

        return cached

    if callable(maxsize):
        function, maxsize = maxsize, 128
        return decorate(function)
    return decorate


def cache(function):
    return lru_cache(None)(function)


def singledispatch(function):
    kinds = {}

    def register(kind, chosen=None):
        if chosen is None and not isinstance(kind, type):
            notes = [note for name, note in kind.__annotations__.items() if name != "return"]
            kinds[notes[0]] = kind
            return kind
        if chosen is None:
            return lambda chosen: register(kind, chosen)
        kinds[kind] = chosen
        return chosen

    def dispatch(cls):
        for base in cls.__mro__:
            if base in kinds:
                return kinds[base]
        return function

    def call(first, *args, **kwargs):
        return dispatch(type(first))(first, *args, **kwargs)

    call.register, call.dispatch = register, dispatch
    return update_wrapper(call, function)


def total_ordering(cls):
    own = cls.__dict__
    if "__lt__" in own:
        cls.__gt__ = lambda a, b: not (a < b or a == b)
        cls.__le__ = lambda a, b: a < b or a == b
        cls.__ge__ = lambda a, b: not a < b
    elif "__gt__" in own:
        cls.__lt__ = lambda a, b: not (a > b or a == b)
        cls.__ge__ = lambda a, b: a > b or a == b
        cls.__le__ = lambda a, b: not a > b
    return cls


def cmp_to_key(compare):
    class Key:
        def __init__(self, item):
            self.item = item

        def __lt__(self, other):
            return compare(self.item, other.item) < 0

    return Key


class cached_property:
    def __init__(self, function):
        self.function = function
        self.name = function.__name__

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.function(instance)
        return value


def partialmethod(func, *args, **keywords):
    def method(self, *more, **others):
        return func(self, *args, *more, **{**keywords, **others})

    return method
