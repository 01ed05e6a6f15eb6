# nn.Module, nn.Parameter and the containers.
from _import import Unsupported, missing, public
from torch._tensor import State, Tensor, _own, _setup, counted

public.add("torch.nn.modules")
__getattr__ = missing("torch.nn.modules")


class Parameter(Tensor):
    def __init__(self, data=None, requires_grad=True):
        if data is None:
            data = Tensor(0)
        if not isinstance(data, Tensor):
            raise TypeError("nn.Parameter needs a tensor, not " + type(data).__name__)
        if data._init is None:
            raise Unsupported("a parameter computed by tensor operations")
        _setup(self, data._shape, init=data._init)
        self.requires_grad = bool(requires_grad)
        _own(self)

    def requires_grad_(self, requires_grad=True):
        self.requires_grad = bool(requires_grad)
        return self


class UninitializedParameter(Parameter):
    def __init__(self, requires_grad=True):
        _setup(self, (), init=("constant", 0.0))
        self._shape = None
        self.requires_grad = bool(requires_grad)
        _own(self)

    @property
    def shape(self):
        raise RuntimeError("Can't access the shape of an uninitialized parameter or buffer.")

    def materialize(self, shape, init):
        self.__dict__.update(_shape=tuple(shape), _init=init)
        self.__class__ = Parameter


class _Handle:
    """What a registered hook is taken away by."""

    def __init__(self, hooks):
        self.hooks = hooks

    def remove(self):
        self.hooks.pop(id(self), None)


class Module:
    training = True
    _path = None

    def __init__(self, *args, **kwargs):
        _prepare(self)

    def __setattr__(self, name, value):
        own = self.__dict__
        if isinstance(value, Parameter):
            _prepared(self)
            own.pop(name, None)
            for table in (own["_buffers"], own["_modules"]):
                table.pop(name, None)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            _prepared(self)
            own.pop(name, None)
            for table in (own["_parameters"], own["_buffers"]):
                table.pop(name, None)
            own["_modules"][name] = value
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError("cannot assign a " + type(value).__name__ + " as parameter " + repr(name))
            own["_parameters"][name] = None
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError("cannot assign a " + type(value).__name__ + " as child module " + repr(name))
            own["_modules"][name] = None
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError("cannot assign a " + type(value).__name__ + " as buffer " + repr(name))
            if State.number and value is not own["_buffers"][name]:
                counted(own["_buffers"][name], value)
                return
            self.register_buffer(name, value, name not in own["_volatile"])
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name):
        own = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            if table in own and name in own[table]:
                return own[table][name]
        raise AttributeError("'" + type(self).__name__ + "' object has no attribute '" + name + "'")

    def __delattr__(self, name):
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                return
        object.__delattr__(self, name)

    def __dir__(self):
        return list(self.__dict__) + dir(type(self))

    def register_parameter(self, name, param):
        _prepared(self)
        _check_name(name)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError("cannot register a " + type(param).__name__ + " as parameter " + repr(name))
        self._parameters[name] = param

    def register_buffer(self, name, tensor, persistent=True):
        _prepared(self)
        _check_name(name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError("cannot register a " + type(tensor).__name__ + " as buffer " + repr(name))
        if tensor is not None and persistent:
            if tensor._init is None:
                raise Unsupported("a buffer computed by tensor operations")
            if tensor._owned is None:
                _own(tensor)
        if not persistent:
            self.__dict__["_volatile"].add(name)
        self._buffers[name] = tensor

    def add_module(self, name, module):
        _prepared(self)
        _check_name(name)
        if module is not None and not isinstance(module, Module):
            raise TypeError(type(module).__name__ + " is not a Module subclass")
        self._modules[name] = module

    register_module = add_module

    def get_submodule(self, target):
        module = self
        for part in target.split(".") if target else ():
            module = module._modules[part]
        return module

    def forward(self, *args, **kwargs):
        raise NotImplementedError("Module [" + type(self).__name__ + '] is missing the required "forward" function')

    def __call__(self, *args, **kwargs):
        _prepared(self)
        outer = State.path
        if self._path is not None:
            State.path = self._path
        try:
            if "_hooks" in self.__dict__:
                return self._hooked(args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            State.path = outer

    # Hooks: those of forward run; those of backward would have to see gradients

    def _hooked(self, args, kwargs):
        before, after = self.__dict__["_hooks"]
        for hook, with_kwargs in list(before.values()):
            got = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if with_kwargs and got is not None:
                args, kwargs = got
            elif got is not None:
                args = got if isinstance(got, tuple) else (got,)
        output = self.forward(*args, **kwargs)
        for hook, with_kwargs in list(after.values()):
            got = hook(self, args, kwargs, output) if with_kwargs else hook(self, args, output)
            output = output if got is None else got
        return output

    def _register_hook(self, place, hook, with_kwargs):
        _prepared(self)
        hooks = self.__dict__.setdefault("_hooks", ({}, {}))[place]
        handle = _Handle(hooks)
        hooks[id(handle)] = (hook, with_kwargs)
        return handle

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        return self._register_hook(0, hook, with_kwargs)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        return self._register_hook(1, hook, with_kwargs)

    def register_full_backward_hook(self, hook, prepend=False):
        raise Unsupported("a hook of the backward pass")

    register_backward_hook = register_full_backward_pre_hook = register_full_backward_hook

    def _register_load_state_dict_pre_hook(self, hook, *args, **kwargs):
        return _Handle({})

    register_load_state_dict_post_hook = register_load_state_dict_pre_hook = _register_state_dict_hook = _register_load_state_dict_pre_hook

    # Looking around

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, prefix + "." + name if prefix else name, remove_duplicate)

    def modules(self):
        for _, module in self.named_modules():
            yield module

    def named_children(self):
        seen = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self):
        for _, child in self.named_children():
            yield child

    def _named(self, table, prefix, recurse, once=True):
        seen = set()
        for path, module in self.named_modules(None, prefix, once) if recurse else [(prefix, self)]:
            for name, tensor in module.__dict__[table].items():
                if tensor is not None and (id(tensor) not in seen or not once):
                    seen.add(id(tensor))
                    yield (path + "." + name if path else name), tensor

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        for _, tensor in self.named_parameters(recurse=recurse):
            yield tensor

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        for _, tensor in self.named_buffers(recurse=recurse):
            yield tensor

    def get_parameter(self, target):
        path, _, name = target.rpartition(".")
        return self.get_submodule(path)._parameters[name]

    def get_buffer(self, target):
        path, _, name = target.rpartition(".")
        return self.get_submodule(path)._buffers[name]

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        from collections import OrderedDict

        found = OrderedDict() if destination is None else destination
        for name, tensor in _state(self, prefix):
            found[name] = tensor
        return found

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Out of another network here: each tensor starts as its source does."""
        own = dict(_state(self))
        lacking = [name for name in own if name not in state_dict]
        further = [name for name in state_dict if name not in own]
        if strict and (lacking or further):
            raise RuntimeError("Error(s) in loading state_dict: missing key(s) " + repr(lacking) + ", unexpected key(s) " + repr(further))
        for name, tensor in own.items():
            if name in state_dict:
                if state_dict[name]._shape != tensor._shape:
                    raise RuntimeError("size mismatch for " + name)
                tensor.copy_(state_dict[name])
        return lacking, further

    # Changing all of it

    def apply(self, function):
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self, mode=True):
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        object.__setattr__(self, "training", mode)
        for child in self.children():
            child.train(mode)
        return self

    def eval(self):
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        for tensor in self.parameters():
            tensor.requires_grad = bool(requires_grad)
        return self

    def _itself(self, *args, **kwargs):
        return self

    to = cpu = cuda = float = half = double = bfloat16 = type = share_memory = to_empty = compile = _itself

    def zero_grad(self, set_to_none=True):
        return None

    def extra_repr(self):
        return ""

    def _get_name(self):
        return type(self).__name__

    def __repr__(self):
        lines = ["(" + name + "): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        if not lines:
            return self._get_name() + "(" + self.extra_repr() + ")"
        return self._get_name() + "(\n  " + "\n  ".join(lines) + "\n)"

    def __deepcopy__(self, memo):
        from copy import deepcopy

        made = object.__new__(type(self))
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            made.__dict__[name] = deepcopy(value, memo)
        return made


def _prepare(module):
    own = module.__dict__
    own.setdefault("training", True)
    for table in ("_parameters", "_buffers", "_modules"):
        own[table] = {}
    own["_volatile"] = set()


def _prepared(module):
    if "_modules" not in module.__dict__:
        raise AttributeError("cannot assign parameters or modules before Module.__init__() call")


def _check_name(name):
    if not isinstance(name, str):
        raise TypeError("a name should be a string, not " + type(name).__name__)
    if name == "" or "." in name:
        raise KeyError("a name can't be empty or contain a dot: " + repr(name))


def _state(module, prefix=""):
    """Parameters, then buffers, then the children's: the order of PyTorch's state dict."""
    for name, tensor in module._parameters.items():
        if tensor is not None:
            yield prefix + name, tensor
    for name, tensor in module._buffers.items():
        if tensor is not None and name not in module._volatile:
            yield prefix + name, tensor
    for name, child in module._modules.items():
        if child is not None:
            yield from _state(child, prefix + name + ".")


def _position(index, length):
    if not isinstance(index, int):
        raise TypeError("an index must be an int, not " + type(index).__name__)
    if not -length <= index < length:
        raise IndexError("index " + str(index) + " is out of range")
    return index % length


class Sequential(Module):
    def __init__(self, *args):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for index, module in enumerate(args):
                self.add_module(str(index), module)

    def forward(self, input):
        for module in self._modules.values():
            input = module(input)
        return input

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(list(self._modules.values()))

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return list(self._modules.values())[_position(index, len(self))]

    def __setitem__(self, index, module):
        self.add_module(list(self._modules)[_position(index, len(self))], module)

    def __delitem__(self, index):
        kept = list(self._modules.values())
        del kept[index]
        self._modules.clear()
        for module in kept:
            self.append(module)

    def append(self, module):
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules):
        for module in modules:
            self.append(module)
        return self

    def insert(self, index, module):
        kept = list(self._modules.values())
        kept.insert(index, module)
        self._modules.clear()
        return self.extend(kept)

    def pop(self, index):
        module = self[index]
        del self[index]
        return module

    def __add__(self, other):
        return Sequential(*self, *other)

    def __iadd__(self, other):
        return self.extend(other)

    def __mul__(self, times):
        return Sequential(*list(self) * times)


class ModuleList(Module):
    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    __len__, __iter__, __setitem__, __delitem__ = Sequential.__len__, Sequential.__iter__, Sequential.__setitem__, Sequential.__delitem__
    append, extend, insert, pop = Sequential.append, Sequential.extend, Sequential.insert, Sequential.pop

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ModuleList(list(self._modules.values())[index])
        return list(self._modules.values())[_position(index, len(self))]

    def __iadd__(self, modules):
        return self.extend(modules)

    def __contains__(self, module):
        return any(module is child for child in self._modules.values())

    def __add__(self, other):
        return ModuleList(list(self) + list(other))


class ModuleDict(Module):
    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key):
        return self._modules[key]

    def __setitem__(self, key, module):
        self.add_module(key, module)

    def __delitem__(self, key):
        del self._modules[key]

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(list(self._modules))

    def __contains__(self, key):
        return key in self._modules

    def keys(self):
        return self._modules.keys()

    def values(self):
        return self._modules.values()

    def items(self):
        return self._modules.items()

    def pop(self, key):
        return self._modules.pop(key)

    def get(self, key, default=None):
        return self._modules.get(key, default)

    def clear(self):
        self._modules.clear()

    def update(self, modules):
        for key, module in modules.items() if hasattr(modules, "items") else modules:
            self[key] = module


class ParameterList(Module):
    def __init__(self, values=None):
        super().__init__()
        for value in values or ():
            self.append(value)

    def append(self, value):
        setattr(self, str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def extend(self, values):
        for value in values:
            self.append(value)
        return self

    __iadd__ = extend

    def __setitem__(self, index, value):
        setattr(self, str(_position(index, len(self))), value)

    def __len__(self):
        return len(self._parameters)

    def __iter__(self):
        return iter(list(self._parameters.values()))

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ParameterList(list(self._parameters.values())[index])
        return list(self._parameters.values())[_position(index, len(self))]


class ParameterDict(Module):
    def __init__(self, parameters=None):
        super().__init__()
        for key, value in (parameters or {}).items():
            self[key] = value

    def __getitem__(self, key):
        return self._parameters[key]

    def __setitem__(self, key, value):
        setattr(self, key, value if isinstance(value, Parameter) else Parameter(value))

    def __len__(self):
        return len(self._parameters)

    def __iter__(self):
        return iter(list(self._parameters))

    def __contains__(self, key):
        return key in self._parameters

    def keys(self):
        return self._parameters.keys()

    def values(self):
        return self._parameters.values()

    def items(self):
        return self._parameters.items()

    def get(self, key, default=None):
        return self._parameters.get(key, default)

    def update(self, parameters):
        for key, value in parameters.items() if hasattr(parameters, "items") else parameters:
            self[key] = value
