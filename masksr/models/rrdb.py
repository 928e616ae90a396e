"""ESRGAN's generator."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masksr.models.layers import conv3x3, in_full_precision, through

RESIDUAL_SCALE = 0.2


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees the features of all before it; keeps (B, num_feat, H, W)."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_feat, num_grow_ch)
        self.conv2 = conv3x3(num_feat + num_grow_ch, num_grow_ch)
        self.conv3 = conv3x3(num_feat + 2 * num_grow_ch, num_grow_ch)
        self.conv4 = conv3x3(num_feat + 3 * num_grow_ch, num_grow_ch)
        self.conv5 = conv3x3(num_feat + 4 * num_grow_ch, num_feat)
        for conv in self.children():
            nn.init.kaiming_normal_(conv.weight)
            with torch.no_grad():
                conv.weight.mul_(0.1)  # so that each block starts near its shortcut
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        dense = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            dense = torch.cat((dense, _lrelu(conv(dense))), dim=1)
        return torch.add(x, self.conv5(dense), alpha=RESIDUAL_SCALE)


class RRDB(nn.Module):
    """Residual in residual: three dense blocks inside one more shortcut."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=RESIDUAL_SCALE)


class RRDBNet(nn.Module):
    """ESRGAN's generator (Wang et al., ECCV Workshops 2018), with BasicSR's key names and initial weights.

    Maps an LR image (B, 3, H, W) in [0, 1] to an SR image (B, 3, 4H, 4W) in about [0, 1], float32 even under
    autocast. The defaults are the published network, 16.7 M parameters.
    """

    pixel_range = 1.0
    recompute = False  # gradient checkpointing of the blocks
    scale = 4

    def __init__(self, num_feat: int = 64, num_block: int = 23, num_grow_ch: int = 32) -> None:
        super().__init__()
        self.conv_first = conv3x3(3, num_feat)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = conv3x3(num_feat, num_feat)
        self.conv_up1 = conv3x3(num_feat, num_feat)
        self.conv_up2 = conv3x3(num_feat, num_feat)
        self.conv_hr = conv3x3(num_feat, num_feat)
        self.conv_last = conv3x3(num_feat, 3)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.conv_first(lr)
        x = x + self.conv_body(through(self.body, x, recompute=self.recompute))
        x = _lrelu(self.conv_up1(F.interpolate(x, scale_factor=2, mode="nearest")))
        x = _lrelu(self.conv_up2(F.interpolate(x, scale_factor=2, mode="nearest")))
        return in_full_precision(self.conv_last, _lrelu(self.conv_hr(x)))


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)
