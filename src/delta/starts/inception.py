import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.LazyConv2d(32, 3, stride=2, padding=1), nn.LazyBatchNorm2d(), nn.ReLU())
        self.branch1a = nn.LazyConv2d(16, 1)
        self.branch1b = nn.LazyConv2d(32, 3, padding=1)
        self.branch1c = nn.LazyConv2d(16, 5, padding=2)
        self.norm1 = nn.LazyBatchNorm2d()
        self.branch2a = nn.LazyConv2d(32, 1)
        self.branch2b = nn.LazyConv2d(64, 3, padding=1)
        self.norm2 = nn.LazyBatchNorm2d()
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([self.branch1a(x), self.branch1b(x), self.branch1c(x)], 1)
        x = F.relu(self.norm1(x))
        x = F.max_pool2d(x, 2)
        x = torch.cat([self.branch2a(x), self.branch2b(x)], 1)
        x = F.relu(self.norm2(x))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(x)
