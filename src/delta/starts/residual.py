import torch
import torch.nn as nn


def conv(width, kernel=3, stride=1):
    return nn.Sequential(
        nn.LazyConv2d(width, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
    )


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        y = self.body(x)
        return x + y if x.shape == y.shape else y


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            conv(32, stride=2),
            Residual(conv(32)),
            nn.MaxPool2d(2),
            conv(64),
            Residual(conv(64)),
        )
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        x = self.features(x)
        x = x.mean((2, 3))
        return self.head(x)
