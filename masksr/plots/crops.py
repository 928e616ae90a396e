"""Photographs through networks, for looking at: the crops of Figure 4, chosen, upscaled, kept as files."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masksr.data.images import luma, to_tensor
from masksr.data.packs import Pack
from masksr.io import MasksrError, read_json, write_atomic
from masksr.models.build import load_generator
from masksr.params import Crop, Figure4, Params
from masksr.paths import Paths
from masksr.plots.images import Pixels, cut
from masksr.results.evaluate import with_bicubic, with_generator
from masksr.results.tables import inspected_mask, variant_title
from masksr.training.device import choose_device
from masksr.training.mask import error_mask

STEP = 4  # HR pixels: crops are whole LR pixels
# (pack, image number) -> (H, W), how far two outputs differ
Difference = Callable[[Pack, int], NDArray[np.float64]]


@dataclass
class CropRow:
    """One crop of Figure 4: the HR photograph, where in it, and what each column shows."""

    photograph: Pixels  # (H, W, 3)
    box: tuple[int, int, int]  # top, left, size
    images: list[Pixels]  # LR first (size/4), then each variant, HR last
    how: str  # it was chosen
    name: str  # of the photograph
    masks: dict[str, NDArray[np.float32]]  # by title of a variant: equation 8 of its error


def upscale_first(pack: Pack, folder: Path) -> dict[str, Pixels]:
    """Return the first photograph of a pack as LR, bicubic, SR and HR, by these names, (H, W, 3) uint8.

    folder: of the generator. LR is a quarter as large on each side.
    """
    upscale = with_generator(load_generator(folder / "generator.safetensors"), choose_device("cpu"))
    return {"LR": pack.lr(0, 4), "bicubic": with_bicubic(pack, 0), "SR": upscale(pack, 0), "HR": pack.hr(0)}


def choose_crops(
    figure4: Figure4, packs: Mapping[str, Pack], difference: Difference
) -> list[tuple[Crop, str]]:
    """Choose the crops of the largest difference, the largest first, then those by chance, then by hand.

    Returns each with how it was chosen.

    packs: the test sets by name. difference: computed for every image that is searched. Each rule takes at
    most one crop of an image. Raises MasksrError where the sets do not have what is asked for.
    """
    size, searched = figure4.size, []
    shapes = {(name, n): packs[name].hr(n).shape[:2] for name in packs for n in range(len(packs[name]))}
    large = [image for image, shape in shapes.items() if min(shape) >= size]
    if figure4.largest_difference:
        searched = [image for image in large if figure4.search is None or image[1] < figure4.search]
    asked = {"largest_difference": (figure4.largest_difference, searched), "random": (figure4.random, large)}
    for key, (count, there) in asked.items():
        if count > len(there):
            raise MasksrError(
                f"figure4.{key}: asks for {count} images of at least {size} x {size} pixels, and the test "
                f"sets have {len(there)}; lower it, or figure4.size"
            )

    windows = [(*largest_window(difference(packs[name], n), size), name, n) for name, n in searched]
    windows.sort(key=lambda window: -window[0])  # stable: of two equal ones the first
    chosen = [
        (Crop(set=name, image=n, top=top, left=left, size=size), "largest difference")
        for _, top, left, name, n in windows[: figure4.largest_difference]
    ]

    draw = random.Random(figure4.seed)
    for name, n in draw.sample(large, figure4.random):
        top, left = (draw.randrange((side - size) // STEP + 1) * STEP for side in shapes[name, n])
        crop = Crop(set=name, image=n, top=top, left=left, size=size)
        chosen.append((crop, f"random, seed {figure4.seed}"))

    for crop in figure4.crops:
        height, width = shapes.get((crop.set, crop.image), (0, 0))
        if crop.top + crop.size > height or crop.left + crop.size > width:
            box = crop.top, crop.left, crop.size
            raise MasksrError(
                f"figure4.crops: {box} leaves image {crop.image} (from 0) of {crop.set}, "
                + (f"which is {width} x {height}" if height else f"which has {len(packs[crop.set])}")
            )
        chosen.append((crop, "chosen by hand"))
    return chosen


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
    Raises MasksrError where the test sets have no such crops.
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


def save(rows: Sequence[CropRow], titles: Sequence[str], folder: Path) -> None:
    """Write what Figure 4 shows to ``folder``: ``<row>-<column>.png``, and index.json with the titles."""
    for number, row in enumerate(rows):
        for column, image in enumerate(row.images):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG", optimize=True)
            write_atomic(folder / f"{number}-{column}.png", buffer.getvalue())
    index = {"titles": list(titles), "rows": len(rows)}
    write_atomic(folder / "index.json", (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode())


def load(folder: Path) -> list[list[tuple[str, bytes]]]:
    """Read what ``save`` wrote: titles and PNG files of each row; nothing where there is no folder."""
    if not folder.is_dir():
        return []
    index = read_json(folder / "index.json")
    return [
        [(title, (folder / f"{row}-{n}.png").read_bytes()) for n, title in enumerate(index["titles"])]
        for row in range(index["rows"])
    ]
