"""Scores of many images, a batch of one size after the other: the device measures, the host draws the conclusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masksr.quality.batched import ma, niqe
from masksr.quality.batched.ma_gsm import ScaleMixture
from masksr.quality.batched.planes import gaussian_mean, luma_planes
from masksr.quality.fidelity import SSIM_SIDE, ssim_map
from masksr.quality.gamma import Moments
from masksr.quality.index import Measure, Score, check_pair, single_blas_thread, summed_up
from masksr.quality.luma import Unmeasurable, check_side
from masksr.quality.ma import MIN_SIDE, MaModel, singular_values
from masksr.quality.ma_gsm import whitening
from masksr.quality.niqe import PATCH, NiqeModel, distance, patch_features
from masksr.quality.weights import QualityWeights

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

PIXELS = 3_000_000  # of a batch: an image of 2K, or 19 of 480 x 320. Each took up to 0.6 KB of memory on a CPU.


def score_batches(
    images: Sequence[Image],
    references: Sequence[Image | None],
    weights: QualityWeights,
    device: torch.device | str,
    pixels: int = PIXELS,
) -> list[Score]:
    """:func:`masksr.quality.score` of each image, in order; those of one size are measured together.

    device: one that computes in double precision. pixels: at most so many in a batch, but one image at least; what an
    image scores does not depend on the images beside it.
    """
    for image, reference in zip(images, references, strict=True):
        check_pair(image, reference)
    scores: dict[int, Score] = {}
    with torch.inference_mode(), single_blas_thread():
        for numbers in _batches(images, references, pixels):
            planes = _on_device([images[n] for n in numbers], device)
            true = [references[n] for n in numbers]
            of_batch = _score_planes(planes, None if true[0] is None else _on_device(true, device), weights)
            scores |= zip(numbers, of_batch, strict=True)
    return [scores[number] for number in range(len(images))]


def _batches(images: Sequence[Image], references: Sequence[Image | None], pixels: int) -> Iterator[list[int]]:
    """The numbers of images of one size, with or all without a reference, ``pixels`` at most together."""
    groups: dict[tuple, list[int]] = {}
    for number, (image, reference) in enumerate(zip(images, references, strict=True)):
        groups.setdefault((image.shape, reference is None), []).append(number)
    for (shape, _), numbers in groups.items():
        at_once = max(1, pixels // (shape[0] * shape[1]))
        yield from (numbers[first : first + at_once] for first in range(0, len(numbers), at_once))


def _on_device(images: Sequence[Image], device: torch.device | str) -> Tensor:
    return luma_planes(torch.from_numpy(np.stack(images)).to(device))


def _score_planes(planes: Tensor, true_planes: Tensor | None, weights: QualityWeights) -> list[Score]:
    """The scores of luma planes (B, H, W) on one device."""
    measures: list[Sequence] = [_niqe(planes, weights.niqe), _ma(planes, weights.ma)]
    if true_planes is not None:
        rmse = (planes - true_planes).square().mean(dim=(-2, -1)).sqrt()
        measures += [_ssim(planes, true_planes), rmse.tolist()]
    return [summed_up(weights, *of_image) for of_image in zip(*measures, strict=True)]


def _niqe(planes: Tensor, model: NiqeModel) -> list[Measure]:
    if min(planes.shape[-2:]) < PATCH:
        return _too_small(planes, PATCH)
    moments = niqe.patch_moments(planes).cpu().numpy()

    def conclude(of_image: Array) -> float:  # (2, 5, 6, patches)
        scales = [patch_features(*(Moments(*of_samples) for of_samples in of_scale)) for of_scale in of_image]
        return distance(np.concatenate(scales, axis=1), model)

    return [partial(conclude, of_image) for of_image in moments]


def _ma(planes: Tensor, model: MaModel) -> list[Measure]:
    if min(planes.shape[-2:]) < MIN_SIDE:
        return _too_small(planes, MIN_SIDE)
    bands = ScaleMixture(planes)
    covariances = [level.cpu().numpy() for level in bands.covariances()]
    whiten, errors = _whitening(covariances)
    mixture = bands.features(*(torch.from_numpy(level).to(planes.device) for level in whiten))
    del bands
    scales = ma.scales(planes)
    frequency = torch.cat([ma.dct_features(scale) for scale in scales], dim=1)
    triangles = [ma.triangle(scale) for scale in scales]
    first, second, *factors = (found.cpu().numpy() for found in (frequency, mixture, *triangles))

    def conclude(i: int) -> float:
        if i in errors:
            raise errors[i]
        third = np.concatenate([singular_values(of_scale[i]) for of_scale in factors])
        return model.predict((first[i], second[i], third))

    return [partial(conclude, i) for i in range(len(planes))]


def _whitening(covariances: Sequence[Array]) -> tuple[list[Array], dict[int, Exception]]:
    """What whitens the covariances (B, 6, n, n) of each level, and why some of the images have no such matrices."""
    whiten, errors = [np.zeros_like(level) for level in covariances], dict[int, Exception]()
    for i in range(len(covariances[0])):
        try:
            for level, of_level in zip(whiten, covariances, strict=True):
                level[i] = [whitening(covariance) for covariance in of_level[i]]
        except (Unmeasurable, np.linalg.LinAlgError) as error:
            errors[i] = error
    return whiten, errors


def _ssim(planes: Tensor, true_planes: Tensor) -> list[Measure]:
    if min(planes.shape[-2:]) < SSIM_SIDE:
        return _too_small(planes, SSIM_SIDE)
    means = ssim_map(planes, true_planes, gaussian_mean).mean(dim=(-2, -1))
    return [partial(float, mean) for mean in means.tolist()]


def _too_small(planes: Tensor, side: int) -> list[Measure]:
    """What says so of each plane, when it is asked for its score."""
    return [partial(check_side, tuple(planes.shape[-2:]), side)] * len(planes)
