"""Stand-ins for the official weights of NIQE and Ma, fitted on a few photographs in half a minute.

They let every stage of the pipeline run on a machine that cannot get the official files. They order what is clearly
better and worse; their numbers are no evidence and are never shown as plain PI.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from masksr.data.bicubic import imresize
from masksr.errors import MasksrError
from masksr.quality.forest import Forest, from_sklearn, one_leaf
from masksr.quality.luma import luma_plane
from masksr.quality.ma import FEATURES, MaModel
from masksr.quality.niqe import PATCH, NiqeModel, niqe_features, patch_sharpness
from masksr.quality.standin_samples import Sample, make_samples

Photograph = tuple[str, NDArray[np.uint8]]  # name, (H, W, 3)
Plane = NDArray[np.uint8]

MIN_SIDE = 216  # pixels of a photograph
PHOTOGRAPHS = 20  # at most: more would take minutes
SHARPNESS = 0.65  # of the sharpest patch: what NIQE learns from
SHRINKAGE = 0.2  # of NIQE's covariance towards its diagonal: there are hardly more patches than features
TREES, LEAF = 200, 3
FOLDS = 5  # of the photographs, to judge forests by photographs they have not seen


def fit_niqe(photographs: Sequence[Photograph]) -> tuple[NiqeModel, dict[str, Any]]:
    """NIQE's Gaussian from the sharp patches of ``photographs`` (name, (H, W, 3) uint8), and how it was fitted.

    As in Mittal et al. only sharp patches count, here sharper than 0.65 of the sharpest of all photographs, so that a
    soft photograph adds nothing. To make a few photographs do, the patches overlap by half and the photographs are also
    taken at 0.7 and 0.5 of their size. Raises MasksrError where a photograph is too small or none has any structure.
    """
    features, sharpness = [], []
    planes = _planes(photographs)
    for plane in planes.values():
        for scale in (1.0, 0.7, 0.5):
            scaled = plane if scale == 1 else imresize(plane, scale)
            for top, left in ((0, 0), (0, PATCH // 2), (PATCH // 2, 0), (PATCH // 2, PATCH // 2)):
                part = scaled[top:, left:].astype(float)
                if min(part.shape) >= PATCH:
                    features.append(niqe_features(part))
                    sharpness.append(patch_sharpness(part))
    patches, sharp = np.concatenate(features), np.concatenate(sharpness)
    whole = ~np.isnan(patches).any(axis=1)
    chosen = patches[whole & (sharp > SHARPNESS * sharp[whole].max(initial=0))]
    if len(chosen) < 2:
        raise MasksrError("the photographs have too little structure to fit NIQE on; give it sharp ones")
    covariance = np.cov(chosen, rowvar=False)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    fit = {"photographs": sorted(planes), "patches": len(chosen), "of": int(whole.sum())}
    return NiqeModel(chosen.mean(axis=0), covariance), fit


def fit_ma(photographs: Sequence[Photograph], *, seed: int = 0, workers: int = 1) -> tuple[MaModel, dict[str, Any]]:
    """Forests that predict a full-reference score of spoilt crops without the reference, and how they were fitted.

    photographs: (name, (H, W, 3) uint8). The third family of features (singular values) depends on the size of an image
    more than on its quality; its forest is one leaf of weight 0.

    What comes with the model says for how many crops HR scored above x2, x2 above x4 and so on, each photograph judged
    by forests that had not seen it. Raises MasksrError where a photograph is too small.
    """
    planes = _planes(photographs)
    samples = make_samples(planes, seed, workers)
    fit: dict[str, Any] = {"photographs": sorted(planes), "samples": len(samples), "trees": TREES, "seed": seed}
    names = sorted(planes)
    if len(names) > 1:
        judged: list[tuple[Sample, float]] = []
        for fold in (names[i::FOLDS] for i in range(min(FOLDS, len(names)))):
            model = _fit([s for s in samples if s.photograph not in fold], seed, workers)
            held_out = [s for s in samples if s.photograph in fold]
            judged += [(s, model.predict((*s.features, np.zeros(FEATURES[2])))) for s in held_out]
        fit["held_out"] = _orderings(judged)
    return _fit(samples, seed, workers), fit


def _planes(photographs: Sequence[Photograph]) -> dict[str, Plane]:
    """The lumas of up to 20 photographs, spread over all that there are."""
    chosen = photographs[:: max(1, ceil(len(photographs) / PHOTOGRAPHS))]
    planes = {name: luma_plane(image, border=0).astype(np.uint8) for name, image in chosen}
    if small := [name for name, plane in planes.items() if min(plane.shape) < MIN_SIDE]:
        raise MasksrError(f"stand-in weights need photographs of {MIN_SIDE} x {MIN_SIDE} pixels; smaller: {small}")
    if not planes:
        raise MasksrError("stand-in weights need at least one photograph to fit on")
    return planes


def _fit(samples: Sequence[Sample], seed: int, workers: int) -> MaModel:
    scores = np.array([s.score for s in samples])
    weights = np.array([2.0 if s.kind == "HR" else 1.0 for s in samples])
    forests: list[Forest] = []
    votes = []
    for family in range(2):
        regressor = RandomForestRegressor(
            TREES, min_samples_leaf=LEAF, max_features=1 / 3, oob_score=True, random_state=seed, n_jobs=workers
        )
        regressor.fit(np.stack([s.features[family] for s in samples]), scores, weights)
        forests.append(from_sklearn(regressor, gridded=18 if family == 1 else 0))  # 18: the shapes of Gaussians
        votes.append(regressor.oob_prediction_)
    # Joined by predictions for samples that a tree has not seen: those it has seen would look too good.
    root = np.sqrt(weights)
    columns = np.stack([np.ones_like(scores), *votes], axis=1)
    linear = np.linalg.lstsq(columns * root[:, None], scores * root, rcond=None)[0]
    return MaModel((forests[0], forests[1], one_leaf(scores.mean())), np.array([*linear, 0.0]))


def _orderings(judged: Sequence[tuple[Sample, float]]) -> dict[str, float]:
    """The share of crops for which the better version scored higher."""
    crops: dict[int, dict[str, float]] = {}
    for sample, score in judged:
        crops.setdefault(sample.crop, {})[sample.kind] = score
    right: dict[str, list[bool]] = {}
    for versions in crops.values():
        for better, worse in (("HR", "x2"), ("x2", "x3"), ("x2", "x4"), ("x3", "x4"), ("HR", "x4")):
            if better in versions and worse in versions:
                right.setdefault(f"{better} > {worse}", []).append(versions[better] > versions[worse])
        for kind in versions:
            if kind.endswith("on x4") and "HR" in versions:
                right.setdefault("HR > artefacts on x4", []).append(versions["HR"] > versions[kind])
    return {name: round(float(np.mean(outcomes)), 3) for name, outcomes in right.items()}
