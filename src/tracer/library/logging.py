# `logging`, which says nothing here.
from _import import missing, module

__getattr__ = missing("logging")

NOTSET, DEBUG, INFO, WARNING, ERROR, CRITICAL = 0, 10, 20, 30, 40, 50
WARN, FATAL = WARNING, CRITICAL


def _nothing(*args, **kwargs):
    return None


class Handler:
    def __init__(self, *args, **kwargs):
        self.level = NOTSET

    setLevel = setFormatter = addFilter = removeFilter = flush = close = _nothing


class StreamHandler(Handler):
    pass


class NullHandler(Handler):
    pass


class FileHandler(Handler):
    pass


class Formatter:
    def __init__(self, *args, **kwargs):
        pass


class Filter(Formatter):
    pass


class Logger:
    def __init__(self, name="root", level=NOTSET):
        self.name, self.level, self.propagate, self.disabled = name, level, True, False
        self.handlers = []
        self.parent = None

    debug = info = warning = warn = error = critical = exception = fatal = log = _nothing
    addFilter = removeFilter = _nothing

    def addHandler(self, handler):
        self.handlers.append(handler)

    def removeHandler(self, handler):
        if handler in self.handlers:
            self.handlers.remove(handler)

    def setLevel(self, level):
        self.level = level

    def getEffectiveLevel(self):
        return self.level or WARNING

    def isEnabledFor(self, level):
        return False

    def hasHandlers(self):
        return bool(self.handlers)

    def getChild(self, suffix):
        return getLogger(self.name + "." + suffix)


_known = {}
root = Logger()


def getLogger(name=None):
    if not name:
        return root
    return _known.setdefault(name, Logger(name))


def getLevelName(level):
    return {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}.get(level, level)


basicConfig = captureWarnings = disable = debug = info = warning = warn = error = critical = exception = log = addLevelName = _nothing
module("logging.handlers")
module("logging.config").update(dictConfig=_nothing, fileConfig=_nothing)
