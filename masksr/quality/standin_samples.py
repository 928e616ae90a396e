"""Crops of a few photographs, good and spoilt, with Ma's features and a full-reference score: what a forest learns."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from masksr.data.bicubic import imresize
from masksr.quality.degradations import BICUBIC, degraded, gradient_fidelity
from masksr.quality.luma import Unmeasurable
from masksr.quality.ma import ma_features

Plane = NDArray[np.uint8]
Array = NDArray[np.float64]

CROPS, DEGRADED_EVERY, OTHERS = 150, 3, 4  # a third of the crops is degraded: in all bicubic ways and in four others
SIDES, STEP = (120, 216), 12  # pixels; every side is a multiple of 2, 3 and 4
SHRINK = (1.0, 0.75, 0.5, 0.35, 0.25)  # a shrunk photograph is another one, sharper and busier
CONTRAST = (0.6, 1.5)


@dataclass(frozen=True, eq=False)
class Sample:
    photograph: str
    crop: int
    kind: str  # "HR" or a degradation
    score: float  # of masksr.quality.degradations.gradient_fidelity
    features: tuple[Array, Array]  # the first two families of Ma's features


def make_samples(planes: dict[str, Plane], seed: int, workers: int) -> list[Sample]:
    """About 500 samples of the photographs in ``planes`` (name: (H, W) uint8), the same ones for the same seed."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        groups = pool.map(lambda crop: _samples(*crop, seed), _crops(planes, seed))
        return [sample for group in groups for sample in group]


def _crops(planes: dict[str, Plane], seed: int) -> Iterator[tuple[int, str, Plane, bool]]:
    """(number, photograph, crop, whether to degrade it): of each photograph in turn; sizes, scales, contrasts vary."""
    rng = np.random.default_rng(seed)
    names = sorted(planes)
    scaled = {
        name: [imresize(plane, scale) for scale in SHRINK if min(plane.shape) * scale >= SIDES[0]]
        for name, plane in planes.items()
    }
    for number in range(CROPS):
        turn, name = number // len(names), names[number % len(names)]
        plane = scaled[name][turn % len(scaled[name])]
        wanted = rng.integers(SIDES[0] // STEP, SIDES[1] // STEP + 1, 2) * STEP
        height, width = np.minimum(wanted, np.array(plane.shape) // STEP * STEP)
        top, left = rng.integers(plane.shape[0] - height + 1), rng.integers(plane.shape[1] - width + 1)
        crop = plane[top : top + height, left : left + width].astype(float)
        crop = (crop - crop.mean()) * rng.uniform(*CONTRAST) + crop.mean()
        yield number, name, np.rint(crop).clip(0, 255).astype(np.uint8), turn % DEGRADED_EVERY == 0


def _samples(number: int, name: str, crop: Plane, degrade: bool, seed: int) -> list[Sample]:
    versions = {"HR": crop}
    if degrade:
        rng = np.random.default_rng([seed, number])
        spoilt = degraded(crop, rng)
        others = rng.permutation(sorted(set(spoilt) - set(BICUBIC)))[:OTHERS]
        versions |= {kind: spoilt[kind] for kind in (*BICUBIC, *others)}
    samples = []
    for kind, version in versions.items():
        try:
            features = ma_features(version.astype(float))[:2]
        except Unmeasurable:  # an empty piece of sky
            continue
        samples.append(Sample(name, number, kind, gradient_fidelity(version, crop), features))
    return samples
