import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.LazyConv2d(24, 3, padding=1),
            nn.LazyBatchNorm2d(),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.LazyConv2d(48, 3, padding=1),
            nn.LazyBatchNorm2d(),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.LazyConv2d(96, 3, padding=1),
            nn.LazyBatchNorm2d(),
            nn.ReLU(),
        )
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        x = self.features(x)
        x = x.mean((2, 3))
        return self.head(x)
