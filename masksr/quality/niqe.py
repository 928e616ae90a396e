"""NIQE, the no-reference distance from the statistics of natural photographs: 0 and up, lower is better.

A. Mittal, R. Soundararajan, A. C. Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing
Letters 20(3), 2013. The numbers follow pyiqa's port of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate
from scipy.special import gammaln

from masksr.quality.gamma import Moments, aggd, moments
from masksr.quality.gaussian import gaussian_window
from masksr.quality.luma import Unmeasurable, check_side
from masksr.quality.resize import resize

Array = NDArray[np.float64]
PATCH = 96  # pixels on a side, at the full scale
WINDOW = 7, 7 / 6  # of the local mean and contrast: pixels on a side, sigma
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # one of each pair: right, below, and both diagonals


@dataclass(frozen=True, eq=False)
class NiqeModel:
    """The Gaussian of natural patches: mean (36,) and covariance (36, 36) of their features."""

    mean: Array
    covariance: Array


def local_contrast(plane: Array) -> tuple[Array, Array]:
    """The plane with its local mean taken off and divided by its local contrast (eq. 1), and that contrast.

    The window keeps the rounding of its weights to float32: in bright flat areas it is what sets the contrast.
    """
    window = gaussian_window(*WINDOW)
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


def _patch_moments(patches: Array) -> list[Moments]:
    """Of the values of each patch (patches, size, size) and of their products with four neighbours."""
    products = (patches * np.roll(patches, shift, axis=(1, 2)) for shift in NEIGHBOURS)
    return [moments(samples.reshape(len(patches), -1)) for samples in chain([patches], products)]


def patch_features(of_values: Moments, *of_products: Moments) -> Array:
    """18 features of each patch (patches, 18): how its values and their products are distributed."""
    alpha, left, right = aggd(of_values)
    features = [alpha, (left + right) / 2]
    for of_neighbour in of_products:
        alpha, left, right = aggd(of_neighbour)
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
    found = [_patch_moments(_blocks(local_contrast(p)[0], size)) for p, size in scales]
    return np.concatenate([patch_features(*of_scale) for of_scale in found], axis=1)


def niqe(luma: Array, model: NiqeModel) -> float:
    """NIQE (eq. 10) of a plane (H, W) with values in [0, 255].

    Raises Unmeasurable below 96 x 96 pixels and where no patch has all its features: in a flat or a periodic image.
    """
    check_side(luma.shape, PATCH)
    return distance(niqe_features(luma), model)


def distance(features: Array, model: NiqeModel) -> float:
    """The score that belongs to the features (patches, 36) of one image.

    Raises Unmeasurable where no patch has all its features.
    """
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) == 0:
        raise Unmeasurable.structureless()
    covariance = np.cov(whole, rowvar=False) if len(whole) > 1 else np.zeros_like(model.covariance)
    # The mean leaves out each NaN, the covariance each patch that has one: so do the authors and pyiqa.
    difference = model.mean - np.nanmean(features, axis=0)
    tolerance = len(difference) * np.finfo(float).eps
    inverse = np.linalg.pinv((model.covariance + covariance) / 2, rcond=tolerance)
    return float(np.sqrt(difference @ inverse @ difference))
