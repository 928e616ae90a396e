"""The pictures of a data set: found, counted and checked, wherever they lie."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from masksr.bicubic import imresize
from masksr.errors import MasksrError
from masksr.images import modcrop, read_header, read_image
from masksr.registry import Crop, FolderSet, Layout, PackageSet, Photograph, SetSpec

SCALE = 4  # of the official LR pictures, and what the sides of HR are cut to a multiple of
SMALLEST = 32  # HR pixels on a side: 8 LR pixels, the smallest training patch params.yaml allows


@dataclass(frozen=True)
class Source:
    """Where one image of a set lies."""

    name: str
    hr: Path
    lr_x4: Path | None = None  # the official one, where the set has it
    crop: Crop | None = None  # of hr; None: all of it
    sides: tuple[int, int] = (0, 0)  # of the HR image before it is cut to multiples of 4, in no promised order


@dataclass(frozen=True)
class Picture:
    """One image of a set: HR with sides that are multiples of 4, and its LR at x4."""

    hr: NDArray[np.uint8]  # (H, W, 3)
    lr_x4: NDArray[np.uint8]  # (H/4, W/4, 3)
    official: bool  # the LR comes with the set; otherwise it is imresize(hr, 1/4)
    difference: int | None  # of the official LR: its largest distance from imresize(hr, 1/4), in levels


def find_images(spec: SetSpec, data_folder: Path | str | None = None, *, limit: int | None = None) -> list[Source]:
    """The images of a set, without reading their pixels: in the order of the registry, or of their names in a folder.

    data_folder: what holds the sets of kind ``folder``; without one, the variable MASKSR_DATA names it. limit: take at
    most the first so many, and be content if no more than those are there; without it the set must be complete.
    Raises MasksrError, naming what and what to do, when the folder, a picture or a package is missing, the number of
    images is wrong, a file is not the expected one, or a picture is grey, too small or damaged.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be positive, not {limit}")
    sources = _in_packages(spec) if isinstance(spec, PackageSet) else _in_folder(spec, data_folder, limit)
    return sources[:limit]


def load_image(source: Source) -> Picture:
    """Read one image; its official LR is checked against the HR, and without one the LR is made.

    Raises MasksrError when a file is damaged, a crop leaves its picture, or HR and LR do not belong together.
    """
    hr = read_image(source.hr)
    if box := source.crop:
        if box.top + box.height > hr.shape[0] or box.left + box.width > hr.shape[1]:
            raise MasksrError(f"{source.hr}: {hr.shape[0]} x {hr.shape[1]} pixels, too small for crop {source.name}")
        hr = hr[box.top : box.top + box.height, box.left : box.left + box.width]
    hr = np.ascontiguousarray(modcrop(hr, SCALE))
    ours = imresize(hr, 1 / SCALE)
    if source.lr_x4 is None:
        return Picture(hr, ours, official=False, difference=None)
    lr = read_image(source.lr_x4)
    if lr.shape != ours.shape:
        raise MasksrError(
            f"{source.lr_x4}: is {lr.shape[0]} x {lr.shape[1]}, but a quarter of {source.hr} is "
            f"{ours.shape[0]} x {ours.shape[1]} (height x width); fetch both from the same distribution of the set"
        )
    difference = np.abs(lr.astype(np.int16) - ours)
    # Measured on BSD100, in units of the LR's contrast: other antialiased kernels stay below 0.11, mirrored pictures
    # begin at 0.33, other pictures at 0.6. The one level keeps flat pictures from being refused for their rounding.
    contrast = np.abs(ours - ours.mean(axis=(0, 1))).mean()
    if difference.mean() > contrast / 4 + 1:
        raise MasksrError(
            f"{source.lr_x4}: does not fit {source.hr} (mean difference {difference.mean():.0f} levels): it is another "
            "picture, mirrored or shrunk without antialiasing; fetch both from the same distribution of the set, or "
            "remove the LR folder to have the LR made from the HR"
        )
    return Picture(hr, lr, official=True, difference=int(difference.max()))


def _in_packages(spec: PackageSet) -> list[Source]:
    sources = []
    for photograph in spec.photographs:
        path = _package_file(photograph)
        sides, _ = read_header(path)
        if photograph.crops is None:
            sources.append(Source(photograph.name, path, sides=sides))
        else:
            for name, box in photograph.crops.items():
                full_name = f"{photograph.name}-{name}"
                sources.append(Source(full_name, path, crop=box, sides=(box.height, box.width)))
    return sources


def _package_file(photograph: Photograph) -> Path:
    """A file inside an installed package, found without importing it: importing skimage or sklearn takes seconds."""
    expected = f"{photograph.package} {photograph.version}"
    module, *rest = PurePosixPath(photograph.file).parts
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise MasksrError(f"{photograph.name}: the package {photograph.package} is missing; install {expected}")
    path = Path(found.submodule_search_locations[0], *rest)
    if not path.is_file():
        raise MasksrError(f"{photograph.name}: {path} is missing; install {expected}, which comes with it")
    if hashlib.sha256(path.read_bytes()).hexdigest() != photograph.sha256:
        raise MasksrError(
            f"{photograph.name}: {path} is not the file of {expected} (sha256 {photograph.sha256[:12]}...); installed "
            f"is {photograph.package} {importlib.metadata.version(photograph.package)}, so install {expected} again"
        )
    return path


def _in_folder(spec: FolderSet, data_folder: Path | str | None, limit: int | None) -> list[Source]:
    data_folder = data_folder or os.environ.get("MASKSR_DATA")
    if not data_folder:
        raise MasksrError(
            f"{spec.name} must lie on your disk: name the folder that holds it in data.local of params.yaml or in the "
            f"variable MASKSR_DATA ({spec.homepage})"
        )
    folder = Path(data_folder).expanduser()
    if not folder.is_dir():
        raise MasksrError(f"the data folder {folder} does not exist; correct data.local in params.yaml or MASKSR_DATA")
    for layout in spec.layouts:
        if images := _glob(folder, layout.hr):
            break
    else:
        places = ", ".join(layout.hr for layout in spec.layouts)
        raise MasksrError(f"{spec.name}: no pictures in {folder}; looked for {places} ({spec.homepage})")

    chosen = sorted(images.keys() - set(spec.exclude), key=_natural)
    wanted = spec.images if limit is None else min(limit, spec.images)
    too_many = len(chosen) > spec.images and not spec.at_least
    if len(chosen) < wanted or too_many:
        number = f"{'at least ' if spec.at_least else ''}{spec.images}"
        remedy = "remove what does not belong there" if too_many else "complete it, or ask for fewer with a limit"
        raise MasksrError(f"{spec.name}: {len(chosen)} pictures in {folder / layout.hr}, {number} expected; {remedy}")
    chosen = chosen[:limit]
    lr = _official_lr(folder, layout, chosen)
    return [Source(name, images[name], lr.get(name), sides=_checked_sides(images[name], spec)) for name in chosen]


def _glob(folder: Path, template: str) -> dict[str, Path]:
    """The files that fit a layout's path, by the part that ``{name}`` stands for."""
    before, after = PurePosixPath(template).name.split("{name}")
    return {
        path.name[len(before) : len(path.name) - len(after)]: path
        for path in sorted(folder.glob(template.replace("{name}", "*")))
        if not path.name.startswith(".")
    }


def _official_lr(folder: Path, layout: Layout, names: list[str]) -> dict[str, Path]:
    """The official LR of every image; none at all is fine (LR is then made), some is not."""
    if layout.lr_x4 is None:
        return {}
    paths = {name: folder / layout.lr_x4.format(name=name) for name in names}
    missing = [path for path in paths.values() if not path.is_file()]
    if len(missing) == len(names):
        return {}
    if missing:
        raise MasksrError(
            f"{missing[0]}: this LR picture and {len(missing) - 1} more are missing, others are there; "
            "complete them, or remove the LR folder to have the LR made from the HR"
        )
    return paths


def _checked_sides(path: Path, spec: FolderSet) -> tuple[int, int]:
    sides, mode = read_header(path)
    if mode in ("1", "L", "LA") and not spec.grey:
        raise MasksrError(f"{path}: is grey, but {spec.name} has colour photographs; fetch the set again")
    if min(sides) < SMALLEST:
        raise MasksrError(f"{path}: {sides[0]} x {sides[1]} pixels, at least {SMALLEST} a side are needed")
    return sides


def _natural(name: str) -> list[int | str]:
    """Sort key under which 2 comes before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
