"""Pictures to measure on: photographs that come with scikit-image, enlarged or cut to any size."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage import data

from masksr.data.bicubic import imresize

Image = NDArray[np.uint8]


@cache
def photographs() -> tuple[Image, ...]:
    return data.astronaut(), data.coffee(), data.chelsea()


def picture(height: int, width: int, number: int = 0) -> Image:
    """(height, width, 3) uint8: a part of photograph ``number``, which is enlarged where it is too small."""
    photograph = photographs()[number % len(photographs())]
    times = max(height / photograph.shape[0], width / photograph.shape[1])
    if times > 1:
        photograph = imresize(photograph, times + 0.01)
    rng = np.random.default_rng(number)
    top, left = (
        int(rng.integers(0, have - want + 1)) for have, want in zip(photograph.shape[:2], (height, width), strict=True)
    )
    return np.ascontiguousarray(photograph[top : top + height, left : left + width])
