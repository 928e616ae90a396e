"""``masksr score``: PI, NIQE and Ma of any pictures; with their HR pictures also PSNR-Y, SSIM-Y and RMSE."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import psutil
from tqdm import tqdm

from masksr.data.images import find_photos, modcrop, read_image
from masksr.io import MasksrError
from masksr.quality import measures
from masksr.quality.filters import Image, cut_border
from masksr.quality.weights import default_weights
from masksr.results.evaluate import MEMORY, score_images
from masksr.results.scores import COLUMNS, summarize, write_quality
from masksr.training.device import choose_device


def run(
    inputs: Sequence[str],
    *,
    hr: str | None = None,
    scale: int = 4,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    output: Path | None = None,
    also: Sequence[str] = (),
) -> pd.DataFrame:
    """``masksr score``: score pictures, print the means of each folder, and write the table to ``output``.

    inputs, hr: files, folders or patterns of names, see ``find_photos`` and ``pair``. scale: HR is cut to
    multiples of it. also: names of further measures, computed on ``device``. No project is needed where the
    official weights are on this machine. Returns a table like that of ``results.evaluate``: model is a
    picture's folder, set that of its HR picture, else ``pictures``. Raises MasksrError, at the end, for all.
    """
    pictures = find_photos(inputs)
    partners = pair(pictures, find_photos([hr]), scale) if hr else {}  # before weights are fetched
    measures.check(also, "--also")
    if not hr and (comparing := [name for name in also if measures.known()[name].compares]):
        raise MasksrError(f"--also: {', '.join(comparing)} needs the HR pictures; name them with --hr")
    taken, weights = measures.load(also, choose_device(device)), default_weights()
    keys, problems = [], []

    def read_pairs() -> Iterator[tuple[Image, Image | None]]:
        for picture in tqdm(pictures, desc="scored", leave=False, disable=None):
            partner = partners.get(picture)
            try:
                image, reference = read_image(picture), None
                if partner:
                    image, reference = cut_alike(image, read_image(partner), scale)
                cut_border(image)  # a ValueError where it is all border
                _tell_what_it_takes(picture, image.size // 3)
            except (MasksrError, ValueError) as problem:  # the others may be fine
                problems.append(str(problem) if str(picture) in str(problem) else f"{picture}: {problem}")
                continue
            of_set = "/".join(partner.absolute().parent.parts[-2:]) if partner else "pictures"
            name, model = partner.stem if partner else picture.name, picture.parent.as_posix()
            keys.append({"model": model, "mask": "none", "seed": 0, "set": of_set, "image": name})
            yield image, reference

    scores = score_images(read_pairs(), weights, taken)
    rows = [key | values for key, values in zip(keys, scores, strict=True)]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *also])
    if len(table):
        if output is not None:  # before printing, which a terminal could refuse
            write_quality(table, output)
        print(summarize(table, "folder"))
        for row in table.dropna(subset=["problem"]).itertuples():
            print(f"{row.model}/{row.image}: {row.problem}")
        if output is not None:
            print(f"\nwrote {output}")
    if problems:
        count = f"{len(problems)} of {len(pictures)} pictures could not be scored:"
        raise MasksrError("\n  ".join([count, *problems]))
    return table


def _tell_what_it_takes(picture: Path, pixels: int) -> None:
    """Announce what scoring a large picture takes. Raises MasksrError where memory does not hold it."""
    need, free = MEMORY * pixels / 1e9, psutil.virtual_memory().available / 1e9
    if need > free:
        raise MasksrError(f"{picture}: takes {need:.1f} GB of memory, {free:.1f} are free; score parts of it")
    if pixels > 8e6:  # 7 s per megapixel, measured on one core of 2026
        print(f"{picture}: takes about {need:.1f} GB and {7 * pixels / 60e6:.0f} minutes", flush=True)


def pair(pictures: Sequence[Path], references: Sequence[Path], scale: int) -> dict[Path, Path]:
    """Find the HR picture of each SR picture: that of the same stem, else of the same stem without endings.

    Endings are ``x4`` (the scale), ``SR``, ``HR`` and ``out``, one or more, in upper or lower case:
    ``cat_x4``, ``catSR`` and ``cat_SRF_4_HR`` belong to ``cat``; failing that, anything after an underscore,
    such as the name of an experiment: ``cat_SwinIR``. A single SR picture and a single HR picture belong
    together, whatever their names. Raises MasksrError where a picture has no partner or several, or shares it
    with another of its folder: a folder is one method, whose scores are averaged.
    """
    if len(pictures) == len(references) == 1:
        return {pictures[0]: references[0]}
    endings = re.compile(rf"([ _.-]?(x{scale}|SRF_{scale}|SR|HR|out))+$", re.IGNORECASE)
    plain = {path: endings.sub("", path.stem).casefold() for path in [*pictures, *references]}
    found, firsts = {}, {}
    for picture in pictures:
        partners = [reference for reference in references if reference.stem == picture.stem]
        partners = partners or [reference for reference in references if plain[reference] == plain[picture]]
        named = "" if re.search(r"_x\d+$", plain[picture]) else plain[picture]  # that is another scale
        partners = partners or [other for other in references if named.startswith(f"{plain[other]}_")]
        if len(partners) != 1:
            names = ", ".join(reference.name for reference in partners) or "none"
            raise MasksrError(f"{picture}: which HR picture is meant ({names})? Give both the same name")
        found[picture] = hr = partners[0]
        if (first := firsts.setdefault((picture.parent, hr), picture)) != picture:
            both = f"{first} and {picture.name} both belong to {hr}"
            raise MasksrError(f"{both}; put each method into a folder of its own")
    return found


def cut_alike(image: Image, reference: Image, scale: int) -> tuple[Image, Image]:
    """Cut an SR picture and its HR picture, (H, W, 3) uint8 each, to the size in which they are compared.

    HR is cut at the bottom and the right to multiples of ``scale``, as the test sets are; an SR picture as
    large as the uncut HR is cut likewise. Raises MasksrError for any other size.
    """
    if image.shape == reference.shape:
        image = modcrop(image, scale)
    reference = modcrop(reference, scale)
    if image.shape != reference.shape:
        has, wanted = (f"{side.shape[1]} x {side.shape[0]}" for side in (image, reference))
        raise MasksrError(f"has {has} pixels and not {wanted}, its HR picture cut to multiples of {scale}")
    return image, reference
