"""NIQE's patches for many planes at once: see :mod:`masksr.quality.niqe`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from masksr.quality.batched.planes import as_blocks, number, resized, weighted_sum
from masksr.quality.gaussian import gaussian_window
from masksr.quality.niqe import NEIGHBOURS, PATCH, WINDOW


def patch_moments(luma: Tensor) -> Tensor:
    """The moments of every patch of planes (B, H, W): (B, scale, samples, moment, patches) = (B, 2, 5, 6, P).

    The samples are a patch's values and their products with four neighbours, the moments those of
    :class:`masksr.quality.gamma.Moments`.
    """
    height, width = (length // PATCH * PATCH for length in luma.shape[-2:])
    planes = luma[:, :height, :width]
    whole = number(255, luma)
    halves = resized(planes / whole, (height // 2, width // 2)) * 255
    return torch.stack([_of_one_scale(planes, PATCH), _of_one_scale(halves, PATCH // 2)], dim=1)


def _of_one_scale(planes: Tensor, size: int) -> Tensor:
    """(B, 5, 6, P)."""
    patches = as_blocks(_local_contrast(planes), size)
    found = [_moments(patches.flatten(2))]
    for shift in NEIGHBOURS:
        found.append(_moments((patches * patches.roll(shift, dims=(-2, -1))).flatten(2)))
    return torch.stack(found, dim=1)


def _local_contrast(planes: Tensor) -> Tensor:
    window = gaussian_window(*WINDOW)
    padded = functional.pad(planes, [len(window) // 2] * 4, mode="replicate")
    mean = weighted_sum(padded, window)
    variance = weighted_sum(padded.square(), window) - mean.square()
    return (planes - mean) / ((variance.abs() + torch.finfo(planes.dtype).eps).sqrt() + 1)


def _moments(samples: Tensor) -> Tensor:
    """(B, P, N) to (B, 6, P), in the order of :class:`masksr.quality.gamma.Moments`."""
    square, left, right = samples.square(), samples < 0, samples > 0
    found = (
        (square * left).sum(-1),
        left.sum(-1).double(),
        (square * right).sum(-1),
        right.sum(-1).double(),
        samples.abs().mean(-1),
        square.mean(-1),
    )
    return torch.stack(found, dim=1)
