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


def wraps(wrapped, *args, **kwargs):
    def decorate(wrapper):
        wrapper.__name__ = wrapped.__name__
        wrapper.__doc__ = wrapped.__doc__
        wrapper.__wrapped__ = wrapped
        return wrapper

    return decorate


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


cache = lru_cache


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
