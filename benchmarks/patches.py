"""Random training patches: from a pack, and from PNG files that are decoded each time, as public code does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.pictures import picture
from masksr.data.images import write_png
from masksr.data.packs import Pack
from masksr.fetch.find import build_pack
from masksr.fetch.registry import FolderSet, Layout


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
    """An LR and an HR patch, (3, size, size) uint8 each, of the picture ``name``, which is opened and decoded."""
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
