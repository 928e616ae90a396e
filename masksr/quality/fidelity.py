"""Distances to the HR image, on the same plane as PI: 8-bit BT.601 luma without a border of 4 pixels.

PIRM 2018 measures its RMSE there (its ``calc_scores.m``: shaved luma, squared errors of 8-bit levels; for a
set, the root of the mean of all; our tables have the mean over images, which is less by a few per cent). PSNR
is the same number in decibels. SSIM is that of Wang et al., "Image quality assessment: from error visibility
to structural similarity", IEEE Transactions on Image Processing 13(4), 2004: a Gaussian window of 11 x 11,
sigma 1.5.
"""

import numpy as np

from masksr.quality.filters import BORDER, Array, Image, check_side, gaussian_mean, luma_plane


def psnr(image: Image, reference: Image, border: int = BORDER) -> float:
    """Compute the peak signal-to-noise ratio in dB of images (H, W, 3) uint8; infinite for equal lumas."""
    return decibels(rmse(*luma_planes(image, reference, border)))


def luma_planes(image: Image, reference: Image, border: int = BORDER) -> tuple[Array, Array]:
    """Compute the luma planes of two images (H, W, 3) uint8. Raises ValueError where their sizes differ."""
    x, y = luma_plane(image, border), luma_plane(reference, border)
    if x.shape != y.shape:
        raise ValueError(f"image and reference must have one size, got {image.shape} and {reference.shape}")
    return x, y


def rmse(x: Array, y: Array) -> float:
    """Compute the root mean squared error of two luma planes (H, W), in levels of 255."""
    return float(np.sqrt(np.square(x - y).mean()))


def decibels(error: float) -> float:
    """Compute the PSNR that corresponds to an RMSE in levels of 255."""
    return float(20 * np.log10(255 / error)) if error else float("inf")


def ssim(x: Array, y: Array) -> float:
    """Compute the structural similarity, at most 1, of two luma planes (H, W) of 8-bit levels.

    A negative contrast-structure term stays negative, as in Wang et al.; pyiqa counts it as zero. Raises
    Unmeasurable below 11 x 11 pixels.
    """
    check_side(x.shape, 11)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = gaussian_mean(x), gaussian_mean(y)
    variances = gaussian_mean(x * x) - mean_x**2 + gaussian_mean(y * y) - mean_y**2
    covariance = gaussian_mean(x * y) - mean_x * mean_y
    structure = (2 * covariance + c2) / (variances + c2)
    return float((structure * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)).mean())
