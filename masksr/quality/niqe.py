"""NIQE, the no-reference distance from the statistics of natural photographs: 0 and up, lower is better.

A. Mittal, R. Soundararajan, A. C. Bovik, "Making a completely blind image quality analyzer", IEEE Signal
Processing Letters 20(3), 2013. The numbers follow pyiqa's port of the authors' code.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import correlate
from scipy.special import gammaln

from masksr.quality import filters
from masksr.quality.filters import Array, Unmeasurable

PATCH = 96  # pixels on a side, at the full scale
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # one of each pair: right, below, and both diagonals


@dataclass(frozen=True, eq=False)
class NiqeModel:
    """The Gaussian of natural patches: mean (36,) and covariance (36, 36) of their features."""

    mean: Array
    covariance: Array


def niqe(luma: Array, model: NiqeModel) -> float:
    """Compute NIQE (eq. 10) of a plane (H, W) with values in [0, 255].

    Raises Unmeasurable below 96 x 96 pixels and where no patch has all its features.
    """
    filters.check_side(luma.shape, PATCH)
    features = niqe_features(luma)
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) == 0:
        raise Unmeasurable("the image is flat or periodic")
    covariance = np.cov(whole, rowvar=False) if len(whole) > 1 else np.zeros_like(model.covariance)
    # The mean leaves out each NaN, the covariance each patch with one, as the authors and pyiqa do.
    difference = model.mean - np.nanmean(features, axis=0)
    tolerance = len(difference) * np.finfo(float).eps
    inverse = np.linalg.pinv((model.covariance + covariance) / 2, rcond=tolerance)
    return float(np.sqrt(difference @ inverse @ difference))


def niqe_features(luma: Array) -> Array:
    """Compute the features (patches, 36) of a plane (H, W) in [0, 255]: 18 at full, 18 at half size.

    Only whole patches of 96 x 96 count. The features of a flat patch are NaN.
    """
    plane = _whole_patches(luma)
    half = filters.resize(plane / 255, (plane.shape[0] // 2, plane.shape[1] // 2)) * 255
    scales = ((plane, PATCH), (half, PATCH // 2))
    features = [_patch_features(filters.cut_blocks(local_contrast(p)[0], size)) for p, size in scales]
    return np.concatenate(features, axis=1)


def patch_sharpness(luma: Array) -> Array:
    """Compute the mean local contrast (patches,) of whole patches: a model learns from sharp ones."""
    return filters.cut_blocks(local_contrast(_whole_patches(luma))[1], PATCH).mean(axis=(1, 2))


def local_contrast(plane: Array) -> tuple[Array, Array]:
    """Subtract a plane's local mean and divide by its local contrast (eq. 1); returns that contrast too.

    In bright flat areas, the contrast is set by the rounding of the window's weights to float32.
    """
    window = filters.gaussian_window(7, 7 / 6)
    mean = correlate(plane, window, mode="nearest")
    variance = np.abs(correlate(plane * plane, window, mode="nearest") - mean * mean)
    contrast = np.sqrt(variance + np.finfo(float).eps)
    return (plane - mean) / (contrast + 1), contrast


def _patch_features(patches: Array) -> Array:
    """Compute 18 features (patches, 18): of the values and of their products with four neighbours."""
    alpha, left, right = filters.fit_aggd(patches.reshape(len(patches), -1))
    features = [alpha, (left + right) / 2]
    for shift in NEIGHBOURS:
        products = patches * np.roll(patches, shift, axis=(1, 2))
        alpha, left, right = filters.fit_aggd(products.reshape(len(patches), -1))
        mean = (right - left) * np.exp(gammaln(2 / alpha) - gammaln(1 / alpha))
        features += [alpha, mean, left, right]
    return np.stack(features, axis=1)


def _whole_patches(plane: Array) -> Array:
    height, width = (length // PATCH * PATCH for length in plane.shape)
    return plane[:height, :width]
