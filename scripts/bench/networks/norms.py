import torch.nn as nn


def layer(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.BatchNorm2d(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, stride, 1, groups=4 if inputs > 3 else 1, bias=False),
        nn.BatchNorm2d(outputs), nn.Hardswish(), nn.BatchNorm2d(outputs),
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            layer(3, 32), layer(32, 32), layer(32, 64, 2), layer(64, 64), layer(64, 128, 2), layer(128, 128), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Sequential(nn.BatchNorm1d(128), nn.Linear(128, 10))

    def forward(self, x):
        return self.head(self.features(x))
