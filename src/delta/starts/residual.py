import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.LazyConv2d(32, 3, stride=2, padding=1)
        self.bn1 = nn.LazyBatchNorm2d()
        self.conv2 = nn.LazyConv2d(32, 3, padding=1)
        self.bn2 = nn.LazyBatchNorm2d()
        self.conv3 = nn.LazyConv2d(64, 3, padding=1)
        self.bn3 = nn.LazyBatchNorm2d()
        self.conv4 = nn.LazyConv2d(64, 3, padding=1)
        self.bn4 = nn.LazyBatchNorm2d()
        self.fc = nn.LazyLinear(num_classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = x + F.relu(self.bn2(self.conv2(x)))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.bn3(self.conv3(x)))
        x = x + F.relu(self.bn4(self.conv4(x)))
        x = x.mean((2, 3))
        return self.fc(x)
