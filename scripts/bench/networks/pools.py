import torch
import torch.nn as nn
import torch.nn.functional as F


class Mix(nn.Module):
    """Four branches: convolution, both kinds of pooling at stride 1, and a pool as wide as 5."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(inputs, outputs // 4, 1) for _ in range(4)])
        self.pools = nn.ModuleList([nn.Identity(), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1), nn.MaxPool2d(5, 1, 2)])

    def forward(self, x):
        return F.relu(torch.cat([conv(pool(x)) for conv, pool in zip(self.convs, self.pools)], 1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.mixes = nn.Sequential(Mix(32, 64), nn.MaxPool2d(3, 2, 1), Mix(64, 96), nn.AvgPool2d(2), Mix(96, 128), nn.AdaptiveMaxPool2d(2))
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        return self.head(self.mixes(self.stem(x)).flatten(1))
