"""Photographs through the networks, for looking at: what the notebooks show."""

from __future__ import annotations

from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from masksr.data.images import luma, to_tensor
from masksr.data.packs import Pack
from masksr.inspection.networks import inspected_mask
from masksr.models.checkpoints import load_generator
from masksr.params import Mask, Params
from masksr.paths import Paths
from masksr.plots import CropRow, places
from masksr.plots.places import Place
from masksr.plots.style import cut
from masksr.results.evaluate import Upscale, with_bicubic, with_generator
from masksr.results.tables import variant_title
from masksr.training.device import choose_device
from masksr.training.mask import error_mask

Image = np.ndarray  # (H, W, 3) uint8


def on_a_photograph(params: Params, paths: Paths, folder: Path) -> tuple[Image, Image, Image, Image]:
    """The first validation photograph as LR, bicubic, the SR of the generator in ``folder``, and HR."""
    pack = Pack(paths.set(params.data.validation))
    upscale = with_generator(load_generator(folder / "generator.safetensors"), choose_device("cpu"))
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
    m = error_mask(to_tensor(sr, pixel_range), to_tensor(hr, pixel_range), mask, pixel_range=pixel_range, rng=rng)
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
    upscale = with_generator(load_generator(folder / "generator.safetensors"), choose_device("cpu"))
    return [("bicubic", with_bicubic(pack, 0)), ("this training", upscale(pack, 0)), ("HR", pack.hr(0))]


def figure4_rows(params: Params, paths: Paths) -> tuple[list[CropRow], list[str]]:
    """What ``figures.figure4`` and ``figures.figure4_maps`` draw: a row for each detail of ``params.figure4``, and the
    titles of its images.

    The images: LR, every variant of the first seed of ``table1``, HR. The masks: of each model without a mask and with
    the first one. Raises MasksrError where the test sets have no such details.
    """
    variants, packs = _variants(params, paths), {name: Pack(paths.set(name)) for name in params.data.test}
    name, mask = inspected_mask(params)
    # Also where the mask is learnt or a control: trainings keep the generator alone.
    mask = mask.model_copy(update={"kind": "error"})
    by_model = [(variants[model, "none"], variants[model, name]) for model in params.table1.models]

    def difference(pack: Pack, image: int) -> NDArray[np.float64]:
        pairs = ((luma(variant.upscale(pack, image)) for variant in pair) for pair in by_model)
        return np.mean([np.abs(masked - plain) for plain, masked in pairs], axis=0)

    shown = {variant.title: variant for pair in by_model for variant in pair}
    rows = [
        _crop_row(place, packs[place.set], list(variants.values()), list(shown), mask)
        for place in places.chosen(params.figure4, packs, difference)
    ]
    return rows, ["LR", *(variant.title for variant in variants.values()), "HR"]


class _Variant(NamedTuple):
    title: str
    upscale: Upscale
    pixel_range: float


def _variants(params: Params, paths: Paths) -> dict[tuple[str, str], _Variant]:
    """The generators of the first seed of ``table1`` by model and mask."""
    device, found = choose_device(params.train.device), {}
    for model, mask in product(params.table1.models, params.table1.masks):
        folder = paths.variant(model, mask, params.table1.seeds[0])
        generator = load_generator(folder / "generator.safetensors")
        title = variant_title(params, model, mask)
        found[model, mask] = _Variant(title, with_generator(generator, device), generator.pixel_range)
    return found


def _crop_row(place: Place, pack: Pack, variants: list[_Variant], with_mask: list[str], mask: Mask) -> CropRow:
    hr, box = pack.hr(place.image), (place.top, place.left, place.size)
    outputs = {variant.title: variant.upscale(pack, place.image) for variant in variants}
    masks = {}
    for variant in variants:
        if variant.title in with_mask:  # of the whole image: a relative error and a window reach beyond the detail
            pair = (to_tensor(image, variant.pixel_range) for image in (outputs[variant.title], hr))
            m = error_mask(*pair, mask, pixel_range=variant.pixel_range)
            masks[variant.title] = cut(m[0].mean(dim=0).numpy(), box)
    lr = cut(pack.lr(place.image, 4), [value // 4 for value in box])
    images = [lr, *(cut(output, box) for output in outputs.values()), cut(hr, box)]
    return CropRow(hr, box, images, place.how, f"{place.set}: {pack.names[place.image]}", masks)
