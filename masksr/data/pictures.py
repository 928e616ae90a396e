"""One image of a set, read: HR, and LR that is checked against it or made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masksr.data.bicubic import imresize
from masksr.data.images import modcrop, read_image
from masksr.errors import MasksrError

SCALE = 4  # of the official LR pictures, and what the sides of HR are cut to a multiple of


class Box(Protocol):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Source:
    """Where one image of a set lies."""

    name: str
    hr: Path
    lr: Mapping[int, Path] = field(default_factory=dict)  # the official ones the set has, by scale
    crop: Box | None = None  # of hr; None: all of it
    sides: tuple[int, int] = (0, 0)  # of the HR image before it is cut to multiples of 4, in no promised order


@dataclass(frozen=True)
class Picture:
    """One image of a set: HR with sides that are multiples of 4, and its LR."""

    hr: NDArray[np.uint8]  # (H, W, 3)
    lr: dict[int, NDArray[np.uint8]]  # by scale s: (H/s, W/s, 3), official or imresize(hr, 1/s)
    difference: dict[int, int]  # of each official LR: its largest distance from imresize(hr, 1/s), in levels
    deviation: dict[int, float]  # and its mean distance, in units of its contrast
    cut: bool  # whether the sides of the file were no multiples of 4


def load_image(source: Source, scales: Sequence[int] = (SCALE,)) -> Picture:
    """Read one image; its official LR is checked against the HR, and where there is none the LR is made.

    Raises MasksrError when a file is damaged, a crop leaves its picture, or HR and LR do not belong together.
    """
    hr = read_image(source.hr)
    if box := source.crop:
        if box.top + box.height > hr.shape[0] or box.left + box.width > hr.shape[1]:
            raise MasksrError(f"{source.hr}: {hr.shape[0]} x {hr.shape[1]} pixels, too small for crop {source.name}")
        hr = hr[box.top : box.top + box.height, box.left : box.left + box.width]
    whole, hr = hr.shape, np.ascontiguousarray(modcrop(hr, SCALE))
    lr, difference, deviation = {}, {}, {}
    for scale in scales:
        lr[scale] = imresize(hr, 1 / scale)
        if scale in source.lr:
            official = read_image(source.lr[scale])
            difference[scale], deviation[scale] = _compared(source.lr[scale], official, lr[scale], source.hr)
            lr[scale] = official
    return Picture(hr, lr, difference, deviation, cut=hr.shape != whole)


def check_kernel(name: str, scale: int, deviations: Sequence[float]) -> None:
    """Raises MasksrError when the official LR of a set as a whole was shrunk in another way than its HR asks for.

    deviations: of its images. One image is no judge of that: where there is little detail, every kernel gives the same.
    """
    # Measured on BSD100, medians over its images: other antialiased kernels (box, bilinear, Lanczos) stay below 0.05;
    # shifted by half an LR pixel it is 0.16, shrunk without antialiasing 0.23, shifted by a pixel 0.29.
    if deviations and np.median(deviations) > 0.1:
        raise MasksrError(
            f"{name}: its LR at x{scale} does not fit its HR (median deviation {np.median(deviations):.2f} of the "
            "contrast): it is shifted, or was shrunk without antialiasing; fetch both from the same distribution of "
            "the set, or remove the LR folder to have the LR made from the HR"
        )


def _compared(path: Path, lr: NDArray[np.uint8], ours: NDArray[np.uint8], hr: Path) -> tuple[int, float]:
    """How far an official LR is from ours: at most, in levels, and in the mean, in units of the contrast.

    Raises MasksrError when it cannot belong to its HR at all.
    """
    if lr.shape != ours.shape:
        raise MasksrError(
            f"{path}: is {lr.shape[0]} x {lr.shape[1]}, but {hr} shrinks to {ours.shape[0]} x {ours.shape[1]} "
            "(height x width); fetch both from the same distribution of the set"
        )
    difference = np.abs(lr.astype(np.int16) - ours)
    # Measured on BSD100, in units of the LR's contrast: other antialiased kernels stay below 0.21, mirrored pictures
    # begin at 0.33, other pictures at 0.6. The one level keeps flat pictures from being refused for their rounding.
    contrast = np.abs(ours - ours.mean(axis=(0, 1))).mean()
    if difference.mean() > contrast / 4 + 1:
        raise MasksrError(
            f"{path}: does not fit {hr} (mean difference {difference.mean():.0f} levels): it is another picture, "
            "mirrored, or shrunk without antialiasing; fetch both from the same distribution of the set, or remove the "
            "LR folder to have the LR made from the HR"
        )
    return int(difference.max()), float(difference.mean() / (contrast + 1))
