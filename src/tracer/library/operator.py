# `operator`.
from _import import missing

__getattr__ = missing("operator")


def add(a, b):
    return a + b


def sub(a, b):
    return a - b


def mul(a, b):
    return a * b


def truediv(a, b):
    return a / b


def floordiv(a, b):
    return a // b


def mod(a, b):
    return a % b


def pow(a, b):
    return a**b


def matmul(a, b):
    return a @ b


def neg(a):
    return -a


def not_(a):
    return not a


def truth(a):
    return bool(a)


def abs(a):
    return a.__abs__()


def index(a):
    return a.__index__()


def eq(a, b):
    return a == b


def ne(a, b):
    return a != b


def lt(a, b):
    return a < b


def le(a, b):
    return a <= b


def gt(a, b):
    return a > b


def ge(a, b):
    return a >= b


def and_(a, b):
    return a & b


def or_(a, b):
    return a | b


def xor(a, b):
    return a ^ b


def is_(a, b):
    return a is b


def is_not(a, b):
    return a is not b


def contains(a, b):
    return b in a


def getitem(a, b):
    return a[b]


def setitem(a, b, value):
    a[b] = value


def iadd(a, b):
    a += b
    return a


def imul(a, b):
    a *= b
    return a


def concat(a, b):
    return a + b


def _one_or_more(get, keys):
    if len(keys) == 1:
        return lambda item: get(item, keys[0])
    return lambda item: tuple(get(item, key) for key in keys)


def itemgetter(*keys):
    return _one_or_more(getitem, keys)


def _attribute(item, path):
    for part in path.split("."):
        item = getattr(item, part)
    return item


def attrgetter(*names):
    return _one_or_more(_attribute, names)


def methodcaller(name, *args, **kwargs):
    return lambda item: getattr(item, name)(*args, **kwargs)
