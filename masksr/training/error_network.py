"""The mask the paper leaves to the future: equation 8 with the expected error in place of one sample of it.

The paper writes the expected error and computes it from a single SR image, whose error is one noisy sample.
Here a small network learns to expect it from the LR patch alone, while the GAN trains: what it converges to
is the mean error of all HR images that share that LR patch, which by equations 6 and 7 is the variance of
their class.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FIRST_GUESS = 0.003  # the squared error in [0, 1]² before anything was learned: about 14 grey levels
_LIMITS = (math.log(1e-9), math.log(4.0))


class ErrorNetwork(nn.Module):
    """LR (B, 3, h, w) in [0, 1] -> log of the expected squared error, (B, channels, 4h, 4w), in [0, 1]²."""

    def __init__(self, channels: int = 1, num_feat: int = 32, scale: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, num_feat, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(num_feat, channels * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )
        nn.init.constant_(self.body[-2].bias, math.log(FIRST_GUESS))
        with torch.no_grad():
            self.body[-2].weight.mul_(0.1)  # or the first guess would be lost in noise

    def forward(self, lr: Tensor) -> Tensor:
        found = self.body(lr)
        return found.to(torch.promote_types(found.dtype, torch.float32)).clamp(*_LIMITS)


def expectation_loss(log_expected: Tensor, error: Tensor) -> Tensor:
    """How badly an expected error fits the measured one: the mean of ``error / expected + log expected``.

    Its minimum over any distribution of errors is at their mean, as of a squared distance; but it counts
    ratios, so that smooth regions, whose errors are a thousand times smaller, are learned as well as texture
    (the likelihood of a gamma distribution; Patton, "Volatility forecast comparison using imperfect
    volatility proxies", Journal of Econometrics 160(1), 2011).

    log_expected, error: (B, C, H, W), the second in the squared units of the first.
    """
    return (error * torch.exp(-log_expected) + log_expected).mean()
