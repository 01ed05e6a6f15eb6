# `torch.nn`; `torch._layers` fills it.
from _import import missing, public

public.add("torch.nn")
__getattr__ = missing("torch.nn")
