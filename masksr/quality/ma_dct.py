"""First feature family of Ma's metric: statistics of local DCT coefficients (Ma et al. 2017, section 3.2)."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from masksr.quality.gamma import ggd_shape

Array = NDArray[np.float64]
SIZE, STRIDE = 7, 3
CHUNK = 8192  # patches at a time: what they need stays in the cache, and memory does not grow with the image


def _transform() -> Array:
    """(48, 49): the orthonormal 7 x 7 DCT of a flattened patch, without the constant coefficient."""
    one = dct(np.eye(SIZE), norm="ortho", axis=0)
    return np.kron(one, one)[1:]


def _orientations() -> list[NDArray[np.intp]]:
    """Rows of the transform whose coefficients lie along the columns, the diagonal and the rows."""
    first = {0: (1, 7), 1: (2, 7), 2: (4, 7), 3: (5, 7)}  # vertical frequency: range of horizontal frequencies
    diagonal = {1: (1, 2), 2: (2, 4), 3: (2, 5), 4: (3, 7), 5: (4, 7), 6: (4, 7)}
    flat = [[u * SIZE + v - 1 for u, (a, b) in which.items() for v in range(a, b)] for which in (first, diagonal)]
    transposed = [v * SIZE + u - 1 for u, (a, b) in first.items() for v in range(a, b)]
    return [np.array(rows) for rows in (*flat, transposed)]


DCT, ORIENTED = _transform(), _orientations()


def padding(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """How many zeros go before and behind each axis of a plane, so that every third pixel begins a patch."""
    missing = [(ceil(length / STRIDE) - 1) * STRIDE + SIZE - length for length in shape]
    return [(m // 2, m - m // 2) for m in missing]


def _patches(plane: Array) -> Array:
    """(49, patches): every third 7 x 7 patch in both directions; beyond the border the plane is zero."""
    padded = np.pad(plane, padding(plane.shape))
    rows, columns = (ceil(length / STRIDE) for length in plane.shape)
    shifted = [
        padded[y : y + (rows - 1) * STRIDE + 1 : STRIDE, x : x + (columns - 1) * STRIDE + 1 : STRIDE]
        for y in range(SIZE)
        for x in range(SIZE)
    ]
    return np.stack(shifted).reshape(SIZE * SIZE, -1)


def _variation(magnitude: Array, eps: float) -> Array:
    """Standard deviation over mean, down the columns of (coefficients, patches)."""
    return magnitude.std(axis=0, ddof=1) / (magnitude.mean(axis=0) + eps)


def dct_features(plane: Array) -> Array:
    """Six features of one plane (H, W) in [0, 1]; the metric takes them at three scales.

    Of three numbers per patch (shape of a generalised Gaussian, coefficient of variation, variance of that coefficient
    over orientations): the mean of the worst tenth and the mean of all.
    """
    patches = _patches(plane)
    numbers = []
    for start in range(0, patches.shape[1], CHUNK):
        coefficients = DCT @ patches[:, start : start + CHUNK]
        magnitude = np.abs(coefficients)
        oriented = np.stack([_variation(magnitude[rows], 1e-8) for rows in ORIENTED])
        numbers.append((ggd_shape(coefficients.T), _variation(magnitude, 1e-7), oriented.var(axis=0, ddof=1)))
    shape, variation, orientation = np.sort(np.concatenate(numbers, axis=1), axis=1)
    lowest, highest = ceil(0.1 * len(shape)) + 1, floor(0.9 * len(shape))
    tenths = shape[:lowest].mean(), variation[highest:].mean(), orientation[highest:].mean()
    wholes = shape.mean(), variation.mean(), orientation.mean()
    return np.array([number for pair in zip(tenths, wholes, strict=True) for number in pair])
