"""The no-reference quality of Ma et al., also called NRQM: from 0 to 10, higher is better.

C. Ma, C.-Y. Yang, X. Yang, M.-H. Yang, "Learning a no-reference quality metric for single-image
super-resolution", Computer Vision and Image Understanding 158, 2017. The numbers follow pyiqa's NRQM. Three
families of features (local DCT coefficients, oriented bands, singular values) feed one forest each.

The bands are those of the steerable pyramid of Simoncelli and Freeman (1995), with the raised-cosine filters,
the look-up tables and the float32 masks of the public ports of Portilla and Simoncelli's ``buildSCFpyr``.
These build complex bands, of which the metric reads the real part. That needs only the odd part of each
angular mask: one real transform forward, and one back per band.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import ceil, factorial, floor

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import correlate

from masksr.quality import filters
from masksr.quality.filters import Array, Single, Unmeasurable

FEATURES = (18, 45, 75)  # sizes of the three families
MIN_SIDE = 57  # of the plane: below it no 11 x 11 window is left on the coarser level
SIZE, STRIDE = 7, 3  # pixels: side of the patches whose DCT is taken, and step from one to the next
BLOCK = 5  # pixels on a side: each block is a row of the matrix whose singular values are taken
ORIENTATIONS, LEVELS = 6, 2  # of the pyramid
BORDERS = 16, 8  # pixels cut off the divided bands of the finer and the coarser level
# How many at a time: what they need stays in cache, and memory does not grow with the image.
PATCHES, PIXELS = 8192, 16384


@dataclass(frozen=True, eq=False)
class Forest:
    """A regression forest in the layout of MATLAB's ``regRF_train``: arrays (nodes, trees), the root first.

    x <= threshold goes to row ``left``, else to ``right``. Rows and features count from one; 0 at a leaf.
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Array
    value: Array

    def predict(self, features: Array) -> float:
        """Average the predictions of all trees for one feature vector; all trees are descended in step."""
        tree = np.arange(self.left.shape[1])
        row = np.zeros_like(tree)
        for _ in range(len(self.left)):
            goes_left = features[self.feature[row, tree] - 1] <= self.threshold[row, tree]
            below = np.where(goes_left, self.left[row, tree], self.right[row, tree])
            if not below.any():
                break
            row = np.where(below > 0, below - 1, row)
        return float(self.value[row, tree].mean())


def one_leaf(value: float) -> Forest:
    """Build the forest that always predicts ``value``."""
    zero = np.zeros((1, 1), np.int32)
    return Forest(zero, zero, zero, np.zeros((1, 1)), np.full((1, 1), value))


@dataclass(frozen=True, eq=False)
class MaModel:
    """One forest per family of features, and the weights [constant, w1, w2, w3] of their predictions."""

    forests: tuple[Forest, Forest, Forest]
    linear: Array


def ma(luma: Array, model: MaModel) -> float:
    """Compute Ma's score of a plane (H, W) with values in [0, 255], at least 57 pixels on a side.

    Raises Unmeasurable below that size and where the image is flat or periodic.
    """
    filters.check_side(luma.shape, MIN_SIDE)
    families = zip(model.forests, ma_features(luma), strict=True)
    return float(np.dot(model.linear, [1.0, *(forest.predict(features) for forest, features in families)]))


def ma_features(luma: Array) -> tuple[Array, Array, Array]:
    """Compute the three families, of 18, 45 and 75 features, of a plane (H, W) with values in [0, 255]."""
    scales = [luma / 255]
    for _ in range(2):  # blurred, with zeros beyond the border, then every second pixel
        scales.append(correlate(scales[-1], filters.gaussian_window(3, 0.5), mode="constant")[1::2, 1::2])
    local, singular = ([part(plane) for plane in scales] for part in (dct_features, _singular_values))
    return np.concatenate(local), gsm_features(luma), np.concatenate(singular)


def _singular_values(plane: Array) -> Array:
    """Compute the 25 singular values of the matrix whose rows are the 5 x 5 blocks of the plane.

    Blocks at the border are padded with zeros. With fewer than 25 blocks the missing values are zeros; pyiqa
    raises an IndexError then: where the shorter side of the image has fewer than about 90 pixels.
    """
    padded = np.pad(plane, [(0, -length % BLOCK) for length in plane.shape])
    rows = filters.cut_blocks(padded, BLOCK).reshape(-1, BLOCK**2)
    values = np.linalg.svd(np.linalg.qr(rows, mode="r"), compute_uv=False)
    return np.pad(values, (0, BLOCK**2 - len(values)))


# ---- Local DCT coefficients (section 3.2) ------------------------------------------------------------------

DCT_OF_A_LINE = fft.dct(np.eye(SIZE), norm="ortho", axis=0)
# The orthonormal 7 x 7 DCT of a flattened patch, without the constant coefficient: (48, 49).
DCT = np.kron(DCT_OF_A_LINE, DCT_OF_A_LINE)[1:]
# Vertical frequency: range of horizontal frequencies, along the columns and along the diagonal.
COLUMNS = {0: (1, 7), 1: (2, 7), 2: (4, 7), 3: (5, 7)}
DIAGONAL = {1: (1, 2), 2: (2, 4), 3: (2, 5), 4: (3, 7), 5: (4, 7), 6: (4, 7)}
ALONG = [[(u, v) for u, (a, b) in ranges.items() for v in range(a, b)] for ranges in (COLUMNS, DIAGONAL)]
ALONG.append([(v, u) for u, v in ALONG[0]])  # along the rows
ORIENTED = [[u * SIZE + v - 1 for u, v in along] for along in ALONG]  # rows of the transform


def dct_features(plane: Array) -> Array:
    """Compute six features of one plane (H, W) in [0, 1]; the metric takes them at three scales.

    They are the mean of the worst tenth and the mean of all, for each of three numbers per patch: the shape
    of a generalised Gaussian, the coefficient of variation, and its variance over orientations.
    """
    patches = _patches(plane)
    numbers = []
    for start in range(0, patches.shape[1], PATCHES):
        coefficients = DCT @ patches[:, start : start + PATCHES]
        magnitude = np.abs(coefficients)
        oriented = np.stack([_variation(magnitude[rows], 1e-8) for rows in ORIENTED])
        shapes = filters.fit_ggd(coefficients.T)
        numbers.append((shapes, _variation(magnitude, 1e-7), oriented.var(axis=0, ddof=1)))
    shape, variation, orientation = np.sort(np.concatenate(numbers, axis=1), axis=1)
    lowest, highest = ceil(0.1 * len(shape)) + 1, floor(0.9 * len(shape))
    tenths = shape[:lowest], variation[highest:], orientation[highest:]
    pairs = zip(tenths, (shape, variation, orientation), strict=True)
    return np.array([part.mean() for pair in pairs for part in pair])


def _patches(plane: Array) -> Array:
    """Cut out every third 7 x 7 patch in both directions, (49, patches); zeros beyond the border."""
    missing = [-length % STRIDE + SIZE - STRIDE for length in plane.shape]
    padded = np.pad(plane, [(m // 2, m - m // 2) for m in missing])
    windows = sliding_window_view(padded, (SIZE, SIZE))[::STRIDE, ::STRIDE]
    return windows.reshape(-1, SIZE * SIZE).T.copy()


def _variation(magnitude: Array, eps: float) -> Array:
    """Divide standard deviation by mean, down the columns of (coefficients, patches)."""
    return magnitude.std(axis=0, ddof=1) / (magnitude.mean(axis=0) + eps)


# ---- Oriented bands under a Gaussian scale mixture (section 3.2) -------------------------------------------
def gsm_features(plane: Array) -> Array:
    """Compute 45 features of one plane (H, W) in [0, 255].

    12 shapes of the divided bands, 6 of both levels of an orientation together, 12 similarities of bands to
    the high-pass residual, 15 between the divided bands of the finer level. Raises Unmeasurable.
    """
    residual, (fine, coarse) = oriented_bands(plane)
    high = Local(residual)  # it and the bands are freed as soon as possible: each is as large as the picture
    rounded = (filters.resize(band, plane.shape) for band in (*fine, *coarse))
    at_residual = [Local(band).similarity(high) for band in rounded]
    del high, residual
    parents = [filters.resize(band, plane.shape).astype(np.float32) for band in coarse]  # nothing is lost
    divided = [_divide(fine, parents, b, BORDERS[0]) for b in range(ORIENTATIONS)]
    del fine, parents
    divided_coarse = [_divide(coarse, None, b, BORDERS[1]) for b in range(ORIENTATIONS)]
    del coarse

    pairs = zip(divided, divided_coarse, strict=True)
    shapes = [filters.fit_ggd(band.ravel()) for band in (*divided, *divided_coarse)]
    shapes += [filters.fit_ggd(np.concatenate([band.ravel(), above.ravel()])) for band, above in pairs]
    between = [a.similarity(b) for a, b in combinations([Local(band) for band in divided], 2)]
    return np.array([*shapes, *at_residual, *between])


class Local:
    """A band (H, W) with its local mean and variance, each computed once for all its comparisons."""

    def __init__(self, band: Array) -> None:
        self.band = band
        self.mean = filters.gaussian_mean(band)
        self.variance = filters.gaussian_mean(band * band) - self.mean**2

    def similarity(self, other: "Local") -> float:
        """Average the contrast-structure term of SSIM for 8-bit images, with negative values set to 0."""
        c2 = (0.03 * 255) ** 2
        covariance = filters.gaussian_mean(self.band * other.band) - self.mean * other.mean
        structure = (2 * covariance + c2) / (self.variance + other.variance + c2)
        return structure.clip(min=0).mean()


def _divide(bands: list[Array], parents: list[Array] | None, b: int, border: int) -> Array:
    """Divide band ``b`` by the local scale of the mixture, cut the border off and subtract the mean.

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
    # The divisor counts the 3 x 3 pixels and the parent, not the orientations: the forest learned it so.
    scale = np.sqrt(scale / (9 + (parents is not None)))
    inner = bands[b][1:-1, 1:-1]
    divided = (inner - inner.mean()) / (scale + 1e-12)
    divided = divided[border:-border, border:-border]
    return divided - divided.mean()


def _neighbourhoods(bands: list[Array], parents: list[Array] | None, b: int) -> Iterator[tuple[slice, Array]]:
    """Yield, for some rows at a time, the (neighbours, pixels) around every pixel that has all of them.

    They are 3 x 3 in band ``b``; in its parent one level up and in the other orientations, the same place.
    """
    height, width = bands[b].shape
    centre = [parents[b]] if parents else []
    centre += [band for other, band in enumerate(bands) if other != b]
    rows = max(1, PIXELS // width)
    for top in range(0, height - 2, rows):
        n = min(rows, height - 2 - top)
        shifted = [bands[b][top + y : top + y + n, x : x + width - 2] for y in range(3) for x in range(3)]
        same_place = [band[top + 1 : top + 1 + n, 1:-1] for band in centre]
        block = np.stack([*shifted, *same_place])
        yield slice(top, top + n), block.reshape(len(block), -1)


# ---- The steerable pyramid ---------------------------------------------------------------------------------
def oriented_bands(plane: Array) -> tuple[Array, list[list[Array]]]:
    """Compute the high-pass residual (H, W) and, finest level first, the six oriented bands of two levels.

    With F the Fourier transform of the plane, (r, t) the polar coordinates of a frequency, r = 1 at Nyquist,
    H_n = cos(pi/2 (log2 r + n)) where 2^-(n+1) < r < 2^-n, 0 below and 1 above, and L_n = sqrt(1 - H_n^2):

        residual            H_0 F
        band b of level n   -i H_n L_{n-1} ... L_0 A_b F,   n = 1, 2   and   b = 0 ... 5
        A_b                 g cos^5(t - pi b/6) where |t - pi b/6| < pi/2, else 0;   g = 2^6 5! / sqrt(6 10!)

    The real part of each inverse transform is taken. Level 2 has half the side lengths.
    """
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


@lru_cache(maxsize=2)  # as test images share sizes
def _masks(height: int, width: int) -> tuple[Single, list[tuple]]:
    """Build the mask of the high-pass residual and, for each level, its shape (H, W) and its masks.

    These are: low, applied to what comes from the level above; the radial part of the oriented bands; a list
    of the odd part of each orientation. All cover half the frequencies: columns 0 ... W // 2.
    """
    y = (np.arange(height) - height // 2) / (height / 2)  # zero in the centre, 1: Nyquist
    x = (np.arange(width) - width // 2) / (width / 2)
    radius, angle = np.hypot(y[:, None], x), np.arctan2(y[:, None], x)
    radius[height // 2, width // 2] = radius[height // 2, width // 2 - 1]
    log_radius = np.log2(radius)
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
        levels.append((log_radius.shape, _half(from_above), band, angular))
        inner = tuple(_centre(length) for length in log_radius.shape)
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
