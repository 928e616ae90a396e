"""The plane that every measure looks at (8-bit BT.601 luma), and the Gaussian means and resizing in them.

Published scores come from pyiqa, in single precision, so all three carry its rounding. Images themselves are
made with ``data.bicubic``, which is exact; nothing here is for that.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3)
Array = NDArray[np.float64]
Single = NDArray[np.float32]

BORDER = 4  # pixels cut from each side (PIRM 2018: shave_width)
RED, GREEN, BLUE, BLACK = (
    65.481,
    128.553,
    24.966,
    16,
)  # BT.601: the weight of each channel, and the level of black


class Unmeasurable(ValueError):
    """The image is valid, but it has no such score: too small, flat, periodic."""


def check_side(shape: tuple[int, ...], side: int) -> None:
    """Raise Unmeasurable for a plane of ``shape`` (H, W) with a side shorter than ``side``."""
    if min(shape) < side:
        raise Unmeasurable(f"needs {side} x {side} pixels inside the border, got {shape[0]} x {shape[1]}")


def check_image(image: Image, border: int = BORDER) -> None:
    """Raise TypeError for pixels that are not uint8, ValueError for another shape or where all is border."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = f"{image.dtype} pixels" if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"quality is measured on uint8 arrays, not {kind} (see data.images.to_image)")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"quality is measured on images of shape (H, W, 3), got {image.shape}")
    if min(image.shape[:2]) <= 2 * border:
        raise ValueError(f"an image of shape {image.shape} is nothing but border ({border} pixels)")


def luma_plane(image: Image, border: int = BORDER) -> Array:
    """Compute the luma of an image (H, W, 3) uint8: (H - 2 border, W - 2 border), 16 ... 235 in whole levels.

    In single precision as pyiqa does it (torch's matrix product on x86, with fused multiply-adds): of the
    2^24 colours 137 lie so close to a half that exact arithmetic (``data.images.luma``) rounds them to the
    other side, and one such pixel moves PI by about 1e-5. Raises what :func:`check_image` does.
    """
    check_image(image, border)
    inner = image[border : image.shape[0] - border, border : image.shape[1] - border]
    red, green, blue = np.moveaxis(inner.astype(np.float32) / np.float32(255), -1, 0)
    luma = red * np.float32(RED)
    for channel, weight in ((green, GREEN), (blue, BLUE)):  # a fused multiply-add rounds once
        luma = (channel.astype(np.float64) * np.float32(weight).astype(np.float64) + luma).astype(np.float32)
    return np.rint((luma + np.float32(BLACK)) / np.float32(255) * np.float32(255)).astype(np.float64)


# ---- Gaussian windows --------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def gaussian_window(size: int, sigma: float) -> Array:
    """Build the weights (size, size) of MATLAB's ``fspecial``, each rounded to float32 as in pyiqa; sum 1."""
    x = np.arange(size) - (size - 1) / 2
    window = np.exp(-(x[:, None] ** 2 + x**2) / (2 * sigma**2))
    return (window / window.sum()).astype(np.float32).astype(np.float64)


@lru_cache(maxsize=4)
def _bands(size: int, sigma: float, block: int) -> tuple[Array, Array]:
    """Build the window's best separable form as a band matrix for ``block`` means, and its transpose.

    The rounded window is a product of two vectors up to 1e-8; the vector is scaled to keep the window's exact
    sum.
    """
    window = gaussian_window(size, sigma)
    vector = np.abs(np.linalg.svd(window)[0][:, 0])
    vector *= np.sqrt(window.sum()) / vector.sum()
    band = np.zeros((block, block + size - 1))
    for row in range(block):
        band[row, row : row + size] = vector
    return band, np.ascontiguousarray(band.T)


def gaussian_mean(plane: Array, size: int = 11, sigma: float = 1.5) -> Array:
    """Average around every pixel that has a whole window: (H, W) to (H - size + 1, W - size + 1).

    Columns, then rows, each as small matrix products of a band matrix: twice as fast as sliding a vector, a
    hundred times as fast as torch's two-dimensional float64 convolution.
    """
    block, margin = 16, size - 1
    band, transposed = _bands(size, sigma, block)
    height, width = plane.shape[0] - margin, plane.shape[1] - margin
    columns = np.empty((height, plane.shape[1]))
    for top in range(0, height, block):
        n = min(block, height - top)
        np.matmul(band[:n, : n + margin], plane[top : top + n + margin], out=columns[top : top + n])
    means = np.empty((height, width))
    for left in range(0, width, block):
        n = min(block, width - left)
        block_of_columns = columns[:, left : left + n + margin]
        np.matmul(block_of_columns, transposed[: n + margin, :n], out=means[:, left : left + n])
    return means


# ---- Bicubic resizing --------------------------------------------------------------------------------------


def resize(plane: Array, shape: tuple[int, int]) -> Array:
    """Resize ``plane`` (H, W) to ``shape`` as pyiqa does: in float32, rows first, then columns.

    At its own size the plane is only rounded to float32.
    """
    result = plane.astype(np.float32)
    if shape[0] != plane.shape[0]:
        result = _resize_rows(result, shape[0])
    if shape[1] != plane.shape[1]:
        result = _resize_rows(result.T, shape[1]).T
    return result.astype(np.float64)


def _resize_rows(plane: Single, length: int) -> Single:
    index, weight = _taps(plane.shape[0], length)
    result = np.zeros((length, plane.shape[1]), np.float32)
    for rows, factor in zip(index, weight, strict=True):
        result += plane[rows] * factor[:, None]
    return result


@lru_cache(maxsize=32)
def _taps(length: int, new_length: int) -> tuple[NDArray[np.intp], Single]:
    """Find which samples make each output sample, and their weights: (taps, new_length) each.

    Keys' cubic with a = -0.5, stretched when shrinking (antialiasing); the border is mirrored, its pixel
    repeated.
    """
    f = np.float32
    scale = new_length / length
    shrink = f(min(scale, 1.0))
    count = ceil(4 / min(scale, 1.0)) + 2
    position = (np.arange(new_length, dtype=np.float32) + f(0.5)) / f(scale) - f(0.5)
    first = np.floor(position) - f(count // 2 - 1)
    index = first.astype(np.intp) + np.arange(count)[:, None]
    x = np.abs((position - first - np.arange(count, dtype=np.float32)[:, None]) * shrink)
    x2 = x * x
    x3 = x * x2
    near = (f(1.5) * x3 - f(2.5) * x2 + f(1)) * (x <= 1)
    far = (f(-0.5) * x3 + f(2.5) * x2 - f(4) * x + f(2)) * ((x > 1) & (x <= 2))
    weight = near + far
    total = np.zeros(new_length, np.float32)
    for row in weight:  # the order of the sum is part of the result
        total += row
    index = np.where(index < 0, -1 - index, index)
    index = np.where(index >= length, 2 * length - 1 - index, index)
    return index, weight / total
