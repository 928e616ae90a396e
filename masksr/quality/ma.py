"""The no-reference quality of Ma et al., also called NRQM: from 0 to 10, higher is better.

C. Ma, C.-Y. Yang, X. Yang, M.-H. Yang, "Learning a no-reference quality metric for single-image super-resolution",
Computer Vision and Image Understanding 158, 2017. The numbers follow pyiqa's NRQM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate

from masksr.quality.forest import Forest
from masksr.quality.gaussian import gaussian_window
from masksr.quality.luma import check_side
from masksr.quality.ma_dct import dct_features
from masksr.quality.ma_gsm import gsm_features

Array = NDArray[np.float64]
FEATURES = (18, 45, 75)  # sizes of the three families
BLUR = 3, 0.5  # between two scales: pixels on a side, sigma
BLOCK = 5  # pixels on a side: one row of the matrix whose singular values count
MIN_SIDE = 57  # of the plane: below it no 11 x 11 window is left on the coarser level


@dataclass(frozen=True, eq=False)
class MaModel:
    """One forest per feature family, and the weights [constant, w1, w2, w3] that join their predictions."""

    forests: tuple[Forest, Forest, Forest]
    linear: Array

    def predict(self, features: tuple[Array, Array, Array]) -> float:
        """The score that belongs to the three families of features of one image."""
        votes = [forest.predict(family) for forest, family in zip(self.forests, features, strict=True)]
        return float(np.dot(self.linear, [1.0, *votes]))


def _scales(plane: Array) -> list[Array]:
    """The plane at full, half and quarter size: blurred, with zeros beyond the border, then every second pixel."""
    planes = [plane]
    for _ in range(2):
        planes.append(correlate(planes[-1], gaussian_window(*BLUR), mode="constant")[1::2, 1::2])
    return planes


def _singular_values(plane: Array) -> Array:
    """The 25 singular values of the matrix whose rows are the 5 x 5 blocks of the plane, filled up with zeros."""
    padded = np.pad(plane, [(0, -length % BLOCK) for length in plane.shape])
    rows, columns = (length // BLOCK for length in padded.shape)
    blocks = padded.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK**2)
    return singular_values(np.linalg.qr(blocks, mode="r"))


def singular_values(triangle: Array) -> Array:
    """(25,) those of a triangular factor (up to 25, 25); of fewer than 25 blocks, the missing ones are zeros.

    pyiqa ends with an IndexError there: where the shorter side has fewer than about 90 pixels.
    """
    values = np.linalg.svd(triangle, compute_uv=False)
    return np.pad(values, (0, BLOCK**2 - len(values)))


def ma_features(luma: Array) -> tuple[Array, Array, Array]:
    """The three families, of 18, 45 and 75 features, of a plane (H, W) with values in [0, 255]."""
    planes = _scales(luma / 255)
    return (
        np.concatenate([dct_features(plane) for plane in planes]),
        gsm_features(luma),
        np.concatenate([_singular_values(plane) for plane in planes]),
    )


def ma(luma: Array, model: MaModel) -> float:
    """Ma's score of a plane (H, W) with values in [0, 255], at least 57 pixels on a side.

    Raises Unmeasurable below that size and where the image is flat or periodic.
    """
    check_side(luma.shape, MIN_SIDE)
    return model.predict(ma_features(luma))
