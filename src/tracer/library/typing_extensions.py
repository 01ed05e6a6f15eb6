# `typing_extensions` is `typing`.
import typing


def __getattr__(name):
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    return getattr(typing, name)
