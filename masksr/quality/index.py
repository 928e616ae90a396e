"""The perceptual index of the PIRM 2018 challenge (eq. 9 of the paper) and its companions, of one image and of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from masksr.quality import fidelity
from masksr.quality.labels import pi_label
from masksr.quality.luma import Unmeasurable, check_image, luma_plane
from masksr.quality.ma import ma
from masksr.quality.niqe import niqe
from masksr.quality.weights import QualityWeights, Source, default_weights

if TYPE_CHECKING:
    import torch

Image = NDArray[np.uint8]
Measure = Callable[[], float]  # of one image; raises Unmeasurable


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
    check_pair(image, reference)
    plane = luma_plane(image)
    with single_blas_thread():
        measures: list[Any] = [partial(niqe, plane, weights.niqe), partial(ma, plane, weights.ma)]
        if reference is not None:
            true_plane = luma_plane(reference)
            measures += [partial(fidelity.plane_ssim, plane, true_plane), fidelity.plane_rmse(plane, true_plane)]
        return summed_up(weights, *measures)


def score_many(
    images: Sequence[Image],
    references: Sequence[Image] | None = None,
    weights: QualityWeights | None = None,
    workers: int = 1,
    device: torch.device | str | None = None,
) -> list[Score]:
    """:func:`score` of each image, in order.

    device: without one, or on one without double precision (mps), images are scored on the CPU, ``workers`` at a time,
    and the numbers do not depend on ``workers``. On any other torch scores all images of one size together
    (:mod:`masksr.quality.batched`): the same to 1e-9 where the tests have compared them, on torch's CPU.
    """
    if references is not None and len(references) != len(images):
        raise ValueError(f"{len(images)} images have {len(references)} references")
    weights = weights or default_weights()
    references = references or [None] * len(images)
    if device is not None and not str(device).startswith("mps"):
        from masksr.quality.batched import score_batches  # imports torch

        return score_batches(images, references, weights, device)
    if workers <= 1:
        return [score(image, reference, weights) for image, reference in zip(images, references, strict=True)]
    with single_blas_thread(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda image, reference: score(image, reference, weights), images, references))


def check_pair(image: Image, reference: Image | None) -> None:
    """Raises TypeError or ValueError for what is not an image with, or without, a reference of its size."""
    check_image(image)
    if reference is not None:
        check_image(reference)
        if reference.shape != image.shape:
            raise ValueError(f"an image and its reference must have one size, got {image.shape} and {reference.shape}")


def summed_up(
    weights: QualityWeights, niqe: Measure, ma: Measure, ssim: Measure | None = None, rmse: float | None = None
) -> Score:
    """The score of one image: takes its measures, and notes down where it has none."""
    problems: list[str] = []

    def value(name: str, measure: Measure) -> float:
        try:
            return measure()
        except (Unmeasurable, np.linalg.LinAlgError) as error:  # the latter: a decomposition did not converge
            problems.append(f"{name}: {error}")
            return float("nan")

    of_niqe, of_ma = value("NIQE", niqe), value("Ma", ma)
    return Score(
        of_niqe,
        of_ma,
        (10 - of_ma + of_niqe) / 2,
        None if rmse is None else fidelity.decibels(rmse),
        None if ssim is None else value("SSIM", ssim),
        rmse,
        weights.niqe_source,
        weights.ma_source,
        "; ".join(problems) or None,
    )


def single_blas_thread() -> AbstractContextManager[Any]:
    """The linear algebra here is many small products: threads inside them only wait for each other."""
    return _blas().limit(limits=1)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
