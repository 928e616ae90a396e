"""The perceptual index of PIRM 2018 (eq. 9 of the paper) and its companions, of one image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import ThreadpoolController

from masksr.quality import fidelity
from masksr.quality.filters import Image, Unmeasurable, luma_plane
from masksr.quality.ma import ma
from masksr.quality.measures import pi_label
from masksr.quality.niqe import niqe
from masksr.quality.weights import QualityWeights, Source, default_weights

BLAS = ThreadpoolController().select(user_api="blas")


@dataclass(frozen=True)
class Score:
    """The measures of one image. One that the image cannot have is NaN, and ``problem`` says why."""

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
        """The name of ``pi``: plain ``PI`` only where both halves have their official weights."""
        return pi_label(self.niqe_weights, self.ma_weights)


def score(image: Image, reference: Image | None = None, weights: QualityWeights | None = None) -> Score:
    """Score an image (H, W, 3) uint8 by the PIRM 2018 protocol; with its HR image also PSNR, SSIM and RMSE.

    Everything is measured on BT.601 luma of whole levels, without a border of 4 pixels. NIQE, Ma and PI equal
    those of pyiqa 0.1.16 to 1e-6. weights: by default :func:`masksr.quality.weights.default_weights`.

    A small, flat or periodic image has no NIQE or no Ma: its score is NaN and ``problem`` is set, so that one
    collapsed output does not end an evaluation. Raises ValueError for anything but such a pair of images.
    """
    weights = weights or default_weights()
    if reference is None:
        plane = luma_plane(image)
    else:
        plane, true_plane = fidelity.luma_planes(image, reference)
    problems: list[str] = []

    def value(name: str, measure: Callable[..., float], argument: object) -> float:
        try:
            return measure(plane, argument)
        except (Unmeasurable, np.linalg.LinAlgError) as error:  # the latter: a decomposition did not converge
            problems.append(f"{name}: {error}")
            return float("nan")

    psnr = ssim = rmse = None
    # The linear algebra here consists of many small products: threads in them only wait for each other.
    with BLAS.limit(limits=1):
        of_niqe, of_ma = value("NIQE", niqe, weights.niqe), value("Ma", ma, weights.ma)
        if reference is not None:
            ssim = value("SSIM", fidelity.ssim, true_plane)
            rmse = fidelity.rmse(plane, true_plane)
            psnr = fidelity.decibels(rmse)
    pi = (10 - of_ma + of_niqe) / 2
    sources = weights.niqe_source, weights.ma_source
    return Score(of_niqe, of_ma, pi, psnr, ssim, rmse, *sources, "; ".join(problems) or None)
