"""The discriminators of ESRGAN (VGG style) and of SRGAN, EDSR and PESR, each built for one HR patch size."""

import torch.nn.functional as F
from torch import Tensor, nn

from masksr.models.layers import conv3x3, in_full_precision


class VGGStyleDiscriminator(nn.Module):
    """ESRGAN's discriminator, with BasicSR's key names.

    Maps an image (B, 3, ``input_size``, ``input_size``) to logits (B, 1), float32 even under autocast. Five
    stages halve the image; ``input_size`` 256 has a sixth (``conv5_*``), as in BasicSR. Other sizes,
    multiples of 32 from 64 on, keep five stages, and ``linear1`` adapts to what they leave.
    """

    def __init__(self, num_feat: int = 64, input_size: int = 128) -> None:
        super().__init__()
        widths = [num_feat, 2 * num_feat, 4 * num_feat, 8 * num_feat, 8 * num_feat]
        if input_size == 256:
            widths.append(8 * num_feat)
        channels = 3
        for stage, width in enumerate(widths):  # flat names: conv0_0, conv0_1, bn0_1, conv1_0, bn1_0, ...
            self.add_module(f"conv{stage}_0", conv3x3(channels, width, bias=stage == 0))
            if stage:
                self.add_module(f"bn{stage}_0", nn.BatchNorm2d(width))
            self.add_module(f"conv{stage}_1", nn.Conv2d(width, width, 4, stride=2, padding=1, bias=False))
            self.add_module(f"bn{stage}_1", nn.BatchNorm2d(width))
            channels = width
        self.stages = len(widths)
        left = input_size // 2**self.stages
        self.linear1 = nn.Linear(channels * left**2, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for stage in range(self.stages):
            for layer in (f"{stage}_0", f"{stage}_1"):
                x = getattr(self, f"conv{layer}")(x)
                if layer != "0_0":
                    x = getattr(self, f"bn{layer}")(x)
                x = F.leaky_relu(x, 0.2, inplace=True)
        x = F.leaky_relu(self.linear1(x.flatten(1)), 0.2, inplace=True)
        return in_full_precision(self.linear2, x)


class SRGANDiscriminator(nn.Module):
    """The discriminator of SRGAN (Ledig et al., CVPR 2017), with the key names of EDSR-PyTorch and PESR.

    Maps an image (B, 3, ``input_size``, ``input_size``) to logits (B, 1), float32 even under autocast;
    ``input_size`` is a multiple of 16. Every other one of eight convolutions halves the image; widths and the
    hidden layer (1024 at ``num_feat`` 64) grow with ``num_feat``. The first convolution has no bias and is
    normalised, so the image may be in [0, 1] or [0, 255].
    """

    def __init__(self, num_feat: int = 64, input_size: int = 192) -> None:
        super().__init__()
        layers, channels = [], 3
        for width in (num_feat, 2 * num_feat, 4 * num_feat, 8 * num_feat):
            layers += [_normalised(channels, width, stride=1), _normalised(width, width, stride=2)]
            channels = width
        self.features = nn.Sequential(*layers)
        left, hidden = input_size // 16, 16 * num_feat
        self.classifier = nn.Sequential(
            nn.Linear(channels * left**2, hidden), nn.LeakyReLU(0.2, inplace=True), nn.Linear(hidden, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.features(image).flatten(1)
        return in_full_precision(self.classifier[-1], self.classifier[:-1](x))


def _normalised(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv3x3(channels_in, channels_out, stride=stride, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.2, inplace=True),
    )
