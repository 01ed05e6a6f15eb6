import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LazyConv2d(48, 3, stride=2, padding=1),
            nn.LazyBatchNorm2d(),
            nn.Hardswish(),
            nn.LazyConv2d(48, 3, padding=1, groups=48),
            nn.LazyConv2d(128, 1),
            nn.LazyBatchNorm2d(),
            nn.Hardswish(),
            nn.LazyConv2d(128, 3, padding=1, groups=128),
            nn.LazyConv2d(128, 1),
            nn.LazyBatchNorm2d(),
            nn.Hardswish(),
            nn.MaxPool2d(2),
            nn.LazyConv2d(128, 5, padding=2, groups=128),
            nn.LazyConv2d(192, 1),
            nn.LazyBatchNorm2d(),
            nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LazyLinear(num_classes),
        )

    def forward(self, x):
        return self.layers(x)
