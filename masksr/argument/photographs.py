"""Which HR textures to try in a class: any, to show what is possible; those of photographs, for what is probable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masksr.argument.classes import SCALE, EquivalenceClass, equivalence_class
from masksr.data.bicubic import imresize
from masksr.data.packs import Pack
from masksr.errors import MasksrError

SIDE = 8  # pixels of an LR patch
HR_SIDE = SCALE * SIDE
POOL = 40_000  # patches that neighbours are searched among, spread over all photographs
LEVELS = (48, 208)  # the dark and the light of the patterns
ROOM = (16, 240)  # LR pixels beyond these leave no room for a texture
GAIN = 2.0  # by which contrast may be raised or lowered


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

    def overlaps(self, other: Patch) -> bool:
        same = self.pack is other.pack and self.image == other.image
        return same and max(abs(self.top - other.top), abs(self.left - other.left)) < SIDE


def by_detail(pack: Pack, quantiles: Sequence[float]) -> list[Patch]:
    """Of the squares that tile the photographs of ``pack``, those at given quantiles of the detail lost in shrinking.

    Squares near black or white are passed over where there are others: there is no room for a texture in them. Raises
    MasksrError where no photograph is large enough.
    """
    tiles = sorted((tile for image in range(len(pack)) for tile in _tiles(pack, image)), key=lambda tile: tile[0])
    tiles = [tile for tile in tiles if _has_room(tile[1])] or tiles
    if not tiles:
        raise MasksrError(f"{pack.folder}: no image has {HR_SIDE} pixels on each side")
    return [tiles[round(quantile * (len(tiles) - 1))][1] for quantile in quantiles]


def _tiles(pack: Pack, image: int) -> list[tuple[float, Patch]]:
    """The squares of one photograph and how much bicubic enlarging misses of each: root mean square, grey levels."""
    missed = pack.hr(image) - imresize(pack.lr(image, SCALE), SCALE).astype(np.float32)
    rows, columns = (side // HR_SIDE for side in missed.shape[:2])
    squares = missed[: rows * HR_SIDE, : columns * HR_SIDE].reshape(rows, HR_SIDE, columns, HR_SIDE, 3)
    detail = np.sqrt(np.square(squares).mean(axis=(1, 3, 4)))
    return [(float(detail[at]), Patch(pack, image, SIDE * at[0], SIDE * at[1])) for at in np.ndindex(rows, columns)]


def _has_room(patch: Patch) -> bool:
    lr = patch.pack.lr(patch.image, SCALE)[patch.top : patch.top + SIDE, patch.left : patch.left + SIDE]
    return bool(ROOM[0] <= lr.min() and lr.max() <= ROOM[1])


def possible(patch: Patch, photographs: Pack, count: int = 4) -> EquivalenceClass:
    """The class of a patch with whatever fits: itself, no detail, noise, patterns, and textures of ``count`` others."""
    flat = np.broadcast_to(patch.lr.mean(axis=(0, 1)), patch.hr.shape)
    candidates = [("the photograph", patch.hr), ("no detail", flat), *_patterns()]
    for image in np.unique(np.linspace(0, len(photographs) - 1, count).round().astype(int)):
        if tiles := _tiles(photographs, int(image)):
            candidates.append((photographs.names[image], max(tiles, key=lambda tile: tile[0])[1].hr))
    return equivalence_class(patch.lr, candidates)


def _patterns() -> Iterator[tuple[str, NDArray[np.float64]]]:
    row, column = np.indices((HR_SIDE, HR_SIDE))
    radius = np.hypot(row - HR_SIDE / 2 + 0.5, column - HR_SIDE / 2 + 0.5)
    drawn = {"stripes": row // 2 % 2, "checks": (row + column) % 2, "rings": radius // 2 % 2}
    noise = np.random.default_rng(0).random((HR_SIDE, HR_SIDE, 3))
    low, high = LEVELS
    for name, pattern in ({"noise": noise} | drawn).items():
        yield name, low + (high - low) * (pattern if pattern.ndim == 3 else np.repeat(pattern[..., None], 3, axis=2))


class Neighbours:
    """Patches of photographs whose LR patches look nearly alike: what one may expect behind an LR patch.

    ``POOL`` patches are searched and their mirror images, drawn evenly from all photographs by a fixed seed.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        rng = np.random.default_rng(0)
        per_image = max(POOL // max(sum(len(pack) for pack in packs), 1), 1)
        self.patches = [patch for pack in packs for i in range(len(pack)) for patch in _drawn(pack, i, per_image, rng)]
        pool = np.empty((len(self.patches), SIDE, SIDE, 3), np.float32)
        for i, (pack, image, top, left) in enumerate(self.patches):
            pool[i] = pack.lr(image, SCALE)[top : top + SIDE, left : left + SIDE]
        self._pool = _without_mean(pool)
        self._contrast = np.linalg.norm(self._pool, axis=1).clip(min=1e-3)

    def world(self, pack: Pack, classes: int = 12, members: int = 9) -> list[EquivalenceClass]:
        """A toy world: patches of ``pack`` from smooth to textured, each with the most probable ``members``."""
        return [self.probable(patch, members) for patch in by_detail(pack, np.linspace(0.05, 0.95, classes))]

    def probable(self, patch: Patch, count: int) -> EquivalenceClass:
        """The class of a patch with itself and the ``count - 1`` nearest others, moved into it.

        Near is a high correlation of the two LR patches: brightness may differ, contrast by ``GAIN``, and the neighbour
        is given those of ``patch``. None overlaps ``patch`` or another neighbour.
        """
        own = patch.lr.astype(np.float32)
        queries = _without_mean(np.stack([own, own[:, ::-1]]))
        gain = np.linalg.norm(queries[0]) / self._contrast
        correlation = self._pool @ queries.T / self._contrast[:, None]  # (patches, 2), but for a factor
        correlation[(gain > GAIN) | (gain < 1 / GAIN)] = -np.inf
        chosen, candidates = [patch], [("the photograph", patch.hr.astype(np.float64))]
        for place in np.argsort(-correlation, axis=None, kind="stable"):
            if len(candidates) == count or correlation.flat[place] == -np.inf:
                break
            near, mirrored = self.patches[place // 2], place % 2
            if not any(near.overlaps(other) for other in chosen):
                chosen.append(near)
                hr = near.hr[:, ::-1] if mirrored else near.hr
                hr = patch.hr.mean(axis=(0, 1)) + gain[place // 2] * (hr - hr.mean(axis=(0, 1)))
                candidates.append((near.pack.names[near.image], hr))
        return equivalence_class(patch.lr, candidates)


def _drawn(pack: Pack, image: int, count: int, rng: np.random.Generator) -> list[Patch]:
    height, width = (side - SIDE + 1 for side in pack.lr(image, SCALE).shape[:2])
    if min(height, width) < 1:
        return []
    places = np.sort(rng.choice(height * width, min(count, height * width), replace=False))
    return [Patch(pack, image, int(place // width), int(place % width)) for place in places]


def _without_mean(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    return (patches - patches.mean(axis=(1, 2), keepdims=True)).reshape(len(patches), -1)
