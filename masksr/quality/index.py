"""The perceptual index of the PIRM 2018 challenge (eq. 9 of the paper) and its companions, one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from masksr.labels import pi_label
from masksr.quality import fidelity
from masksr.quality.luma import Unmeasurable, luma_plane
from masksr.quality.ma import ma
from masksr.quality.niqe import niqe
from masksr.quality.weights import QualityWeights, Source, default_weights

Image = NDArray[np.uint8]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """What one image scores. A measure that the image does not have is NaN, and ``problem`` says why."""

    niqe: float  # natural scene statistics: 0 and up, lower is better
    ma: float  # learned no-reference quality: 0 to 10, higher is better
    pi: float  # ((10 - ma) + niqe) / 2, lower is better
    psnr: float | None  # dB; this and the next two are None where there was no reference
    ssim: float | None  # at most 1
    rmse: float | None  # levels of 255
    niqe_weights: Source
    ma_weights: Source
    problem: str | None = None

    @property
    def label(self) -> str:
        """What ``pi`` may be called: plain ``PI`` only where both halves have their official weights."""
        return pi_label(self.niqe_weights, self.ma_weights)


def score(image: Image, reference: Image | None = None, weights: QualityWeights | None = None) -> Score:
    """Score an image (H, W, 3) uint8 by the PIRM 2018 protocol; with its HR image also PSNR, SSIM and RMSE.

    Everything is measured on BT.601 luma of whole levels, without a border of 4 pixels. NIQE, Ma and PI are those of
    pyiqa 0.1.16 to 1e-6. weights: without them :func:`masksr.quality.weights.default_weights`.

    A small, flat or periodic image has no NIQE or no Ma: its score is NaN and ``problem`` is set, so that one collapsed
    output does not end an evaluation. Raises TypeError or ValueError for what is not such a pair of images.
    """
    weights = weights or default_weights()
    plane = luma_plane(image)
    true_plane = None if reference is None else luma_plane(reference)
    if true_plane is not None and true_plane.shape != plane.shape:
        raise ValueError(f"an image and its reference must have one size, got {image.shape} and {reference.shape}")
    problems: list[str] = []
    with _blas().limit(limits=1):
        niqe_score = _or_nan(problems, "NIQE", niqe, plane, weights.niqe)
        ma_score = _or_nan(problems, "Ma", ma, plane, weights.ma)
        if true_plane is None:
            psnr = ssim = rmse = None
        else:
            psnr = fidelity.plane_psnr(plane, true_plane)
            ssim = _or_nan(problems, "SSIM", fidelity.plane_ssim, plane, true_plane)
            rmse = fidelity.plane_rmse(plane, true_plane)
    return Score(
        niqe_score,
        ma_score,
        (10 - ma_score + niqe_score) / 2,
        psnr,
        ssim,
        rmse,
        weights.niqe_source,
        weights.ma_source,
        "; ".join(problems) or None,
    )


def score_many(
    images: Sequence[Image],
    references: Sequence[Image] | None = None,
    weights: QualityWeights | None = None,
    workers: int = 1,
) -> list[Score]:
    """:func:`score` of each image, in order, ``workers`` at a time; the numbers do not depend on ``workers``."""
    if references is not None and len(references) != len(images):
        raise ValueError(f"{len(images)} images have {len(references)} references")
    weights = weights or default_weights()
    pairs = list(zip(images, references or [None] * len(images), strict=True))
    if workers <= 1:
        return [score(image, reference, weights) for image, reference in pairs]
    with _blas().limit(limits=1), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda pair: score(*pair, weights), pairs))


@cache
def _blas() -> ThreadpoolController:
    """The linear algebra here is many small products: threads inside them only wait for each other."""
    return ThreadpoolController().select(user_api="blas")


def _or_nan(problems: list[str], name: str, measure: Callable[..., float], *arguments: Any) -> float:
    try:
        return measure(*arguments)
    except (Unmeasurable, np.linalg.LinAlgError) as error:  # the latter: a decomposition did not converge
        problems.append(f"{name}: {error}")
        return float("nan")
