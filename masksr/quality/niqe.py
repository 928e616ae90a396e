"""NIQE, the no-reference distance from the statistics of natural photographs: 0 and up, lower is better.

A. Mittal, R. Soundararajan, A. C. Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing
Letters 20(3), 2013. The numbers follow pyiqa's port of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate
from scipy.special import gammaln

from masksr.quality.gamma import aggd
from masksr.quality.gaussian import gaussian_window
from masksr.quality.luma import Unmeasurable
from masksr.quality.resize import resize

Array = NDArray[np.float64]
PATCH = 96  # pixels on a side, at the full scale


@dataclass(frozen=True, eq=False)
class NiqeModel:
    """The Gaussian of natural patches: mean (36,) and covariance (36, 36) of their features."""

    mean: Array
    covariance: Array


def local_contrast(plane: Array) -> tuple[Array, Array]:
    """The plane with its local mean taken off and divided by its local contrast (eq. 1), and that contrast.

    The window keeps the rounding of its weights to float32: in bright flat areas it is what sets the contrast.
    """
    window = gaussian_window(7, 7 / 6)
    mean = correlate(plane, window, mode="nearest")
    contrast = np.sqrt(np.abs(correlate(plane * plane, window, mode="nearest") - mean * mean) + np.finfo(float).eps)
    return (plane - mean) / (contrast + 1), contrast


def patch_sharpness(luma: Array) -> Array:
    """(patches,) mean local contrast of the whole patches of a plane (H, W): a model learns from the sharp ones."""
    height, width = (length // PATCH * PATCH for length in luma.shape)
    return _blocks(local_contrast(luma[:height, :width])[1], PATCH).mean(axis=(1, 2))


def _blocks(plane: Array, size: int) -> Array:
    """(patches, size, size), row by row."""
    height, width = plane.shape
    return plane.reshape(height // size, size, width // size, size).swapaxes(1, 2).reshape(-1, size, size)


def _patch_features(patches: Array) -> Array:
    """18 features of each patch (patches, size, size): the fit of its values and of products with four neighbours."""
    alpha, left, right = aggd(patches.reshape(len(patches), -1))
    features = [alpha, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        products = patches * np.roll(patches, shift, axis=(1, 2))
        alpha, left, right = aggd(products.reshape(len(patches), -1))
        features += [alpha, (right - left) * np.exp(gammaln(2 / alpha) - gammaln(1 / alpha)), left, right]
    return np.stack(features, axis=1)


def niqe_features(luma: Array) -> Array:
    """(patches, 36) features of a plane (H, W) with values in [0, 255]: 18 at full and 18 at half the resolution.

    Only whole patches of 96 x 96 count. The features of a flat patch are NaN.
    """
    height, width = (length // PATCH * PATCH for length in luma.shape)
    plane = luma[:height, :width]
    half = resize(plane / 255, (height // 2, width // 2)) * 255
    scales = ((plane, PATCH), (half, PATCH // 2))
    return np.concatenate([_patch_features(_blocks(local_contrast(p)[0], size)) for p, size in scales], axis=1)


def niqe(luma: Array, model: NiqeModel) -> float:
    """NIQE (eq. 10) of a plane (H, W) with values in [0, 255].

    Raises Unmeasurable below 96 x 96 pixels and where no patch has all its features: in a flat or a periodic image.
    """
    if min(luma.shape) < PATCH:
        height, width = luma.shape
        raise Unmeasurable(f"needs {PATCH} x {PATCH} pixels inside the border, got {height} x {width}")
    features = niqe_features(luma)
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) == 0:
        raise Unmeasurable("the image is flat or periodic")
    covariance = np.cov(whole, rowvar=False) if len(whole) > 1 else np.zeros_like(model.covariance)
    # The mean leaves out each NaN, the covariance each patch that has one: so do the authors and pyiqa.
    difference = model.mean - np.nanmean(features, axis=0)
    tolerance = len(difference) * np.finfo(float).eps
    inverse = np.linalg.pinv((model.covariance + covariance) / 2, rcond=tolerance)
    return float(np.sqrt(difference @ inverse @ difference))
