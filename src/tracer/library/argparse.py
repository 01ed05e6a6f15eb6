# `argparse`: a program without arguments, so every option is at its default.
from _import import missing

__getattr__ = missing("argparse")

SUPPRESS = "==SUPPRESS=="


class Namespace:
    def __init__(self, **kwargs):
        self.__dict__.update(kwargs)

    def __contains__(self, name):
        return name in self.__dict__

    def __eq__(self, other):
        return isinstance(other, Namespace) and self.__dict__ == other.__dict__

    def __repr__(self):
        return "Namespace(" + ", ".join(name + "=" + repr(value) for name, value in self.__dict__.items()) + ")"


class ArgumentParser:
    def __init__(self, *args, **kwargs):
        self.defaults, self.required = {}, []

    def add_argument(self, *flags, action="store", default=None, type=None, dest=None, required=False, nargs=None, **kwargs):
        long = [flag for flag in flags if flag.startswith("--")] or list(flags)
        name = dest or long[0].lstrip("-").replace("-", "_")
        if action in ("version", "help"):
            return
        if action in ("store_true", "store_false"):
            default = (action == "store_false") if default is None else default
        if isinstance(default, str) and type is not None and default != SUPPRESS:
            default = type(default)
        if (required or not flags[0].startswith("-") and nargs not in ("?", "*")) and name not in self.defaults:
            self.required.append(name)
        if default != SUPPRESS:
            self.defaults[name] = default

    def add_argument_group(self, *args, **kwargs):
        return self

    add_mutually_exclusive_group = add_argument_group

    def set_defaults(self, **kwargs):
        self.defaults.update(kwargs)

    def parse_args(self, args=None, namespace=None):
        if self.required:
            raise SystemExit("the following arguments are required: " + ", ".join(self.required))
        return Namespace(**self.defaults)

    def parse_known_args(self, args=None, namespace=None):
        return self.parse_args(), []

    def print_help(self, *args):
        return None


class ArgumentDefaultsHelpFormatter:
    pass


HelpFormatter = RawTextHelpFormatter = RawDescriptionHelpFormatter = ArgumentDefaultsHelpFormatter


class ArgumentTypeError(Exception):
    pass
