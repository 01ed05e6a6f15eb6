# Dictionaries whose keys are attributes: `easydict`.
from _import import missing

__getattr__ = missing("easydict")


class EasyDict(dict):
    def __init__(self, given=None, **kwargs):
        for key, value in dict(given or {}, **kwargs).items():
            self[key] = value

    def __setitem__(self, key, value):
        if isinstance(value, dict) and not isinstance(value, EasyDict):
            value = type(self)(value)
        dict.__setitem__(self, key, value)

    def __getattr__(self, name):
        if name in self:
            return self[name]
        raise AttributeError(name)

    __setattr__ = __setitem__

    def update(self, given=None, **kwargs):
        for key, value in dict(given or {}, **kwargs).items():
            self[key] = value

    def copy(self):
        return type(self)(self)
