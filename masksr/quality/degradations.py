"""What super-resolution can do wrong, done on purpose to 8-bit planes: what the stand-in for Ma learns from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from masksr.data.bicubic import imresize

Plane = NDArray[np.uint8]
Array = NDArray[np.float64]

BICUBIC = ("x2", "x3", "x4")  # the steps whose order is known: the plane itself is best, x4 worst


def degraded(plane: Plane, rng: np.random.Generator) -> dict[str, Plane]:
    """Every degradation of ``plane`` (H, W) by name; H and W must be multiples of 12.

    Bicubic enlargements, Gaussian blur and mixtures of both with the plane (too smooth), and on top of the x4
    enlargement what a failing GAN adds: noise, grain, checkerboards, halos.
    """
    enlarged = {f"x{scale}": imresize(imresize(plane, 1 / scale), scale) for scale in (2, 3, 4)}
    x4 = enlarged["x4"].astype(float)
    grain = gaussian_filter(rng.normal(size=plane.shape), 1)
    rows, columns = np.indices(plane.shape)
    result = {
        "blurred x4": gaussian_filter(x4, 2),
        "half x2": (plane + enlarged["x2"].astype(float)) / 2,
        "grain on x4": x4 + 14 * grain / grain.std(),
        "halos on x4": x4 + 4 * (x4 - gaussian_filter(x4, 1.5)),
    }
    for share in (0.25, 0.5, 0.75):
        result[f"x4 with {share} of the plane"] = share * plane + (1 - share) * x4
    for sigma in (0.6, 0.9, 1.5, 2.5):
        result[f"blur {sigma}"] = gaussian_filter(plane.astype(float), sigma)
    for sigma in (10, 20):
        result[f"noise {sigma} on x4"] = x4 + rng.normal(size=plane.shape) * sigma
    for height, side in ((10, 1), (10, 2), (20, 2)):
        board = (rows // side + columns // side) % 2 * 2 - 1
        result[f"checkerboard {height} of {side} on x4"] = x4 + height * board
    return enlarged | {name: _to_plane(values) for name, values in result.items()}


def gradient_fidelity(plane: Plane, reference: Plane) -> float:
    """A full-reference score from 0 to 10: how much of the reference's gradient is there and nothing else.

    With r the squared error of the gradient over the squared gradient it is the mean of 10 / (1 + 2 r) at full and at
    half resolution. Relative to the content, so that detail counts as much in a smooth photograph as in a busy one.
    """
    x, y = plane.astype(float), reference.astype(float)
    scores = []
    for _ in range(2):
        error = sum(np.square(a - b).mean() for a, b in zip(_gradient(x), _gradient(y), strict=True))
        energy = sum(np.square(b).mean() for b in _gradient(y))
        scores.append(10 / (1 + 2 * error / max(energy, 1e-9)))
        x, y = _half(x), _half(y)
    return float(np.mean(scores))


def _gradient(plane: Array) -> tuple[Array, Array]:
    return np.diff(plane, axis=0)[:, :-1], np.diff(plane, axis=1)[:-1]


def _half(plane: Array) -> Array:
    """The means of 2 x 2 pixels."""
    height, width = (length // 2 for length in plane.shape)
    return plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


def _to_plane(values: Array) -> Plane:
    return np.rint(values).clip(0, 255).astype(np.uint8)
