"""Shape parameters of generalised Gaussians by moment matching, vectorised over many samples.

Sharifi and Leon-Garcia (1995) for the symmetric density, Lasmar et al. (2009) for the asymmetric one: a ratio of two
moments is a monotone function of the shape, tabulated in steps of 0.001. Public codes compare every ratio with all 10^4
entries; a binary search finds the same entry.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]


def _shapes(first: float) -> Array:
    """The shapes from ``first`` to 10 as pyiqa has them: float32, as torch's ``arange`` rounds on x86.

    torch rounds every eighth value and counts on from it, eight at a time; a forest whose thresholds lie on the same
    grid sees the difference of one unit in the last place.
    """
    count = int(np.ceil((10 + 0.001 - first) / 0.001))
    i = np.arange(count)
    exact = first + 0.001 * i
    lane = i % 8
    counted = exact.astype(np.float32)[i - lane].astype(np.float64) + 0.001 * lane
    return np.where(i < count - count % 16, counted, exact).astype(np.float32).astype(np.float64)


def _nearest(rising: Array, values: Array) -> NDArray[np.intp]:
    """The position in ``rising`` that is nearest to each value."""
    right = np.searchsorted(rising, values).clip(1, len(rising) - 1)
    left = right - 1
    return np.where(values - rising[left] < rising[right] - values, left, right)


@lru_cache(maxsize=1)
def symmetric_table() -> tuple[Array, Array]:
    """The shapes, and the rising ratio of variance to squared mean magnitude that belongs to each."""
    shape = _shapes(0.03)[::-1]
    return shape, np.exp(gammaln(1 / shape) + gammaln(3 / shape) - 2 * gammaln(2 / shape))


@lru_cache(maxsize=1)
def _asymmetric_table() -> tuple[Array, Array]:
    shape = _shapes(0.2)
    return shape, np.exp(2 * gammaln(2 / shape) - gammaln(1 / shape) - gammaln(3 / shape))


def ggd_shape(samples: Array) -> Array:
    """The shape in [0.03, 10] of the generalised Gaussian that fits each row of ``samples`` (..., N): (...)."""
    deviation = samples - samples.mean(axis=-1, keepdims=True)
    variance = np.square(deviation).sum(axis=-1) / (samples.shape[-1] - 1)
    ratio = variance / (np.square(np.abs(deviation).mean(axis=-1)) + 1e-7)
    shape, table = symmetric_table()
    return shape[_nearest(table, ratio)]


class Moments(NamedTuple):
    """What the fit of an asymmetric generalised Gaussian needs to know of its samples; arrays of one shape."""

    left_energy: Array  # sum of the squares of the negative samples
    left_count: Array
    right_energy: Array  # of the positive ones
    right_count: Array
    magnitude: Array  # mean of the absolute values
    power: Array  # mean of the squares


def moments(samples: Array) -> Moments:
    """The moments of each row of ``samples`` (..., N): six arrays (...)."""
    square = np.square(samples)
    left, right = samples < 0, samples > 0
    return Moments(
        (square * left).sum(axis=-1),
        left.sum(axis=-1),
        (square * right).sum(axis=-1),
        right.sum(axis=-1),
        np.abs(samples).mean(axis=-1),
        square.mean(axis=-1),
    )


def aggd(m: Moments) -> tuple[Array, Array, Array]:
    """Shape, left and right scale of the asymmetric generalised Gaussians that have these moments.

    Samples without a negative or without a positive one have no such fit: their scales are NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        left_std = np.sqrt(m.left_energy / m.left_count)
        right_std = np.sqrt(m.right_energy / m.right_count)
        skew = left_std / right_std
        ratio = np.square(m.magnitude) / m.power
        ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape, table = _asymmetric_table()
    alpha = np.where(np.isnan(ratio), shape[0], shape[_nearest(table, ratio)])  # torch's argmin stops at the first NaN
    scale = np.exp((gammaln(1 / alpha) - gammaln(3 / alpha)) / 2)
    return alpha, left_std * scale, right_std * scale
