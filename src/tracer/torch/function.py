# torch.autograd.Function: its forward is recorded, and its backward is what the gradient is.
import torch
from _import import Unsupported, module
from torch import _ops as T
from torch._tensor import State, Tensor, _outside, _traced, full, node_of


class _Context:
    saved_tensors = ()

    def save_for_backward(self, *tensors):
        self.saved_tensors = tensors

    saved_variables = property(lambda self: self.saved_tensors)

    def mark_dirty(self, *tensors):
        raise Unsupported("an autograd.Function that changes its input in place")

    def mark_non_differentiable(self, *tensors):
        self.constant = True

    def set_materialize_grads(self, value):
        return None


class Function:
    """
    Each element of the gradient that `backward` gives has to be the one it gets times a number that does not depend on it. With such numbers m
    the value y + m (x - x), of which only the last x passes a gradient, is y, and its gradient is that of `backward`.
    """

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError

    @classmethod
    def apply(cls, *args):
        ctx = _Context()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and not _outside(a) for a in args)
        if cls.setup_context is not Function.setup_context:
            output = cls.forward(*args)
            cls.setup_context(ctx, args, output)
        else:
            output = cls.forward(ctx, *args)
        if not isinstance(output, Tensor):
            raise Unsupported("an autograd.Function of several outputs (" + cls.__name__ + ")")
        if _outside(output):
            return output
        value = output.data
        if State.number >= State.EVALUATION or torch._without_gradient or "constant" in ctx.__dict__ or not any(ctx.needs_input_grad):
            return value
        one = _traced(node_of(full(output._shape, 1.0)), output._shape)
        outer, torch._tape = torch._tape, []
        try:
            gradients = cls.backward(ctx, one)
            scaled = _scaled(torch._tape, node_of(one), cls.__name__)
        finally:
            torch._tape = outer
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        if len(gradients) < len(args) or any(g is not None for g in gradients[len(args) :]):
            raise RuntimeError("function {}Backward returned an incorrect number of gradients (expected {}, got {})".format(cls.__name__, len(args), len(gradients)))
        for x, gradient, wanted in zip(args, gradients, ctx.needs_input_grad):
            if not wanted or gradient is None or _is_zero(gradient):
                continue
            if node_of(gradient) not in scaled or gradient._shape != x._shape or x._shape != output._shape:
                _refuse(cls.__name__)
            value = T.add(value, T.mul(gradient.data, T.sub(x, x.data)))
        return value


def _is_zero(t):
    return t._node is None and t._owned is None and t._init == ("constant", 0.0)


def _refuse(name):
    raise Unsupported("the backward of the autograd.Function " + name + ", which does more than scale each element of the gradient,")


def _scaled(tape, one, name):
    """The operations of a backward whose value is the gradient times numbers without it; any other use of the gradient is refused."""
    scaled = {one: None}
    for op, inputs, made, tensors in tape:
        kind, what = (op, None) if isinstance(op, str) else list(op.items())[0]
        of = [i in scaled for i in inputs]
        if not any(of):
            continue
        rest = [_is_zero(t) for t, is_of in zip(tensors, of) if not is_of]
        fine = (
            kind == "binary" and what == "mul" and sum(of) == 1
            or kind == "binary" and what == "div" and of == [True, False]
            or kind == "binary" and what in ("add", "sub") and all(of)
            or kind == "where" and not of[0] and all(rest[1:])
            or kind == "affine" and what["shift"] == 0
            or kind == "unary" and what == "neg"
            or kind == "detach"
        )
        if not fine or any(t._shape != tensors[of.index(True)]._shape for t, is_of in zip(tensors, of) if is_of):
            _refuse(name)
        scaled[made] = None
    return scaled


def _once(function):
    return function


torch.autograd.__dict__["Function"] = Function
module("torch.autograd.function").update(Function=Function, once_differentiable=_once, FunctionCtx=_Context)
