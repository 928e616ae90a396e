"""What is measured on: photographs of scikit-image, patches of them, and weights of NIQE and Ma without a fit.

The weights are right in form, random in content.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from skimage import data
from torch import Tensor

from masksr.data.images import write_png
from masksr.data.packs import Pack
from masksr.fetch.find import build_pack
from masksr.fetch.registry import FolderSet, Layout
from masksr.quality.filters import luma_plane
from masksr.quality.ma import FEATURES, Forest, MaModel
from masksr.quality.niqe import NiqeModel, niqe_features
from masksr.quality.weights import QualityWeights, write_ma, write_niqe

PHOTOGRAPHS = (data.astronaut, data.coffee, data.chelsea)


def picture(height: int, width: int, number: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: the middle of photograph ``number``, scaled."""
    photograph = Image.fromarray(PHOTOGRAPHS[number % len(PHOTOGRAPHS)]())
    return np.array(ImageOps.fit(photograph, (width, height)))


def make_pack(folder: Path, images: int, height: int, width: int) -> Pack:
    """A pack in ``folder``/pack of pictures that lie beside it as PNG files, in hr and lr."""
    for number in range(images):
        write_png(folder / f"hr/{number}.png", picture(height, width, number))
    about = {"name": "benchmark", "title": "Photographs", "role": "train", "cite": "-", "licence": "-", "homepage": "-"}
    spec = FolderSet(**about, kind="folder", images=images, layouts=[Layout(hr="hr/{name}.png")])
    pack = build_pack(spec, folder / "pack", data_folder=folder)
    for number, name in enumerate(pack.names):
        write_png(folder / f"lr/{name}.png", np.ascontiguousarray(pack.lr(number)))
    return pack


def png_patch(folder: Path, name: str, lr_size: int, rng: np.random.Generator) -> list[Tensor]:
    """An LR and an HR patch, (3, size, size) uint8, of a picture that is decoded anew, as public code does."""
    lr, hr = (np.asarray(Image.open(folder / kind / f"{name}.png").convert("RGB")) for kind in ("lr", "hr"))
    top, left = (int(rng.integers(side - lr_size + 1)) for side in lr.shape[:2])
    turns, flip = int(rng.integers(4)), rng.integers(2)
    patches = []
    for image, scale in ((lr, 1), (hr, 4)):
        size = lr_size * scale
        patch = np.rot90(image[top * scale : top * scale + size, left * scale : left * scale + size], turns)
        patch = patch[:, ::-1] if flip else patch
        patches.append(torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1))))
    return patches


def pyiqa_score(folder: Path, weights: QualityWeights) -> Callable[[NDArray[np.uint8]], float]:
    """Stock pyiqa's PI by the PIRM protocol, with files in ``folder``: its halves, for ``pi`` takes no path."""
    from pyiqa.archs.niqe_arch import NIQE
    from pyiqa.archs.nrqm_arch import NRQM

    write_niqe(folder / "niqe.mat", weights.niqe)
    write_ma(folder / "ma.mat", weights.ma)
    settings = {"crop_border": 4, "color_space": "ycbcr"}
    niqe = NIQE(**settings, pretrained_model_path=str(folder / "niqe.mat"))
    nrqm = NRQM(**settings, pretrained_model_path=str(folder / "ma.mat"))

    @torch.inference_mode()
    def pi(image: NDArray[np.uint8]) -> float:
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
        return (10 - nrqm(tensor).item() + niqe(tensor).item()) / 2

    return pi


def niqe_of(photograph: NDArray[np.uint8]) -> NiqeModel:
    """A NIQE fitted on one photograph, (H, W, 3) uint8."""
    features = niqe_features(luma_plane(photograph))
    return NiqeModel(features.mean(axis=0), np.cov(features, rowvar=False) + 0.01 * np.eye(36))


def random_ma(levels: int = 8, trees: int = 40) -> MaModel:
    """Forests at random: full trees whose thresholds lie where the features do."""
    rng = np.random.default_rng(0)
    nodes = np.arange(2 ** (levels + 1) - 1)
    left = np.where(nodes < 2**levels - 1, nodes * 2 + 2, 0)[:, None].repeat(trees, 1).astype(np.int32)
    forests = []
    for features, highest in zip(FEATURES, (2, 2, 40), strict=True):
        feature = rng.integers(1, features + 1, left.shape, dtype=np.int32)
        threshold, value = rng.uniform(0, highest, left.shape), rng.uniform(0, 10, left.shape)
        forests.append(Forest(left, np.where(left, left + 1, 0).astype(np.int32), feature, threshold, value))
    return MaModel(tuple(forests), np.array([-0.3, 0.2, 0.5, 0.4]))
