"""The second feature family of Ma's metric for many planes at once.

See :mod:`masksr.quality.ma_gsm` and :mod:`masksr.quality.pyramid`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from masksr.quality import pyramid
from masksr.quality.batched.planes import gaussian_mean, ggd_shape, on_device, resized
from masksr.quality.ma_gsm import BORDERS, Local
from masksr.quality.pyramid import ORIENTATIONS

PIXELS = 2**19  # whose neighbourhoods are there at a time, of 15 numbers each


class ScaleMixture:
    """The oriented bands of planes (B, H, W) in [0, 255]; between two steps here the host whitens covariances."""

    def __init__(self, planes: Tensor) -> None:
        self.residual, (self.fine, self.coarse) = _oriented_bands(planes)  # (B, H, W), (B, 6, H, W), (B, 6, h, w)
        self.parents = resized(self.coarse, (planes.shape[-2], planes.shape[-1]))

    def covariances(self) -> tuple[Tensor, Tensor]:
        """Of the neighbourhoods in each band: (B, 6, 15, 15) of the finer and (B, 6, 14, 14) of the coarser level."""
        return _covariances(self.fine, self.parents), _covariances(self.coarse, None)

    def features(self, whiten_fine: Tensor, whiten_coarse: Tensor) -> Tensor:
        """:func:`masksr.quality.ma_gsm.gsm_features`, given what whitens those covariances: (B, 45)."""
        divided = _without_border(_divided(self.fine, self.parents, whiten_fine), BORDERS[0])
        coarse = _without_border(_divided(self.coarse, None, whiten_coarse), BORDERS[1])
        samples = divided.flatten(2), coarse.flatten(2)
        shapes = [ggd_shape(s) for s in (*samples, torch.cat(samples, dim=-1))]

        high = Local(self.residual, gaussian_mean)
        bands = (band for level in (self.fine, self.parents) for band in level.unbind(dim=1))
        at_residual = [Local(band.float().double(), gaussian_mean).similarity(high) for band in bands]
        locals_ = [Local(band, gaussian_mean) for band in divided.unbind(dim=1)]
        between = [a.similarity(b) for a, b in combinations(locals_, 2)]
        return torch.cat([*shapes, torch.stack([*at_residual, *between], dim=1)], dim=1)


def _oriented_bands(planes: Tensor) -> tuple[Tensor, list[Tensor]]:
    """:func:`masksr.quality.pyramid.oriented_bands` of planes (B, H, W): the residual, and (B, 6, h, w) per level."""
    residual, *levels = _masks(planes.device, planes.shape[-2], planes.shape[-1])
    spectrum = torch.fft.rfft2(planes)
    high = torch.fft.irfft2(spectrum * residual, s=planes.shape[-2:])
    bands = []
    for (height, width), low, band, angular in levels:
        lowest = torch.cat([spectrum[:, : height - height // 2], spectrum[:, -(height // 2) :]], dim=1)
        spectrum = lowest[..., : width // 2 + 1] * low
        passed = (-1j * spectrum * band)[:, None]
        bands.append(torch.fft.irfft2(passed * angular, s=(height, width)))
    return high, bands


@lru_cache(maxsize=2)
def _masks(device: torch.device, height: int, width: int) -> list:
    residual, levels = pyramid.masks(height, width)
    on_levels = [(of.shape, *on_device(device, of.low, of.band, np.stack(of.angular))) for of in levels]
    return [*on_device(device, residual), *on_levels]


def _neighbourhoods(bands: Tensor, parents: Tensor | None, b: int) -> Iterator[Tensor]:
    """For some rows at a time the (B, rows, neighbours, W - 2) around every pixel of band ``b`` that has all of them.

    The order of the neighbours is that of :mod:`masksr.quality.ma_gsm`.
    """
    batch, _, height, width = bands.shape
    centre = [] if parents is None else [parents[:, b]]
    centre += [bands[:, other] for other in range(ORIENTATIONS) if other != b]
    rows = max(1, PIXELS // (batch * width))
    for top in range(0, height - 2, rows):
        n = min(rows, height - 2 - top)
        around = [bands[:, b, top + y : top + y + n, x : x + width - 2] for y in range(3) for x in range(3)]
        around += [band[:, top + 1 : top + 1 + n, 1:-1] for band in centre]
        yield torch.stack(around, dim=2)


def _covariances(bands: Tensor, parents: Tensor | None) -> Tensor:
    """(B, 6, n, n); row by row, because a GPU multiplies many small matrices faster than one that is long and thin."""
    pixels = (bands.shape[-2] - 2) * (bands.shape[-1] - 2)
    sums = [
        sum((block @ block.mT).sum(dim=1) for block in _neighbourhoods(bands, parents, b)) for b in range(ORIENTATIONS)
    ]
    return torch.stack(sums, dim=1) / pixels


def _divided(bands: Tensor, parents: Tensor | None, whiten: Tensor) -> Tensor:
    """The bands divided by the local scale of the mixture, (B, 6, H - 2, W - 2); whiten: (B, 6, n, n)."""
    divided = []
    for b in range(ORIENTATIONS):
        blocks = _neighbourhoods(bands, parents, b)
        scale = torch.cat([(whiten[:, b, None] @ block).square().sum(dim=2) for block in blocks], dim=1)
        scale = (scale / (9 + (parents is not None))).sqrt()
        inner = bands[:, b, 1:-1, 1:-1]
        divided.append((inner - inner.mean(dim=(-2, -1), keepdim=True)) / (scale + 1e-12))
    return torch.stack(divided, dim=1)


def _without_border(bands: Tensor, border: int) -> Tensor:
    bands = bands[..., border:-border, border:-border]
    return bands - bands.mean(dim=(-2, -1), keepdim=True)
