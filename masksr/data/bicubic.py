"""MATLAB's ``imresize`` with its default bicubic kernel, to the last bit.

It made the LR images of the super-resolution benchmarks and is the bicubic baseline of every paper; other
libraries resize differently enough to change the numbers (by up to 15 grey levels in Pillow and PyTorch, far
more in OpenCV, which does not antialias). What has to be right, checked on 149 LR images:

- Keys' cubic kernel with a = -0.5 (R. Keys, "Cubic convolution interpolation for digital image processing",
  1981), stretched by 1/scale when shrinking: that is the antialiasing;
- pixels beyond the border are copies of the border pixel, as in older releases of MATLAB; newer ones, such as
  R2017b, mirror the image there (``border="mirror"``), which is wrong on all 149;
- rows (the height) first, then columns, with rounding to uint8 in between.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Border = Literal["repeat", "mirror"]


def imresize(image: NDArray[np.uint8], scale: float, border: Border = "repeat") -> NDArray[np.uint8]:
    """Resize an image by ``scale``, as MATLAB's ``imresize(image, scale)`` does.

    image: (H, W, 3) or (H, W), uint8, else a TypeError. Returns uint8 of ceil(scale * H) x ceil(scale * W).

    border: what lies beyond the image. ``repeat``: its border pixel, as in the LR of Set5, Set14, BSD100 and
    Urban100. ``mirror``: its mirror image, border pixel included, as in R2017b (docs/data.md).
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"imresize wants a uint8 array, not {getattr(image, 'dtype', type(image).__name__)}")
    shorter = _resize_rows(image, scale, border)
    return np.ascontiguousarray(_resize_rows(shorter.swapaxes(0, 1), scale, border).swapaxes(0, 1))


def _resize_rows(image: NDArray[np.uint8], scale: float, border: Border) -> NDArray[np.uint8]:
    """Resize the first axis: (N, ...) uint8 to (ceil(scale * N), ...) uint8."""
    source, weight = taps(len(image), scale, border)
    # At x1/4, x1/2, x2 and x4 the weights are multiples of 2^-12: sums in float32 are then exact, and take
    # half the time. At other scales sums are rounded, so these use float64, as MATLAB does.
    exact = np.array_equal(weight * 4096, np.rint(weight * 4096))
    dtype = np.float32 if exact else np.float64
    pixels = image.astype(dtype, order="C").reshape(len(image), -1)
    total = np.zeros((len(source), pixels.shape[1]), dtype)
    for rows, w in zip(source.T, weight.astype(dtype).T, strict=True):
        total += pixels[rows] * w[:, None]
    # MATLAB rounds halves away from zero, numpy to even; clipped to [0, 255] first, "away" is "up".
    rounded = np.floor(total.clip(0, 255, out=total) + dtype(0.5)).astype(np.uint8)
    return rounded.reshape(len(source), *image.shape[1:])


def taps(
    length: int, scale: float, border: Border = "repeat"
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return each output pixel's source pixels and their weights: two arrays (ceil(scale * length), taps)."""
    stretch = min(scale, 1.0)
    support = 4 / stretch
    # Centres of the output pixels in input coordinates, counted from 1 as in MATLAB, term for term: another
    # order of the same operations moves a centre by one ulp, and a rounding with it.
    centre = np.arange(1, math.ceil(scale * length) + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - support / 2)
    source = first[:, None] + np.arange(math.ceil(support) + 2)  # pixels counted from 1
    weight = stretch * _cubic(stretch * (centre[:, None] - source))
    weight /= weight.sum(axis=1, keepdims=True)
    used = weight.any(axis=0)
    source, weight = source[:, used].astype(np.intp) - 1, weight[:, used]
    if border == "mirror":  # 0 1 2 2 1 0 0 1 2 ...
        source %= 2 * length
        return np.minimum(source, 2 * length - 1 - source), weight
    return source.clip(0, length - 1), weight


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel, a = -0.5; zero outside [-2, 2]."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
