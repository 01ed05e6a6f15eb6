import torch.nn as nn


def layer(inputs, outputs, kernel=1, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            layer(3, 48, 3), layer(48, 64), layer(64, 64), layer(64, 96, 3, 2), layer(96, 128), layer(128, 128),
            layer(128, 128, 3, 2), layer(128, 192), layer(192, 192), nn.Conv2d(192, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )

    def forward(self, x):
        return self.features(x)
