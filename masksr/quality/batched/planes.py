"""Operations on planes (..., H, W) in torch: the counterparts of ``luma``, ``resize``, ``gaussian`` and ``gamma``.

The tables are those of the numpy modules, and so is the rounding to single precision that is part of the numbers. For
that, a multiplication and the addition after it are two operations here: one that does both would round once. Divisors
are tensors, because CUDA multiplies by the reciprocal of a number.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from masksr.quality import gaussian, resize
from masksr.quality.gamma import symmetric_table
from masksr.quality.luma import BLACK, BLUE, BORDER, GREEN, RED


def on_device(device: torch.device, *tables: NDArray[np.generic]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(table)).to(device) for table in tables)


def number(value: float, like: Tensor) -> Tensor:
    """A divisor for ``like``, made where it is."""
    return torch.full((), value, dtype=like.dtype, device=like.device)


def luma_planes(images: Tensor) -> Tensor:
    """:func:`masksr.quality.luma.luma_plane` of images (B, H, W, 3) uint8: (B, H - 8, W - 8) float64."""
    levels = images[:, BORDER:-BORDER, BORDER:-BORDER].float()
    whole = number(255, levels)
    red, green, blue = (levels / whole).unbind(dim=-1)
    luma = red * RED
    for channel, weight in ((green, GREEN), (blue, BLUE)):
        luma = (channel.double() * float(np.float32(weight)) + luma).float()
    return ((luma + BLACK) / whole * 255).round().double()


def resized(planes: Tensor, shape: tuple[int, int]) -> Tensor:
    """:func:`masksr.quality.resize.resize` of each plane: float64 (..., *shape), computed in float32."""
    result = planes.float()
    if shape[0] != result.shape[-2]:
        result = _resized_rows(result, shape[0])
    if shape[1] != result.shape[-1]:
        result = _resized_rows(result.mT, shape[1]).mT
    return result.double()


def _resized_rows(planes: Tensor, length: int) -> Tensor:
    index, weight = _taps(planes.device, planes.shape[-2], length)
    result = planes.new_zeros(*planes.shape[:-2], length, planes.shape[-1])
    for rows, factor in zip(index, weight, strict=True):
        result += planes.index_select(-2, rows) * factor[:, None]
    return result


@lru_cache(maxsize=32)
def _taps(device: torch.device, length: int, new_length: int) -> tuple[Tensor, ...]:
    return on_device(device, *resize.taps(length, new_length))


def weighted_sum(planes: Tensor, window: NDArray[np.float64]) -> Tensor:
    """The sum under ``window`` (n, n) around every pixel that has a whole one: (..., H - n + 1, W - n + 1)."""
    height, width = (length - len(window) + 1 for length in planes.shape[-2:])
    total = planes.new_zeros(*planes.shape[:-2], height, width)
    for (y, x), weight in np.ndenumerate(window):
        total.add_(planes[..., y : y + height, x : x + width], alpha=float(weight))
    return total


def gaussian_mean(planes: Tensor, size: int = 11, sigma: float = 1.5) -> Tensor:
    """:func:`masksr.quality.gaussian.gaussian_mean` of each plane: (..., H - size + 1, W - size + 1)."""
    return _mean_along_rows(_mean_along_rows(planes, size, sigma).mT, size, sigma).mT


def _mean_along_rows(planes: Tensor, size: int, sigma: float, block: int = 16) -> Tensor:
    """As matrix products: ``block`` neighbouring means at a time from the pixels that they need."""
    (band,) = _band(planes.device, size, sigma, block)
    width = planes.shape[-1] - size + 1
    padded = functional.pad(planes, (0, -width % block))
    return (padded.unfold(-1, len(band), block) @ band).flatten(-2)[..., :width]


@lru_cache(maxsize=8)
def _band(device: torch.device, size: int, sigma: float, block: int) -> tuple[Tensor, ...]:
    return on_device(device, gaussian.bands(size, sigma, block)[1])


def ggd_shape(samples: Tensor, dim: int = -1) -> Tensor:
    """:func:`masksr.quality.gamma.ggd_shape` along one dimension."""
    count = samples.shape[dim]
    deviation = samples - samples.mean(dim, keepdim=True)
    variance = deviation.square().sum(dim) / (count - 1)
    ratio = variance / (deviation.abs().mean(dim).square() + 1e-7)
    shape, table = _shapes(samples.device)
    right = torch.searchsorted(table, ratio).clip(1, len(table) - 1)
    left = right - 1
    return shape[torch.where(ratio - table[left] < table[right] - ratio, left, right)]


@lru_cache(maxsize=2)
def _shapes(device: torch.device) -> tuple[Tensor, ...]:
    return on_device(device, *symmetric_table())


def as_blocks(planes: Tensor, size: int) -> Tensor:
    """(B, H, W), with zeros where a block is not whole, to (B, blocks, size, size), row by row."""
    batch, height, width = planes.shape
    rows, columns = ceil(height / size), ceil(width / size)
    padded = functional.pad(planes, (0, columns * size - width, 0, rows * size - height))
    return padded.reshape(batch, rows, size, columns, size).transpose(2, 3).flatten(1, 2)
