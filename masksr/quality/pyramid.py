"""The steerable pyramid's oriented bands, from half a Fourier transform.

Simoncelli and Freeman (1995) with the raised-cosine filters, the look-up tables and the float32 masks of the public
ports of Portilla and Simoncelli's ``buildSCFpyr``. They build complex bands and Ma's metric reads the real part, which
needs only the odd part of each angular mask: one real transform forth and one back per band.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]
Single = NDArray[np.float32]
ORIENTATIONS = 6
LEVELS = 2


class Level(NamedTuple):
    """The masks of one level over half the frequencies: columns 0 ... W // 2 of the transform of a real plane."""

    shape: tuple[int, int]
    low: Single  # applied to what comes from the level above
    band: Single  # radial part of the oriented bands
    angular: list[Single]  # odd part of each orientation's mask


def _raised_cosine(shift: float) -> tuple[Array, Array, Array]:
    """Positions in log2(radius), and the high-pass and low-pass amplitude there; the squares sum to one."""
    n = 256
    x = np.pi / 2 * np.arange(-n - 1, 2) / n
    power = np.cos(x) ** 2
    power[0], power[-1] = power[1], power[-2]
    return -0.5 - shift + 2 / np.pi * (x + np.pi / 4), np.sqrt(power), np.sqrt(1 - power)


def _frequencies(height: int, width: int) -> tuple[Array, Array]:
    """log2 of the radius (1: Nyquist) and the angle of every frequency, the constant one in the centre."""
    y = (np.arange(height) - height // 2) / (height / 2)
    x = (np.arange(width) - width // 2) / (width / 2)
    radius = np.hypot(y[:, None], x)
    radius[height // 2, width // 2] = radius[height // 2, width // 2 - 1]
    return np.log2(radius), np.arctan2(y[:, None], x)


def _half(mask: Array) -> Single:
    return fft.ifftshift(mask)[:, : mask.shape[1] // 2 + 1].astype(np.float32)


def _odd_half(mask: Array) -> Single:
    """(m(k) - m(-k)) / 2 over half the frequencies."""
    mask = fft.ifftshift(mask.astype(np.float32))
    mirrored = np.roll(mask[::-1, ::-1], 1, axis=(0, 1))
    return ((mask - mirrored) / 2)[:, : mask.shape[1] // 2 + 1]


def _centre(length: int) -> slice:
    """Where the next level's frequencies lie among ``length`` centred ones: |frequency| up to half of Nyquist."""
    shorter = (length + 1) // 2
    start = length // 2 - shorter // 2
    return slice(start, start + shorter)


@lru_cache(maxsize=2)
def masks(height: int, width: int) -> tuple[Single, list[Level]]:
    """The mask of the high-pass residual and those of each level; kept, as the images of a test set share sizes."""
    log_radius, angle = _frequencies(height, width)
    position, high, low = _raised_cosine(0)
    residual, from_above = _half(np.interp(log_radius, position, high)), np.interp(log_radius, position, low)

    order = ORIENTATIONS - 1
    gain = 2 * 2**order * factorial(order) / np.sqrt(ORIENTATIONS * factorial(2 * order))
    table = np.pi * np.arange(-2049, 1026) / 1024
    lobe = gain * np.cos(table) ** order * (np.abs((table + np.pi) % (2 * np.pi) - np.pi) < np.pi / 2)

    levels = []
    for level in range(1, LEVELS + 1):
        position, high, low = _raised_cosine(level)
        turned = (table + np.pi * b / ORIENTATIONS for b in range(ORIENTATIONS))
        angular = [_odd_half(np.interp(angle, angles, lobe)) for angles in turned]
        levels.append(Level(log_radius.shape, _half(from_above), _half(np.interp(log_radius, position, high)), angular))
        inner = _centre(log_radius.shape[0]), _centre(log_radius.shape[1])
        log_radius, angle = log_radius[inner], angle[inner]
        from_above = np.interp(log_radius, position, low)
    return residual, levels


def _inner(spectrum: NDArray[np.complex128], shape: tuple[int, int]) -> NDArray[np.complex128]:
    """The lower frequencies of half a transform: those of a plane of half the size."""
    height, width = shape
    rows = fft.ifftshift(np.arange(height) - height // 2)
    return spectrum[rows, : width // 2 + 1]


def oriented_bands(plane: Array) -> tuple[Array, list[list[Array]]]:
    """The high-pass residual (H, W) and, finest level first, the six oriented bands of two levels of ``plane``."""
    residual, levels = masks(*plane.shape)
    spectrum = fft.rfft2(plane)
    high = fft.irfft2(spectrum * residual, plane.shape)
    bands = []
    for shape, low, band, angular in levels:
        spectrum = _inner(spectrum, shape) * low
        passed = -1j * spectrum * band
        bands.append([fft.irfft2(passed * mask, shape) for mask in angular])
    return high, bands
