import torch
import torch.nn as nn


def unit(width, kernel=3, stride=1):
    return nn.Sequential(
        nn.LazyConv2d(width, kernel, stride=stride, padding=kernel // 2),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
    )


class Branches(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.layers = nn.Sequential(
            unit(32, stride=2),
            Branches(unit(16, kernel=1), unit(32), unit(16, kernel=5)),
            nn.MaxPool2d(2),
            Branches(unit(32, kernel=1), unit(64)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LazyLinear(num_classes),
        )

    def forward(self, x):
        return self.layers(x)
