"""Photographs through the networks, for looking at: what the notebooks show."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from masksr import devices
from masksr.build import load_generator
from masksr.errors import MasksrError
from masksr.evaluation import Upscale, with_bicubic, with_generator
from masksr.figures import CropRow
from masksr.figures.style import cut
from masksr.images import to_tensor
from masksr.mask import mask_of
from masksr.packs import Pack
from masksr.params import Crop, Mask, Params
from masksr.paths import Paths
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
    """HR, SR, the mask (C, H, W) in [0, 1] and the squared error (H, W) in grey levels, on a validation photograph.

    A training keeps its generator alone, so for the kind ``expected`` the mask is that of the error itself.
    """
    if mask.kind == "expected":
        mask = mask.model_copy(update={"kind": "error"})
    _, _, sr, hr = on_a_photograph(params, paths, folder)
    pixel_range = load_generator(folder / "generator.safetensors").pixel_range
    rng = torch.Generator().manual_seed(0)
    m = mask_of(mask, to_tensor(sr, pixel_range), to_tensor(hr, pixel_range), pixel_range=pixel_range, rng=rng)
    error = np.square(sr.astype(np.float64) - hr).mean(axis=2)
    return hr, sr, m[0].numpy(), error


def middle(image: Image, size: int = 96) -> tuple[int, int, int]:
    """The square of ``size`` pixels in the middle of an image, as (top, left, size), on whole LR pixels."""
    top, left = ((side - size) // 8 * 4 for side in image.shape[:2])
    return top, left, size


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


def figure4_rows(params: Params, paths: Paths) -> tuple[list[CropRow], list[str]]:
    """What ``figures.figure4`` draws: a row for each crop of ``figure4.crops``, and the titles of its images.

    The images: LR, every variant of the first seed of ``table1``, HR. Raises MasksrError where a crop leaves
    its image.
    """
    device = devices.choose_device(params.train.device)
    upscalers: dict[str, Upscale] = {}
    for model in params.table1.models:
        for mask in params.table1.masks:
            folder = paths.variant(model, mask, params.table1.seeds[0])
            generator = load_generator(folder / "generator.safetensors")
            upscalers[variant_title(params, model, mask)] = with_generator(generator, device)
    rows = [_crop_row(crop, Pack(paths.set(crop.set)), upscalers.values()) for crop in params.figure4.crops]
    return rows, ["LR", *upscalers, "HR"]


def _crop_row(crop: Crop, pack: Pack, upscalers: Iterable[Upscale]) -> CropRow:
    if crop.image >= len(pack):
        raise MasksrError(
            f"figure4.crops: {crop.set} has {len(pack)} images, so image {crop.image} (from 0) is not there"
        )
    hr, box = pack.hr(crop.image), (crop.top, crop.left, crop.size)
    if crop.top + crop.size > hr.shape[0] or crop.left + crop.size > hr.shape[1]:
        raise MasksrError(
            f"figure4.crops: {box} leaves image {crop.image} of {crop.set}, {hr.shape[1]} x {hr.shape[0]}"
        )
    lr = cut(pack.lr(crop.image, 4), [value // 4 for value in box])
    return CropRow(hr, box, [lr, *(cut(upscale(pack, crop.image), box) for upscale in upscalers), cut(hr, box)])
