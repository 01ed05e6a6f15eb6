import torch
import torch.nn as nn


def block(width, kernel=3, stride=1):
    return nn.Sequential(
        nn.LazyConv2d(width, 1),
        nn.LazyBatchNorm2d(),
        nn.Hardswish(),
        nn.LazyConv2d(width, kernel, stride=stride, padding=kernel // 2, groups=width),
        nn.LazyBatchNorm2d(),
    )


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LazyConv2d(48, 3, stride=2, padding=1),
            nn.LazyBatchNorm2d(),
            nn.Hardswish(),
            block(96),
            nn.MaxPool2d(2),
            block(128, kernel=5),
            block(192),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LazyLinear(num_classes),
        )

    def forward(self, x):
        return self.layers(x)
