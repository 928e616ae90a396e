"""The class of HR images that one LR image cannot tell apart, made of real members (section 1, equations 2 and 3).

Bicubic shrinking is linear but for its rounding, and it has a large null space: of the 16 numbers behind an LR pixel 15
are free. Any image can therefore be moved into the class of any LR image, by the smallest change that makes the two
shrink alike; its fine detail stays. That is ``project``, exact to the last byte of ``masksr.data.bicubic.imresize``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from masksr.data.bicubic import imresize, taps

SCALE = 4
STEP = 0.5  # of each correction: larger ones can swing to and fro between two roundings for ever
ROOM = 0.4  # an LR pixel that is off by less rounds to what it should be; leaving it alone lets the others settle


class EquivalenceClass(NamedTuple):
    """Some members of the class of one LR patch, all taken as equally probable."""

    lr: NDArray[np.uint8]  # (h, w, 3)
    members: NDArray[np.uint8]  # (N, 4h, 4w, 3); each shrinks to exactly lr
    names: list[str]  # of the members
    tried: int  # candidates that were to become members,
    exact: int  # and how many of them could, to the last byte; those that became the same image stand here once

    @property
    def mean(self) -> NDArray[np.float64]:
        """What training with squared error should answer: (4h, 4w, 3), grey levels."""
        return self.members.mean(axis=0, dtype=np.float64)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Var[[I]] pixel by pixel, the mean over the colours: (4h, 4w), squared grey levels."""
        return self.members.astype(np.float64).var(axis=0).mean(axis=2)


def equivalence_class(lr: NDArray[np.uint8], candidates: Sequence[tuple[str, ArrayLike]]) -> EquivalenceClass:
    """The class of ``lr`` (h, w, 3) uint8, with those of the candidates that could be moved into it.

    candidates: name and (4h, 4w, 3) grey levels. Those that become the same image are kept once.
    """
    images = np.stack([np.asarray(image, np.float64) for _, image in candidates])
    members, found = project(lr, images)
    _, first = np.unique(members.reshape(len(members), -1), axis=0, return_index=True)
    kept = sorted(set(first) & set(np.flatnonzero(found)))
    return EquivalenceClass(lr, members[kept], [candidates[i][0] for i in kept], len(candidates), int(found.sum()))


def project(
    lr: NDArray[np.uint8], candidates: ArrayLike, *, steps: int = 400
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The member of the class of ``lr`` nearest to each candidate, and which of them were found.

    lr: (h, w, 3) uint8. candidates: (N, 4h, 4w, 3) grey levels, of any size. Returns (N, 4h, 4w, 3) uint8, (N,)
    bool; where True, ``imresize(member, 1/4)`` is ``lr`` in every byte. What is a member already stays as it is.

    The nearest point of the class and of the box [0, 255] is ``clip(candidate + D' y)``, where D is the shrinking and y
    a number for each LR pixel. It is found by ascent along what is still wrong, each step the smallest change that
    would put it right if nothing were clipped or rounded; here it is, also by the rounding between the two axes. Raises
    ValueError for shapes that do not fit.
    """
    x = np.moveaxis(np.array(candidates, np.float64, ndmin=4), 3, 1)  # (N, 3, 4h, 4w)
    if lr.ndim != 3 or x.shape[1:] != (lr.shape[2], SCALE * lr.shape[0], SCALE * lr.shape[1]):
        raise ValueError(f"candidates of shape {np.shape(candidates)} cannot shrink to an LR patch {lr.shape}")
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
        x[todo] += STEP * (back @ np.where(np.abs(off) > ROOM, off, 0) @ across)
    images = np.ascontiguousarray(np.moveaxis(members, 1, 3).astype(np.uint8))
    return images, np.array([np.array_equal(imresize(image, 1 / SCALE), lr) for image in images], dtype=bool)


def _rounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.floor(x.clip(0, 255) + 0.5)  # as imresize does: halves go up


def shrinking(length: int) -> NDArray[np.float64]:
    """``imresize`` by 1/4 along one axis, before its rounding: (length / 4, length). Each row adds up to 1."""
    source, weight = taps(length, 1 / SCALE)
    matrix = np.zeros((len(source), length))
    np.add.at(matrix, (np.arange(len(source))[:, None], source), weight)  # beyond the border: the border pixel again
    return matrix


def in_words(classes: Iterable[EquivalenceClass]) -> str:
    """How many candidates were moved into their class, in a sentence."""
    tried, exact, kept = np.sum([(patch.tried, patch.exact, len(patch.members)) for patch in classes], axis=0)
    same = f"; {kept} of them differ" if kept < exact else ""
    return f"{exact} of {tried} candidates were moved into their class, exact in every byte of the LR patch{same}."


def free_numbers(lr: NDArray[np.uint8]) -> str:
    """How many of the numbers of an HR patch its LR patch (h, w, 3) leaves open, in a sentence."""
    seen = lr.shape[2] * int(np.prod([np.linalg.matrix_rank(shrinking(SCALE * side)) for side in lr.shape[:2]]))
    total = SCALE**2 * lr.size
    return f"An HR patch has {total} numbers; its LR patch fixes {seen} sums of them and leaves {total - seen} free."
