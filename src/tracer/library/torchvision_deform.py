# Deformable convolution of torchvision.ops: every tap of a kernel is read at a place of its own.
import torch
from _import import Unsupported, module
from torch import nn
from torch._spatial import sampled
from torch.nn.modules.utils import _pair
from torchvision import ops


def deform_conv2d(input, offset, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), mask=None):
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    (n, channels, height, width), (out, own, kh, kw) = input.shape, weight.shape
    taps = kh * kw
    sets = offset.shape[1] // (2 * taps)
    rows, columns = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    if sets == 0 or offset.shape[1] % (2 * taps) or channels % sets:
        raise RuntimeError(
            "the shape of the offset tensor at dimension 1 is not valid. It should be a multiple of 2 * weight.size[2] * weight.size[3]. Got offset.shape[1]={}, while 2 * weight.size[2] * weight.size[3]={}".format(
                offset.shape[1], 2 * taps
            )
        )
    if tuple(offset.shape[2:]) != (rows, columns):
        raise RuntimeError("offset output dims: expected {}, got {}".format((rows, columns), tuple(offset.shape[2:])))
    if channels % own or out % (channels // own):
        raise RuntimeError("weight of {} for an input of {} channels".format(list(weight.shape), channels))
    across, wide = torch.arange(rows, dtype=torch.float32).reshape(1, -1, 1) * sh - ph, torch.arange(columns, dtype=torch.float32).reshape(1, 1, -1) * sw - pw
    read = []
    for tap in range(taps):
        parts = []
        for one in range(sets):
            at, share = one * taps + tap, channels // sets
            ys = offset[:, 2 * at] + (across + float(tap // kw * dh))
            xs = offset[:, 2 * at + 1] + (wide + float(tap % kw * dw))
            part = sampled(input[:, one * share : (one + 1) * share], ys, xs, (rows, columns))
            parts.append(part if mask is None else part * mask[:, at].unsqueeze(1))
        read.append(torch.cat(parts, 1))
    read = torch.stack(read, 2).reshape(n, channels * taps, rows, columns)
    return nn.functional.conv2d(read, weight.reshape(out, own * taps, 1, 1), bias, groups=channels // own)


class DeformConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True):
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(("in" if in_channels % groups else "out") + "_channels must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.padding, self.dilation = _pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        if self.bias is not None:
            bound = 1 / (self.weight.shape[1] * self.kernel_size[0] * self.kernel_size[1]) ** 0.5
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input, offset, mask=None):
        return deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask)


def _by_the_operator(
    input, weight, offset, mask, bias, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups, offset_groups, use_mask
):
    if groups != input.shape[1] // weight.shape[1] or offset_groups * 2 * weight.shape[2] * weight.shape[3] != offset.shape[1]:
        raise Unsupported("torch.ops.torchvision.deform_conv2d with groups that do not fit the weight")
    return deform_conv2d(
        input, offset, weight, bias, (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), mask if use_mask else None
    )


for _place in (ops.__dict__, module("torchvision.ops.deform_conv")):
    _place.update(deform_conv2d=deform_conv2d, DeformConv2d=DeformConv2d)
module("torch.ops")
module("torch.ops.torchvision").update(deform_conv2d=_by_the_operator)
