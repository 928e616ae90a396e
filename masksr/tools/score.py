"""``masksr score``: PI, NIQE and Ma of any pictures and, beside their HR pictures, PSNR-Y, SSIM-Y and RMSE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from masksr.errors import MasksrError
from masksr.quality import further, measures
from masksr.quality.luma import BORDER
from masksr.quality.weights import Mode, QualityWeights
from masksr.quality.yardstick import chosen
from masksr.results.evaluate import score_images, write_quality
from masksr.results.scores import COLUMNS, check_output, summarize
from masksr.tools.pairs import cut_alike, pair
from masksr.tools.photo import find_photos, read_photo
from masksr.training import devices

Image = NDArray[np.uint8]


def score_files(
    pictures: Sequence[Path],
    weights: QualityWeights,
    *,
    hr: Sequence[Path] | None = None,
    scale: int = 4,
    border: int = BORDER,
    also: Sequence[further.Measure] = (),
) -> tuple[pd.DataFrame, list[str]]:
    """Score pictures as ``results.evaluate`` scores those of the variants: a table with ``COLUMNS``, and what failed.

    The column model is the folder of a picture, set that of its HR picture (``pictures`` without one). hr: see
    ``pairs.pair``. scale: to multiples of it HR is cut, see ``pairs.cut_alike``. border: pixels of each side that do
    not count; PIRM 2018 has 4. also: further measures, a column each after ``COLUMNS``.

    A picture that cannot be read or compared has no row, and a sentence in the list; one that was read but has no PI
    has a row that says why. Raises MasksrError, before anything is read, where a picture has no HR picture.
    """
    partners = pair(pictures, hr, scale) if hr is not None else {}
    names, problems = _names(pictures, partners), list[str]()
    at_once, rows = 8 * devices.cores(), []
    with tqdm(total=len(pictures), desc="scored", leave=False, disable=None) as bar:
        for first in range(0, len(pictures), at_once):
            read = list(_read(pictures[first : first + at_once], partners, scale, border, problems))
            images, references = [image for _, image, _ in read], [reference for *_, reference in read]
            known = references if partners else None
            found = score_images(images, known, weights, also)
            for (picture, *_), values in zip(read, found, strict=True):
                of_set = "/".join(partners[picture].resolve().parent.parts[-2:]) if partners else "pictures"
                who = {"model": picture.parent.as_posix(), "mask": "none", "seed": 0, "set": of_set}
                rows.append(who | {"image": names[picture]} | values)
            bar.update(len(pictures[first : first + at_once]))
    return pd.DataFrame(rows, columns=[*COLUMNS, *(measure.name for measure in also)]), problems


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

    inputs, hr: files, folders or patterns of names, see ``photo.find_photos``. weights: see ``yardstick.chosen``. also:
    names of further measures. The rest: see score_files. No project is needed where the official weights are on this
    machine. Raises MasksrError, at the end, about the pictures that could not be scored.
    """
    check_output(output)
    pictures, references = find_photos(inputs), None if hr is None else find_photos([hr])
    if references is not None:
        pair(pictures, references, scale)  # before weights are fetched
    measures.check(also, "--also")
    if hr is None and (comparing := [name for name in also if measures.known()[name].compares]):
        raise MasksrError(f"--also: {', '.join(comparing)} needs the HR pictures; name them with --hr")
    found = chosen(weights)
    try:
        where = devices.choose_device(device)
    except MasksrError:
        raise MasksrError(f"--device {device}: not available on this machine; use auto or cpu") from None
    taken = further.load(also, where)
    table, problems = score_files(pictures, found, hr=references, scale=scale, border=border, also=taken)
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


def read_levels(path: Path) -> Image:
    """A picture as the protocol measures it, (H, W, 3) uint8: grey as three equal channels, 16 bits rounded to 8.

    Colour profiles count for nothing: the levels are taken as they stand. Raises MasksrError for what ``read_photo``
    refuses and where any pixel is transparent: there is no telling what should be behind it.
    """
    photo = read_photo(path)
    if photo.alpha is not None and (photo.alpha < photo.levels).any():
        raise MasksrError(f"{path}: has transparent pixels; put it on a background and save it as RGB")
    pixels = photo.pixels if photo.levels == 255 else np.rint(photo.pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _read(
    pictures: Sequence[Path], partners: dict[Path, Path], scale: int, border: int, problems: list[str]
) -> Iterator[tuple[Path, Image, Image | None]]:
    """Each picture, and its HR picture, ready to be scored; what cannot be is added to ``problems``."""
    for picture in pictures:
        try:
            image, reference = read_levels(picture), None
            if picture in partners:
                image, reference = cut_alike(image, read_levels(partners[picture]), scale)
            if min(image.shape[:2]) <= 2 * border:
                raise MasksrError(f"of {image.shape[1]} x {image.shape[0]} pixels nothing is left inside the border")
        except MasksrError as problem:
            problems.append(str(problem) if str(picture) in str(problem) else f"{picture}: {problem}")
        else:
            yield picture, _with_border(image, border), None if reference is None else _with_border(reference, border)


def _with_border(image: Image, border: int) -> Image:
    """The image with so much more, or less, around it that what the protocol cuts off leaves ``border`` cut off."""
    more = BORDER - border
    if more < 0:
        return image[-more:more, -more:more]
    return np.pad(image, ((more, more), (more, more), (0, 0)), mode="edge")


def _names(pictures: Sequence[Path], partners: dict[Path, Path]) -> dict[Path, str]:
    """What stands in the column image: the name of the HR picture, else the picture's own, with its ending if two of
    a folder differ in nothing else.
    """
    stems = Counter((picture.parent, picture.stem) for picture in pictures)
    return {
        picture: partners[picture].stem
        if picture in partners
        else (picture.stem if stems[picture.parent, picture.stem] == 1 else picture.name)
        for picture in pictures
    }
