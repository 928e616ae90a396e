"""EDSR and PESR: one trunk of residual blocks without batch normalisation, under two sets of key names."""

import torch
from torch import Tensor, nn

from masksr.models.layers import conv3x3, in_full_precision, through

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB, of DIV2K's 800 training images, in [0, 1]


def mean_shift(sign: int) -> nn.Conv2d:
    """Build a layer that adds ``sign`` times DIV2K's mean colour to images (B, 3, H, W) in [0, 255].

    It is a frozen 1x1 convolution because public checkpoints store it as one. PESR's public code meant to
    freeze it too but trained it; its checkpoints load all the same and keep their trained values.
    """
    shift = nn.Conv2d(3, 3, kernel_size=1)
    with torch.no_grad():
        shift.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        shift.bias.copy_(sign * 255 * torch.tensor(DIV2K_MEAN))
    return shift.requires_grad_(False)


class ResBlock(nn.Module):
    """Convolution, ReLU, convolution, scaled by ``res_scale`` and added to the input (B, n_feats, H, W)."""

    def __init__(self, n_feats: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3x3(n_feats, n_feats), nn.ReLU(inplace=True), conv3x3(n_feats, n_feats))
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.body(x), alpha=self.res_scale)


def residual_trunk(n_resblocks: int, n_feats: int, res_scale: float) -> nn.Sequential:
    """Build the residual blocks and one closing convolution; the caller adds the outer shortcut."""
    blocks = (ResBlock(n_feats, res_scale) for _ in range(n_resblocks))
    return nn.Sequential(*blocks, conv3x3(n_feats, n_feats))


def sub_pixel_steps(n_feats: int, scale: int) -> list[nn.Module]:
    """List convolution and pixel shuffle, once by 2 or 3, or twice by 2: (B, n_feats, H, W) to scale H, W."""
    steps = (2, 2) if scale == 4 else (scale,)
    return [layer for s in steps for layer in (conv3x3(n_feats, s * s * n_feats), nn.PixelShuffle(s))]


class EDSR(nn.Module):
    """EDSR (Lim et al., CVPR Workshops 2017), with the key names of EDSR-PyTorch.

    Maps an LR image (B, 3, H, W) in [0, 255] to an SR image (B, 3, scale H, scale W) in about [0, 255],
    float32 even under autocast. scale: 2, 3 or 4. The defaults are the published x4 network, 43 M parameters.
    """

    pixel_range = 255.0
    recompute = False  # gradient checkpointing of the blocks

    def __init__(
        self, n_resblocks: int = 32, n_feats: int = 256, res_scale: float = 0.1, scale: int = 4
    ) -> None:
        super().__init__()
        self.scale = scale
        self.sub_mean = mean_shift(-1)
        self.head = nn.Sequential(conv3x3(3, n_feats))
        self.body = residual_trunk(n_resblocks, n_feats, res_scale)
        self.tail = nn.Sequential(nn.Sequential(*sub_pixel_steps(n_feats, scale)), conv3x3(n_feats, 3))
        self.add_mean = mean_shift(+1)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(in_full_precision(self.sub_mean, lr))
        x = x + through(self.body, x, recompute=self.recompute)
        upsample, to_rgb = self.tail
        return in_full_precision(self.add_mean, in_full_precision(to_rgb, upsample(x)))


class PESR(nn.Module):
    """PESR's generator (Vu et al., ECCV Workshops 2018): EDSR's x4 network under PESR's key names.

    Maps LR (B, 3, H, W) in [0, 255] to SR (B, 3, 4H, 4W) in about [0, 255], float32 even under autocast.
    """

    pixel_range = 255.0
    recompute = False  # gradient checkpointing of the blocks
    scale = 4

    def __init__(self, depth: int = 32, num_channels: int = 256, res_scale: float = 0.1) -> None:
        super().__init__()
        self.sub_mean = mean_shift(-1)
        self.embed = conv3x3(3, num_channels)
        self.body = residual_trunk(depth, num_channels, res_scale)
        self.upsample = nn.Sequential(*sub_pixel_steps(num_channels, self.scale), conv3x3(num_channels, 3))
        self.add_mean = mean_shift(+1)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.embed(in_full_precision(self.sub_mean, lr))
        x = x + through(self.body, x, recompute=self.recompute)
        upsample, to_rgb = self.upsample[:-1], self.upsample[-1]
        return in_full_precision(self.add_mean, in_full_precision(to_rgb, upsample(x)))
