"""Stand-ins for the official weights of NIQE and Ma, fitted on a few photographs in half a minute.

They let every stage of the pipeline run on a machine that cannot get the official files. They tell clearly
better from clearly worse; their numbers are no evidence and are never shown as plain PI.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import RandomForestRegressor
from threadpoolctl import threadpool_limits

from masksr.data.bicubic import imresize
from masksr.io import MasksrError
from masksr.quality.filters import Array, Image, Unmeasurable, luma_plane
from masksr.quality.ma import Forest, MaModel, ma_features, one_leaf
from masksr.quality.niqe import PATCH, NiqeModel, niqe_features, patch_sharpness

Photograph = tuple[str, Image]  # name, (H, W, 3)
Plane = NDArray[np.uint8]  # (H, W)

SEED = 0
MIN_SIDE = 216  # pixels of a photograph
PHOTOGRAPHS = 20  # at most: more would take minutes
# NIQE
SHARPNESS = 0.5  # relative to the sharpest patch: NIQE learns from patches above it
SHRINKAGE = 0.2  # of NIQE's covariance towards its diagonal: overlapping patches of few photographs are alike
# Ma
TREES, LEAF = 200, 3
CROPS = 150
DEGRADED_EVERY, OTHERS = 3, 4  # a third of the crops are degraded: in all bicubic ways and in four others
SIDES, STEP = (120, 216), 12  # pixels; every side is a multiple of 2, 3 and 4
SHRINK = (1.0, 0.75, 0.5, 0.35, 0.25)  # a shrunk photograph counts as another, sharper and busier
CONTRAST = (0.6, 1.5)


def fit_niqe(photographs: Sequence[Photograph], workers: int = 1) -> tuple[NiqeModel, dict[str, Any]]:
    """Fit NIQE's Gaussian to the sharp patches of ``photographs`` (name, (H, W, 3) uint8); also returns how.

    As in Mittal et al., only sharp patches count: here those more than half as sharp as the sharpest of all
    photographs, so that a soft one adds nothing. To make do with few photographs, patches overlap by half,
    and photographs are also used at 0.7 and 0.5 of their size. Raises MasksrError where one is too small.
    """
    features, sharpness = [], []
    planes = _luma_planes(photographs)
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


def fit_ma(photographs: Sequence[Photograph], workers: int = 1) -> tuple[MaModel, dict[str, Any]]:
    """Fit forests that predict degraded crops' full-reference score without the reference; also returns how.

    photographs: (name, (H, W, 3) uint8). The third family of features (singular values) depends more on the
    size of an image than on its quality; its forest is one leaf of weight 0. Raises as ``fit_niqe`` does.
    """
    planes = _luma_planes(photographs)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        samples = [sample for group in pool.map(_make_samples, _cut_crops(planes)) for sample in group]
    weights, scores, *families = (np.array(values) for values in zip(*samples, strict=True))
    forests, votes = [], []
    for features, gridded in zip(families, (0, 18), strict=True):  # 18: the shapes of Gaussians
        options = {"min_samples_leaf": LEAF, "max_features": 1 / 3, "oob_score": True}
        regressor = RandomForestRegressor(TREES, **options, random_state=SEED, n_jobs=workers)
        regressor.fit(features, scores, weights)
        forests.append(from_sklearn(regressor, gridded))
        votes.append(regressor.oob_prediction_)
    # Combined by predictions for samples that a tree has not seen: on those it has, it would look too good.
    root = np.sqrt(weights)
    columns = np.stack([np.ones_like(scores), *votes], axis=1)
    linear = np.linalg.lstsq(columns * root[:, None], scores * root, rcond=None)[0]
    fit = {"photographs": sorted(planes), "samples": len(samples), "trees": TREES, "seed": SEED}
    return MaModel((*forests, one_leaf(scores.mean())), np.array([*linear, 0.0])), fit


def _luma_planes(photographs: Sequence[Photograph]) -> dict[str, Plane]:
    """Return the lumas of up to 20 photographs, spread over all that there are, by name."""
    chosen = photographs[:: max(1, ceil(len(photographs) / PHOTOGRAPHS))]
    planes = {name: luma_plane(image, border=0).astype(np.uint8) for name, image in sorted(chosen)}
    if min((side for plane in planes.values() for side in plane.shape), default=0) < MIN_SIDE:
        raise MasksrError(f"stand-ins need photographs, each of at least {MIN_SIDE} x {MIN_SIDE} pixels")
    return planes


# ---- What the forests learn from: crops, whole and degraded ------------------------------------------------
def _cut_crops(planes: dict[str, Plane]) -> Iterator[tuple[int, Plane, bool]]:
    """Yield (number, crop, whether to degrade it) from each photograph in turn; size and contrast vary."""
    rng = np.random.default_rng(SEED)
    scaled = []
    for plane in planes.values():
        scaled.append([imresize(plane, scale) for scale in SHRINK if min(plane.shape) * scale >= SIDES[0]])
    for number in range(CROPS):
        turn, photograph = divmod(number, len(scaled))
        sizes = scaled[photograph]
        plane = sizes[turn % len(sizes)]
        sides = rng.integers(SIDES[0] // STEP, SIDES[1] // STEP + 1, 2) * STEP
        height, width = np.minimum(sides, np.array(plane.shape) // STEP * STEP)
        top, left = rng.integers(plane.shape[0] - height + 1), rng.integers(plane.shape[1] - width + 1)
        crop = plane[top : top + height, left : left + width].astype(float)
        crop = (crop - crop.mean()) * rng.uniform(*CONTRAST) + crop.mean()
        yield number, _to_plane(crop), turn % DEGRADED_EVERY == 0


def _make_samples(crop: tuple[int, Plane, bool]) -> list[tuple[float, float, Array, Array]]:
    """Score a crop and its degraded versions: (weight, score, two families of Ma's features) each."""
    number, plane, degrade = crop
    versions = [plane]
    if degrade:
        rng = np.random.default_rng([SEED, number])
        enlarged, worse = degradations(plane, rng)
        others = rng.permutation(sorted(worse))[:OTHERS]
        versions += [*enlarged.values(), *(worse[kind] for kind in others)]
    samples = []
    for version in versions:
        try:
            features = ma_features(version.astype(float))[:2]
        except Unmeasurable:  # an empty piece of sky
            continue
        samples.append((2.0 if version is plane else 1.0, gradient_fidelity(version, plane), *features))
    return samples


def degradations(plane: Plane, rng: np.random.Generator) -> tuple[dict[str, Plane], dict[str, Plane]]:
    """Degrade ``plane`` (H, W), sides multiples of 12, in every way that super-resolution can, by name.

    First come bicubic enlargements; then Gaussian blur and mixtures with the plane (too smooth) and, on top
    of the x4 enlargement, what a failing GAN adds: noise, grain, checkerboards, halos.
    """
    enlarged = {f"x{scale}": imresize(imresize(plane, 1 / scale), scale) for scale in (2, 3, 4)}
    x4 = enlarged["x4"].astype(float)
    grain = gaussian_filter(rng.normal(size=plane.shape), 1)
    worse = {
        "blurred x4": gaussian_filter(x4, 2),
        "half x2": (plane + enlarged["x2"].astype(float)) / 2,
        "grain on x4": x4 + 14 * grain / grain.std(),
        "halos on x4": x4 + 4 * (x4 - gaussian_filter(x4, 1.5)),
    }
    for share in (0.25, 0.5, 0.75):
        worse[f"x4 with {share} of the plane"] = share * plane + (1 - share) * x4
    for sigma in (0.6, 0.9, 1.5, 2.5):
        worse[f"blur {sigma}"] = gaussian_filter(plane.astype(float), sigma)
    for sigma in (10, 20):
        worse[f"noise {sigma} on x4"] = x4 + rng.normal(size=plane.shape) * sigma
    rows, columns = np.indices(plane.shape)
    for height, side in ((10, 1), (10, 2), (20, 2)):
        board = (rows // side + columns // side) % 2 * 2 - 1
        worse[f"checkerboard {height} of {side} on x4"] = x4 + height * board
    return enlarged, {name: _to_plane(values) for name, values in worse.items()}


def gradient_fidelity(plane: Plane, reference: Plane) -> float:
    """Score from 0 to 10 how far the reference's gradient, and nothing else, is there.

    With r the squared error of the gradient over the squared gradient, it is the mean of 10 / (1 + 2 r) at
    full and at half resolution: detail counts as much in a smooth photograph as in a busy one.
    """
    x, y = plane.astype(float), reference.astype(float)
    scores = []
    for _ in range(2):
        error = sum(np.square(a - b).mean() for a, b in zip(_gradient(x), _gradient(y), strict=True))
        energy = sum(np.square(b).mean() for b in _gradient(y))
        scores.append(10 / (1 + 2 * error / max(energy, 1e-9)))
        x, y = _half(x), _half(y)
    return float(np.mean(scores))


def _gradient(plane: Array) -> tuple[Array, Array]:
    return np.diff(plane, axis=0)[:, :-1], np.diff(plane, axis=1)[:-1]


def _half(plane: Array) -> Array:
    """Average 2 x 2 pixels."""
    height, width = (length // 2 for length in plane.shape)
    return plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


def _to_plane(values: Array) -> Plane:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def from_sklearn(regressor: RandomForestRegressor, gridded: int = 0) -> Forest:
    """Convert scikit-learn's trees to the layout of ``ma.Forest``.

    The first ``gridded`` features are multiples of 0.001. A threshold between two values often falls on a
    third, where float32 rounding would decide the branch: thresholds are moved to the middle of a step.
    """
    trees = [estimator.tree_ for estimator in regressor.estimators_]
    shape = (max(tree.node_count for tree in trees), len(trees))
    left, right, feature = (np.zeros(shape, np.int32) for _ in range(3))
    threshold, value = np.zeros(shape), np.zeros(shape)
    for i, tree in enumerate(trees):
        rows, inner = slice(tree.node_count), tree.children_left >= 0
        left[rows, i] = np.where(inner, tree.children_left + 1, 0)
        right[rows, i] = np.where(inner, tree.children_right + 1, 0)
        feature[rows, i] = np.where(inner, tree.feature + 1, 0)
        value[rows, i] = tree.value[:, 0, 0]
        moved = np.floor(tree.threshold * 1000) / 1000 + 0.0005
        threshold[rows, i] = np.where(inner, np.where(tree.feature < gridded, moved, tree.threshold), 0)
    return Forest(left, right, feature, threshold, value)


FIT = {"niqe": fit_niqe, "ma": fit_ma}
