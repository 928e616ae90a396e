"""Stock pyiqa's PI, and parameters of NIQE and Ma that are right in form, random in content and need no fitting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.pictures import picture
from masksr.quality.filters import luma_plane
from masksr.quality.ma import FEATURES, Forest, MaModel
from masksr.quality.niqe import NiqeModel, niqe_features
from masksr.quality.weights import QualityWeights, read_ma, read_niqe, write_ma, write_niqe


def pyiqa_score(folder: Path) -> Callable[[NDArray[np.uint8]], float]:
    """Stock pyiqa's PI by the PIRM protocol, with the weights in ``folder``: its halves, for ``pi`` takes no path."""
    from pyiqa.archs.niqe_arch import NIQE
    from pyiqa.archs.nrqm_arch import NRQM

    settings = {"crop_border": 4, "color_space": "ycbcr"}
    niqe = NIQE(**settings, pretrained_model_path=str(folder / "niqe.mat"))
    nrqm = NRQM(**settings, pretrained_model_path=str(folder / "ma.mat"))

    @torch.inference_mode()
    def pi(image: NDArray[np.uint8]) -> float:
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
        return (10 - nrqm(tensor).item() + niqe(tensor).item()) / 2

    return pi


def write_weights(folder: Path) -> None:
    """niqe.mat, fitted on one photograph, and ma.mat, as large as the published one."""
    write_ma(folder / "ma.mat", random_ma(levels=9, trees=200))
    write_niqe(folder / "niqe.mat", niqe_of(picture(512, 512)))


def read_weights(folder: Path) -> QualityWeights:
    niqe, ma = read_niqe(folder / "niqe.mat"), read_ma(folder / "ma.mat")
    return QualityWeights(niqe, ma, "stand-in", "stand-in")


def niqe_of(photograph: NDArray[np.uint8]) -> NiqeModel:
    """A NIQE fitted on one photograph, (H, W, 3) uint8."""
    features = niqe_features(luma_plane(photograph))
    return NiqeModel(features.mean(axis=0), np.cov(features, rowvar=False) + 0.01 * np.eye(36))


def random_ma(levels: int = 8, trees: int = 40) -> MaModel:
    """Forests at random: full trees whose thresholds lie where the features do."""
    rng = np.random.default_rng(0)
    sizes = zip(FEATURES, (2, 2, 40), strict=True)
    forests = tuple(_forest(rng, features, highest, levels, trees) for features, highest in sizes)
    return MaModel(forests, np.array([-0.3, 0.2, 0.5, 0.4]))


def _forest(rng: np.random.Generator, features: int, highest: float, levels: int, trees: int) -> Forest:
    nodes = 2 ** (levels + 1) - 1
    inner = np.arange(nodes) < 2**levels - 1
    left = np.where(inner, np.arange(nodes) * 2 + 2, 0)[:, None].repeat(trees, 1).astype(np.int32)
    feature = rng.integers(1, features + 1, (nodes, trees), dtype=np.int32)
    threshold, value = rng.uniform(0, highest, (nodes, trees)), rng.uniform(0, 10, (nodes, trees))
    return Forest(left, np.where(left, left + 1, 0).astype(np.int32), feature, threshold, value)
