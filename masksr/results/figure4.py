"""Photographs through networks, for looking at: the crops of Figure 4, chosen, upscaled, kept as files."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masksr.data.images import cut, luma, to_tensor
from masksr.data.packs import Pack
from masksr.io import MasksrError
from masksr.models.build import load_generator
from masksr.params import Crop, Figure4, Params
from masksr.paths import Paths
from masksr.results.evaluate import with_generator
from masksr.results.tables import inspected_mask, variant_title
from masksr.training.device import choose_device
from masksr.training.mask import error_mask

STEP = 4  # HR pixels: crops are whole LR pixels
Pixels = NDArray[np.uint8]


@dataclass
class CropRow:
    """One crop of Figure 4: the HR photograph, where in it, and what each column shows."""

    photograph: Pixels  # (H, W, 3)
    box: tuple[int, int, int]  # top, left, size
    images: list[Pixels]  # LR first (size/4), then each variant, HR last
    how: str  # it was chosen
    name: str  # of the photograph
    masks: dict[str, NDArray[np.float32]]  # by title of a variant: equation 8 of its error


def choose_crops(
    figure4: Figure4, packs: Mapping[str, Pack], difference: Callable[[Pack, int], NDArray]
) -> list[tuple[Crop, str]]:
    """Choose crops, each with how: of the largest difference, largest first, then by chance, then by hand.

    packs: the test sets by name. difference: of two outputs for an image, by pack and number, (H, W); called
    for every image that is searched. Each rule takes at most one crop of an image. Raises MasksrError where
    the sets do not have what is asked for.
    """
    size = figure4.size
    shapes = {(name, n): packs[name].hr(n).shape[:2] for name in packs for n in range(len(packs[name]))}
    large = [image for image, shape in shapes.items() if min(shape) >= size]
    searched = [image for image in large if figure4.search is None or image[1] < figure4.search]
    for key, there in (("largest_difference", searched), ("random", large)):
        if (count := getattr(figure4, key)) > len(there):
            wanted = f"asks for {count} images of at least {size} x {size} pixels"
            have = f"the test sets have {len(there)}; lower it, or figure4.size"
            raise MasksrError(f"figure4.{key}: {wanted}, and {have}")

    searched = searched if figure4.largest_difference else []
    windows = [(*largest_window(difference(packs[name], n), size), name, n) for name, n in searched]
    windows.sort(key=lambda window: -window[0])  # stable: of two equal ones the first
    places = [(*window[1:], "largest difference") for window in windows[: figure4.largest_difference]]
    draw = random.Random(figure4.seed)
    for name, n in draw.sample(large, figure4.random):
        top, left = (draw.randrange((side - size) // STEP + 1) * STEP for side in shapes[name, n])
        places.append((top, left, name, n, f"random, seed {figure4.seed}"))

    for crop in figure4.crops:
        height, width = shapes.get((crop.set, crop.image), (0, 0))
        if crop.top + crop.size > height or crop.left + crop.size > width:
            box, there = (crop.top, crop.left, crop.size), f"image {crop.image} (from 0) of {crop.set}"
            has = f"is {width} x {height}" if height else f"has {len(packs[crop.set])}"
            raise MasksrError(f"figure4.crops: {box} leaves {there}, which {has}")
    chosen = [
        (Crop(set=name, image=n, top=top, left=left, size=size), how) for top, left, name, n, how in places
    ]
    return chosen + [(crop, "chosen by hand") for crop in figure4.crops]


def largest_window(values: NDArray[np.float64], size: int) -> tuple[float, int, int]:
    """Find the square on whole LR pixels with the largest mean of ``values`` (H, W): mean, top and left."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    sums = sums[::STEP, ::STEP]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return float(sums[top, left]) / size**2, int(top) * STEP, int(left) * STEP


def figure4_rows(params: Params, paths: Paths) -> tuple[list[CropRow], list[str]]:
    """Return a row for each crop of ``params.figure4``, and the titles of its images.

    The images: LR, every variant of the first seed of ``table1``, HR. The masks: of each model without a mask
    and with the first one, of the whole image, for a relative error and a window reach beyond the crop.
    """
    device, upscale, ranges = choose_device(params.train.device), {}, {}
    for model, mask in product(params.table1.models, params.table1.masks):
        folder = paths.variant(model, mask, params.table1.seeds[0])
        generator = load_generator(folder / "generator.safetensors")
        upscale[model, mask] = with_generator(generator, device)
        ranges[model, mask] = generator.pixel_range
    titles = {variant: variant_title(params, *variant) for variant in upscale}
    packs = {name: Pack(paths.set(name)) for name in params.data.test}
    first, mask = inspected_mask(params)
    mask = mask.model_copy(update={"kind": "error"})  # runs keep no network that learnt a mask

    def difference(pack: Pack, image: int) -> NDArray[np.float64]:
        of_models = []
        for model in params.table1.models:
            plain, masked = (luma(upscale[model, name](pack, image)) for name in ("none", first))
            of_models.append(np.abs(masked - plain))
        return np.mean(of_models, axis=0)

    rows = []
    for place, how in choose_crops(params.figure4, packs, difference):
        pack, box = packs[place.set], (place.top, place.left, place.size)
        hr, masks = pack.hr(place.image), {}
        outputs = {variant: upscale[variant](pack, place.image) for variant in upscale}
        for variant in (variant for variant in outputs if variant[1] in ("none", first)):
            pair = (to_tensor(image, ranges[variant]) for image in (outputs[variant], hr))
            m = error_mask(*pair, mask, pixel_range=ranges[variant])
            masks[titles[variant]] = cut(m[0].mean(dim=0).numpy(), box)
        lr = cut(pack.lr(place.image, 4), [value // 4 for value in box])
        images = [lr, *(cut(output, box) for output in outputs.values()), cut(hr, box)]
        name = f"{place.set}: {pack.names[place.image]}"
        rows.append(CropRow(hr, box, images, how, name, masks))
    return rows, ["LR", *titles.values(), "HR"]


def load(folder: Path) -> list[list[tuple[str, bytes]]]:
    """Read what 22_figure4 wrote there, ``<row>-<column> <title>.png``: titles and PNG files of each row."""
    rows = groupby(sorted(folder.glob("*.png")), key=lambda file: file.stem.partition("-")[0])
    return [[(file.stem[6:], file.read_bytes()) for file in row] for _, row in rows]
