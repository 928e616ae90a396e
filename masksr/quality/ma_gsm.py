"""Second feature family of Ma's metric: oriented bands under a Gaussian scale mixture (section 3.2).

The bands are those of the steerable pyramid of Simoncelli and Freeman (1995), with the raised-cosine filters,
the look-up tables and the float32 masks of the public ports of Portilla and Simoncelli's ``buildSCFpyr``.
These build complex bands and the metric reads the real part, which needs only the odd part of each angular
mask: one real transform forth and one back per band.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from masksr.quality.filters import Unmeasurable, gaussian_mean, resize
from masksr.quality.gamma import fit_ggd

Array = NDArray[np.float64]
Single = NDArray[np.float32]
ORIENTATIONS = 6
LEVELS = 2
BORDERS = 16, 8  # pixels of the divided bands of the finer and the coarser level that do not count
CHUNK = (
    16384  # pixels at a time: their neighbourhoods stay in the cache, and memory does not grow with the image
)


def gsm_features(plane: Array) -> Array:
    """Compute 45 features of one plane (H, W) in [0, 255].

    12 shapes of the divided bands, 6 of both levels of an orientation together, 12 similarities of the bands
    with the high-pass residual, 15 between the divided bands of the finer level. Raises Unmeasurable.
    """
    residual, (fine, coarse) = oriented_bands(plane)
    parents = [resize(band, plane.shape) for band in coarse]
    divided = [_without_border(_divide(fine, parents, b), BORDERS[0]) for b in range(ORIENTATIONS)]
    divided_coarse = [_without_border(_divide(coarse, None, b), BORDERS[1]) for b in range(ORIENTATIONS)]

    pairs = zip(divided, divided_coarse, strict=True)
    shapes = [fit_ggd(band.ravel()) for band in (*divided, *divided_coarse)]
    shapes += [fit_ggd(np.concatenate([band.ravel(), above.ravel()])) for band, above in pairs]

    high = Local(residual)
    same_size = [resize(band, plane.shape) for band in fine]  # only rounded
    at_residual = [Local(band).similarity(high) for band in (*same_size, *parents)]
    between = [a.similarity(b) for a, b in combinations([Local(band) for band in divided], 2)]
    return np.array([*shapes, *at_residual, *between])


def _without_border(band: Array, border: int) -> Array:
    band = band[border:-border, border:-border]
    return band - band.mean()


class Local:
    """A band (H, W) with its local mean and variance, each computed once for all its comparisons."""

    def __init__(self, band: Array) -> None:
        self.band = band
        self.mean = gaussian_mean(band)
        self.variance = gaussian_mean(band * band) - self.mean**2

    def similarity(self, other: Local) -> float:
        """Average the contrast-structure term of SSIM for 8-bit images, negative values cut."""
        c2 = (0.03 * 255) ** 2
        covariance = gaussian_mean(self.band * other.band) - self.mean * other.mean
        structure = (2 * covariance + c2) / (self.variance + other.variance + c2)
        return structure.clip(min=0).mean()


# ---- Division by the scale of the mixture ------------------------------------------------------------------


def _divide(bands: list[Array], parents: list[Array] | None, b: int) -> Array:
    """Divide band ``b`` by the local scale of the mixture: (H - 2, W - 2).

    The scale of a pixel is the Mahalanobis norm of its neighbourhood (Portilla et al. 2003). Raises
    Unmeasurable where the neighbours are linearly dependent: in a flat or a periodic image.
    """
    height, width = bands[b].shape
    pixels = (height - 2) * (width - 2)
    covariance = sum(block @ block.T for _, block in _neighbourhoods(bands, parents, b)) / pixels
    values, vectors = np.linalg.eigh(covariance)
    # A heavily blurred photograph has a ratio of 1e-7; a checkerboard and a flat image have rounding errors.
    if values[0] <= max(1e-12 * values[-1], 1e-20):
        raise Unmeasurable("the image is flat or periodic")
    whiten = (vectors / np.sqrt(values)).T
    scale = np.empty((height - 2, width - 2))
    for rows, block in _neighbourhoods(bands, parents, b):
        scale[rows] = np.square(whiten @ block).sum(axis=0).reshape(-1, width - 2)
    # The divisor counts the 3 x 3 pixels and the parent, not the orientations: so the forest has learned it.
    scale = np.sqrt(scale / (9 + (parents is not None)))
    inner = bands[b][1:-1, 1:-1]
    return (inner - inner.mean()) / (scale + 1e-12)


def _neighbourhoods(bands: list[Array], parents: list[Array] | None, b: int) -> Iterator[tuple[slice, Array]]:
    """Yield, for some rows at a time, the (neighbours, pixels) around every pixel that has all of them.

    Of band ``b``: its 3 x 3 pixels, the same place in its parent one level up, the same place in the other
    orientations.
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


# ---- The steerable pyramid ---------------------------------------------------------------------------------


class Level(NamedTuple):
    """The masks of one level over half the frequencies: columns 0 ... W // 2 of a real plane's transform."""

    shape: tuple[int, int]
    low: Single  # applied to what comes from the level above
    band: Single  # radial part of the oriented bands
    angular: list[Single]  # odd part of each orientation's mask


def oriented_bands(plane: Array) -> tuple[Array, list[list[Array]]]:
    """Compute the high-pass residual (H, W) and, finest level first, the six oriented bands of two levels."""
    residual, levels = _masks(*plane.shape)
    spectrum = fft.rfft2(plane)
    high = fft.irfft2(spectrum * residual, plane.shape)
    bands = []
    for (height, width), low, band, angular in levels:
        rows = fft.ifftshift(np.arange(height) - height // 2)
        spectrum = spectrum[rows, : width // 2 + 1] * low  # the lower frequencies: a plane of half the size
        passed = -1j * spectrum * band
        bands.append([fft.irfft2(passed * mask, (height, width)) for mask in angular])
    return high, bands


@lru_cache(maxsize=2)
def _masks(height: int, width: int) -> tuple[Single, list[Level]]:
    """Build the mask of the high-pass residual and those of each level; kept, as test images share sizes."""
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
        band = _half(np.interp(log_radius, position, high))
        turned = (table + np.pi * b / ORIENTATIONS for b in range(ORIENTATIONS))
        angular = [_odd_half(np.interp(angle, angles, lobe)) for angles in turned]
        levels.append(Level(log_radius.shape, _half(from_above), band, angular))
        inner = _centre(log_radius.shape[0]), _centre(log_radius.shape[1])
        log_radius, angle = log_radius[inner], angle[inner]
        from_above = np.interp(log_radius, position, low)
    return residual, levels


def _raised_cosine(shift: float) -> tuple[Array, Array, Array]:
    """Tabulate log2(radius), and the high-pass and low-pass amplitude there; their squares sum to one."""
    n = 256
    x = np.pi / 2 * np.arange(-n - 1, 2) / n
    power = np.cos(x) ** 2
    power[0], power[-1] = power[1], power[-2]
    return -0.5 - shift + 2 / np.pi * (x + np.pi / 4), np.sqrt(power), np.sqrt(1 - power)


def _frequencies(height: int, width: int) -> tuple[Array, Array]:
    """Compute log2 of the radius (1: Nyquist) and the angle of every frequency, zero in the centre."""
    y = (np.arange(height) - height // 2) / (height / 2)
    x = (np.arange(width) - width // 2) / (width / 2)
    radius = np.hypot(y[:, None], x)
    radius[height // 2, width // 2] = radius[height // 2, width // 2 - 1]
    return np.log2(radius), np.arctan2(y[:, None], x)


def _half(mask: Array) -> Single:
    return fft.ifftshift(mask)[:, : mask.shape[1] // 2 + 1].astype(np.float32)


def _odd_half(mask: Array) -> Single:
    """Compute (m(k) - m(-k)) / 2 over half the frequencies."""
    mask = fft.ifftshift(mask.astype(np.float32))
    mirrored = np.roll(mask[::-1, ::-1], 1, axis=(0, 1))
    return ((mask - mirrored) / 2)[:, : mask.shape[1] // 2 + 1]


def _centre(length: int) -> slice:
    """Select the next level's frequencies among ``length`` centred ones: up to half of Nyquist."""
    shorter = (length + 1) // 2
    start = length // 2 - shorter // 2
    return slice(start, start + shorter)
