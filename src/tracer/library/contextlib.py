# `contextlib`.
from _import import missing
from functools import wraps

__getattr__ = missing("contextlib")


class ContextDecorator:
    def __call__(self, function):
        @wraps(function)
        def inside(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return inside


class AbstractContextManager:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class _Context(ContextDecorator):
    def __init__(self, generator):
        self.generator = generator

    def __enter__(self):
        return next(self.generator)

    def __exit__(self, kind, error, traceback):
        if kind is None:
            try:
                next(self.generator)
            except StopIteration:
                return False
            raise RuntimeError("generator didn't stop")
        try:
            self.generator.throw(error)
        except StopIteration:
            return True
        except BaseException as raised:
            if raised is error:
                return False
            raise
        raise RuntimeError("generator didn't stop after throw()")


def contextmanager(function):
    @wraps(function)
    def made(*args, **kwargs):
        return _Context(function(*args, **kwargs))

    return made


class nullcontext(AbstractContextManager):
    def __init__(self, enter_result=None):
        self.enter_result = enter_result

    def __enter__(self):
        return self.enter_result


class suppress(AbstractContextManager):
    def __init__(self, *kinds):
        self.kinds = kinds

    def __exit__(self, kind, error, traceback):
        return kind is not None and issubclass(kind, self.kinds)


class closing(AbstractContextManager):
    def __init__(self, thing):
        self.thing = thing

    def __enter__(self):
        return self.thing

    def __exit__(self, *error):
        self.thing.close()


class redirect_stdout(AbstractContextManager):
    def __init__(self, stream):
        self.stream = stream


redirect_stderr = redirect_stdout


class ExitStack(AbstractContextManager):
    def __init__(self):
        self.contexts = []

    def enter_context(self, context):
        got = context.__enter__()
        self.contexts.append(context)
        return got

    def __exit__(self, *error):
        while self.contexts:
            self.contexts.pop().__exit__(None, None, None)
        return False
