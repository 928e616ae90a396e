"""Which details figure 4 shows: chosen by a rule or by hand, and it says which."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masksr.data.packs import Pack
from masksr.errors import MasksrError
from masksr.params import Crop, Figure4

STEP = 4  # HR pixels: details are whole LR pixels
Difference = Callable[[Pack, int], NDArray[np.float64]]  # (pack, image number) -> (H, W), how far two outputs differ


class Place(NamedTuple):
    """A square of an image of a test set, in HR pixels, and how it was chosen."""

    set: str
    image: int
    top: int
    left: int
    size: int
    how: str


def chosen(figure4: Figure4, packs: Mapping[str, Pack], difference: Difference) -> list[Place]:
    """All details, those of the largest difference first, then those by chance, then ``figure4.crops``.

    packs: the test sets by name. difference: computed for every image that is searched.
    Raises MasksrError where the sets do not hold as many details of that size, or a crop leaves its image.
    """
    return [
        *of_largest_difference(packs, difference, figure4.size, figure4.largest_difference, figure4.search),
        *at_random(packs, figure4.size, figure4.random, figure4.seed),
        *(_by_hand(crop, packs[crop.set]) for crop in figure4.crops),
    ]


def of_largest_difference(
    packs: Mapping[str, Pack], difference: Difference, size: int, count: int, search: int | None = None
) -> list[Place]:
    """The squares with the largest mean difference, at most one of an image, the largest first.

    search: how many images of each set are looked at; None: all.
    """
    found = []
    for name, image in _large_enough(packs, size, search) if count else ():
        mean, top, left = largest_window(difference(packs[name], image), size)
        found.append((mean, Place(name, image, top, left, size, "largest difference")))
    _check(len(found), count, size, "largest_difference")
    found.sort(key=lambda entry: -entry[0])  # stable: of two equal ones the first
    return [place for _, place in found[:count]]


def at_random(packs: Mapping[str, Pack], size: int, count: int, seed: int) -> list[Place]:
    """Squares of ``count`` different images; each image, and each place in it, is as likely as any other."""
    images = list(_large_enough(packs, size)) if count else []
    _check(len(images), count, size, "random")
    draw, places = random.Random(seed), []
    for name, image in draw.sample(images, count):
        height, width = _sides(packs[name], image)
        top, left = (draw.randrange((side - size) // STEP + 1) * STEP for side in (height, width))
        places.append(Place(name, image, top, left, size, f"random, seed {seed}"))
    return places


def largest_window(values: NDArray[np.float64], size: int) -> tuple[float, int, int]:
    """The largest mean of ``values`` (H, W) over a square of ``size`` on whole LR pixels: mean, top, left."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    sums = sums[::STEP, ::STEP]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return float(sums[top, left]) / size**2, int(top) * STEP, int(left) * STEP


def _by_hand(crop: Crop, pack: Pack) -> Place:
    if crop.image >= len(pack):
        raise MasksrError(
            f"figure4.crops: {crop.set} has {len(pack)} images, so image {crop.image} (from 0) is not there"
        )
    height, width = _sides(pack, crop.image)
    if crop.top + crop.size > height or crop.left + crop.size > width:
        box = crop.top, crop.left, crop.size
        raise MasksrError(f"figure4.crops: {box} leaves image {crop.image} of {crop.set}, {width} x {height}")
    return Place(crop.set, crop.image, crop.top, crop.left, crop.size, "chosen by hand")


def _large_enough(packs: Mapping[str, Pack], size: int, search: int | None = None) -> Iterator[tuple[str, int]]:
    for name, pack in packs.items():
        for image in range(min(len(pack), search or len(pack))):
            if min(_sides(pack, image)) >= size:
                yield name, image


def _sides(pack: Pack, image: int) -> tuple[int, int]:
    return pack.hr(image).shape[:2]


def _check(there: int, wanted: int, size: int, key: str) -> None:
    if there < wanted:
        raise MasksrError(
            f"figure4.{key}: asks for {wanted} images of at least {size} x {size} pixels, and the test sets have "
            f"{there}; lower it, or figure4.size"
        )
