"""``masksr score``: PI, NIQE and Ma of any pictures and, beside their HR pictures, PSNR-Y, SSIM-Y and RMSE."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from masksr.data.images import modcrop
from masksr.errors import MasksrError
from masksr.quality import further, measures
from masksr.quality.filters import BORDER
from masksr.quality.weights import Mode
from masksr.results.evaluate import score_images, write_quality
from masksr.results.scores import COLUMNS, check_output, summarize
from masksr.tools.photo import find_photos, read_photo
from masksr.tools.weights import choose_weights
from masksr.training.device import choose_device, cores

Image = NDArray[np.uint8]


def run(
    inputs: Sequence[str],
    *,
    hr: str | None = None,
    scale: int = 4,
    border: int = BORDER,
    weights: Mode = "auto",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    output: Path | None = None,
    also: Sequence[str] = (),
) -> pd.DataFrame:
    """``masksr score``: score pictures, print the means of each folder, and write the table to ``output`` if named.

    inputs, hr: files, folders or patterns of names, see ``find_photos`` and ``pair``. scale: to multiples of it HR is
    cut. border: pixels of each side that do not count; PIRM 2018 has 4. weights: see ``choose_weights``. also: names
    of further measures, computed on ``device``. No project is needed where the official weights are on this machine.

    Returns a table as ``results.evaluate`` writes; the column model is the folder of a picture, set that of its HR
    picture (``pictures`` without one). Raises MasksrError, at the end, about the pictures that could not be scored.
    """
    check_output(output)
    pictures = find_photos(inputs)
    partners = {} if hr is None else pair(pictures, find_photos([hr]), scale)  # before weights are fetched
    measures.check(also, "--also")
    if hr is None and (comparing := [name for name in also if measures.known()[name].compares]):
        raise MasksrError(f"--also: {', '.join(comparing)} needs the HR pictures; name them with --hr")
    try:
        where = choose_device(device)
    except MasksrError:
        raise MasksrError(f"--device {device}: not available on this machine; use auto or cpu") from None
    quality_weights, taken = choose_weights(weights), further.load(also, where)
    stems = Counter((picture.parent, picture.stem) for picture in pictures)
    at_once = 8 * cores()  # bounds the memory: a picture of 2K is 10 MB
    rows: list[dict] = []
    problems: list[str] = []
    for first in tqdm(range(0, len(pictures), at_once), desc="scored", leave=False, disable=None):
        keys, images, references = [], [], []
        for picture in pictures[first : first + at_once]:
            partner = partners.get(picture)
            try:
                image, reference = _read_pair(picture, partner, scale, border)
            except MasksrError as problem:  # the others may be in order
                problems.append(str(problem) if str(picture) in str(problem) else f"{picture}: {problem}")
                continue
            images.append(image)
            references.append(reference)
            of_set = "/".join(partner.resolve().parent.parts[-2:]) if partner else "pictures"
            own_name = picture.stem if stems[picture.parent, picture.stem] == 1 else picture.name
            name = partner.stem if partner else own_name
            keys.append({"model": picture.parent.as_posix(), "mask": "none", "seed": 0, "set": of_set, "image": name})
        known = references if partners else None
        scores = score_images(images, known, quality_weights, taken)
        rows += [key | values for key, values in zip(keys, scores, strict=True)]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *also])
    if len(table):
        print(summarize(table, "folder"))
        if border != BORDER:
            print(f"Without a border of {border} pixels; the protocol of PIRM 2018 leaves out {BORDER}.")
        for row in table.dropna(subset=["problem"]).itertuples():
            print(f"{row.model}/{row.image}: {row.problem}")
    if output is not None and len(table):
        write_quality(table, output)
        print(f"\nwrote {output}")
    if problems:
        raise MasksrError("\n  ".join([f"{len(problems)} of {len(pictures)} pictures could not be scored:", *problems]))
    return table


def _read_pair(picture: Path, partner: Path | None, scale: int, border: int) -> tuple[Image, Image | None]:
    """An SR picture and its HR picture, cut alike, with their borders."""
    image = read_levels(picture)
    if partner is None:
        return _with_border(image, border), None
    image, reference = cut_alike(image, read_levels(partner), scale)
    return _with_border(image, border), _with_border(reference, border)


def read_levels(path: Path) -> Image:
    """A picture as the protocol measures it, (H, W, 3) uint8: grey as three equal channels, 16 bits rounded to 8.

    Colour profiles count for nothing: the levels are taken as they are. Raises MasksrError for what ``read_photo``
    refuses and where any pixel is transparent: it is unknown what should be behind it.
    """
    photo = read_photo(path)
    if photo.alpha is not None and (photo.alpha < photo.levels).any():
        raise MasksrError(f"{path}: has transparent pixels; put it on a background and save it as RGB")
    pixels = photo.pixels if photo.levels == 255 else np.rint(photo.pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def pair(pictures: Sequence[Path], references: Sequence[Path], scale: int) -> dict[Path, Path]:
    """Find the HR picture of each SR picture: of the same stem, else of the same stem without an ending.

    Endings are ``x4`` (the scale), ``SR``, ``HR`` and ``out``, one or more, in small letters or capitals: ``cat_x4``,
    ``catSR`` and ``cat_SRF_4_HR`` belong to ``cat``. A single SR picture and a single HR picture belong together,
    whatever they are called. Raises MasksrError where a picture has no partner or several, and where two of one folder
    share one.
    """
    if len(pictures) == len(references) == 1:
        return {pictures[0]: references[0]}
    endings = re.compile(rf"([ _.-]?(x{scale}|SRF_{scale}|SR|HR|out))+$", re.IGNORECASE)
    found: dict[Path, Path] = {}
    users: dict[tuple[Path, Path], Path] = {}
    plain = {path: endings.sub("", path.stem).casefold() for path in [*pictures, *references]}
    for picture in pictures:
        partners = [reference for reference in references if reference.stem == picture.stem]
        partners = partners or [reference for reference in references if plain[reference] == plain[picture]]
        if len(partners) != 1:
            names = ", ".join(reference.name for reference in partners or references[:3])
            what = "more than one HR picture could be meant" if partners else "no HR picture of that name"
            raise MasksrError(f"{picture}: {what} ({names}); give both the same name, or SR the ending _x{scale}")
        found[picture] = partners[0]
        other = users.setdefault((picture.parent, partners[0]), picture)
        if other != picture:
            raise MasksrError(f"{other} and {picture} both belong to {partners[0].name}; score them apart")
    return found


def cut_alike(image: Image, reference: Image, scale: int) -> tuple[Image, Image]:
    """An SR picture and its HR picture, (H, W, 3) uint8 each, in the size in which they are compared.

    HR is cut at the bottom and the right to multiples of ``scale``, as the test sets are; an SR picture of the size
    that HR had before is cut likewise. Raises MasksrError for any other size: nothing is resized or shifted here.
    """
    if min(reference.shape[:2]) < scale:
        raise MasksrError(f"its HR picture has only {_sides(reference)} pixels")
    if image.shape == reference.shape:
        image = modcrop(image, scale)
    reference = modcrop(reference, scale)
    if image.shape != reference.shape:
        wanted = f"{_sides(reference)}, its HR picture cut to multiples of {scale}"
        raise MasksrError(f"has {_sides(image)} pixels and not {wanted}")
    return image, reference


def _with_border(image: Image, border: int) -> Image:
    """The image with so much more, or less, around it that what the protocol cuts off leaves ``border`` cut off."""
    if min(image.shape[:2]) <= 2 * border:
        raise MasksrError(f"of {_sides(image)} pixels nothing is left inside the border")
    more = BORDER - border
    if more < 0:
        return image[-more:more, -more:more]
    return np.pad(image, ((more, more), (more, more), (0, 0)), mode="edge")


def _sides(image: Image) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
