"""The crops of Figure 4: chosen by a rule or by hand, upscaled by every variant, kept as files for the page."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masksr.data.images import luma, to_tensor
from masksr.data.packs import Pack
from masksr.errors import MasksrError
from masksr.files import write_atomic
from masksr.models.checkpoints import load_generator
from masksr.params import Crop, Figure4, Mask, Params
from masksr.paths import Paths
from masksr.plots.images import Pixels, cut
from masksr.results.evaluate import Upscale, with_generator
from masksr.results.inspection import inspected_mask
from masksr.results.tables import variant_title
from masksr.training.device import choose_device
from masksr.training.mask import error_mask

STEP = 4  # HR pixels: crops are whole LR pixels
Difference = Callable[
    [Pack, int], NDArray[np.float64]
]  # (pack, image number) -> (H, W), how far two outputs differ


class Place(NamedTuple):
    """A square of an image of a test set, in HR pixels, and how it was chosen."""

    set: str
    image: int
    top: int
    left: int
    size: int
    how: str


class CropRow(NamedTuple):
    """One crop of Figure 4: the HR photograph, where in it (top, left, size), and what each column shows."""

    photograph: Pixels  # (H, W, 3)
    box: tuple[int, int, int]
    images: Sequence[Pixels]  # LR first (size/4), then each variant, HR last
    how: str = ""  # it was chosen
    name: str = ""  # of the photograph
    masks: Mapping[str, NDArray[np.float32]] = MappingProxyType(
        {}
    )  # by title of a variant: equation 8 of its error


class Detail(NamedTuple):
    """One crop as ``load`` reads it: the titles of its columns and their PNG files."""

    titles: list[str]
    pictures: list[bytes]  # LR may be smaller than the others


def choose_crops(figure4: Figure4, packs: Mapping[str, Pack], difference: Difference) -> list[Place]:
    """Return all crops: those of the largest difference first, then those by chance, then ``figure4.crops``.

    packs: the test sets by name. difference: computed for every image that is searched.
    Raises MasksrError where the sets do not hold as many crops of that size, or a crop leaves its image.
    """
    return [
        *of_largest_difference(packs, difference, figure4.size, figure4.largest_difference, figure4.search),
        *at_random(packs, figure4.size, figure4.random, figure4.seed),
        *(_by_hand(crop, packs[crop.set]) for crop in figure4.crops),
    ]


def of_largest_difference(
    packs: Mapping[str, Pack], difference: Difference, size: int, count: int, search: int | None = None
) -> list[Place]:
    """Return the squares with the largest mean difference, at most one of an image, the largest first.

    search: how many images of each set are searched; None: all.
    """
    found = []
    for name, image in _large_enough(packs, size, search) if count else ():
        mean, top, left = largest_window(difference(packs[name], image), size)
        found.append((mean, Place(name, image, top, left, size, "largest difference")))
    _check(len(found), count, size, "largest_difference")
    found.sort(key=lambda entry: -entry[0])  # stable: of two equal ones the first
    return [place for _, place in found[:count]]


def at_random(packs: Mapping[str, Pack], size: int, count: int, seed: int) -> list[Place]:
    """Return squares of ``count`` different images; each image and each place in it is as likely as any other."""
    images = list(_large_enough(packs, size)) if count else []
    _check(len(images), count, size, "random")
    draw, places = random.Random(seed), []
    for name, image in draw.sample(images, count):
        height, width = _sides(packs[name], image)
        top, left = (draw.randrange((side - size) // STEP + 1) * STEP for side in (height, width))
        places.append(Place(name, image, top, left, size, f"random, seed {seed}"))
    return places


def largest_window(values: NDArray[np.float64], size: int) -> tuple[float, int, int]:
    """Return mean, top and left of the square of ``size``, on whole LR pixels, with the largest mean of ``values``.

    values: (H, W).
    """
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    sums = sums[::STEP, ::STEP]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return float(sums[top, left]) / size**2, int(top) * STEP, int(left) * STEP


def figure4_rows(params: Params, paths: Paths) -> tuple[list[CropRow], list[str]]:
    """Return a row for each crop of ``params.figure4``, and the titles of its images.

    The images: LR, every variant of the first seed of ``table1``, HR. The masks: of each model without a mask
    and with the first one. Raises MasksrError where the test sets have no such crops.
    """
    variants = _load_variants(params, paths)
    packs = {name: Pack(paths.set(name)) for name in params.data.test}
    name, mask = inspected_mask(params)
    mask = mask.model_copy(
        update={"kind": "error"}
    )  # of a control too; trainings keep no network that learnt a mask
    by_model = [(variants[model, "none"], variants[model, name]) for model in params.table1.models]

    def difference(pack: Pack, image: int) -> NDArray[np.float64]:
        pairs = ((luma(variant.upscale(pack, image)) for variant in pair) for pair in by_model)
        return np.mean([np.abs(masked - plain) for plain, masked in pairs], axis=0)

    masked = {variant.title for pair in by_model for variant in pair}
    rows = [
        _crop_row(place, packs[place.set], list(variants.values()), masked, mask)
        for place in choose_crops(params.figure4, packs, difference)
    ]
    return rows, ["LR", *(variant.title for variant in variants.values()), "HR"]


def save(rows: Sequence[CropRow], titles: Sequence[str], folder: Path) -> None:
    """Write what Figure 4 shows to ``folder``: ``<row>-<column>.png``, and index.json with the titles."""
    for number, row in enumerate(rows):
        for column, image in enumerate(row.images):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG", optimize=True)
            write_atomic(folder / f"{number}-{column}.png", buffer.getvalue())
    index = {"titles": list(titles), "rows": len(rows)}
    write_atomic(folder / "index.json", (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode())


def load(folder: Path) -> list[Detail]:
    """Read what ``save`` wrote; nothing where there is no such folder.

    Raises MasksrError where part of it is missing.
    """
    if not folder.is_dir():
        return []
    try:
        index = json.loads((folder / "index.json").read_bytes())
        titles = [str(title) for title in index["titles"]]
        names = [
            [f"{row}-{column}.png" for column in range(len(titles))] for row in range(int(index["rows"]))
        ]
        return [Detail(titles, [(folder / name).read_bytes() for name in row]) for row in names]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MasksrError(
            f"{folder}: not the crops of figure 4 ({error}); `dvc repro figure4` makes them"
        ) from None


class _Variant(NamedTuple):
    title: str
    upscale: Upscale
    pixel_range: float


def _load_variants(params: Params, paths: Paths) -> dict[tuple[str, str], _Variant]:
    """Load the generators of the first seed of ``table1`` by model and mask."""
    device, variants = choose_device(params.train.device), {}
    for model, mask in product(params.table1.models, params.table1.masks):
        folder = paths.variant(model, mask, params.table1.seeds[0])
        generator = load_generator(folder / "generator.safetensors")
        title = variant_title(params, model, mask)
        variants[model, mask] = _Variant(title, with_generator(generator, device), generator.pixel_range)
    return variants


def _crop_row(place: Place, pack: Pack, variants: list[_Variant], masked: set[str], mask: Mask) -> CropRow:
    hr, box = pack.hr(place.image), (place.top, place.left, place.size)
    outputs = {variant.title: variant.upscale(pack, place.image) for variant in variants}
    masks = {}
    for variant in variants:
        if variant.title in masked:  # of the whole image: a relative error and a window reach beyond the crop
            pair = (to_tensor(image, variant.pixel_range) for image in (outputs[variant.title], hr))
            m = error_mask(*pair, mask, pixel_range=variant.pixel_range)
            masks[variant.title] = cut(m[0].mean(dim=0).numpy(), box)
    lr = cut(pack.lr(place.image, 4), [value // 4 for value in box])
    images = [lr, *(cut(output, box) for output in outputs.values()), cut(hr, box)]
    return CropRow(hr, box, images, place.how, f"{place.set}: {pack.names[place.image]}", masks)


def _by_hand(crop: Crop, pack: Pack) -> Place:
    if crop.image >= len(pack):
        raise MasksrError(
            f"figure4.crops: {crop.set} has {len(pack)} images, so image {crop.image} (from 0) is not there"
        )
    height, width = _sides(pack, crop.image)
    if crop.top + crop.size > height or crop.left + crop.size > width:
        box = crop.top, crop.left, crop.size
        raise MasksrError(f"figure4.crops: {box} leaves image {crop.image} of {crop.set}, {width} x {height}")
    return Place(crop.set, crop.image, crop.top, crop.left, crop.size, "chosen by hand")


def _large_enough(
    packs: Mapping[str, Pack], size: int, search: int | None = None
) -> Iterator[tuple[str, int]]:
    for name, pack in packs.items():
        for image in range(min(len(pack), search or len(pack))):
            if min(_sides(pack, image)) >= size:
                yield name, image


def _sides(pack: Pack, image: int) -> tuple[int, int]:
    return pack.hr(image).shape[:2]


def _check(there: int, wanted: int, size: int, key: str) -> None:
    if there < wanted:
        raise MasksrError(
            f"figure4.{key}: asks for {wanted} images of at least {size} x {size} pixels, and the test sets "
            f"have {there}; lower it, or figure4.size"
        )
