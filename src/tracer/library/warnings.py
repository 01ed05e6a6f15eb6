# `warnings`, which nobody hears here.
from _import import missing

__getattr__ = missing("warnings")

filters = []


def warn(message, category=None, stacklevel=1, source=None, **kwargs):
    return None


def warn_explicit(*args, **kwargs):
    return None


filterwarnings = simplefilter = resetwarnings = showwarning = warn_explicit


class catch_warnings:
    def __init__(self, *, record=False, **kwargs):
        self.record = record

    def __enter__(self):
        return [] if self.record else None

    def __exit__(self, *error):
        return False


def deprecated(message, **kwargs):
    return lambda item: item
