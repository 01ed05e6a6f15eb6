# Attention layers: nn.MultiheadAttention and the encoder built on it.
from copy import deepcopy

from _import import Unsupported
from torch import nn
from torch._layers import Dropout, LayerNorm, Linear, _constant, _uniform
from torch._ops import chunk, mean, permute, reshape, transpose
from torch.nn import functional as F
from torch.nn.modules import Module, ModuleList


class MultiheadAttention(Module):
    def __init__(
        self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False, add_zero_attn=False, kdim=None, vdim=None, batch_first=False, device=None, dtype=None
    ):
        super().__init__()
        if add_bias_kv or add_zero_attn or kdim not in (None, embed_dim) or vdim not in (None, embed_dim):
            raise Unsupported("nn.MultiheadAttention with add_bias_kv, add_zero_attn, kdim or vdim")
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError("embed_dim and num_heads must be greater than 0")
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.dropout, self.batch_first = F.probability(dropout), bool(batch_first)
        self.in_proj_weight = _uniform((3 * embed_dim, embed_dim), (6.0 / (4 * embed_dim)) ** 0.5)
        self.register_parameter("in_proj_bias", _constant((3 * embed_dim,), 0.0) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def _project(self, query, key, value):
        if query is key and key is value:
            return chunk(F.linear(query, self.in_proj_weight, self.in_proj_bias), 3, -1)
        weights = chunk(self.in_proj_weight, 3)
        biases = (None,) * 3 if self.in_proj_bias is None else chunk(self.in_proj_bias, 3)
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]

    def _heads(self, x):
        return permute(reshape(x, x._shape[0], x._shape[1], self.num_heads, self.head_dim), 0, 2, 1, 3)

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True, is_causal=False):
        if key_padding_mask is not None:
            raise Unsupported("nn.MultiheadAttention with key_padding_mask")
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        if attn_mask is not None and len(attn_mask._shape) not in (2, 3):
            raise RuntimeError("attn_mask's dimension " + str(len(attn_mask._shape)) + " is not supported")
        if len(query._shape) != 3:
            raise Unsupported("nn.MultiheadAttention of an input without a batch dimension")
        if query._shape[2] != self.embed_dim:
            raise AssertionError("was expecting embedding dimension of {}, but got {}".format(self.embed_dim, query._shape[2]))
        same = query is key and key is value
        if not self.batch_first:
            query = transpose(query, 0, 1)
            key, value = (query, query) if same else (transpose(key, 0, 1), transpose(value, 0, 1))
        q, k, v = [self._heads(x) for x in self._project(query, key, value)]
        scores = (q * self.head_dim**-0.5).matmul(transpose(k, -2, -1))
        if attn_mask is not None and len(attn_mask._shape) == 3:
            attn_mask = reshape(attn_mask, (query._shape[0], self.num_heads) + attn_mask._shape[1:])
        # Truth values mean the opposite of those of scaled_dot_product_attention.
        weights = F.softmax(F._masked(scores, attn_mask, keep=False), -1)
        weights = F.dropout(weights, self.dropout, self.training)
        x = reshape(permute(weights.matmul(v), 0, 2, 1, 3), query._shape)
        x = self.out_proj(x)
        if not need_weights:
            weights = None
        elif average_attn_weights:
            weights = mean(weights, 1)
        return x if self.batch_first else transpose(x, 0, 1), weights


class TransformerEncoderLayer(Module):
    def __init__(
        self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation="relu", layer_norm_eps=1e-05, batch_first=False, norm_first=False, bias=True, device=None, dtype=None
    ):
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        if isinstance(activation, str):
            if activation not in ("relu", "gelu"):
                raise RuntimeError("activation should be relu/gelu, not " + activation)
            activation = getattr(F, activation)
        self.activation = activation

    def _attend(self, x, mask):
        return self.dropout1(self.self_attn(x, x, x, need_weights=False, attn_mask=mask)[0])

    def _feed(self, x):
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        if src_key_padding_mask is not None:
            raise Unsupported("nn.TransformerEncoderLayer with src_key_padding_mask")
        if self.norm_first:
            src = src + self._attend(self.norm1(src), src_mask)
            return src + self._feed(self.norm2(src))
        src = self.norm1(src + self._attend(src, src_mask))
        return self.norm2(src + self._feed(src))


class TransformerEncoder(Module):
    def __init__(self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True):
        super().__init__()
        self.layers = ModuleList([deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        if src_key_padding_mask is not None:
            raise Unsupported("nn.TransformerEncoder with src_key_padding_mask")
        for layer in self.layers:
            src = layer(src, mask)
        return src if self.norm is None else self.norm(src)


nn.__dict__.update(MultiheadAttention=MultiheadAttention, TransformerEncoderLayer=TransformerEncoderLayer, TransformerEncoder=TransformerEncoder)
