"""The plane that all measures use (8-bit BT.601 luma), and the Gaussian means and resizing inside them.

Published scores come from pyiqa, in single precision, so all three reproduce its rounding. Images themselves
are made with ``data.bicubic``, which is exact, never with this module.
"""

from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Image = NDArray[np.uint8]  # (H, W, 3)
Array = NDArray[np.float64]
Single = NDArray[np.float32]

BORDER = 4  # pixels cut from each side (PIRM 2018: shave_width)


class Unmeasurable(ValueError):
    """The image is valid but has no such score: it is too small, flat or periodic."""


def check_side(shape: tuple[int, ...], side: int) -> None:
    """Raise Unmeasurable for a plane of ``shape`` (H, W) with a side shorter than ``side``."""
    if min(shape) < side:
        raise Unmeasurable(f"needs {side} x {side} pixels inside the border, got {shape[0]} x {shape[1]}")


def cut_border(image: Image, border: int = BORDER) -> Image:
    """Cut the border off an image (H, W, 3) uint8. Raises ValueError for others, or if all is border."""
    if getattr(image, "dtype", None) != np.uint8 or image.shape[2:] != (3,):
        raise ValueError("quality is measured on uint8 arrays (H, W, 3); see data.images.to_image")
    if min(image.shape[:2]) <= 2 * border:
        raise ValueError(f"an image of shape {image.shape} is nothing but border ({border} pixels)")
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def luma_plane(image: Image, border: int = BORDER) -> Array:
    """Compute the luma of an image (H, W, 3) uint8: (H - 2 border, W - 2 border), 16 ... 235 in whole levels.

    In single precision, as in pyiqa (torch's matrix product on x86, with fused multiply-adds): 137 of the
    2^24 colours lie so close to a half that exact arithmetic (``data.images.luma``) rounds them the other
    way, and one such pixel moves PI by about 1e-5. Raises ValueError as :func:`cut_border` does.
    """
    pixels = cut_border(image, border).astype(np.float32) / np.float32(255)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    luma = red * np.float32(65.481)
    for channel, weight in ((green, 128.553), (blue, 24.966)):  # a fused multiply-add rounds once
        luma = (channel.astype(np.float64) * np.float32(weight).astype(np.float64) + luma).astype(np.float32)
    return np.rint((luma + np.float32(16)) / np.float32(255) * np.float32(255)).astype(np.float64)


def cut_blocks(plane: Array, size: int) -> Array:
    """Cut a plane, sides multiples of ``size``, into (blocks, size, size), row by row."""
    height, width = plane.shape
    return plane.reshape(height // size, size, width // size, size).swapaxes(1, 2).reshape(-1, size, size)


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

    The rounded window is an outer product to within 1e-8; the vector is scaled to keep its exact sum.
    """
    window = gaussian_window(size, sigma)
    vector = np.abs(np.linalg.svd(window)[0][:, 0])
    vector *= np.sqrt(window.sum()) / vector.sum()
    band = sum(np.eye(block, block + size - 1, shift) * weight for shift, weight in enumerate(vector))
    return band, np.ascontiguousarray(band.T)


def gaussian_mean(plane: Array) -> Array:
    """Average around every pixel that has a whole 11 x 11 window: (H, W) to (H - 10, W - 10).

    Columns, then rows, each as small products with a band matrix: twice as fast as sliding a vector, and a
    hundred times as fast as torch's two-dimensional float64 convolution.
    """
    block, margin = 16, 10
    band, transposed = _bands(11, 1.5, block)
    height, width = plane.shape[0] - margin, plane.shape[1] - margin
    columns, means = np.empty((height, plane.shape[1])), np.empty((height, width))
    for top in range(0, height, block):
        rows = plane[top : top + block + margin]  # the last ones are fewer
        np.matmul(band[: len(rows) - margin, : len(rows)], rows, out=columns[top : top + block])
    for left in range(0, width, block):
        part = columns[:, left : left + block + margin]
        n = part.shape[1]
        np.matmul(part, transposed[:n, : n - margin], out=means[:, left : left + block])
    return means


# ---- Bicubic resizing --------------------------------------------------------------------------------------
def resize(plane: Array, shape: tuple[int, int]) -> Array:
    """Resize ``plane`` (H, W) to ``shape`` as pyiqa does: in float32, rows first, then columns."""
    result = plane.astype(np.float32)
    if shape[0] != plane.shape[0]:
        result = _resize_rows(result, shape[0])
    if shape[1] != plane.shape[1]:
        result = _resize_rows(result.T, shape[1]).T
    return result.astype(np.float64)


def _resize_rows(plane: Single, length: int) -> Single:
    index, weight = _taps(plane.shape[0], length)
    return sum(plane[rows] * factor[:, None] for rows, factor in zip(index, weight, strict=True))


@lru_cache(maxsize=32)
def _taps(length: int, new_length: int) -> tuple[NDArray[np.intp], Single]:
    """Find the samples that contribute to each output sample, and their weights: (taps, new_length) each.

    Keys' cubic, a = -0.5, stretched when shrinking (antialiasing); beyond the border is its mirror image.
    """
    f = np.float32
    scale = new_length / length
    shrink = f(min(scale, 1.0))
    count = ceil(4 / min(scale, 1.0)) + 2
    position = (np.arange(new_length, dtype=np.float32) + f(0.5)) / f(scale) - f(0.5)
    first = np.floor(position) - f(count // 2 - 1)
    index = first.astype(np.intp) + np.arange(count)[:, None]
    x = np.abs((position - first - np.arange(count, dtype=np.float32)[:, None]) * shrink)
    x2, x3 = x * x, x * (x * x)
    near = (f(1.5) * x3 - f(2.5) * x2 + f(1)) * (x <= 1)
    far = (f(-0.5) * x3 + f(2.5) * x2 - f(4) * x + f(2)) * ((x > 1) & (x <= 2))
    weight = near + far
    index = np.where(index < 0, -1 - index, index)
    index = np.where(index >= length, 2 * length - 1 - index, index)
    return index, weight / weight.sum(axis=0)


# ---- Shapes of generalised Gaussians -----------------------------------------------------------------------
# Moment matching: Sharifi and Leon-Garcia (1995) for the symmetric density, Lasmar et al. (2009) for the
# asymmetric one. A ratio of two moments is a monotone function of the shape, tabulated in steps of 0.001.
# Public codes compare every ratio with all 10^4 entries; a binary search finds the same entry.
@lru_cache(maxsize=2)
def shape_table(symmetric: bool) -> tuple[Array, Array]:
    """Tabulate shapes up to 10 and the ratio of moments of each, in the order in which the ratios rise.

    The shapes are rounded to float32 as in pyiqa: a forest with thresholds on that grid would notice.
    """
    import torch  # here, because it takes a second

    shape = torch.arange(0.03 if symmetric else 0.2, 10 + 0.001, 0.001).double().numpy()
    one, two, three = (gammaln(n / shape) for n in (1, 2, 3))
    if symmetric:
        return shape[::-1], np.exp(one + three - 2 * two)[::-1]
    return shape, np.exp(2 * two - one - three)


def _nearest(table: tuple[Array, Array], ratio: Array) -> Array:
    """Look up the shape whose ratio is nearest to each of ``ratio``."""
    shape, rising = table
    right = np.searchsorted(rising, ratio).clip(1, len(rising) - 1)
    left = right - 1
    return shape[np.where(ratio - rising[left] < rising[right] - ratio, left, right)]


def fit_ggd(samples: Array) -> Array:
    """Fit a generalised Gaussian to each row of ``samples`` (..., N): its shape in [0.03, 10], (...)."""
    deviation = samples - samples.mean(axis=-1, keepdims=True)
    variance = np.square(deviation).sum(axis=-1) / (samples.shape[-1] - 1)
    ratio = variance / (np.square(np.abs(deviation).mean(axis=-1)) + 1e-7)
    return _nearest(shape_table(symmetric=True), ratio)


def fit_aggd(samples: Array) -> tuple[Array, Array, Array]:
    """Fit an asymmetric generalised Gaussian to each row (..., N): shape, left and right scale, (...).

    Rows without negative or without positive samples have no such fit: their scales are NaN.
    """
    square = np.square(samples)
    left, right = samples < 0, samples > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        left_std = np.sqrt((square * left).sum(axis=-1) / left.sum(axis=-1))
        right_std = np.sqrt((square * right).sum(axis=-1) / right.sum(axis=-1))
        skew = left_std / right_std
        ratio = np.square(np.abs(samples).mean(axis=-1)) / square.mean(axis=-1)
        ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    table = shape_table(symmetric=False)
    alpha = np.where(np.isnan(ratio), table[0][0], _nearest(table, ratio))  # torch's argmin stops at a NaN
    scale = np.exp((gammaln(1 / alpha) - gammaln(3 / alpha)) / 2)
    return alpha, left_std * scale, right_std * scale
