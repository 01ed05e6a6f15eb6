# Recurrent layers and cells. A layer records one operation for each of its layers and directions.
from _import import Placeholder, Unsupported
from torch import nn
from torch._layers import _uniform, _whole
from torch._ops import cat, chunk, mul, permute, select, stack
from torch._tensor import Tensor, _outside, full
from torch.nn import functional as F
from torch.nn.modules import Module


def _zero(state):
    """Whether every given initial state is zero, the only start the operations know."""
    if state is None:
        return True
    if isinstance(state, (tuple, list)):
        return all(_zero(part) for part in state)
    return isinstance(state, Tensor) and _outside(state) and state._init == ("constant", 0.0)


class _Recurrent(Module):
    gates = 0
    kind = ""

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None):
        super().__init__()
        if proj_size:
            raise Unsupported("nn." + type(self).__name__ + " with proj_size")
        self.input_size, self.hidden_size = _whole(input_size, "input_size"), _whole(hidden_size, "hidden_size")
        self.num_layers, self.bias, self.batch_first = _whole(num_layers, "num_layers"), bool(bias), bool(batch_first)
        self.dropout, self.bidirectional = F.probability(dropout), bool(bidirectional)
        if not hidden_size or not num_layers:
            raise ValueError("hidden_size and num_layers must be greater than zero")
        bound = hidden_size**-0.5
        rows = self.gates * hidden_size
        for end, width in self._parts():
            setattr(self, "weight_ih" + end, _uniform((rows, width), bound))
            setattr(self, "weight_hh" + end, _uniform((rows, hidden_size), bound))
            if bias:
                setattr(self, "bias_ih" + end, _uniform((rows,), bound))
                setattr(self, "bias_hh" + end, _uniform((rows,), bound))

    def _directions(self):
        return ("", "_reverse") if self.bidirectional else ("",)

    def _parts(self):
        for layer in range(self.num_layers):
            for direction in self._directions():
                yield "_l" + str(layer) + direction, self.hidden_size * len(self._directions()) if layer else self.input_size

    def flatten_parameters(self):
        return None

    def _run(self, input, hx):
        name = "nn." + type(self).__name__
        if len(input._shape) != 3:
            raise Unsupported(name + " of an input without a batch dimension")
        if not _zero(hx):
            raise Unsupported(name + " with an initial state that is not zero")
        if input._shape[2] != self.input_size:
            raise RuntimeError("input.size(-1) must be equal to input_size. Expected {}, got {}".format(self.input_size, input._shape[2]))
        x = input if self.batch_first else permute(input, 1, 0, 2)
        last = []
        for layer in range(self.num_layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in self._directions():
                end, reverse = "_l" + str(layer) + direction, direction != ""
                names = ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if self.bias else ())
                op = {self.kind: {"hidden": self.hidden_size, "bias": self.bias, "reverse": reverse}}
                outputs.append(F.emit(op, [x], [getattr(self, part + end) for part in names]))
                last.append(select(outputs[-1], 1, 0 if reverse else -1))
            x = cat(outputs, 2) if len(outputs) > 1 else outputs[0]
        return x if self.batch_first else permute(x, 1, 0, 2), stack(last)

    def extra_repr(self):
        return "{}, {}, num_layers={}".format(self.input_size, self.hidden_size, self.num_layers)


class LSTM(_Recurrent):
    gates = 4
    kind = "lstm"

    def forward(self, input, hx=None):
        output, last = self._run(input, hx)
        return output, (last, Placeholder("the last cell state of nn.LSTM"))


class GRU(_Recurrent):
    gates = 3
    kind = "gru"

    def forward(self, input, hx=None):
        return self._run(input, hx)


class _Cell(Module):
    gates = 0

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = _whole(input_size, "input_size"), _whole(hidden_size, "hidden_size"), bool(bias)
        bound = hidden_size**-0.5 if hidden_size else 0.0
        rows = self.gates * hidden_size
        self.weight_ih = _uniform((rows, input_size), bound)
        self.weight_hh = _uniform((rows, hidden_size), bound)
        self.register_parameter("bias_ih", _uniform((rows,), bound) if bias else None)
        self.register_parameter("bias_hh", _uniform((rows,), bound) if bias else None)

    def _state(self, input):
        return full((input._shape[0], self.hidden_size), 0.0)

    def _products(self, input, hidden):
        return F.linear(input, self.weight_ih, self.bias_ih), F.linear(hidden, self.weight_hh, self.bias_hh)


class LSTMCell(_Cell):
    gates = 4

    def forward(self, input, hx=None):
        h, c = (self._state(input), self._state(input)) if hx is None else hx
        a, b = self._products(input, h)
        i, f, g, o = chunk(a + b, 4, 1)
        c = F.sigmoid(f) * c + F.sigmoid(i) * F.tanh(g)
        return mul(F.sigmoid(o), F.tanh(c)), c


class GRUCell(_Cell):
    gates = 3

    def forward(self, input, hx=None):
        h = self._state(input) if hx is None else hx
        a, b = self._products(input, h)
        (r, z, n), (hr, hz, hn) = chunk(a, 3, 1), chunk(b, 3, 1)
        z = F.sigmoid(z + hz)
        n = F.tanh(n + F.sigmoid(r + hr) * hn)
        return n + z * (h - n)


nn.__dict__.update(LSTM=LSTM, GRU=GRU, LSTMCell=LSTMCell, GRUCell=GRUCell)
