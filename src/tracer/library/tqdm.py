# `tqdm`, which counts for nobody here.
from _import import missing, module

__getattr__ = missing("tqdm")


def tqdm(items=None, *args, **kwargs):
    return items


def trange(*args, **kwargs):
    return range(*args)


module("tqdm.auto").update(tqdm=tqdm, trange=trange)
