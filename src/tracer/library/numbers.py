# `numbers`: the tower, by instance checks alone.
from _import import missing

__getattr__ = missing("numbers")


class _Tower(type):
    def __instancecheck__(cls, item):
        return isinstance(item, cls.kinds) or type.__instancecheck__(cls, item)

    def __subclasscheck__(cls, kind):
        return any(issubclass(kind, known) for known in cls.kinds) or type.__subclasscheck__(cls, kind)


class Number(metaclass=_Tower):
    kinds = (int, float, complex)


class Complex(Number):
    pass


class Real(Complex):
    kinds = (int, float)


class Rational(Real):
    kinds = (int,)


class Integral(Rational):
    kinds = (int,)
