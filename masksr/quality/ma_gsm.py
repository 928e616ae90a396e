"""Second feature family of Ma's metric: oriented bands under a Gaussian scale mixture (Ma et al. 2017, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masksr.quality.gamma import ggd_shape
from masksr.quality.gaussian import gaussian_mean
from masksr.quality.luma import Unmeasurable
from masksr.quality.pyramid import ORIENTATIONS, oriented_bands
from masksr.quality.resize import resize

Array = NDArray[np.float64]
BORDERS = 16, 8  # pixels of the divided bands of the finer and the coarser level that do not count
CHUNK = 16384  # pixels at a time: their neighbourhoods stay in the cache, and memory does not grow with the image


def _neighbourhoods(bands: list[Array], parents: list[Array] | None, b: int) -> Iterator[tuple[slice, Array]]:
    """For some rows at a time the (neighbours, pixels) around every pixel of band ``b`` that has all of them.

    The 3 x 3 pixels of the band, the same place in its parent one level up, the same place in the other orientations.
    """
    height, width = bands[b].shape
    centre = [parents[b]] if parents else []
    centre += [band for other, band in enumerate(bands) if other != b]
    rows = max(1, CHUNK // width)
    for top in range(0, height - 2, rows):
        n = min(rows, height - 2 - top)
        block = np.empty((9 + len(centre), n, width - 2))
        for i in range(9):
            y, x = divmod(i, 3)
            block[i] = bands[b][top + y : top + y + n, x : x + width - 2]
        for i, band in enumerate(centre, start=9):
            block[i] = band[top + 1 : top + 1 + n, 1:-1]
        yield slice(top, top + n), block.reshape(len(block), -1)


def whitening(covariance: Array) -> Array:
    """The matrix (n, n) that makes neighbourhoods of this covariance (n, n) white.

    Raises Unmeasurable where the neighbours are linearly dependent: in a flat or a periodic image.
    """
    values, vectors = np.linalg.eigh(covariance)
    # A heavily blurred photograph has a ratio of 1e-7; a checkerboard and a flat image have rounding errors.
    if values[0] <= max(1e-12 * values[-1], 1e-20):
        raise Unmeasurable.structureless()
    return (vectors / np.sqrt(values)).T


def _divided(bands: list[Array], parents: list[Array] | None, b: int) -> Array:
    """Band ``b`` divided by the local scale of the mixture, (H - 2, W - 2).

    The scale of a pixel is the Mahalanobis norm of its neighbourhood (Portilla et al. 2003). Raises Unmeasurable.
    """
    height, width = bands[b].shape
    pixels = (height - 2) * (width - 2)
    whiten = whitening(sum(block @ block.T for _, block in _neighbourhoods(bands, parents, b)) / pixels)
    scale = np.empty((height - 2, width - 2))
    for rows, block in _neighbourhoods(bands, parents, b):
        scale[rows] = np.square(whiten @ block).sum(axis=0).reshape(-1, width - 2)
    # The divisor counts the 3 x 3 pixels and the parent but not the orientations: so the forest has learned it.
    scale = np.sqrt(scale / (9 + (parents is not None)))
    inner = bands[b][1:-1, 1:-1]
    return (inner - inner.mean()) / (scale + 1e-12)


def _without_border(band: Array, border: int) -> Array:
    band = band[border:-border, border:-border]
    return band - band.mean()


class Local:
    """A band with its local mean and variance, each computed once for all the comparisons it takes part in.

    band: (..., H, W), of numpy or, with a ``gaussian_mean`` for them, torch's tensors.
    """

    def __init__(self, band: Any, gaussian_mean: Callable[[Any], Any] = gaussian_mean) -> None:
        self.band, self.gaussian_mean = band, gaussian_mean
        self.mean = gaussian_mean(band)
        self.variance = gaussian_mean(band * band) - self.mean**2

    def similarity(self, other: Local) -> Any:
        """(...) The contrast-structure term of SSIM for 8-bit images, negative values cut, averaged."""
        c2 = (0.03 * 255) ** 2
        covariance = self.gaussian_mean(self.band * other.band) - self.mean * other.mean
        structure = (2 * covariance + c2) / (self.variance + other.variance + c2)
        return structure.clip(min=0).mean(axis=(-2, -1))


def gsm_features(plane: Array) -> Array:
    """45 features of one plane (H, W) in [0, 255].

    12 shapes of the divided bands, 6 of both levels of an orientation together, 12 similarities of the bands with the
    high-pass residual, 15 between the divided bands of the finer level.
    """
    residual, (fine, coarse) = oriented_bands(plane)
    parents = [resize(band, plane.shape) for band in coarse]
    divided = [_without_border(_divided(fine, parents, b), BORDERS[0]) for b in range(ORIENTATIONS)]
    divided_coarse = [_without_border(_divided(coarse, None, b), BORDERS[1]) for b in range(ORIENTATIONS)]

    pairs = zip(divided, divided_coarse, strict=True)
    shapes = [ggd_shape(band.ravel()) for band in (*divided, *divided_coarse)]
    shapes += [ggd_shape(np.concatenate([band.ravel(), above.ravel()])) for band, above in pairs]

    high = Local(residual)
    same_size = [resize(band, plane.shape) for band in fine]  # only rounded
    at_residual = [Local(band).similarity(high) for band in (*same_size, *parents)]
    between = [a.similarity(b) for a, b in combinations([Local(band) for band in divided], 2)]
    return np.array([*shapes, *at_residual, *between])
