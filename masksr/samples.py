"""Photographs through the networks, for looking at: what the notebooks show."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masksr import devices
from masksr.build import load_generator
from masksr.evaluation import with_bicubic, with_generator
from masksr.images import to_tensor
from masksr.mask import mask_of
from masksr.packs import Pack
from masksr.params import Mask, Params
from masksr.paths import Paths
from masksr.quality.fidelity import psnr
from masksr.tables import variant_title

Image = np.ndarray  # (H, W, 3) uint8


def on_a_photograph(params: Params, paths: Paths, folder: Path) -> tuple[Image, Image, Image, Image]:
    """The first validation photograph as LR, bicubic, the SR of the generator in ``folder``, and HR."""
    pack = Pack(paths.set(params.data.validation))
    upscale = with_generator(load_generator(folder / "generator.safetensors"), devices.choose_device("cpu"))
    return pack.lr(0, 4), with_bicubic(pack, 0), upscale(pack, 0), pack.hr(0)


def mask_on_a_photograph(
    params: Params, paths: Paths, folder: Path, mask: Mask
) -> tuple[Image, Image, np.ndarray, np.ndarray]:
    """HR, SR, the mask (H, W) in [0, 1] and the squared error (H, W) in grey levels, on a validation photograph."""
    _, _, sr, hr = on_a_photograph(params, paths, folder)
    pixel_range = load_generator(folder / "generator.safetensors").pixel_range
    rng = torch.Generator().manual_seed(0)
    m = mask_of(mask, to_tensor(sr, pixel_range), to_tensor(hr, pixel_range), pixel_range=pixel_range, rng=rng)
    error = np.square(sr.astype(np.float64) - hr).mean(axis=2)
    return hr, sr, m[0].mean(dim=0).numpy(), error


def of_test_sets(params: Params, paths: Paths, count: int) -> list[tuple[str, Image]]:
    """The first ``count`` HR images of each test set, with their names."""
    packs = {name: Pack(paths.set(name)) for name in params.data.test}
    return [
        (f"{name}: {image}", pack.hr(number))
        for name, pack in packs.items()
        for number, image in islice(enumerate(pack.names), count)
    ]


def first_test_image(params: Params, paths: Paths, folder: Path) -> list[tuple[str, Image]]:
    """The first image of the first test set: bicubic, SR of the generator in ``folder``, HR."""
    pack = Pack(paths.set(params.data.test[0]))
    upscale = with_generator(load_generator(folder / "generator.safetensors"), devices.choose_device("cpu"))
    return [("bicubic", with_bicubic(pack, 0)), ("this training", upscale(pack, 0)), ("HR", pack.hr(0))]


def figure4_rows(params: Params, paths: Paths) -> list[dict[str, Any]]:
    """What ``figures.figure4`` draws: for each crop of ``figure4.crops`` its place and every variant's image there.

    Variants of the first seed of ``table1``. Each row: ``set``, ``image`` (name), ``photograph`` (HR), ``box`` (top,
    left, size in HR pixels) and ``columns``: (title, crop, PSNR-Y in dB or None).
    """
    device = devices.choose_device(params.train.device)
    generators = {
        variant_title(params, model, mask): with_generator(
            load_generator(paths.variant(model, mask, params.table1.seeds[0]) / "generator.safetensors"), device
        )
        for model in params.table1.models
        for mask in params.table1.masks
    }
    return [_figure4_row(crop, Pack(paths.set(crop.set)), generators) for crop in params.figure4.crops]


def _figure4_row(crop: Any, pack: Pack, generators: dict[str, Any]) -> dict[str, Any]:
    hr = pack.hr(crop.image)
    box = np.s_[crop.top : crop.top + crop.size, crop.left : crop.left + crop.size]
    images = {"bicubic": with_bicubic(pack, crop.image)} | {t: up(pack, crop.image) for t, up in generators.items()}
    lr = pack.lr(crop.image, 4).repeat(4, axis=0).repeat(4, axis=1)
    columns = [("LR", lr[box], None)]
    columns += [(title, image[box], psnr(image[box], hr[box])) for title, image in images.items()]
    return {
        "set": crop.set,
        "image": pack.names[crop.image],
        "photograph": hr,
        "box": (crop.top, crop.left, crop.size),
        "columns": [*columns, ("HR", hr[box], None)],
    }
