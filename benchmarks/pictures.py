"""Photographs that come with scikit-image, at any size, and training patches of them: of packs and of PNG files."""

from __future__ import annotations

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
