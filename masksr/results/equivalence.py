"""The class of HR images that one LR image cannot tell apart, made of real members (equations 2 and 3).

Bicubic shrinking is linear but for its rounding, and it has a large null space: of the 16 numbers behind an
LR pixel 15 are free. Any image can therefore be moved into the class of any LR image, by the smallest change
that makes the two shrink alike; its fine detail stays. That is ``project``, exact to the last byte of
``masksr.data.bicubic.imresize``. ``Neighbours`` finds the images of photographs that are probable in a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from masksr.data.bicubic import imresize, taps
from masksr.data.packs import Pack

SCALE = 4
SIDE = 8  # pixels of an LR patch
HR_SIDE = SCALE * SIDE
STEP = 0.5  # of each correction: larger ones can swing to and fro between two roundings for ever
NEAR = 0.4  # an LR pixel off by less rounds to what it should be; left alone it lets the others settle
POOL = 40_000  # patches that neighbours are searched among, spread over all photographs
ROOM = (16, 240)  # LR pixels beyond these leave no room for a texture
GAIN = 2.0  # by which contrast may be raised or lowered


class EquivalenceClass(NamedTuple):
    """Some members of the class of one LR patch, all taken as equally probable."""

    lr: NDArray[np.uint8]  # (h, w, 3)
    members: NDArray[np.uint8]  # (N, 4h, 4w, 3), different ones; each shrinks to exactly lr
    names: list[str]  # of the members
    tried: int  # candidates that were to become members,
    exact: int  # and how many of them could, to the last byte

    @property
    def mean(self) -> NDArray[np.float64]:
        """Return what training with squared error should answer: (4h, 4w, 3), grey levels."""
        return self.members.mean(axis=0, dtype=np.float64)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Return Var[[I]] pixel by pixel, the mean over the colours: (4h, 4w), squared grey levels."""
        return self.members.astype(np.float64).var(axis=0).mean(axis=2)


def equivalence_class(lr: NDArray[np.uint8], candidates: Mapping[str, ArrayLike]) -> EquivalenceClass:
    """Return the class of ``lr`` (h, w, 3) uint8, with those of the candidates that could be moved into it.

    candidates: by name, (4h, 4w, 3) grey levels. Those that become the same image are kept once.
    """
    names = list(candidates)
    members, found = project(lr, np.stack([np.asarray(candidates[name], np.float64) for name in names]))
    _, first = np.unique(members.reshape(len(members), -1), axis=0, return_index=True)
    kept = sorted(set(first) & set(np.flatnonzero(found)))
    return EquivalenceClass(lr, members[kept], [names[i] for i in kept], len(names), int(found.sum()))


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


class Patch(NamedTuple):
    """A square of a photograph: where it was found, and what it shrinks to on its own."""

    pack: Pack
    image: int
    top: int  # in LR pixels
    left: int

    @property
    def hr(self) -> NDArray[np.uint8]:
        rows, columns = (slice(SCALE * at, SCALE * at + HR_SIDE) for at in (self.top, self.left))
        return np.ascontiguousarray(self.pack.hr(self.image)[rows, columns])

    @property
    def lr(self) -> NDArray[np.uint8]:
        return imresize(self.hr, 1 / SCALE)

    @property
    def lr_of_photograph(self) -> NDArray[np.uint8]:
        """Return the same place of the shrunk photograph, whose border pixels saw more than this patch."""
        lr = self.pack.lr(self.image, SCALE)
        return lr[self.top : self.top + SIDE, self.left : self.left + SIDE]

    def overlaps(self, other: Patch) -> bool:
        same = self.pack is other.pack and self.image == other.image
        return same and max(abs(self.top - other.top), abs(self.left - other.left)) < SIDE


def by_detail(pack: Pack, quantiles: Sequence[float]) -> list[Patch]:
    """Choose, of the squares that tile a pack's photographs, those at given quantiles of the detail lost.

    Squares near black or white are passed over where there are others: there is no room for a texture in
    them.
    """
    found = sorted((tile for n in range(len(pack)) for tile in tiles(pack, n)), key=lambda tile: tile[0])
    colours = [patch.lr_of_photograph for _, patch in found]
    with_room = [lr.min() >= ROOM[0] and lr.max() <= ROOM[1] for lr in colours]
    found = [tile for tile, room in zip(found, with_room, strict=True) if room] or found
    return [found[round(quantile * (len(found) - 1))][1] for quantile in quantiles]


def tiles(pack: Pack, image: int) -> list[tuple[float, Patch]]:
    """Return the squares of one photograph, each after what bicubic enlarging misses of it (RMS, levels)."""
    missed = pack.hr(image) - imresize(pack.lr(image, SCALE), SCALE).astype(np.float32)
    rows, columns = (side // HR_SIDE for side in missed.shape[:2])
    squares = missed[: rows * HR_SIDE, : columns * HR_SIDE].reshape(rows, HR_SIDE, columns, HR_SIDE, 3)
    detail = np.sqrt(np.square(squares).mean(axis=(1, 3, 4)))
    patches = [Patch(pack, image, SIDE * row, SIDE * column) for row, column in np.ndindex(rows, columns)]
    return list(zip(detail.ravel().tolist(), patches, strict=True))


class Neighbours:
    """Patches of photographs whose LR patches look nearly alike: what one may expect behind an LR patch.

    ``POOL`` patches are searched and their mirror images, drawn evenly from all photographs by a fixed seed.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        rng, self.patches = np.random.default_rng(0), []
        photographs = [(pack, image) for pack in packs for image in range(len(pack))]
        for pack, image in photographs:
            height, width = (max(side - SIDE + 1, 0) for side in pack.lr(image, SCALE).shape[:2])
            count = min(max(POOL // len(photographs), 1), height * width)
            places = np.sort(rng.choice(height * width, count, replace=False)) if count else ()
            self.patches += [Patch(pack, image, *map(int, divmod(place, width))) for place in places]
        self._pool = _without_mean([patch.lr_of_photograph for patch in self.patches])
        self._contrast = np.linalg.norm(self._pool, axis=1).clip(min=1e-3)

    def probable(self, patch: Patch, count: int) -> EquivalenceClass:
        """Return the class of a patch with itself and the ``count - 1`` nearest others, moved into it.

        Near is a high correlation of the two LR patches: brightness may differ, contrast by ``GAIN``, and the
        neighbour is given those of ``patch``. None overlaps ``patch`` or another neighbour.
        """
        queries = _without_mean([patch.lr, patch.lr[:, ::-1]])
        gain = np.linalg.norm(queries[0]) / self._contrast
        correlation = self._pool @ queries.T / self._contrast[:, None]  # (patches, 2), but for a factor
        correlation[(gain > GAIN) | (gain < 1 / GAIN)] = -np.inf
        chosen, candidates = [patch], {"the photograph": patch.hr.astype(np.float64)}
        for place in np.argsort(-correlation, axis=None, kind="stable"):
            if len(candidates) == count or correlation.flat[place] == -np.inf:
                break
            near, mirrored = self.patches[place // 2], place % 2
            if not any(near.overlaps(other) for other in chosen):
                chosen.append(near)
                hr = near.hr[:, ::-1] if mirrored else near.hr
                hr = patch.hr.mean(axis=(0, 1)) + gain[place // 2] * (hr - hr.mean(axis=(0, 1)))
                candidates[f"{near.pack.names[near.image]} {len(chosen)}"] = hr
        return equivalence_class(patch.lr, candidates)


def _without_mean(patches: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    stack = np.stack(patches).astype(np.float32)
    return (stack - stack.mean(axis=(1, 2), keepdims=True)).reshape(len(stack), -1)
