"""The no-reference quality of Ma et al., also called NRQM: from 0 to 10, higher is better.

C. Ma, C.-Y. Yang, X. Yang, M.-H. Yang, "Learning a no-reference quality metric for single-image
super-resolution", Computer Vision and Image Understanding 158, 2017. The numbers follow pyiqa's NRQM. Three
families of features (local DCT coefficients, oriented bands, singular values) go into a forest each.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import correlate

from masksr.quality.filters import check_side, gaussian_window
from masksr.quality.gamma import fit_ggd
from masksr.quality.ma_gsm import gsm_features

Array = NDArray[np.float64]
FEATURES = (18, 45, 75)  # sizes of the three families
BLUR = 3, 0.5  # between two scales: pixels on a side, sigma
SIZE, STRIDE = 7, 3  # pixels: of the patches whose DCT counts, and from one to the next
BLOCK = 5  # pixels on a side: one row of the matrix whose singular values count
MIN_SIDE = 57  # of the plane: below it no 11 x 11 window is left on the coarser level
CHUNK = 8192  # patches at a time: what they need stays in the cache, and memory does not grow with the image


@dataclass(frozen=True, eq=False)
class Forest:
    """A regression forest in the layout of MATLAB's ``regRF_train``: arrays (nodes, trees), row 0 the root.

    x <= threshold goes to row ``left``, else to ``right``; both are 0 at a leaf.
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Array
    value: Array

    def predict(self, features: Array) -> float:
        """Average the answers of all trees for one vector of features; all are walked down side by side."""
        tree = np.arange(self.left.shape[1])
        node = np.zeros_like(tree)
        for _ in range(self.left.shape[0]):
            goes_left = features[self.feature[node, tree]] <= self.threshold[node, tree]
            below = np.where(goes_left, self.left[node, tree], self.right[node, tree])
            if not below.any():
                break
            node = np.where(below > 0, below, node)
        return float(self.value[node, tree].mean())


def one_leaf(value: float) -> Forest:
    """Build the forest that always predicts ``value``."""
    zero = np.zeros((1, 1), np.int32)
    return Forest(zero, zero, zero, np.zeros((1, 1)), np.full((1, 1), value))


@dataclass(frozen=True, eq=False)
class MaModel:
    """One forest per feature family, and the weights [constant, w1, w2, w3] that join their predictions."""

    forests: tuple[Forest, Forest, Forest]
    linear: Array

    def predict(self, features: tuple[Array, Array, Array]) -> float:
        """Compute the score that belongs to the three families of features of one image."""
        votes = [forest.predict(family) for forest, family in zip(self.forests, features, strict=True)]
        return float(np.dot(self.linear, [1.0, *votes]))


def ma(luma: Array, model: MaModel) -> float:
    """Compute Ma's score of a plane (H, W) with values in [0, 255], at least 57 pixels on a side.

    Raises Unmeasurable below that size and where the image is flat or periodic.
    """
    check_side(luma.shape, MIN_SIDE)
    return model.predict(ma_features(luma))


def ma_features(luma: Array) -> tuple[Array, Array, Array]:
    """Compute the three families, of 18, 45 and 75 features, of a plane (H, W) with values in [0, 255]."""
    planes = _scales(luma / 255)
    return (
        np.concatenate([dct_features(plane) for plane in planes]),
        gsm_features(luma),
        np.concatenate([_singular_values(plane) for plane in planes]),
    )


def _scales(plane: Array) -> list[Array]:
    """Full, half and quarter size: blurred, with zeros beyond the border, then every second pixel."""
    planes = [plane]
    for _ in range(2):
        planes.append(correlate(planes[-1], gaussian_window(*BLUR), mode="constant")[1::2, 1::2])
    return planes


# ---- First family: local DCT coefficients (section 3.2) ----------------------------------------------------


def _transform() -> Array:
    """Build the orthonormal 7 x 7 DCT of a flattened patch, without the constant coefficient: (48, 49)."""
    one = dct(np.eye(SIZE), norm="ortho", axis=0)
    return np.kron(one, one)[1:]


def _orientations() -> list[NDArray[np.intp]]:
    """List the rows of the transform whose coefficients lie along the columns, the diagonal and the rows."""
    # Vertical frequency: range of horizontal frequencies.
    first = {0: (1, 7), 1: (2, 7), 2: (4, 7), 3: (5, 7)}
    middle = {1: (1, 2), 2: (2, 4), 3: (2, 5), 4: (3, 7), 5: (4, 7), 6: (4, 7)}
    columns = [u * SIZE + v - 1 for u, (a, b) in first.items() for v in range(a, b)]
    diagonal = [u * SIZE + v - 1 for u, (a, b) in middle.items() for v in range(a, b)]
    rows = [v * SIZE + u - 1 for u, (a, b) in first.items() for v in range(a, b)]
    return [np.array(oriented) for oriented in (columns, diagonal, rows)]


DCT, ORIENTED = _transform(), _orientations()


def dct_features(plane: Array) -> Array:
    """Compute six features of one plane (H, W) in [0, 1]; the metric takes them at three scales.

    Of three numbers per patch (shape of a generalised Gaussian, coefficient of variation, variance of that
    coefficient over orientations): the mean of the worst tenth and the mean of all.
    """
    patches = _patches(plane)
    numbers = []
    for start in range(0, patches.shape[1], CHUNK):
        coefficients = DCT @ patches[:, start : start + CHUNK]
        magnitude = np.abs(coefficients)
        oriented = np.stack([_variation(magnitude[rows], 1e-8) for rows in ORIENTED])
        numbers.append((fit_ggd(coefficients.T), _variation(magnitude, 1e-7), oriented.var(axis=0, ddof=1)))
    shape, variation, orientation = np.sort(np.concatenate(numbers, axis=1), axis=1)
    lowest, highest = ceil(0.1 * len(shape)) + 1, floor(0.9 * len(shape))
    tenths = shape[:lowest].mean(), variation[highest:].mean(), orientation[highest:].mean()
    wholes = shape.mean(), variation.mean(), orientation.mean()
    return np.array([number for pair in zip(tenths, wholes, strict=True) for number in pair])


def _patches(plane: Array) -> Array:
    """Cut out every third 7 x 7 patch in both directions, (49, patches); zeros beyond the border."""
    rows, columns = (ceil(length / STRIDE) for length in plane.shape)
    missing = [(ceil(length / STRIDE) - 1) * STRIDE + SIZE - length for length in plane.shape]
    padded = np.pad(plane, [(m // 2, m - m // 2) for m in missing])
    shifted = [
        padded[y : y + (rows - 1) * STRIDE + 1 : STRIDE, x : x + (columns - 1) * STRIDE + 1 : STRIDE]
        for y in range(SIZE)
        for x in range(SIZE)
    ]
    return np.stack(shifted).reshape(SIZE * SIZE, -1)


def _variation(magnitude: Array, eps: float) -> Array:
    """Divide standard deviation by mean, down the columns of (coefficients, patches)."""
    return magnitude.std(axis=0, ddof=1) / (magnitude.mean(axis=0) + eps)


# ---- Third family: singular values -------------------------------------------------------------------------


def _singular_values(plane: Array) -> Array:
    """Compute the 25 singular values of the matrix whose rows are the 5 x 5 blocks of the plane.

    Blocks at the border are filled with zeros. Of fewer than 25 blocks the missing values are zeros; pyiqa
    ends with an IndexError there: where the shorter side of the image has fewer than about 90 pixels.
    """
    padded = np.pad(plane, [(0, -length % BLOCK) for length in plane.shape])
    rows, columns = (length // BLOCK for length in padded.shape)
    blocks = padded.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK**2)
    values = np.linalg.svd(np.linalg.qr(blocks, mode="r"), compute_uv=False)
    return np.pad(values, (0, BLOCK**2 - len(values)))
