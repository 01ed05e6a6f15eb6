# `inspect`: what a thing is, and the parameters of a function.
import types

from _import import Unsupported, missing

__getattr__ = missing("inspect")

VARIABLE, VARIABLE_KEYWORDS = 4, 8


def isclass(item):
    return isinstance(item, type)


def isfunction(item):
    return isinstance(item, types.FunctionType)


def ismethod(item):
    return isinstance(item, types.MethodType)


def isbuiltin(item):
    return isinstance(item, types.BuiltinFunctionType)


def isroutine(item):
    return isfunction(item) or ismethod(item) or isbuiltin(item)


def ismodule(item):
    return isinstance(item, types.ModuleType)


def isgenerator(item):
    return isinstance(item, types.GeneratorType)


def isabstract(item):
    return False


def getmro(cls):
    return cls.__mro__


def getdoc(item):
    return getattr(item, "__doc__", None)


def getmodule(item):
    return None


def unwrap(function):
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def getmembers(item, predicate=None):
    found = []
    for name in sorted(dir(item)):
        try:
            value = getattr(item, name)
        except AttributeError:
            continue
        if predicate is None or predicate(value):
            found.append((name, value))
    return found


class _Empty:
    pass


class _Kind(int):
    names = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD", "VAR_POSITIONAL", "KEYWORD_ONLY", "VAR_KEYWORD")
    name = property(lambda self: self.names[int(self)])


class Parameter:
    empty = _Empty
    POSITIONAL_ONLY, POSITIONAL_OR_KEYWORD, VAR_POSITIONAL, KEYWORD_ONLY, VAR_KEYWORD = [_Kind(i) for i in range(5)]

    def __init__(self, name, kind, *, default=_Empty, annotation=_Empty):
        self.name, self.kind, self.default, self.annotation = name, kind, default, annotation


class Signature:
    empty = _Empty

    def __init__(self, parameters=(), *, return_annotation=_Empty):
        self.parameters = {p.name: p for p in parameters}
        self.return_annotation = return_annotation

    def bind(self, *args, **kwargs):
        return _bind(self.parameters, args, kwargs, False)

    def bind_partial(self, *args, **kwargs):
        return _bind(self.parameters, args, kwargs, True)


class BoundArguments:
    def __init__(self, parameters, arguments):
        self._parameters, self.arguments = parameters, arguments

    def apply_defaults(self):
        whole = {}
        for name, p in self._parameters.items():
            if name in self.arguments:
                whole[name] = self.arguments[name]
            elif p.default is not _Empty:
                whole[name] = p.default
        self.arguments = whole

    args = property(lambda self: tuple(v for n, v in self.arguments.items() if self._parameters[n].kind < Parameter.KEYWORD_ONLY))
    kwargs = property(lambda self: {n: v for n, v in self.arguments.items() if self._parameters[n].kind == Parameter.KEYWORD_ONLY})


def _bind(parameters, args, kwargs, partial):
    values, rest, kwargs = {}, list(args), dict(kwargs)
    for name, p in parameters.items():
        if p.kind == Parameter.VAR_POSITIONAL:
            values[name], rest = tuple(rest), []
        elif p.kind == Parameter.VAR_KEYWORD:
            values[name], kwargs = kwargs, {}
        elif rest and p.kind != Parameter.KEYWORD_ONLY:
            values[name] = rest.pop(0)
        elif name in kwargs:
            values[name] = kwargs.pop(name)
        elif p.default is _Empty and not partial:
            raise TypeError("missing a required argument: " + repr(name))
    if rest or kwargs:
        raise TypeError("too many arguments, or got an unexpected keyword argument")
    return BoundArguments(parameters, values)


def _code(item):
    """The function, and how many of its first parameters are bound already."""
    if isclass(item):
        return item.__init__, 1
    if ismethod(item):
        return item.__func__, 1
    if not isfunction(item) and not hasattr(item, "__code__") and hasattr(item, "__call__"):
        if hasattr(item, "forward"):
            return type(item).forward, 1
        return type(item).__call__, 1
    return item, 0


def signature(item, **kwargs):
    if type(item).__name__ == "partial" and hasattr(item, "keywords"):
        inner = list(signature(item.func).parameters.values())[len(item.args):]
        made = [Parameter(p.name, p.kind, default=item.keywords.get(p.name, p.default)) for p in inner]
        return Signature(made)
    if isclass(item) and hasattr(item, "_fields") and hasattr(item, "_field_defaults"):
        kind = Parameter.POSITIONAL_OR_KEYWORD
        return Signature([Parameter(name, kind, default=item._field_defaults.get(name, _Empty)) for name in item._fields])
    function, skip = _code(unwrap(item))
    function = unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        raise ValueError("no signature found for " + repr(item))
    places = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    given = dict(zip(places[len(places) - len(defaults) :], defaults))
    notes = getattr(function, "__annotations__", {}) or {}
    found = []
    for i, name in enumerate(places):
        if i >= skip:
            kind = Parameter.POSITIONAL_ONLY if i < code.co_posonlyargcount else Parameter.POSITIONAL_OR_KEYWORD
            found.append(Parameter(name, kind, default=given.get(name, _Empty), annotation=notes.get(name, _Empty)))
    at = code.co_argcount + code.co_kwonlyargcount
    if code.co_flags & VARIABLE:
        found.append(Parameter(code.co_varnames[at], Parameter.VAR_POSITIONAL))
        at += 1
    only = function.__kwdefaults__ or {}
    for name in code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
        found.append(Parameter(name, Parameter.KEYWORD_ONLY, default=only.get(name, _Empty), annotation=notes.get(name, _Empty)))
    if code.co_flags & VARIABLE_KEYWORDS:
        found.append(Parameter(code.co_varnames[at], Parameter.VAR_KEYWORD))
    return Signature(found)


class _FullArgSpec(tuple):
    args, varargs, varkw, defaults, kwonlyargs, kwonlydefaults, annotations = [property(lambda self, i=i: self[i]) for i in range(7)]
    keywords = varkw


def getfullargspec(item):
    function = getattr(item, "__func__", item.__init__ if isclass(item) else item)
    code = getattr(function, "__code__", None)
    if code is None:
        raise TypeError("unsupported callable")
    at = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames
    variable = names[at] if code.co_flags & VARIABLE else None
    keywords = names[at + (variable is not None)] if code.co_flags & VARIABLE_KEYWORDS else None
    only = list(names[code.co_argcount : at])
    parts = (list(names[: code.co_argcount]), variable, keywords, function.__defaults__, only, function.__kwdefaults__, {})
    return _FullArgSpec(parts)


getargspec = getfullargspec


def getsource(item):
    raise Unsupported("inspect.getsource")


def currentframe():
    return None
