"""Bicubic resizing of one plane in single precision, as pyiqa computes it inside NIQE and Ma.

pyiqa's ``imresize`` casts every input to float32, and its numbers are what published scores are compared with, so both
metrics need its rounding. Images are made with ``data.bicubic``, which is exact; this is only for the metrics.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]


@lru_cache(maxsize=32)
def taps(length: int, new_length: int) -> tuple[NDArray[np.intp], Single]:
    """Which samples make each output sample, and their weights: (taps, new_length) each.

    Keys' cubic with a = -0.5, stretched when shrinking (antialiasing); the border is mirrored, its pixel repeated.
    """
    scale = new_length / length
    shrink = np.float32(min(scale, 1.0))
    count = ceil(4 / min(scale, 1.0)) + 2
    position = (np.arange(new_length, dtype=np.float32) + np.float32(0.5)) / np.float32(scale) - np.float32(0.5)
    first = np.floor(position) - np.float32(count // 2 - 1)
    index = first.astype(np.intp) + np.arange(count)[:, None]
    x = np.abs((position - first - np.arange(count, dtype=np.float32)[:, None]) * shrink)
    x2 = x * x
    x3 = x * x2
    f = np.float32
    near = (f(1.5) * x3 - f(2.5) * x2 + f(1)) * (x <= 1)
    far = (f(-0.5) * x3 + f(2.5) * x2 - f(4) * x + f(2)) * ((x > 1) & (x <= 2))
    weight = near + far
    total = np.zeros(new_length, np.float32)
    for row in weight:  # the order of the sum is part of the result
        total += row
    index = np.where(index < 0, -1 - index, index)
    index = np.where(index >= length, 2 * length - 1 - index, index)
    return index, weight / total


def resize(plane: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """``plane`` (H, W) as float64 (``shape``), computed in float32: rows first, then columns.

    At its own size the plane is only rounded to float32, as pyiqa does.
    """
    result = plane.astype(np.float32)
    if shape[0] != plane.shape[0]:
        result = _resize_rows(result, shape[0])
    if shape[1] != plane.shape[1]:
        result = _resize_rows(result.T, shape[1]).T
    return result.astype(np.float64)


def _resize_rows(plane: Single, length: int) -> Single:
    index, weight = taps(plane.shape[0], length)
    result = np.zeros((length, plane.shape[1]), np.float32)
    for rows, factor in zip(index, weight, strict=True):
        result += plane[rows] * factor[:, None]
    return result
