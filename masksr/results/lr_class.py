"""The class of HR images that one LR image cannot tell apart, made of real members (equations 2 and 3).

Bicubic shrinking is linear but for its rounding, and it has a large null space: of the 16 numbers behind an
LR pixel 15 are free. Any image can therefore be moved into the class of any LR image, by the smallest change
that makes the two shrink alike; its fine detail stays. That is ``project``, exact to the last byte of
``masksr.data.bicubic.imresize``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from masksr.data.bicubic import imresize, taps

SCALE = 4
STEP = 0.5  # of each correction: larger ones can swing to and fro between two roundings for ever
NEAR = 0.4  # an LR pixel off by less rounds to what it should be; left alone it lets the others settle


def project(
    lr: NDArray[np.uint8], candidates: ArrayLike, *, steps: int = 400
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Find the member of the class of ``lr`` nearest to each candidate, and say which of them were found.

    lr: (h, w, 3) uint8. candidates: (N, 4h, 4w, 3) grey levels, of any size. Returns (N, 4h, 4w, 3) uint8,
    (N,) bool; where True, ``imresize(member, 1/4)`` is ``lr`` in every byte. What is a member already stays
    as it is.

    The nearest point of the class and of the box [0, 255] is ``clip(candidate + D' y)``, where D is the
    shrinking and y a number for each LR pixel. It is found by ascent along what is still wrong, each step the
    smallest change that would put it right if nothing were clipped or rounded; here it is, also by the
    rounding between the two axes.
    """
    x = np.moveaxis(np.array(candidates, np.float64), 3, 1)  # (N, 3, 4h, 4w)
    wanted = np.moveaxis(lr.astype(np.float64), 2, 0)
    rows, columns = (shrinking(SCALE * side) for side in lr.shape[:2])
    back, across = np.linalg.pinv(rows), np.linalg.pinv(columns).T
    members = _rounded(x)
    todo = np.arange(len(x))
    for _ in range(steps):
        members[todo] = _rounded(x[todo])
        shrunk = _rounded(rows @ members[todo]) @ columns.T
        wrong = (_rounded(shrunk) != wanted).any(axis=(1, 2, 3))
        todo = todo[wrong]
        if not todo.size:
            break
        off = wanted - shrunk[wrong]
        x[todo] += STEP * (back @ np.where(np.abs(off) > NEAR, off, 0) @ across)
    images = np.ascontiguousarray(np.moveaxis(members, 1, 3).astype(np.uint8))
    return images, np.array([np.array_equal(imresize(image, 1 / SCALE), lr) for image in images], dtype=bool)


def _rounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.floor(x.clip(0, 255) + 0.5)  # as imresize does: halves go up


def shrinking(length: int) -> NDArray[np.float64]:
    """Return ``imresize`` by 1/4 along one axis, before its rounding, as a matrix (length / 4, length)."""
    source, weight = taps(length, 1 / SCALE)
    matrix = np.zeros((len(source), length))
    row = np.arange(len(source))[:, None]
    np.add.at(matrix, (row, source), weight)  # beyond the border: the border pixel again
    return matrix
