"""The first and the third feature family of Ma's metric for many planes at once.

See :mod:`masksr.quality.ma` and :mod:`masksr.quality.ma_dct`.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor

import torch
from torch import Tensor
from torch.nn import functional

from masksr.quality.batched.planes import as_blocks, ggd_shape, number, on_device, weighted_sum
from masksr.quality.gaussian import gaussian_window
from masksr.quality.ma import BLOCK, BLUR
from masksr.quality.ma_dct import DCT, ORIENTED, SIZE, STRIDE, padding

ROWS = 240  # at most this many go into one of the small QR decompositions; CUDA does many such at once


def scales(luma: Tensor) -> list[Tensor]:
    """Planes (B, H, W) in [0, 255] in [0, 1], at full, half and quarter size."""
    window = gaussian_window(*BLUR)
    planes = [luma / number(255, luma)]
    for _ in range(2):
        padded = functional.pad(planes[-1], [len(window) // 2] * 4)
        planes.append(weighted_sum(padded, window)[:, 1::2, 1::2])
    return planes


def triangle(planes: Tensor) -> Tensor:
    """The triangular factor (B, n, 25), n at most 25, of the matrix whose rows are the 5 x 5 blocks of a plane.

    Of a tall matrix it is that of the factors of its parts, one below the other; rows of zeros change nothing.
    """
    rows = as_blocks(planes, BLOCK).flatten(2)
    while (count := rows.shape[1]) > BLOCK**2:
        parts = ceil(count / ROWS)
        padded = functional.pad(rows, (0, 0, 0, parts * ceil(count / parts) - count))
        factors = torch.linalg.qr(padded.unflatten(1, (parts, -1)), mode="r").R
        rows = factors.flatten(1, 2)
    return rows


def dct_features(planes: Tensor) -> Tensor:
    """:func:`masksr.quality.ma_dct.dct_features` of planes (B, H, W) in [0, 1]: (B, 6)."""
    transform, *oriented = _tables(planes.device)
    (top, bottom), (left, right) = padding(tuple(planes.shape[-2:]))
    padded = functional.pad(planes, (left, right, top, bottom))
    coefficients = transform @ functional.unfold(padded[:, None], SIZE, stride=STRIDE)  # (B, 48, patches)
    shape = ggd_shape(coefficients, dim=1)
    magnitude = coefficients.abs_()
    variation = _variation(magnitude, 1e-7)
    orientation = torch.stack([_variation(magnitude.index_select(1, rows), 1e-8) for rows in oriented]).var(dim=0)
    numbers = torch.stack([shape, variation, orientation], dim=1).sort(dim=-1).values  # (B, 3, patches)
    lowest, highest = ceil(0.1 * shape.shape[-1]) + 1, floor(0.9 * shape.shape[-1])
    tenths = torch.cat([numbers[:, :1, :lowest].mean(-1), numbers[:, 1:, highest:].mean(-1)], dim=1)
    return torch.stack([tenths, numbers.mean(-1)], dim=-1).flatten(1)


def _variation(magnitude: Tensor, eps: float) -> Tensor:
    """Standard deviation over mean of the coefficients of each patch: (B, coefficients, patches) to (B, patches)."""
    return magnitude.std(dim=1) / (magnitude.mean(dim=1) + eps)


@lru_cache(maxsize=2)
def _tables(device: torch.device) -> tuple[Tensor, ...]:
    return on_device(device, DCT, *ORIENTED)
