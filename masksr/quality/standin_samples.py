"""Crops of a few photographs, good and spoilt, with Ma's features and a full-reference score: what a forest learns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from masksr.bicubic import imresize
from masksr.quality.degradations import BICUBIC, degraded, gradient_fidelity
from masksr.quality.luma import Unmeasurable
from masksr.quality.ma import ma_features

Plane = NDArray[np.uint8]
Array = NDArray[np.float64]

CROPS, DEGRADED_EVERY, OTHERS = 150, 3, 4  # each third crop is degraded: in all bicubic ways and in four others
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
    """About 500 samples of the photographs in ``planes`` (name: (H, W) uint8), the same for the same seed."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        groups = pool.map(lambda crop: _samples(*crop, seed), _crops(planes, seed))
        return [sample for group in groups for sample in group]


def _crops(planes: dict[str, Plane], seed: int) -> list[tuple[int, str, Plane]]:
    """(number, photograph, crop): of each photograph in turn, of various sizes, scales and contrasts."""
    rng = np.random.default_rng(seed)
    names, crops = sorted(planes), []
    for number in range(CROPS):
        name = names[number % len(names)]
        scales = [scale for scale in SHRINK if min(planes[name].shape) * scale >= SIDES[0]]
        plane = imresize(planes[name], scales[number // len(names) % len(scales)])
        wanted = rng.integers(SIDES[0] // STEP, SIDES[1] // STEP + 1, 2) * STEP
        height, width = (
            min(int(side), length // STEP * STEP) for side, length in zip(wanted, plane.shape, strict=True)
        )
        top, left = rng.integers(plane.shape[0] - height + 1), rng.integers(plane.shape[1] - width + 1)
        crop = plane[top : top + height, left : left + width].astype(float)
        crop = (crop - crop.mean()) * rng.uniform(*CONTRAST) + crop.mean()
        crops.append((number, name, np.rint(crop).clip(0, 255).astype(np.uint8)))
    return crops


def _samples(number: int, name: str, crop: Plane, seed: int) -> list[Sample]:
    versions = {"HR": crop}
    if number % DEGRADED_EVERY == 0:
        bad = degraded(crop, np.random.default_rng([seed, number]))
        others = sorted(set(bad) - set(BICUBIC))
        first = number // DEGRADED_EVERY * OTHERS
        kinds = (*BICUBIC, *(others[(first + i) % len(others)] for i in range(OTHERS)))
        versions |= {kind: bad[kind] for kind in kinds}
    samples = []
    for kind, version in versions.items():
        try:
            features = ma_features(version.astype(float))[:2]
        except Unmeasurable:  # an empty piece of sky
            continue
        samples.append(Sample(name, number, kind, gradient_fidelity(version, crop), features))
    return samples
