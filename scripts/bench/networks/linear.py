import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 512), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10),
        )

    def forward(self, x):
        return self.layers(x)
