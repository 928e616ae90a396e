"""Shape parameters of generalised Gaussians by moment matching, vectorised over many samples.

Sharifi and Leon-Garcia (1995) for the symmetric density, Lasmar et al. (2009) for the asymmetric one: a ratio
of two moments is a monotone function of the shape, tabulated in steps of 0.001. Public codes compare every
ratio with all 10^4 entries; a binary search finds the same entry.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]


def shape_grid(first: float) -> Array:
    """Build the shapes from ``first`` to 10 as pyiqa has them: float32, as torch's ``arange`` rounds on x86.

    torch rounds every eighth value and counts on from it, eight at a time; a forest whose thresholds lie on
    the same grid sees the difference of one unit in the last place.
    """
    count = int(np.ceil((10 + 0.001 - first) / 0.001))
    i = np.arange(count)
    exact = first + 0.001 * i
    lane = i % 8
    counted = exact.astype(np.float32)[i - lane].astype(np.float64) + 0.001 * lane
    return np.where(i < count - count % 16, counted, exact).astype(np.float32).astype(np.float64)


def _nearest(rising: Array, values: Array) -> NDArray[np.intp]:
    """Find the position in ``rising`` that is nearest to each value."""
    right = np.searchsorted(rising, values).clip(1, len(rising) - 1)
    left = right - 1
    return np.where(values - rising[left] < rising[right] - values, left, right)


@lru_cache(maxsize=1)
def _symmetric_table() -> tuple[Array, Array]:
    """Tabulate the shapes, and the rising ratio of variance to squared mean magnitude of each."""
    shape = shape_grid(0.03)[::-1]
    return shape, np.exp(gammaln(1 / shape) + gammaln(3 / shape) - 2 * gammaln(2 / shape))


@lru_cache(maxsize=1)
def _asymmetric_table() -> tuple[Array, Array]:
    shape = shape_grid(0.2)
    return shape, np.exp(2 * gammaln(2 / shape) - gammaln(1 / shape) - gammaln(3 / shape))


def fit_ggd(samples: Array) -> Array:
    """Fit a generalised Gaussian to each row of ``samples`` (..., N): its shape in [0.03, 10], (...)."""
    deviation = samples - samples.mean(axis=-1, keepdims=True)
    variance = np.square(deviation).sum(axis=-1) / (samples.shape[-1] - 1)
    ratio = variance / (np.square(np.abs(deviation).mean(axis=-1)) + 1e-7)
    shape, table = _symmetric_table()
    return shape[_nearest(table, ratio)]


def fit_aggd(samples: Array) -> tuple[Array, Array, Array]:
    """Fit an asymmetric one to each row of ``samples`` (..., N): shape, left and right scale, (...).

    Samples without a negative or without a positive one have no such fit: their scales are NaN.
    """
    square = np.square(samples)
    left, right = samples < 0, samples > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        left_std = np.sqrt((square * left).sum(axis=-1) / left.sum(axis=-1))
        right_std = np.sqrt((square * right).sum(axis=-1) / right.sum(axis=-1))
        skew = left_std / right_std
        ratio = np.square(np.abs(samples).mean(axis=-1)) / square.mean(axis=-1)
        ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape, table = _asymmetric_table()
    alpha = np.where(
        np.isnan(ratio), shape[0], shape[_nearest(table, ratio)]
    )  # torch's argmin stops at a NaN
    scale = np.exp((gammaln(1 / alpha) - gammaln(3 / alpha)) / 2)
    return alpha, left_std * scale, right_std * scale
