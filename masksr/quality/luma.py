"""The plane that every measure of the PIRM 2018 protocol looks at: 8-bit BT.601 luma without its border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BORDER = 4  # pixels cut from each side (PIRM 2018: shave_width)
RED, GREEN, BLUE, BLACK = 65.481, 128.553, 24.966, 16  # BT.601: the share of each channel, and where black lies


class Unmeasurable(ValueError):
    """The image is sound, but it has no such score: too small, flat, periodic."""

    @classmethod
    def structureless(cls) -> Unmeasurable:
        return cls("the image is flat or periodic")


def check_side(shape: tuple[int, ...], side: int) -> None:
    """Raises Unmeasurable for a plane of ``shape`` (H, W) with a side shorter than ``side``."""
    if min(shape) < side:
        raise Unmeasurable(f"needs {side} x {side} pixels inside the border, got {shape[0]} x {shape[1]}")


def check_image(image: NDArray[np.uint8], border: int = BORDER) -> None:
    """Raises TypeError for pixels that are not uint8, ValueError for another shape or an image that is all border."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = f"{image.dtype} pixels" if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"quality is measured on uint8 arrays, not {kind} (data.images.to_image converts tensors)")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"quality is measured on images of shape (H, W, 3), got {image.shape}")
    if min(image.shape[:2]) <= 2 * border:
        raise ValueError(f"an image of {image.shape[0]} x {image.shape[1]} pixels is nothing but border ({border})")


def luma_plane(image: NDArray[np.uint8], border: int = BORDER) -> NDArray[np.float64]:
    """The luma of an image (H, W, 3) uint8, 16 ... 235, rounded to whole levels: (H - 2 border, W - 2 border).

    Computed in single precision as pyiqa does it (torch's matrix product on x86, with fused multiply-adds): of the 2^24
    colours 137 lie so close to a half that exact arithmetic (``data.images.luma``) rounds them to the other side,
    and one such pixel moves PI by about 1e-5.

    Raises what :func:`check_image` does.
    """
    check_image(image, border)
    inner = image[border : image.shape[0] - border, border : image.shape[1] - border]
    red, green, blue = np.moveaxis(inner.astype(np.float32) / np.float32(255), -1, 0)
    luma = red * np.float32(RED)
    for channel, weight in ((green, GREEN), (blue, BLUE)):  # a fused multiply-add rounds once
        luma = (channel.astype(np.float64) * np.float32(weight).astype(np.float64) + luma).astype(np.float32)
    return np.rint((luma + np.float32(BLACK)) / np.float32(255) * np.float32(255)).astype(np.float64)
