"""The first layers of a ResNet-18, with the names of torchvision's, so that its weights fit.

Not imported from there: `import torchvision` loads torch's compiler, which takes every process seconds.
Source: He et al. 2015, arXiv:1512.03385, table 1.
"""

from __future__ import annotations

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input goes, through a 1x1 convolution where its shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        downsample = None
        if stride != 1 or inputs != outputs:
            downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride) of (B, inputs, H, W)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


def resnet18_to_layer2(inputs: int = 1) -> nn.Sequential:
    """Return the layers of a ResNet-18 up to layer2: (B, inputs, H, W) to (B, 128, H / 8, W / 8).

    Args:
        inputs: channels of the input.
    """
    encoder = nn.Sequential()
    encoder.add_module("conv1", nn.Conv2d(inputs, 64, kernel_size=7, stride=2, padding=3, bias=False))
    encoder.add_module("bn1", nn.BatchNorm2d(64))
    encoder.add_module("relu", nn.ReLU(inplace=True))
    encoder.add_module("maxpool", nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
    encoder.add_module("layer1", nn.Sequential(BasicBlock(64, 64), BasicBlock(64, 64)))
    encoder.add_module("layer2", nn.Sequential(BasicBlock(64, 128, stride=2), BasicBlock(128, 128)))
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return encoder
